"""docs/states.md, line by line: each situation is played at the simulated Stripe, and the daemon decides what
the line says; the Italian page says the same.
"""

import pytest

from stripe_payments.entitlements import LOCKED_REASONS, UNLOCKED_REASONS
from tests.docs.markdown import rows_of
from tests.docs.states import SITUATIONS, until

ENGLISH, ITALIAN = rows_of("states.md"), rows_of("states.it.md")
IN_ITALIAN = {
    "**unlocked**": "**sbloccata**",
    "locked": "bloccata",
    "–": "–",
    "end of the period": "fine del periodo",
    "end of the paid period": "fine del periodo pagato",
    "end of the trial": "fine della prova",
    "that moment": "quel momento",
    "due date + `grace_days`": "scadenza + `grace_days`",
}


@pytest.mark.parametrize("line", ENGLISH, ids=lambda line: str(line[0]))
def test_a_line(line: list[str]) -> None:
    """The daemon decides it; so does the reference of the property test, which is written from this page: in
    its histories Stripe has just answered, and nothing was granted by hand.
    """
    words, state, reason, end = line
    situation = SITUATIONS[words]
    life, decided = situation.decide()
    expected = (state == "**unlocked**", reason.strip("`"), until(end, situation, life))
    assert (decided.unlocked, decided.reason, decided.until) == expected
    if not situation.granted and not situation.silent_days:
        assert life.expected()[situation.feature] == expected


def test_every_situation_is_a_line() -> None:
    assert [words for words, *_ in ENGLISH] == list(SITUATIONS)


def test_every_reason_occurs_in_it() -> None:
    assert {reason.strip("`") for _, _, reason, _ in ENGLISH} == UNLOCKED_REASONS | LOCKED_REASONS


def test_the_italian_page_says_the_same() -> None:
    said = [(IN_ITALIAN[state], reason, IN_ITALIAN[end]) for _, state, reason, end in ENGLISH]
    assert [tuple(line[1:]) for line in ITALIAN] == said
    assert len({words for words, *_ in ITALIAN}) == len(ENGLISH)
