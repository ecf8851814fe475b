"""`python -m tools.reference --write` generates the tables of docs/reference.md from the code.

Each table is between two comments, `<!-- generated: NAME -->` and `<!-- end of NAME -->`, in both languages;
everything else on the page is written by hand. `--check` reports whether the tables are up to date, and
`tests/structure/test_reference.py` fails when one is not.
"""

import argparse
import json
import re
import sys
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Final

REPOSITORY: Final = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(REPOSITORY), str(REPOSITORY / "daemon")]

from stripe_payments.bus_api import api  # noqa: E402
from stripe_payments.bus_method import BusMethod, MethodTable, Right  # noqa: E402
from stripe_payments.diagnostics.checks import CHECKS  # noqa: E402
from stripe_payments.errors import CODES  # noqa: E402
from stripe_payments.http_api.routing import HttpApp, Route  # noqa: E402
from stripe_payments.i18n import Text  # noqa: E402
from stripe_payments.settings import settings_from_uci  # noqa: E402
from stripe_payments.startup_gate import StartupGate  # noqa: E402
from stripe_payments.stripe_api.permissions import PERMISSIONS  # noqa: E402
from tools.msgfmt import compile_daemon_catalog  # noqa: E402
from ubus_py import Client  # noqa: E402

PAGES: Final = {
    "en": REPOSITORY / "docs" / "reference.md",
    "it": REPOSITORY / "docs" / "reference.it.md",
}
_ACL = REPOSITORY / "luci-app-stripe-payments/root/usr/share/rpcd/acl.d/luci-app-stripe-payments.json"
_INIT_SCRIPT = REPOSITORY / "files/etc/init.d/stripe-payments"
_BLOCK = re.compile(r"<!-- generated: (?P<name>\w+) -->\n.*?<!-- end of (?P=name) -->", re.DOTALL)
_TYPES: Final = {"STRING": "string", "INT32": "integer", "INT8": "boolean"}
_GROUPS: Final[Mapping[Right, tuple[str, str]]] = {
    "read": ("luci-app-stripe-payments", "read"),
    "buy": ("luci-app-stripe-payments-buy", "write"),
    "admin": ("luci-app-stripe-payments-admin", "write"),
}
"""The rpcd ACL group of each right, and the list in it: a method that changes state is under `write`."""


# Read from the code.

Grants = Mapping[tuple[str, str], list[str]]
"""The methods of one ubus object by (ACL group, `read` or `write`)."""


def grants_wanted(methods: MethodTable) -> Grants:
    """Return what the rpcd ACL file has to grant."""
    return {
        place: sorted(method.name for method in methods if method.right == right)
        for right, place in _GROUPS.items()
    }


def grants_shipped(methods: MethodTable) -> Grants:
    """Return what the shipped rpcd ACL file grants of the same object."""
    found = {
        (group, access): list(rights.get(access, {}).get("ubus", {}).get(methods.name, ()))
        for group, rights in json.loads(_ACL.read_text()).items()
        for access in ("read", "write")
    }
    return {place: granted for place, granted in found.items() if granted}


def routes() -> tuple[Route, ...]:
    return HttpApp(StartupGate(), Client("/nowhere")).routes


class _RecordingSection(dict[str, object]):
    """A UCI section that records which of its options are read."""

    def __init__(self, kind: str, read: set[str], **options: str) -> None:
        super().__init__({".type": kind, **options})
        self._read = read

    def get(self, key: str, default: object = None) -> object:
        if not key.startswith("."):
            self._read.add(key)
        return super().get(key, default)


def options_read() -> dict[str, set[str]]:
    """Return the options that daemon and init script read, by section type of /etc/config/stripe-payments."""
    read: dict[str, set[str]] = {kind: set() for kind in ("payments", "plan", "product", "price", "feature")}
    price = {"amount": "100", "currency": "eur"}
    settings_from_uci(
        {
            "main": _RecordingSection("payments", read["payments"]),
            "a_feature": _RecordingSection("feature", read["feature"]),
            "a_plan": _RecordingSection("plan", read["plan"], feature="a_feature"),
            "a_product": _RecordingSection("product", read["product"], feature="a_feature"),
            "monthly": _RecordingSection("price", read["price"], of="a_plan", interval="month", **price),
            "once": _RecordingSection("price", read["price"], of="a_product", interval="none", **price),
        }
    )
    script = _INIT_SCRIPT.read_text()
    read["payments"] |= set(re.findall(r"config_get(?:_bool)? \w+ main (\w+)", script))
    read["payments"] |= set(re.findall(r"config_list_foreach main (\w+)", script))
    return read


# Written to the page.


def sections(page: str) -> dict[str, str]:
    """Return the anchor of the section that describes each bus method; a section may describe several."""
    found: dict[str, str] = {}
    for heading in re.findall(r"(?m)^### (`\w+`(?:, `\w+`)*)$", page):
        anchor = re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-")
        found.update(dict.fromkeys(re.findall(r"`(\w+)`", heading), anchor))
    return found


def _methods(locale: str, page: str) -> Iterator[str]:
    head = {
        "en": "| method | arguments (* required) | LuCI right |",
        "it": "| metodo | argomenti (* obbligatorio) | diritto in LuCI |",
    }
    yield head[locale]
    yield "|---|---|---|"
    anchors = sections(page)
    for method in api:
        yield method_row(method, anchors.get(method.name, ""))


def method_row(method: BusMethod, anchor: str) -> str:
    """Return the row of the table of methods; `anchor`: of the section that describes the method."""
    arguments = ", ".join(
        f"`{argument.name}`{'*' if argument.required else ''} {_TYPES[argument.type.name]}"
        for argument in method.arguments
    )
    return f"| [`{method.name}`](#{anchor}) | {arguments or '–'} | {method.right} |"


def _errors(locale: str, _page: str) -> Iterator[str]:
    head = {
        "en": "| code | HTTP | ubus | `message` | `hint` | `user_hint` |",
        "it": "| codice | HTTP | ubus | `message` | `hint` | `user_hint` |",
    }
    yield head[locale]
    yield "|---|---|---|---|---|---|"
    for name, code in CODES.items():
        texts = (code.message, code.hint or code.user_hint, code.user_hint)
        cells = " | ".join(_cell(text, locale) for text in texts)
        yield f"| `{name}` | {code.http} | {code.ubus.value} {code.ubus.name} | {cells} |"


def _cell(text: Text, locale: str) -> str:
    """Return a sentence with its optional parts, placeholders as names in italics."""
    said = text.in_locale(locale).replace("|", "\\|")
    return re.sub(r"\{(\w+)\}", r"*\1*", re.sub(r"[\[\]]", "", said))


def _routes(locale: str, page: str) -> Iterator[str]:
    head = {"en": "| path | methods | body at most |", "it": "| percorso | metodi | corpo al massimo |"}
    yield head[locale]
    yield "|---|---|---|"
    for route in routes():
        takes_body = set(route.handlers) - {"GET"}
        limit = f"{route.body_limit // 1024} KiB" if takes_body else "–"
        yield f"| `{route.path}` | {route.allowed} | {limit} |"


def _permissions(locale: str, _page: str) -> Iterator[str]:
    head = {
        "en": "| resource in Stripe's Dashboard | set-up key | router key | Stripe's name |",
        "it": "| risorsa nella Dashboard di Stripe | chiave di configurazione | chiave del router "
        "| nome presso Stripe |",
    }
    yield head[locale]
    yield "|---|---|---|---|"
    for one in PERMISSIONS:
        name = f"`rak_{one.rak}_{one.access}`"
        yield f"| {one.resource} | {one.access} | {one.router_access} | {name} |"


def _checks(_locale: str, _page: str) -> Iterator[str]:
    yield ", ".join(f"`{check.id}`" for check in CHECKS) + "."


BLOCKS: Final[Mapping[str, Callable[[str, str], Iterator[str]]]] = {
    "methods": _methods,
    "errors": _errors,
    "routes": _routes,
    "permissions": _permissions,
    "checks": _checks,
}


def renewed(page: str, locale: str) -> str:
    """Return the page with all its generated blocks up to date. Raises KeyError for an unknown block name."""

    def block(found: re.Match[str]) -> str:
        name = found["name"]
        body = "\n".join(BLOCKS[name](locale, page))
        return f"<!-- generated: {name} -->\n{body}\n<!-- end of {name} -->"

    return _BLOCK.sub(block, page)


def main() -> int:
    """Return exit code 0: up to date or written; 1: `--check` found an outdated table."""
    parser = argparse.ArgumentParser(prog="python -m tools.reference", description=__doc__)
    wanted = parser.add_mutually_exclusive_group(required=True)
    wanted.add_argument("--write", action="store_true", help="write the tables")
    wanted.add_argument("--check", action="store_true", help="only report whether they are up to date")
    options = parser.parse_args()
    compile_daemon_catalog()
    old = False
    for locale, path in PAGES.items():
        before = path.read_text()
        after = renewed(before, locale)
        if after == before:
            continue
        old = True
        sys.stdout.write(f"{path.relative_to(REPOSITORY)}: {'written' if options.write else 'out of date'}\n")
        if options.write:
            path.write_text(after)
    return int(old and options.check)


if __name__ == "__main__":
    sys.exit(main())
