"""The pages of the history: complete, in order, and each costs the same."""

import sqlite3

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stripe_payments.errors import PaymentError
from stripe_payments.ledger import Ledger, Transaction, TransactionRow
from stripe_payments.ledger.history import Transactions
from stripe_payments.ledger.schema import migrate


def row(number: int, date: int) -> TransactionRow:
    return TransactionRow(f"ch_{number:03d}", date, "payment", 100, "eur", "paid", "Base")


@given(st.lists(st.integers(0, 5), max_size=40), st.integers(1, 7))
def test_the_pages_hold_every_line_once_newest_first(dates: list[int], limit: int) -> None:
    connection = sqlite3.connect(":memory:", isolation_level=None)
    migrate(connection)
    table = Transactions(connection)
    rows = [row(number, date) for number, date in enumerate(dates)]
    for line in rows:
        table.put(line)
    seen: list[TransactionRow] = []
    cursor: str | None = None
    while True:
        page, cursor = table.page(limit, cursor)
        assert len(page) <= limit
        seen += page
        if cursor is None:
            break
        assert len(page) == limit
    connection.close()
    assert seen == sorted(rows, key=lambda line: (line.date, line.id), reverse=True)


async def test_a_line_that_comes_meanwhile_shifts_no_page(ledger: Ledger) -> None:
    def put(tx: Transaction) -> None:
        for number in range(4):
            tx.transactions.put(row(number, number))

    await ledger.write(put)
    first, cursor = await ledger.read(lambda tx: tx.transactions.page(2))
    await ledger.write(lambda tx: tx.transactions.put(row(9, 9)))
    second, end = await ledger.read(lambda tx: tx.transactions.page(2, cursor))
    assert [line.id for line in first + second] == ["ch_003", "ch_002", "ch_001", "ch_000"]
    assert end is None


@pytest.mark.parametrize(
    "cursor", ["", "x", "1", "1~", "1~a b", "-1~a", "1~" + "a" * 300, "9" * 40 + "~a", "1~é"]
)
async def test_a_cursor_that_no_page_gave_is_answered(ledger: Ledger, cursor: str) -> None:
    with pytest.raises(PaymentError) as caught:
        await ledger.read(lambda tx: tx.transactions.page(5, cursor))
    assert caught.value.code == "invalid_argument"
    assert "next" in caught.value.message


async def test_a_page_has_bounds(ledger: Ledger) -> None:
    def put(tx: Transaction) -> None:
        for number in range(150):
            tx.transactions.put(row(number, number))

    await ledger.write(put)
    for asked, given_lines in ((-5, 1), (0, 1), (100, 100), (10**9, 100)):
        page, _ = await ledger.read(lambda tx, asked=asked: tx.transactions.page(asked))  # type: ignore[misc]
        assert len(page) == given_lines


def test_a_page_walks_the_index_and_sorts_nothing() -> None:
    connection = sqlite3.connect(":memory:")
    migrate(connection)
    for where in ("", "WHERE (date, id) < (5, 'x')"):
        plan = connection.execute(
            f"EXPLAIN QUERY PLAN SELECT * FROM transactions {where} ORDER BY date DESC, id DESC LIMIT 20"
        ).fetchall()
        told = " ".join(step[3] for step in plan)
        assert "USING INDEX transactions_by_date" in told
        assert "TEMP B-TREE" not in told
    connection.close()
