"""A storage that takes no more: the writes fail with an error, nothing is half done, the ledger goes on."""

import asyncio
from pathlib import Path

import pytest

from stripe_payments.errors import PaymentError
from stripe_payments.ledger import SQLiteLedger, SQLiteTransaction
from tests.unit.stripe_payments.full_storage import storage_full_beyond


async def test_a_failed_commit_fails_all_its_writes_and_the_ledger_continues(
    ledger: SQLiteLedger, path: Path
) -> None:
    await ledger.write(lambda tx: tx.meta.set("before", "1"))
    log = path.with_name("ledger.db-wal")

    def grow(tx: SQLiteTransaction, number: int) -> None:
        tx.meta.set(f"key {number}", "x" * 9000)

    with storage_full_beyond(log.stat().st_size):
        results = await asyncio.gather(
            *(ledger.write(lambda tx, n=n: grow(tx, n)) for n in range(5)),  # type: ignore[misc]
            return_exceptions=True,
        )
    assert [getattr(r, "code", r) for r in results] == ["ledger_unavailable"] * 5
    assert await ledger.read(lambda tx: (tx.meta.get("before"), tx.meta.get("key 0"))) == ("1", None)
    await ledger.write(lambda tx: grow(tx, 0))
    assert await ledger.read(lambda tx: len(tx.meta.get("key 0") or "")) == 9000


async def test_a_full_database_in_one_write_does_not_affect_the_next(ledger: SQLiteLedger) -> None:
    def limit(tx: SQLiteTransaction, pages: int) -> None:
        tx.meta._connection.execute(f"PRAGMA max_page_count = {pages}").fetchone()

    await ledger.read(lambda tx: limit(tx, 1))  # the smallest it can be: what there is
    with pytest.raises(PaymentError, match="full") as caught:
        await ledger.write(lambda tx: tx.meta.set("big", "x" * 100_000))
    assert caught.value.code == "ledger_unavailable"
    assert "piena" in caught.value.message_in("it")
    await ledger.read(lambda tx: limit(tx, 1_000_000))
    await ledger.write(lambda tx: tx.meta.set("big", "x" * 100_000))


async def test_a_directory_that_cannot_be_created_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(PaymentError) as caught:
        await SQLiteLedger.open(tmp_path / "file" / "ledger.db")
    assert caught.value.code == "ledger_unavailable"
