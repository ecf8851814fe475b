"""docs/fleet.md says what the schedule does, in both languages with the same numbers."""

import re
from pathlib import Path

import pytest

from stripe_payments.settings import Settings
from stripe_payments.sync.poll_plan import FASTER, PATIENT_RETRY, RETRY_WITHIN, SLOWER
from stripe_payments.sync.poll_round import REQUESTS, SELDOM
from stripe_payments.sync.poll_timing import (
    FIRST_RETRY,
    SEARCHES,
    SLOWEST_OPEN,
    SPREAD,
    WITHIN,
    usual_interval,
)

DOCS = Path(__file__).resolve().parents[2] / "docs"
PAGES = {"en": DOCS / "fleet.md", "it": DOCS / "fleet.it.md"}
BOTH = pytest.mark.parametrize("locale", PAGES)
MONTH = 30 * 86_400


def numbers(text: str, locale: str) -> list[float]:
    """All that stand in a text, read as its language writes them."""
    thousands, point = (",", ".") if locale == "en" else (".", ",")
    found = re.findall(rf"\d+(?:\{thousands}\d{{3}})*(?:\{point}\d+)?", text)
    return [float(one.replace(thousands, "").replace(point, ".")) for one in found]


@BOTH
def test_what_a_router_reads_in_a_month_is_what_the_schedule_makes_it_read(locale: str) -> None:
    rows = re.findall(
        r"(?m)^\| ([\d.,]+) \| ([\d.,]+) \| ([\d.,]+) \| ([\d.,]+) \|$", PAGES[locale].read_text()
    )
    shown = [[numbers(cell, locale)[0] for cell in row] for row in rows]
    assert len(shown) == 6
    assert shown[0][0] == Settings.DEFAULTS.poll_interval
    for interval, plan, once, never in shown:
        rounds = MONTH / interval
        assert plan == REQUESTS * rounds
        assert once == round(rounds * (1 + (REQUESTS - 1) / SELDOM))
        assert never == MONTH / usual_interval(interval, customer=False)


@BOTH
def test_the_rules_are_those_of_the_code(locale: str) -> None:
    text = " ".join(PAGES[locale].read_text().split())
    words = {
        "en": ("a thirtieth of", "takes a twentieth", "doubles", "1 search in 24"),
        "it": ("un trentesimo di", "toglie un ventesimo", "raddoppia", "1 ricerca in 24"),
    }[locale]
    assert all(word in text for word in words)
    assert (PATIENT_RETRY, round(1 - FASTER, 3), SLOWER, SEARCHES) == (30, 1 / 20, 2.0, 24)
    assert f"{SPREAD:.0%}".replace("%", " %") in text
    assert f"{RETRY_WITHIN:.0%}".replace("%", " %") in text
    waits = {
        "en": ("within 5 s", "after 2 s, up to a minute"),
        "it": ("entro 5 s", "dopo 2 s, fino a un minuto"),
    }
    assert all(wait in text for wait in waits[locale])
    assert (WITHIN, FIRST_RETRY, SLOWEST_OPEN) == (5.0, 2.0, 60.0)


def test_both_languages_have_the_same_numbers() -> None:
    english, italian = (
        [
            sorted(numbers(line, locale))
            for line in PAGES[locale].read_text().splitlines()
            if line.startswith("| ") and any(character.isdigit() for character in line)
        ]
        for locale in PAGES
    )
    assert english == italian
