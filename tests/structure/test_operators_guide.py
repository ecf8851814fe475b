"""The operator's guide, in both languages, names exactly what the code has."""

import re
from pathlib import Path

import pytest

from stripe_payments.diagnostics.checks import CHECKS
from stripe_payments.stripe_api import PERMISSIONS
from tools.msgfmt import read_po

REPOSITORY = Path(__file__).resolve().parents[2]
DOCS = REPOSITORY / "docs"
LUCI = REPOSITORY / "luci-app-stripe-payments"
DOCTOR = LUCI / "htdocs/luci-static/resources/stripe-payments/doctor.js"
ITALIAN = LUCI / "po/it/stripe-payments.po"
GUIDES = ("operators-guide.md", "operators-guide.it.md")


@pytest.mark.parametrize("name", GUIDES)
def test_every_check_has_its_section(name: str) -> None:
    sections = re.findall(r"^### `(\w+)`\n\n\S", (DOCS / name).read_text(), re.MULTILINE)
    assert sections == [check.id for check in CHECKS]


@pytest.mark.parametrize("name", GUIDES)
def test_the_table_of_permissions_is_the_codes_own(name: str) -> None:
    row = r"^\| ([A-Z][\w ]+) \| (Read|Write) \| (Read|Write) \|"
    rows = re.findall(row, (DOCS / name).read_text(), re.MULTILINE)
    assert rows == [
        (one.resource, one.access.capitalize(), one.router_access.capitalize()) for one in PERMISSIONS
    ]


@pytest.mark.parametrize("name", GUIDES)
def test_a_table_joins_the_titles_in_luci_and_the_ids(name: str) -> None:
    titles = dict(re.findall(r"case '(\w+)': return _\('([^']+)'\);", DOCTOR.read_text()))
    catalog = read_po(ITALIAN.read_text()) if ".it." in name else {}
    row = r"^\| ([^|]+) \| \[`(\w+)`\]\(#(\w+)\) \|$"
    rows = re.findall(row, (DOCS / name).read_text(), re.MULTILINE)
    assert rows == [(catalog.get(titles[check.id], titles[check.id]), check.id, check.id) for check in CHECKS]


@pytest.mark.parametrize("name", GUIDES)
def test_what_the_guide_links_to_is_there(name: str) -> None:
    for target in re.findall(r"\]\(([^)#:]+)\)", (DOCS / name).read_text()):
        assert (DOCS / target).exists(), target
