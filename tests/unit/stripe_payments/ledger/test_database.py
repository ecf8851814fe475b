"""The one writer: durable answers, shared commits, lives that leave nothing behind."""

import asyncio
import os
import sqlite3
import threading
from pathlib import Path

import pytest

from stripe_payments.errors import PaymentError
from stripe_payments.ledger import SQLiteLedger, SQLiteTransaction
from stripe_payments.ledger.opening import META_REBUILDING
from stripe_payments.ledger.schema import migrate


def mode(path: Path) -> int:
    return path.stat().st_mode & 0o777


async def test_a_new_ledger_is_private_and_marked_as_new(path: Path) -> None:
    ledger = await SQLiteLedger.open(path)
    assert ledger.fresh
    assert not ledger.rebuilt
    assert await ledger.read(lambda tx: tx.meta.get(META_REBUILDING)) == "new"
    await ledger.close()
    assert mode(path) == 0o600
    assert mode(path.parent) == 0o700
    assert [entry.name for entry in path.parent.iterdir()] == ["ledger.db"]  # the log is folded in

    ledger = await SQLiteLedger.open(path)
    assert not ledger.fresh
    await ledger.close()


async def test_a_file_is_marked_as_new_from_its_first_commit(path: Path) -> None:
    """The power may go as soon as there are tables: what a file then says of itself is all that is left."""
    path.parent.mkdir(mode=0o700)
    connection = sqlite3.connect(path, isolation_level=None)
    migrate(connection)
    connection.close()
    ledger = await SQLiteLedger.open(path)
    assert not ledger.fresh
    assert await ledger.read(lambda tx: tx.meta.get(META_REBUILDING)) == "new"
    await ledger.close()


async def test_an_empty_file_is_a_new_ledger(path: Path) -> None:
    path.parent.mkdir(mode=0o700)
    path.touch()
    ledger = await SQLiteLedger.open(path)
    assert ledger.fresh
    assert not ledger.rebuilt
    await ledger.close()


async def test_the_promised_settings_of_sqlite(ledger: SQLiteLedger, path: Path) -> None:
    """No shared memory beside the file, and no other process in it."""
    await ledger.write(lambda tx: tx.meta.set("a", "1"))
    names = {entry.name for entry in path.parent.iterdir()}
    assert names == {"ledger.db", "ledger.db-wal"}

    def pragmas(tx: SQLiteTransaction) -> list[object]:
        connection: sqlite3.Connection = tx.meta._connection
        return [
            connection.execute(f"PRAGMA {name}").fetchone()[0]
            for name in ("journal_mode", "synchronous", "locking_mode")
        ]

    assert await ledger.read(pragmas) == ["wal", 2, "exclusive"]
    other = sqlite3.connect(path, timeout=0)
    with pytest.raises(sqlite3.OperationalError, match="locked"):
        other.execute("SELECT * FROM meta")
    other.close()


async def test_a_second_daemon_gets_an_error(ledger: SQLiteLedger, path: Path) -> None:
    with pytest.raises(PaymentError, match="another process") as caught:
        await SQLiteLedger.open(path)
    assert caught.value.code == "ledger_unavailable"
    await ledger.write(lambda tx: tx.meta.set("a", "1"))


async def test_queued_writes_share_a_commit_and_fail_separately(ledger: SQLiteLedger) -> None:
    gate = threading.Event()
    blocker = asyncio.ensure_future(ledger.write(lambda tx: gate.wait(60)))
    transactions: set[int] = set()

    def note(tx: SQLiteTransaction, number: int) -> int:
        # Within one transaction SQLite's count of changes of the file does not move: it is the same commit.
        connection: sqlite3.Connection = tx.meta._connection
        transactions.add(connection.execute("PRAGMA data_version").fetchone()[0])
        tx.meta.set(f"key {number}", "x")
        if number == 7:
            raise ValueError("the seventh")
        return number

    writes = [asyncio.ensure_future(ledger.write(lambda tx, n=n: note(tx, n))) for n in range(20)]  # type: ignore[misc]
    await asyncio.sleep(0)
    gate.set()
    results = await asyncio.gather(*writes, return_exceptions=True)
    await blocker
    assert [r for r in results if isinstance(r, int)] == [n for n in range(20) if n != 7]
    assert isinstance(results[7], ValueError)
    kept = await ledger.read(lambda tx: [n for n in range(20) if tx.meta.get(f"key {n}")])
    assert kept == [n for n in range(20) if n != 7]
    assert len(transactions) == 1


async def test_a_hundred_queued_writes_cost_few_commits(ledger: SQLiteLedger, path: Path) -> None:
    """Counted by what is appended to the log: a page that one commit rewrites often is appended once."""
    await ledger.write(lambda tx: tx.meta.set("counter", "0"))
    log = path.with_name("ledger.db-wal")
    before = log.stat().st_size

    def count(tx: SQLiteTransaction) -> None:
        tx.meta.set("counter", str(int(tx.meta.get("counter") or 0) + 1))

    await asyncio.gather(*(ledger.write(count) for _ in range(100)))
    assert await ledger.read(lambda tx: tx.meta.get("counter")) == "100"
    assert log.stat().st_size - before < 50 * 4096


async def test_a_write_that_need_not_be_durable_is_not_synced(ledger: SQLiteLedger) -> None:
    def synchronous(tx: SQLiteTransaction) -> int:
        return int(tx.meta._connection.execute("PRAGMA synchronous").fetchone()[0])

    normal, full = 1, 2
    assert await ledger.write(synchronous, durable=False) == normal
    assert await ledger.write(synchronous) == full
    together = await asyncio.gather(ledger.write(synchronous), ledger.write(synchronous, durable=False))
    assert together[0] == full  # the other one may have come too late for this commit


async def test_a_read_may_not_write(ledger: SQLiteLedger) -> None:
    with pytest.raises(sqlite3.OperationalError, match="readonly"):
        await ledger.read(lambda tx: tx.meta.set("a", "1"))
    await ledger.write(lambda tx: tx.meta.set("a", "2"))
    assert await ledger.read(lambda tx: tx.meta.get("a")) == "2"


async def test_a_cancelled_write_that_has_not_begun_never_happens(ledger: SQLiteLedger) -> None:
    gate = threading.Event()
    blocker = asyncio.ensure_future(ledger.write(lambda tx: gate.wait(60)))
    await asyncio.sleep(0.05)  # the blocker is in the thread; what follows waits
    waiting = asyncio.ensure_future(ledger.write(lambda tx: tx.meta.set("a", "1")))
    await asyncio.sleep(0)
    waiting.cancel()
    await asyncio.gather(waiting, return_exceptions=True)
    gate.set()
    await blocker
    assert await ledger.read(lambda tx: tx.meta.get("a")) is None


async def test_closing_finishes_queued_writes_and_refuses_new_ones(ledger: SQLiteLedger, path: Path) -> None:
    writes = [
        asyncio.ensure_future(ledger.write(lambda tx, n=n: tx.meta.set(f"key {n}", "x")))  # type: ignore[misc]
        for n in range(600)
    ]
    await asyncio.sleep(0)
    await ledger.close()
    await asyncio.gather(*writes)
    await ledger.close()
    with pytest.raises(PaymentError) as caught:
        await ledger.write(lambda tx: None)
    assert caught.value.code == "ledger_unavailable"
    again = await SQLiteLedger.open(path)
    assert await again.read(lambda tx: tx.meta.get("key 599")) == "x"
    await again.close()


async def test_a_flood_is_answered(ledger: SQLiteLedger) -> None:
    gate = threading.Event()
    blocker = asyncio.ensure_future(ledger.write(lambda tx: gate.wait(60)))
    flood = [asyncio.ensure_future(ledger.read(lambda tx: 1)) for _ in range(5000)]
    await asyncio.sleep(0)
    gate.set()
    results = await asyncio.gather(*flood, return_exceptions=True)
    await blocker
    assert results.count(1) >= 4000
    refused = [r for r in results if r != 1]
    assert refused
    assert all(isinstance(r, PaymentError) and r.code == "ledger_unavailable" for r in refused)
    assert await ledger.read(lambda tx: 1) == 1


async def test_fifty_lives_leak_nothing(path: Path) -> None:
    async def live(number: int) -> None:
        ledger = await SQLiteLedger.open(path)
        await ledger.write(lambda tx: tx.meta.set("n", str(number)))
        await ledger.close()

    await live(-1)
    descriptors, threads = len(os.listdir("/proc/self/fd")), threading.active_count()
    for number in range(50):
        await live(number)
    assert len(os.listdir("/proc/self/fd")) == descriptors
    assert threading.active_count() == threads
