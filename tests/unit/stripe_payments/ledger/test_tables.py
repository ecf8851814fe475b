"""Every way of changing the ledger: committed it is there after a restart, rolled back it never was."""

import json
import sqlite3
import zlib
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from stripe_payments.entitlements import Entitlement, ManualGrant
from stripe_payments.ledger import Ledger, Transaction
from stripe_payments.ledger.packing import pack, unpack
from stripe_payments.ledger.storage_errors import is_corruption
from stripe_payments.payment_history import TransactionRow, by_date

Mutation = Callable[[Transaction], object]

INTENT: dict[str, Any] = {
    "id": "pi_1",
    "object": "payment_intent",
    "created": 5,
    "status": "succeeded",
    "customer": "cus_1",
}
CHECKOUT = ("key-1", "once", "price_1", "payment", "http://r/ok", "http://r/no", "it", 100)
ROW = TransactionRow("ch_1", 1000, "payment", 4999, "eur", "paid", "Premium", "https://r/receipt", None)
FEATURE = Entitlement("backup", True, "cs_1", "product", 900, "paid")


def seed(tx: Transaction) -> None:
    """Something of everything, so that updates and deletions have something to work on."""
    tx.meta.set("seed", "1")
    tx.objects.put([INTENT], 9)
    tx.checkouts.add("key-0", "once", "price_1", "payment", "a", "b", "en", 10)
    tx.inbox.accept("evt_0", "charge.refunded", "ch_0", 10)
    tx.inbox.retry("evt_0", 50, "away")
    tx.inbox.accept("evt_old", "charge.refunded", "ch_0", 9)
    tx.inbox.finish("evt_old", "applied")
    tx.grants.put(ManualGrant("phone", 10, "a gift", 5))
    tx.history.put([ROW])
    tx.features.replace({"backup": FEATURE})
    tx.outbox.add("feature", {"feature": "backup"})
    tx.outbox.park(tx.outbox.add("payment", {"id": "pi_0"}), "no")


MUTATIONS: dict[str, Mutation] = {
    "meta.set": lambda tx: tx.meta.set("key", "value"),
    "meta.set again": lambda tx: tx.meta.set("seed", "2"),
    "meta.delete": lambda tx: tx.meta.delete("seed"),
    "objects.put": lambda tx: tx.objects.put([{"id": "ch_1", "object": "charge"}], 10),
    "objects.put again": lambda tx: tx.objects.put([{**INTENT, "status": "canceled"}], 10),
    "objects.delete": lambda tx: tx.objects.delete(["pi_1"]),
    "checkouts.add": lambda tx: tx.checkouts.add(*CHECKOUT),  # type: ignore[arg-type]
    "checkouts.update": lambda tx: tx.checkouts.update(1, session_id="cs_1", state="open"),
    "checkouts.prune": lambda tx: (
        tx.checkouts.update(1, state="expired"),
        tx.checkouts.add(*CHECKOUT),  # type: ignore[arg-type]
        tx.checkouts.prune(11),
    ),
    "inbox.accept": lambda tx: tx.inbox.accept("evt_1", "t", "o", 1),
    "inbox.finish": lambda tx: tx.inbox.finish("evt_0", "applied"),
    "inbox.retry": lambda tx: tx.inbox.retry("evt_0", 99, "away"),
    "inbox.rearm": lambda tx: tx.inbox.rearm(),
    "inbox.prune": lambda tx: tx.inbox.prune(11),
    "grants.put": lambda tx: tx.grants.put(ManualGrant("backup")),
    "grants.delete": lambda tx: tx.grants.delete("phone"),
    "history.put": lambda tx: tx.history.put([TransactionRow("re_1", 1001, "refund", -1, "eur", "ok", "")]),
    "history.put again": lambda tx: tx.history.put([replace(ROW, status="refunded")]),
    "history.delete": lambda tx: tx.history.delete(["ch_1"]),
    "features.replace": lambda tx: tx.features.replace({"backup": Entitlement("backup")}),
    "outbox.add": lambda tx: tx.outbox.add("subscription", {"id": "sub_1"}),
    "outbox.advance": lambda tx: tx.outbox.advance([1], 2),
    "outbox.done": lambda tx: tx.outbox.done(1),
    "outbox.park": lambda tx: tx.outbox.park(1, "never"),
    "outbox.unpark": lambda tx: tx.outbox.unpark(),
}


def finished_events(tx: Transaction) -> list[str]:
    """No reader tells them: they are only there to know a duplicate."""
    connection: sqlite3.Connection = tx.inbox._connection
    rows = connection.execute("SELECT event_id FROM inbox WHERE outcome IS NOT NULL ORDER BY event_id")
    return [name for (name,) in rows]


def everything(tx: Transaction) -> dict[str, object]:
    """All that the ledger's readers can tell."""
    return {
        "meta": [tx.meta.get(key) for key in ("seed", "key")],
        "objects": [dict(tx.objects.all()), tx.objects.unchanged_since(10)],
        "checkouts": [tx.checkouts.latest(9), tx.checkouts.open()],
        "inbox": [tx.inbox.due(10**9, 9), tx.inbox.pending_count(), tx.inbox.next_due(), finished_events(tx)],
        "grants": tx.grants.all(),
        "history": sorted(tx.history.all(), key=by_date),
        "features": tx.features.all(),
        "outbox": [tx.outbox.pending(9), tx.outbox.pending_count(), tx.outbox.delivered_from(2)],
    }


async def after_restart(ledger: Ledger, path: Path) -> dict[str, object]:
    await ledger.close()
    again = await Ledger.open(path)
    try:
        return await again.read(everything)
    finally:
        await again.close()


@pytest.mark.parametrize("name", MUTATIONS)
async def test_what_is_committed_is_there_after_a_restart(ledger: Ledger, path: Path, name: str) -> None:
    await ledger.write(seed)
    before = await ledger.read(everything)
    await ledger.write(MUTATIONS[name])
    after = await ledger.read(everything)
    assert after != before
    assert await after_restart(ledger, path) == after


@pytest.mark.parametrize("name", MUTATIONS)
async def test_what_is_rolled_back_never_was(ledger: Ledger, path: Path, name: str) -> None:
    await ledger.write(seed)
    before = await ledger.read(everything)

    def failing(tx: Transaction) -> None:
        MUTATIONS[name](tx)
        raise RuntimeError("half way")

    with pytest.raises(RuntimeError, match="half way"):
        await ledger.write(failing)
    assert await ledger.read(everything) == before
    assert await after_restart(ledger, path) == before


async def test_every_mutator_is_in_the_list(ledger: Ledger) -> None:
    """A method that is added without a test of its rollback fails here."""
    readers = {"get", "all", "by_session", "by_key", "open", "latest", "due", "next_due", "pending"}
    readers |= {"pending_count", "delivered_from", "unchanged_since", "reload"}

    def mutators(tx: Transaction) -> set[str]:
        return {
            f"{name}.{method}"
            for name, table in vars(tx).items()
            if not name.startswith("_")
            for method in dir(table)
            if not method.startswith("_") and method not in readers
        }

    assert await ledger.read(mutators) == {name.split()[0] for name in MUTATIONS}


async def test_an_object_comes_back_as_it_was(ledger: Ledger, path: Path) -> None:
    raw = {
        "id": "cs_1",
        "object": "checkout.session",
        "customer": {"id": "cus_1"},
        "é": [None, 1.5, {"x": "\u2028"}],
    }
    assert await ledger.write(lambda tx: tx.objects.put([raw], 0))
    assert await ledger.read(lambda tx: tx.objects.get("cs_1")) == raw
    assert await ledger.read(lambda tx: tx.objects.get("cs_2")) is None
    with pytest.raises(ValueError, match="id and an object"):
        await ledger.write(lambda tx: tx.objects.put([{"id": "x"}], 0))
    await ledger.close()
    again = await Ledger.open(path)
    assert await again.read(lambda tx: tx.objects.all()) == {"cs_1": raw}
    await again.close()


async def test_objects_that_do_not_differ_are_not_written(ledger: Ledger) -> None:
    def changes(tx: Transaction) -> int:
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


async def test_a_checkout_from_first_to_last(ledger: Ledger) -> None:
    made = await ledger.write(lambda tx: tx.checkouts.add(*CHECKOUT))  # type: ignore[arg-type]
    assert (made.state, made.session_id, made.expires_at) == ("creating", None, None)
    assert await ledger.read(lambda tx: tx.checkouts.open()) == [made]
    opened = await ledger.write(
        lambda tx: tx.checkouts.update(
            made.local_id, session_id="cs_1", url="https://c/1", state="open", expires_at=900
        )
    )
    assert await ledger.read(lambda tx: tx.checkouts.by_session("cs_1")) == opened
    assert await ledger.read(lambda tx: tx.checkouts.by_key("key-1")) == opened
    later = await ledger.write(lambda tx: tx.checkouts.update(made.local_id, expires_at=901))
    assert (later.expires_at, later.url, later.success_url) == (901, "https://c/1", "http://r/ok")
    await ledger.write(lambda tx: tx.checkouts.update(made.local_id, state="complete"))
    assert await ledger.read(lambda tx: tx.checkouts.open()) == []
    assert await ledger.read(lambda tx: tx.checkouts.by_session("cs_2")) is None
    with pytest.raises(KeyError):
        await ledger.write(lambda tx: tx.checkouts.update(99, expires_at=1))


async def test_an_idempotency_key_is_used_once(ledger: Ledger) -> None:
    await ledger.write(lambda tx: tx.checkouts.add(*CHECKOUT))  # type: ignore[arg-type]
    with pytest.raises(Exception, match="UNIQUE"):
        await ledger.write(lambda tx: tx.checkouts.add(*CHECKOUT))  # type: ignore[arg-type]


async def test_an_event_is_accepted_once_and_done_once(ledger: Ledger) -> None:
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
    assert await ledger.write(lambda tx: tx.inbox.rearm()) == 1
    assert len(await ledger.read(lambda tx: tx.inbox.due(0, 10))) == 1
    await ledger.write(lambda tx: tx.inbox.finish("evt_1", "applied"))
    assert await ledger.read(lambda tx: tx.inbox.pending_count()) == 0
    assert not await accept()  # a late duplicate is still known
    await ledger.write(lambda tx: tx.inbox.retry("evt_1", 0, "late"))
    assert await ledger.read(lambda tx: tx.inbox.due(10**9, 10)) == []


async def test_pruning_keeps_what_waits(ledger: Ledger) -> None:
    def put(tx: Transaction) -> None:
        for number in range(4):
            tx.inbox.accept(f"evt_{number}", "t", "o", number)
        tx.inbox.finish("evt_0", "applied")
        tx.inbox.finish("evt_3", "applied")

    await ledger.write(put)
    assert await ledger.write(lambda tx: tx.inbox.prune(3)) == 1
    assert await ledger.read(lambda tx: tx.inbox.pending_count()) == 2


async def test_rows_come_back_as_they_were(ledger: Ledger) -> None:
    await ledger.write(seed)
    assert await ledger.read(lambda tx: list(tx.history.all())) == [ROW]
    assert await ledger.read(lambda tx: tx.grants.all()) == [ManualGrant("phone", 10, "a gift", 5)]
    assert await ledger.read(lambda tx: tx.features.get("backup")) == FEATURE


async def test_a_feature_that_is_missing_from_the_new_ones_is_locked(ledger: Ledger) -> None:
    both = {"backup": FEATURE, "phone": Entitlement("phone")}
    assert await ledger.write(lambda tx: tx.features.replace(both))
    assert await ledger.read(lambda tx: tx.features.all()) == both
    assert not await ledger.write(lambda tx: tx.features.replace(both))
    assert await ledger.write(lambda tx: tx.features.replace({"phone": both["phone"]}))
    assert await ledger.read(lambda tx: tx.features.all()) == both | {"backup": Entitlement("backup")}


async def test_the_outbox_keeps_its_order(ledger: Ledger) -> None:
    def add(tx: Transaction) -> list[int]:
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
