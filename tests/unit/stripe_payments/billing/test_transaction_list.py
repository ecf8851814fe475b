"""The pages of the history: complete, in order."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stripe_payments.billing.transaction_list import page
from stripe_payments.errors import PaymentError
from stripe_payments.payment_history import TransactionRow, by_date


def row(number: int, date: int) -> TransactionRow:
    return TransactionRow(f"ch_{number:03d}", date, "payment", 100, "eur", "paid", "Base")


@given(st.lists(st.integers(0, 5), max_size=40), st.integers(1, 7))
def test_the_pages_hold_every_line_once_newest_first(dates: list[int], limit: int) -> None:
    rows = sorted((row(number, date) for number, date in enumerate(dates)), key=by_date)
    seen: list[TransactionRow] = []
    cursor: str | None = None
    while True:
        found, cursor = page(rows, limit, cursor)
        assert len(found) <= limit
        seen += found
        if cursor is None:
            break
        assert len(found) == limit
    assert seen == list(reversed(rows))


def test_a_line_that_comes_meanwhile_shifts_no_page() -> None:
    rows = [row(number, number) for number in range(4)]
    first, cursor = page(rows, 2)
    second, end = page([*rows, row(9, 9)], 2, cursor)
    assert [line.id for line in first + second] == ["ch_003", "ch_002", "ch_001", "ch_000"]
    assert end is None


@pytest.mark.parametrize(
    "cursor", ["", "x", "1", "1~", "1~a b", "-1~a", "1~" + "a" * 300, "9" * 40 + "~a", "1~é"]
)
def test_a_malformed_cursor_is_refused(cursor: str) -> None:
    with pytest.raises(PaymentError) as caught:
        page([row(1, 1)], 5, cursor)
    assert caught.value.code == "invalid_argument"
    assert "next" in caught.value.message


@pytest.mark.parametrize(("asked", "lines"), [(-5, 1), (0, 1), (100, 100), (10**9, 100)])
def test_a_page_has_bounds(asked: int, lines: int) -> None:
    found, _ = page([row(number, number) for number in range(150)], asked)
    assert len(found) == lines
