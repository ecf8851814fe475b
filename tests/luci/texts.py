"""The texts of the LuCI application, of the daemon and of the hub, and their translations.

``python -m tests.luci.texts --write`` updates ``po/templates/stripe-payments.pot`` and the ``.po`` files from
the sources (new texts come in untranslated, unused ones are removed); ``--check`` lists what is missing, exit
1.
"""

import argparse
import ast
import json
import re
import sys
from collections.abc import Iterator
from io import BytesIO
from pathlib import Path
from typing import Any

from babel.messages.catalog import Catalog, Message
from babel.messages.extract import extract_javascript
from babel.messages.pofile import read_po, write_po
from jinja2.ext import babel_extract

from simulator.browser_front.pages import NOT_FOUND, NOT_SIMULATED

REPOSITORY = Path(__file__).resolve().parents[2]
APPLICATION = REPOSITORY / "luci-app-stripe-payments"
STANDIN = REPOSITORY / "simulator/browser_front"
DAEMON = REPOSITORY / "daemon/stripe_payments"
HUB = REPOSITORY / "hub/payments_hub"
TEMPLATE = APPLICATION / "po/templates/stripe-payments.pot"
TRANSLATIONS = {"it": APPLICATION / "po/it/stripe-payments.po"}
STANDIN_TRANSLATIONS = {"it": STANDIN / "luci_standin/it.po"}
DAEMON_TRANSLATIONS = {"it": DAEMON / "po/it.po"}
HUB_TRANSLATIONS = {"it": HUB / "po/it.po"}
KEYWORDS = {"_": None, "N_": (1, 2)}


def of_script(file: Path) -> Iterator[str]:
    """Every text inside ``_()`` (and the singular of ``N_()``) of a LuCI class file."""
    with file.open("rb") as source:
        for _line, keyword, texts, _comments in extract_javascript(
            source, KEYWORDS, [], {"encoding": "utf-8"}
        ):
            yield texts if isinstance(texts, str) else str(texts[1] if keyword == "N_" else texts[0])


def of_json(file: Path) -> Iterator[str]:
    """Menu titles and ACL descriptions, which LuCI translates too."""
    content: dict[str, dict[str, Any]] = json.loads(file.read_text("utf-8"))
    for entry in content.values():
        yield from (entry[field] for field in ("title", "description") if field in entry)


def of_application() -> dict[str, list[str]]:
    """Every text of the shipped application -> the files it stands in."""
    found: dict[str, list[str]] = {}
    for file in sorted([*APPLICATION.rglob("htdocs/**/*.js"), *APPLICATION.rglob("root/**/*.json")]):
        for text in of_script(file) if file.suffix == ".js" else of_json(file):
            found.setdefault(text, [])
            if (name := file.relative_to(APPLICATION).as_posix()) not in found[text]:
                found[text].append(name)
    return found


def of_standin() -> set[str]:
    """Every text of the stand-in's client files, page templates and menu."""
    found = {text for file in STANDIN.rglob("luci_standin/**/*.js") for text in of_script(file)}
    found.update(of_templates(STANDIN / "templates"))
    found.update(of_json(STANDIN / "menu.json"), NOT_FOUND, NOT_SIMULATED)
    return found


def of_templates(folder: Path) -> Iterator[str]:
    """Every text inside ``_()`` of Jinja templates."""
    for file in sorted(folder.iterdir()):
        with file.open("rb") as source:
            for _line, _keyword, texts, _comments in babel_extract(source, ["_"], [], {}):
                text = texts if isinstance(texts, str) else next(iter(texts or ()), None)
                if isinstance(text, str):
                    yield text


def calls_of(package: Path) -> Iterator[tuple[Path, ast.Call]]:
    """Every call of ``_()`` in the daemon, or the hub."""
    for file in sorted(package.rglob("*.py")):
        for node in ast.walk(ast.parse(file.read_text("utf-8"))):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "_":
                yield file, node


def text_of(call: ast.Call) -> str | None:
    """The sentence of a call of ``_()``; None where it is not one literal, which no extractor could read."""
    (first, *others) = call.args or [ast.Constant(None)]
    literal = isinstance(first, ast.Constant) and isinstance(first.value, str) and not others
    return str(first.value) if literal and isinstance(first, ast.Constant) else None


def of_daemon() -> set[str]:
    """Every sentence inside ``_()`` in the daemon."""
    return {text for _file, call in calls_of(DAEMON) if (text := text_of(call))}


def of_hub() -> set[str]:
    """Every sentence inside ``_()`` in the hub, its console's templates among them."""
    in_code = {text for _file, call in calls_of(HUB) if (text := text_of(call))}
    return in_code | set(of_templates(HUB / "console/templates"))


def misused(file: Path, call: ast.Call) -> str | None:
    """What is wrong with a call of ``_()``: no literal, or arguments other than the sentence's placeholders.

    Without any argument the placeholders are filled later (`errors.CODES`, the pages' `{item}`).
    """
    where = f"{file.relative_to(REPOSITORY)}:{call.lineno}"
    text = text_of(call)
    if not text:
        return f"{where}: _() takes one literal"
    given = sorted(str(keyword.arg) for keyword in call.keywords)
    if given and given != sorted(set(_NAMES.findall(text))):
        return f"{where}: arguments {given} for: {text}"
    return None


def read(file: Path, locale: str | None = None) -> Catalog:
    """A catalog from disk."""
    with file.open("rb") as source:
        return read_po(source, locale=locale)


def complaints(file: Path, texts: set[str]) -> list[str]:
    """What is wrong with a translation: texts missing, empty, unsure, other placeholders, not used."""
    catalog = {str(message.id): message for message in read(file) if message.id}
    found = [f"{file.name}: not translated: {text}" for text in sorted(texts - catalog.keys())]
    found += [f"{file.name}: not used any more: {text}" for text in sorted(catalog.keys() - texts)]
    for text in sorted(texts & catalog.keys()):
        message = catalog[text]
        if not message.string:
            found.append(f"{file.name}: not translated: {text}")
        elif message.fuzzy:
            found.append(f"{file.name}: unsure (fuzzy): {text}")
        elif _placeholders(text) != _placeholders(str(message.string)):
            found.append(f"{file.name}: other placeholders: {text}")
    return found


_NAMES = re.compile(r"\{(\w+)\}")


def _placeholders(text: str) -> list[str]:
    """LuCI's `%s`, in order; the daemon's `{name}`, which a translation may put elsewhere."""
    formats = [text[at : at + 2] for at, letter in enumerate(text) if letter == "%"]
    return [*formats, *sorted(set(_NAMES.findall(text)))]


def all_complaints() -> list[str]:
    """Everything that keeps the translations from being complete."""
    texts = set(of_application())
    found = (
        [f"{TEMPLATE.name} is not up to date"] if {str(m.id) for m in read(TEMPLATE) if m.id} != texts else []
    )
    for file in TRANSLATIONS.values():
        found += complaints(file, texts)
    for file in STANDIN_TRANSLATIONS.values():
        found += complaints(file, of_standin())
    for file in DAEMON_TRANSLATIONS.values():
        found += complaints(file, of_daemon())
    for file in HUB_TRANSLATIONS.values():
        found += complaints(file, of_hub())
    for package in (DAEMON, HUB):
        found += [wrong for file, call in calls_of(package) if (wrong := misused(file, call))]
    return found


def write() -> None:
    """Bring template and translations up to date, keeping what is translated."""
    sources = {text: [(name, None) for name in names] for text, names in of_application().items()}
    _write(TEMPLATE, None, sources)
    for locale, file in TRANSLATIONS.items():
        _write(file, locale, sources)
    for locale, file in STANDIN_TRANSLATIONS.items():
        _write(file, locale, {text: [] for text in sorted(of_standin())})
    for locale, file in DAEMON_TRANSLATIONS.items():
        _write(file, locale, {text: [] for text in sorted(of_daemon())})
    for locale, file in HUB_TRANSLATIONS.items():
        _write(file, locale, {text: [] for text in sorted(of_hub())})


def _write(file: Path, locale: str | None, sources: dict[str, Any]) -> None:
    known = {str(message.id): message.string for message in read(file, locale)} if file.exists() else {}
    catalog = Catalog(locale=locale, charset="utf-8")
    for text, locations in sources.items():
        catalog[text] = Message(text, str(known.get(text, "")), locations=locations)
    body = BytesIO()
    write_po(body, catalog, width=0, omit_header=True, include_lineno=False)
    header = ['msgid ""', 'msgstr ""', r'"Content-Type: text/plain; charset=UTF-8\n"']
    if locale:
        header += [rf'"Language: {locale}\n"', r'"Plural-Forms: nplurals=2; plural=(n != 1);\n"']
    file.write_text("\n".join(header) + "\n\n" + body.getvalue().decode(), "utf-8")


def main() -> int:
    """Read the command line."""
    parser = argparse.ArgumentParser(prog="tests.luci.texts", description=__doc__)
    parser.add_argument("--write", action="store_true")
    parser.add_argument("--check", action="store_true")
    if parser.parse_args().write:
        write()
    found = all_complaints()
    print("\n".join(found), file=sys.stderr)
    return 1 if found else 0


if __name__ == "__main__":
    raise SystemExit(main())
