"""The operator's guide, in both languages, names exactly what the code has."""

import re
from pathlib import Path

import pytest

from stripe_payments.diagnostics.checks import CHECKS
from stripe_payments.stripe_api import PERMISSIONS

DOCS = Path(__file__).resolve().parents[2] / "docs"
GUIDES = ("operators-guide.md", "operators-guide.it.md")


@pytest.mark.parametrize("name", GUIDES)
def test_every_check_has_its_section(name: str) -> None:
    sections = re.findall(r"^### `(\w+)`\n\n\S", (DOCS / name).read_text(), re.MULTILINE)
    assert sections == [check.id for check in CHECKS]


@pytest.mark.parametrize("name", GUIDES)
def test_the_table_of_permissions_is_the_codes_own(name: str) -> None:
    rows = re.findall(r"^\| ([A-Z][\w ]+) \| (Read|Write) \|", (DOCS / name).read_text(), re.MULTILINE)
    assert rows == [(one.resource, one.access.capitalize()) for one in PERMISSIONS]


@pytest.mark.parametrize("name", GUIDES)
def test_what_the_guide_links_to_is_there(name: str) -> None:
    for target in re.findall(r"\]\(([^)#:]+)\)", (DOCS / name).read_text()):
        assert (DOCS / target).exists(), target
