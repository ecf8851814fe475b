"""docs/reference.md agrees with the code, in both languages.

Where a generated table is out of date, run

    python -m tools.reference --write

Where a method, path, option, variable or error is missing, write its section or row by hand, in
`docs/reference.md` and `docs/reference.it.md`. The examples of replies are compared with real ones in
`tests/unit/stripe_payments/bus_api/test_reference_examples.py`.
"""

import re
from collections.abc import Iterable

import pytest

from stripe_payments import startup_gate
from stripe_payments.bus_api import api
from stripe_payments.diagnostics.checks import CHECKS
from stripe_payments.errors import CODES
from stripe_payments.http_api import auth, payments
from stripe_payments.settings import Settings
from stripe_payments.stripe_api import client
from stripe_payments.unlocks import router_bus
from tools import api_reference, reference
from tools.reference import PAGES, REPOSITORY

BOTH = pytest.mark.parametrize("locale", PAGES)


def page(locale: str) -> str:
    return PAGES[locale].read_text()


def under(locale: str, heading: str) -> str:
    """Return the text from the first heading that begins so to the next heading."""
    found = re.search(rf"(?m)^##+ {re.escape(heading)}.*?\n((?:.*\n)*?)(?=^##|\Z)", page(locale))
    assert found is not None, f"{PAGES[locale].name} has no section “{heading}”"
    return found[1]


def rows(text: str) -> list[list[str]]:
    """Return the cells of a section's tables, without their heads."""
    lines = [line for line in text.splitlines() if line.startswith("|")]
    cells = [[cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1]] for line in lines]
    rules = [number for number, row in enumerate(cells) if set("".join(row)) <= set("-: ")]
    return [row for number, row in enumerate(cells) if not {number, number + 1} & set(rules)]


def first_names(table: Iterable[list[str]]) -> list[str]:
    return [found[1] for row in table if (found := re.match(r"`([^`]+)`", row[0]))]


def table_of(locale: str, heading: str) -> dict[str, list[str]]:
    """Return the rows under a heading by the name in their first cell; fails for a duplicate name."""
    table = rows(under(locale, heading))
    names = first_names(table)
    assert len(set(names)) == len(names) == len(table), f"{heading}: {names}"
    return dict(zip(names, table, strict=True))


def test_the_bus_library_s_reference_is_up_to_date() -> None:
    assert api_reference.PAGE.read_text() == api_reference.page(), (
        "run: python -m tools.api_reference --write"
    )


@BOTH
def test_the_generated_tables_are_up_to_date(locale: str) -> None:
    text = page(locale)
    for name in reference.BLOCKS:
        assert f"<!-- generated: {name} -->" in text
    assert text == reference.renewed(text, locale), "run: python -m tools.reference --write"


@BOTH
def test_exactly_the_methods_have_a_section(locale: str) -> None:
    assert reference.sections(page(locale)).keys() == {method.name for method in api}


@BOTH
def test_every_argument_is_described(locale: str) -> None:
    text = page(locale)
    anchors = reference.sections(text)
    for method in api:
        names = [name for name, anchor in anchors.items() if anchor == anchors[method.name]]
        described = under(locale, ", ".join(f"`{name}`" for name in names))
        arguments = {argument.name for argument in method.arguments} - SELF_EXPLANATORY
        missing = {name for name in arguments if f"`{name}`" not in described}
        assert not missing, (method.name, missing)


SELF_EXPLANATORY = {
    "feature",
    "payment_id",
    "price_id",
    "subscription",
    "success_url",
    "cancel_url",
    "secret_key",
    "webhook_secret",
    "publishable_key",
}


def test_the_acl_file_grants_each_method_in_the_group_of_its_right_and_nothing_else() -> None:
    assert reference.grants_shipped(api) == reference.grants_wanted(api)


@BOTH
def test_exactly_the_http_paths_have_a_section(locale: str) -> None:
    headings = re.findall(r"(?m)^### (.*)$", page(locale))
    described = {
        found for heading in headings for found in re.findall(r"`((?:GET|POST|PUT|DELETE) /[^`]*)`", heading)
    }
    served = {
        f"{method} {route.path}"
        for route in reference.routes()
        for method in route.handlers
        if not route.path.startswith("/api/payments/payment-")  # “also below /api/payments/”
    }
    assert described == served


@BOTH
def test_the_errors_named_exist(locale: str) -> None:
    """In the methods' sections after “Errors:”; in the paths' sections after the error's HTTP status."""
    text = page(locale)
    by_gateway = {"service_unavailable": 503}
    for sentence in re.findall(r"(?:Errors|Errori):((?:\s|[^.])*)\.", text):
        named = set(re.findall(r"`(\w+)`", sentence))
        assert named <= CODES.keys() | {"features"}, sentence
    http = text[text.index("## HTTP") : text.index("<!-- generated: errors")]
    for status, codes in re.findall(r"\b([45]\d\d)((?:,?\s+`\w+`)+)", http):
        for code in re.findall(r"`(\w+)`", codes):
            assert by_gateway.get(code) == int(status) or CODES[code].http == int(status), (status, code)


@BOTH
@pytest.mark.parametrize("kind", ["payments", "plan", "product", "price", "feature"])
def test_every_option_is_in_its_table(locale: str, kind: str) -> None:
    assert table_of(locale, f"`config {kind} ").keys() == reference.options_read()[kind]


@BOTH
def test_the_defaults_agree_with_the_code(locale: str) -> None:
    shown = {name: cells[1] for name, cells in table_of(locale, "`config payments ").items()}
    names = {"allowed_origin": "allowed_origins"}
    for option, default in shown.items():
        if option in ("cert", "key", "log_level"):  # the init script's
            assert default == ("`info`" if option == "log_level" else "–")
            continue
        value = getattr(Settings.DEFAULTS, names.get(option, option))
        said = str(int(value)) if isinstance(value, bool | int) else value
        assert default == (f"`{said}`" if said else "–"), option


@BOTH
def test_the_state_of_the_features_is_described(locale: str) -> None:
    assert set(table_of(locale, "`/etc/config/stripe-features`")) == {"unlocked", *router_bus.OPTIONS}


@BOTH
def test_the_command_line_agrees_with_the_parser(locale: str) -> None:
    source = (REPOSITORY / "daemon/stripe_payments/__main__.py").read_text()
    heading = {"en": "The daemon's command line", "it": "La riga di comando del demone"}[locale]
    shown = table_of(locale, heading)
    keys = (REPOSITORY / "daemon/stripe_payments/keys.py").read_text()
    variables = set(re.findall(r'"(STRIPE_[A-Z_]+)"', source + keys))
    assert shown.keys() == set(re.findall(r'"(--[a-z-]+)"', source)) | variables


@BOTH
def test_script_variables_and_events_agree_with_those_sent(locale: str) -> None:
    source = (REPOSITORY / "daemon/stripe_payments/unlocks/router_bus.py").read_text()
    heading = {"en": "Scripts", "it": "Script"}[locale]
    assert set(table_of(locale, heading)) == set(re.findall(r'f"([A-Z]+)=', source))
    schema = (REPOSITORY / "daemon/stripe_payments/ledger/schema.py").read_text()
    kinds = re.search(r"kind IN \(([^)]*)\)", schema)
    assert kinds is not None
    events = {f"stripe-payments.{kind}" for kind in re.findall(r"'(\w+)'", kinds[1])}
    assert set(table_of(locale, {"en": "Events", "it": "Eventi"}[locale])) == events


def test_both_languages_have_the_same_sections_and_examples() -> None:
    def skeleton(locale: str) -> list[str]:
        text = page(locale)
        blocks = re.findall(r"(?ms)^```(?:json|sh)\n.*?^```", text)
        return re.findall(r"(?m)^#+ .*`.*`.*$", text.replace("NOME", "NAME")) + blocks

    assert skeleton("en") == skeleton("it")


@BOTH
def test_every_link_has_a_target(locale: str) -> None:
    text = page(locale)
    anchors = {
        re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-")
        for heading in re.findall(r"(?m)^#+ (.*)$", text)
    }
    for target in re.findall(r"\]\(([^)]+)\)", text):
        path, _, anchor = target.partition("#")
        assert (PAGES[locale].parent / path).exists() if path else anchor in anchors, target


@pytest.mark.parametrize("readme", ["README.md", "README.it.md"])
def test_the_readme_links_the_reference(readme: str) -> None:
    wanted = "docs/reference.it.md" if ".it." in readme else "docs/reference.md"
    assert f"({wanted})" in (REPOSITORY / readme).read_text()


SHIPPED = REPOSITORY / "files"


def number_in(path: str, pattern: str) -> float:
    found = re.search(pattern, (SHIPPED / path).read_text())
    assert found is not None, f"{path}: {pattern}"
    return float(found[1])


def limits_in_code() -> dict[str, float]:
    """Seconds by the name in the table of time limits; `luci_script` is OpenWrt's /etc/config/uhttpd."""
    script, gateway = "etc/init.d/stripe-payments", "usr/share/stripe-payments/gateway.uc"
    body, turn, call = (
        number_in(gateway, rf"const {name}_TIMEOUT = (\d+);") for name in ("BODY", "TURN", "CALL")
    )
    return {
        "luci_script": 60,
        "public_script": number_in(script, r"uhttpd .* -t (\d+) "),
        "public_network": number_in(script, r"uhttpd .* -T (\d+) "),
        "gateway": body + turn + call,
        "gateway_body": body,
        "gateway_turn": turn,
        "gateway_call": call,
        "command": number_in("usr/share/stripe-payments/command.uc", r"const TIMEOUT = (\d+);"),
        "call": startup_gate.CALL_TIMEOUT_S,
        "stripe_read": client.READ_TIMEOUT,
        "stripe_connect": client.CONNECT_TIMEOUT,
        "starting": startup_gate.PATIENCE_S,
        "check": max(check.timeout for check in CHECKS),
        "status": payments._STATUS_TIMEOUT_S,
        "login": auth._ACCESS_TIMEOUT_S,
    }


@BOTH
def test_every_time_limit_is_that_of_the_code_and_below_the_one_above_it(locale: str) -> None:
    heading = {"en": "Time limits", "it": "Limiti di tempo"}[locale]
    table = table_of(locale, heading)
    code = limits_in_code()
    assert {name: float(row[1]) for name, row in table.items()} == code
    for name, row in table.items():
        if row[2] != "–":
            assert code[name] < code[row[2].strip("`")], name
    assert code["call"] < code["command"]
    assert code["gateway"] < code["luci_script"]
