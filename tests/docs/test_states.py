"""docs/states.md says what the rules decide, row by row, in both languages."""

import pytest

from stripe_payments.entitlements import LOCKED_REASONS, UNLOCKED_REASONS
from tests.docs.markdown import DOCS, table
from tests.docs.states import SITUATIONS

HEADERS = {
    "en": ("Situation", "Feature", "Reason", "Until"),
    "it": ("Situazione", "Funzione", "Motivo", "Fino a"),
}
FILES = {"en": "states.md", "it": "states.it.md"}


@pytest.mark.parametrize("locale", ["en", "it"])
def test_the_table_is_what_the_rules_decide(locale: str) -> None:
    wanted = table(HEADERS[locale], [situation.row(locale) for situation in SITUATIONS])
    assert wanted in (DOCS / FILES[locale]).read_text("utf-8"), f"the table should read:\n{wanted}"


@pytest.mark.parametrize("locale", ["en", "it"])
def test_every_moment_in_it_has_a_name(locale: str) -> None:
    assert not any(situation.row(locale)[3].isdigit() for situation in SITUATIONS)


def test_every_reason_occurs_in_it() -> None:
    assert {situation.decide().reason for situation in SITUATIONS} == UNLOCKED_REASONS | LOCKED_REASONS
