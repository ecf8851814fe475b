"""A ledger whose file has gone bad: it is found, reported, set aside and rebuilt."""

import asyncio
import os
import shutil
from pathlib import Path

import pytest

from stripe_payments.errors import PaymentError
from stripe_payments.ledger import SQLiteLedger, SQLiteTransaction
from stripe_payments.ledger.opening import META_REBUILDING
from stripe_payments.ledger.packing import pack
from stripe_payments.payment_history import TransactionRow


def overwrite(path: Path) -> None:
    path.write_bytes(b"no database at all " * 1000)


def scramble(path: Path) -> None:
    content = bytearray(path.read_bytes())
    for start in range(4096 * 2, len(content), 4096):
        content[start : start + 512] = b"\xff" * 512
    path.write_bytes(content)


def cut_short(path: Path) -> None:
    os.truncate(path, path.stat().st_size // 2)


@pytest.mark.parametrize("damage", [overwrite, scramble, cut_short])
async def test_a_damaged_ledger_is_set_aside_and_begun_rebuilt(filled: Path, damage: object) -> None:
    assert callable(damage)
    damage(filled)
    broken = filled.read_bytes()
    ledger = await SQLiteLedger.open(filled)
    try:
        assert ledger.rebuilt
        assert ledger.fresh
        assert await ledger.read(lambda tx: tx.meta.get(META_REBUILDING)) == "ledger.db.corrupt-1"
        assert await ledger.read(lambda tx: tx.inbox.pending_count()) == 0
        await ledger.write(lambda tx: tx.inbox.accept("evt_1", "t", "o", 1))
    finally:
        await ledger.close()
    assert filled.with_name("ledger.db.corrupt-1").read_bytes() == broken
    # A restart before all is fetched again still knows that it is not complete.
    ledger = await SQLiteLedger.open(filled)
    assert not ledger.rebuilt
    assert await ledger.read(lambda tx: tx.meta.get(META_REBUILDING)) == "ledger.db.corrupt-1"
    await ledger.close()


async def test_the_log_of_a_damaged_ledger_does_not_pour_into_the_new_one(filled: Path) -> None:
    """A power cut left a log with the latest pages, and the file itself, with all the others, is gone bad."""
    ledger = await SQLiteLedger.open(filled)
    await ledger.write(lambda tx: tx.inbox.accept("evt_new", "t", "o", 1))
    crashed = filled.parent.parent / "crashed"
    shutil.copytree(filled.parent, crashed)
    await ledger.close()
    assert (crashed / "ledger.db-wal").stat().st_size > 0
    overwrite(crashed / "ledger.db")
    rebuilt = await SQLiteLedger.open(crashed / "ledger.db")
    assert rebuilt.rebuilt
    assert await rebuilt.read(lambda tx: tx.inbox.pending_count()) == 0
    await rebuilt.write(lambda tx: tx.inbox.accept("evt_2", "t", "o", 1))
    await rebuilt.close()


async def test_pages_that_rot_under_the_open_ledger_condemn_it(path: Path) -> None:
    ledger = await SQLiteLedger.open(path)

    def fill(tx: SQLiteTransaction) -> None:  # more than SQLite keeps of it in memory
        for number in range(6000):
            tx.inbox.accept(f"evt_{number}", "t" * 250, "o" * 250, number)

    await ledger.write(fill)
    await ledger.close()
    ledger = await SQLiteLedger.open(path)
    scramble(path)
    with pytest.raises(PaymentError, match="corrupt"):
        await ledger.read(lambda tx: tx.inbox.due(2**60, 6000))
    await asyncio.wait_for(ledger.corrupted.wait(), 30)
    await ledger.close()
    rebuilt = await SQLiteLedger.open(path, corrupt=ledger.corruption)
    assert rebuilt.rebuilt
    await rebuilt.close()


def garble(path: Path, old: bytes, new: bytes) -> None:
    """Other bytes of the same length, which the structure of the file says nothing about."""
    content = path.read_bytes()
    assert old in content
    assert len(old) == len(new)
    path.write_bytes(content.replace(old, new))


STORED = {"id": "pi_1", "object": "payment_intent", "note": "old"}
PACKED = pack(STORED)


def everything(tx: SQLiteTransaction) -> object:
    return list(tx.history.all()), tx.outbox.pending(9), tx.objects.get("pi_1")


async def garbled(path: Path, old: bytes, new: bytes) -> SQLiteLedger:
    """A ledger in whose file some bytes are not what was written, opened again."""

    def store(tx: SQLiteTransaction) -> None:
        tx.history.put([TransactionRow("pi_1", 1, "payment", 1, "eur", "paid", "years ago")])
        tx.outbox.add("payment", {"told": "once"})
        tx.objects.put([STORED], 1)

    ledger = await SQLiteLedger.open(path)
    await ledger.write(store)
    await ledger.close()
    garble(path, old, new)
    return await SQLiteLedger.open(path)


async def is_begun_again(ledger: SQLiteLedger) -> None:
    assert ledger.rebuilt
    assert not ledger.corrupted.is_set()
    assert await ledger.read(everything) == ([], [], None)
    assert await ledger.read(lambda tx: tx.meta.get(META_REBUILDING)) == "ledger.db.corrupt-1"
    await ledger.close()


@pytest.mark.parametrize(
    ("old", "new"),
    [(b"years ago", b"y\xff\xfers ago"), (PACKED, PACKED[:9] + bytes(4) + PACKED[13:])],
    ids=["text", "compressed"],
)
async def test_garbled_objects_and_history_are_found_at_the_start(path: Path, old: bytes, new: bytes) -> None:
    await is_begun_again(await garbled(path, old, new))


async def test_other_garbled_rows_are_found_when_they_are_read(path: Path) -> None:
    ledger = await garbled(path, b'{"told":"once"}', b'{"told";"once"}')
    assert not ledger.rebuilt
    with pytest.raises(PaymentError, match="corrupt") as caught:
        await ledger.read(everything)
    assert caught.value.code == "ledger_unavailable"
    await asyncio.wait_for(ledger.corrupted.wait(), 30)
    await ledger.close()
    await is_begun_again(await SQLiteLedger.open(path, corrupt=ledger.corruption))
