"""Every text has its Italian; catalogs reach the browser under the keys that LuCI looks up."""

import re

import pytest

from simulator.browser_front.message_catalog import MessageCatalog, key_hash
from stripe_payments.diagnostics.checks import CHECKS
from stripe_payments.diagnostics.hub_checks import HUB_CHECKS
from tests.luci import texts


def test_translations_are_complete() -> None:
    assert texts.all_complaints() == []


def test_every_check_has_a_title() -> None:
    script = texts.APPLICATION / "htdocs/luci-static/resources/stripe-payments/doctor.js"
    titled = re.findall(r"case '(\w+)': return _\(", script.read_text("utf-8"))
    kinds = {"good", "info", "warning"}
    assert set(titled) - kinds == {check.id for check in (*CHECKS, *HUB_CHECKS)}


def test_an_untranslated_text_would_be_found() -> None:
    known = set(texts.of_application())
    assert texts.complaints(texts.TRANSLATIONS["it"], known | {"A new text"}) == [
        "stripe-payments.po: not translated: A new text"
    ]
    assert any("Buy" in text for text in texts.complaints(texts.TRANSLATIONS["it"], known - {"Buy"}))


@pytest.mark.parametrize(
    ("text", "expected"),
    [  # computed by LuCI's own client (luci-base, cbi.js: sfh)
        ("a", "115ea782"),
        ("Buy", "c73682e0"),
        ("Shop", "e1391e18"),
        ("Loading view…", "68c0397b"),
        ("Waiting for the payment of “%s”…", "06e1dab6"),
    ],
)
def test_keys_are_those_of_luci(text: str, expected: str) -> None:
    assert key_hash(text) == expected


def test_white_space_in_sources_does_not_matter() -> None:
    catalog = MessageCatalog([texts.TRANSLATIONS["it"]], "it")
    assert catalog.translate("  Pay on\n\ta   phone ") == "Paga con il telefono"
    assert catalog.translate("Nothing like this") == "Nothing like this"
