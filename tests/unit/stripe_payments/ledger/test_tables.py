"""Every way of changing the ledger: committed it is there after a restart, rolled back it never was."""

import json
import sqlite3
import zlib
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest

from stripe_payments.ledger import SQLiteLedger, SQLiteTransaction
from stripe_payments.ledger.packing import pack, unpack
from stripe_payments.ledger.storage_errors import is_corruption
from tests.unit.stripe_payments.ledger import contract
from tests.unit.stripe_payments.ledger.contract import CHECKOUT, INTENT

Mutation = Callable[[SQLiteTransaction], object]


def seed(tx: SQLiteTransaction) -> None:
    """As that of the contract, with what only the router's ledger has."""
    contract.seed(tx)
    tx.inbox.retry("evt_0", 50, "away")
    tx.inbox.accept("evt_old", "charge.refunded", "ch_0", 9)
    tx.inbox.finish("evt_old", "applied")
    tx.outbox.park(tx.outbox.add("payment", {"id": "pi_0"}), "no")


MUTATIONS: dict[str, Mutation] = {
    "checkouts.prune": lambda tx: (
        tx.checkouts.update(1, state="expired"),
        tx.checkouts.add(*CHECKOUT),
        tx.checkouts.prune(11),
    ),
    "inbox.retry": lambda tx: tx.inbox.retry("evt_0", 99, "away"),
    "inbox.reset_retries": lambda tx: tx.inbox.reset_retries(),
    "inbox.prune": lambda tx: tx.inbox.prune(11),
    "outbox.add": lambda tx: tx.outbox.add("subscription", {"id": "sub_1"}),
    "outbox.advance": lambda tx: tx.outbox.advance([1], 2),
    "outbox.done": lambda tx: tx.outbox.done(1),
    "outbox.park": lambda tx: tx.outbox.park(1, "never"),
    "outbox.unpark": lambda tx: tx.outbox.unpark(),
}
"""Those that the interface does not have."""


def finished_events(tx: SQLiteTransaction) -> list[str]:
    """No reader tells them: they are only there to know a duplicate."""
    connection: sqlite3.Connection = tx.inbox._connection
    rows = connection.execute("SELECT event_id FROM inbox WHERE outcome IS NOT NULL ORDER BY event_id")
    return [name for (name,) in rows]


def everything(tx: SQLiteTransaction) -> dict[str, object]:
    """All that the ledger's readers can tell."""
    return {
        **contract.everything(tx),
        "events": [tx.inbox.due(10**9, 9), tx.inbox.next_due(), finished_events(tx)],
        "outbox": [tx.outbox.pending(9), tx.outbox.pending_count(), tx.outbox.delivered_from(2)],
    }


async def after_restart(ledger: SQLiteLedger, path: Path) -> dict[str, object]:
    await ledger.close()
    again = await SQLiteLedger.open(path)
    try:
        return await again.read(everything)
    finally:
        await again.close()


class Reopened:
    """Closes the ledger and opens its file again, to be closed by the test."""

    def __init__(self, ledger: SQLiteLedger, path: Path) -> None:
        self._open = ledger
        self._path = path

    async def __call__(self) -> SQLiteLedger:
        await self._open.close()
        self._open = await SQLiteLedger.open(self._path)
        return self._open

    async def close(self) -> None:
        await self._open.close()


@pytest.fixture
async def reopen(ledger: SQLiteLedger, path: Path) -> AsyncIterator[Reopened]:
    reopened = Reopened(ledger, path)
    yield reopened
    await reopened.close()


@pytest.mark.parametrize("name", contract.MUTATIONS)
async def test_a_commit_is_durable(ledger: SQLiteLedger, reopen: Reopened, name: str) -> None:
    await contract.is_durable(ledger, reopen, name)


@pytest.mark.parametrize("name", contract.MUTATIONS)
async def test_a_failed_write_leaves_nothing(ledger: SQLiteLedger, reopen: Reopened, name: str) -> None:
    await contract.is_rolled_back(ledger, reopen, name)


@pytest.mark.parametrize("name", contract.CASES)
async def test_the_contract_of_ledgers(ledger: SQLiteLedger, reopen: Reopened, name: str) -> None:
    await contract.CASES[name](ledger, reopen)


@pytest.mark.parametrize("name", MUTATIONS)
async def test_what_is_committed_is_there_after_a_restart(
    ledger: SQLiteLedger, path: Path, name: str
) -> None:
    await ledger.write(seed)
    before = await ledger.read(everything)
    await ledger.write(MUTATIONS[name])
    after = await ledger.read(everything)
    assert after != before
    assert await after_restart(ledger, path) == after


@pytest.mark.parametrize("name", MUTATIONS)
async def test_what_is_rolled_back_never_was(ledger: SQLiteLedger, path: Path, name: str) -> None:
    await ledger.write(seed)
    before = await ledger.read(everything)

    def failing(tx: SQLiteTransaction) -> None:
        MUTATIONS[name](tx)
        raise RuntimeError("half way")

    with pytest.raises(RuntimeError, match="half way"):
        await ledger.write(failing)
    assert await ledger.read(everything) == before
    assert await after_restart(ledger, path) == before


async def test_every_mutator_is_in_the_list(ledger: SQLiteLedger) -> None:
    """A method that is added without a test of its rollback fails here."""
    readers = {"get", "all", "by_session", "by_key", "open", "latest", "due", "next_due", "pending"}
    readers |= {"pending_count", "delivered_from", "unchanged_since", "reload"}

    def mutators(tx: SQLiteTransaction) -> set[str]:
        return {
            f"{name}.{method}"
            for name, table in vars(tx).items()
            if not name.startswith("_")
            for method in dir(table)
            if not method.startswith("_") and method not in readers
        }

    assert await ledger.read(mutators) == {name.split()[0] for name in contract.MUTATIONS | MUTATIONS}


async def test_objects_that_do_not_differ_are_not_written(ledger: SQLiteLedger) -> None:
    def changes(tx: SQLiteTransaction) -> int:
        return tx.objects._connection.total_changes

    await ledger.write(lambda tx: tx.objects.put([INTENT], 5))
    before = await ledger.read(lambda tx: tx.objects.all())
    written = await ledger.read(changes)
    assert not await ledger.write(lambda tx: tx.objects.put([dict(INTENT)], 6))
    assert await ledger.read(changes) == written
    assert await ledger.read(lambda tx: tx.objects.all()) is before
    assert await ledger.write(lambda tx: tx.objects.put([INTENT, {**INTENT, "status": "canceled"}], 7))
    assert before["pi_1"] == INTENT, "a snapshot"
    assert (await ledger.read(lambda tx: tx.objects.all()))["pi_1"]["status"] == "canceled"
    assert await ledger.read(lambda tx: tx.objects.unchanged_since(7)) == set()
    assert await ledger.read(lambda tx: tx.objects.unchanged_since(8)) == {"pi_1"}


async def test_an_event_is_accepted_once_and_done_once(ledger: SQLiteLedger) -> None:
    async def accept() -> bool:
        return await ledger.write(lambda tx: tx.inbox.accept("evt_1", "invoice.paid", "in_1", 100))

    assert await accept()
    assert not await accept()
    (event,) = await ledger.read(lambda tx: tx.inbox.due(100, 10))
    assert (event.object_id, event.attempts) == ("in_1", 0)
    await ledger.write(lambda tx: tx.inbox.retry("evt_1", 160, "stripe_unreachable"))
    assert await ledger.read(lambda tx: tx.inbox.due(159, 10)) == []
    assert await ledger.read(lambda tx: tx.inbox.next_due()) == 160
    (event,) = await ledger.read(lambda tx: tx.inbox.due(160, 10))
    assert (event.attempts, event.error) == (1, "stripe_unreachable")
    assert await ledger.write(lambda tx: tx.inbox.reset_retries()) == 1
    assert len(await ledger.read(lambda tx: tx.inbox.due(0, 10))) == 1
    await ledger.write(lambda tx: tx.inbox.finish("evt_1", "applied"))
    assert await ledger.read(lambda tx: tx.inbox.pending_count()) == 0
    assert not await accept()  # a late duplicate is still known
    await ledger.write(lambda tx: tx.inbox.retry("evt_1", 0, "late"))
    assert await ledger.read(lambda tx: tx.inbox.due(10**9, 10)) == []


async def test_pruning_keeps_what_waits(ledger: SQLiteLedger) -> None:
    def put(tx: SQLiteTransaction) -> None:
        for number in range(4):
            tx.inbox.accept(f"evt_{number}", "t", "o", number)
        tx.inbox.finish("evt_0", "applied")
        tx.inbox.finish("evt_3", "applied")

    await ledger.write(put)
    assert await ledger.write(lambda tx: tx.inbox.prune(3)) == 1
    assert await ledger.read(lambda tx: tx.inbox.pending_count()) == 2


async def test_the_outbox_keeps_its_order(ledger: SQLiteLedger) -> None:
    def add(tx: SQLiteTransaction) -> list[int]:
        return [tx.outbox.add("payment", {"n": n}) for n in range(3)]

    one, two, three = await ledger.write(add)
    await ledger.write(lambda tx: tx.outbox.advance([one], 1))
    pending = await ledger.read(lambda tx: tx.outbox.pending(2))
    assert [(effect.id, effect.step) for effect in pending] == [(one, 1), (two, 0)]
    await ledger.write(lambda tx: tx.outbox.park(one, "never"))
    await ledger.write(lambda tx: tx.outbox.done(two))
    assert [e.id for e in await ledger.read(lambda tx: tx.outbox.pending(9))] == [three]
    assert await ledger.read(lambda tx: tx.outbox.pending_count()) == 2
    assert await ledger.write(lambda tx: tx.outbox.unpark()) == 1
    assert [e.id for e in await ledger.read(lambda tx: tx.outbox.pending(9))] == [one, three]
    assert await ledger.write(lambda tx: tx.outbox.add("payment", {})) > three  # numbers are never reused


PACKED = bytes.fromhex("78f97bbfe391430c001be21d0086572ba6589d5f0b005be61833")
"""An object, packed with the dictionary of schema 4: it has to be readable for ever."""


def test_rows_of_all_releases_can_be_read() -> None:
    raw = {"id": "pi_1", "object": "payment_intent", "created": 5, "status": "succeeded"}
    assert pack(raw) == PACKED
    of_schema_3 = zlib.compress(json.dumps(raw).encode(), 9)
    for packed in (PACKED, of_schema_3):
        assert json.loads(unpack(packed)) == raw


def test_a_row_that_was_not_written_like_this_is_corruption() -> None:
    other = zlib.compressobj(zdict=b"another dictionary")
    of_other_dictionary = other.compress(b"another dictionary") + other.flush()
    for packed in (PACKED[:-1], b"no zlib", of_other_dictionary):
        with pytest.raises(sqlite3.DatabaseError) as caught:
            unpack(packed)
        assert is_corruption(caught.value)
