"""What every ledger keeps to, wherever it is stored.

`MUTATIONS` is every way of changing a ledger through its interface, `CASES` are what readers rely on.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import Any, Final

import pytest

from stripe_payments.entitlements import Entitlement, ManualGrant
from stripe_payments.ledger import Ledger, Transaction
from stripe_payments.payment_history import TransactionRow, by_date

Mutation = Callable[[Transaction], object]
Reopen = Callable[[], Awaitable[Ledger]]
"""Close the ledger and open what it stored again."""

INTENT: Final[dict[str, Any]] = {
    "id": "pi_1",
    "object": "payment_intent",
    "created": 5,
    "status": "succeeded",
    "customer": "cus_1",
}
CHECKOUT: Final[Any] = ("key-1", "once", "price_1", "payment", "http://r/ok", "http://r/no", "it", 100)
ROW: Final = TransactionRow(
    "ch_1", 1000, "payment", 4999, "eur", "paid", "Premium", "https://r/receipt", None
)
FEATURE: Final = Entitlement("backup", True, "cs_1", "product", 900, "paid")


def seed(tx: Transaction) -> None:
    """Something of everything, so that updates and deletions have something to work on."""
    tx.meta.set("seed", "1")
    tx.objects.put([INTENT], 9)
    tx.checkouts.add("key-0", "once", "price_1", "payment", "a", "b", "en", 10)
    tx.inbox.accept("evt_0", "charge.refunded", "ch_0", 10)
    tx.grants.put(ManualGrant("phone", 10, "a gift", 5))
    tx.history.put([ROW])
    tx.features.replace({"backup": FEATURE})
    tx.outbox.add("feature", {"feature": "backup"})


def _first(tx: Transaction) -> int:
    return tx.checkouts.open()[0].local_id


MUTATIONS: Final[dict[str, Mutation]] = {
    "meta.set": lambda tx: tx.meta.set("key", "value"),
    "meta.set again": lambda tx: tx.meta.set("seed", "2"),
    "meta.delete": lambda tx: tx.meta.delete("seed"),
    "objects.put": lambda tx: tx.objects.put([{"id": "ch_1", "object": "charge"}], 10),
    "objects.put again": lambda tx: tx.objects.put([{**INTENT, "status": "canceled"}], 10),
    "objects.delete": lambda tx: tx.objects.delete(["pi_1"]),
    "checkouts.add": lambda tx: tx.checkouts.add(*CHECKOUT),
    "checkouts.update": lambda tx: tx.checkouts.update(_first(tx), session_id="cs_1", state="open"),
    "inbox.accept": lambda tx: tx.inbox.accept("evt_1", "t", "o", 1),
    "inbox.finish": lambda tx: tx.inbox.finish("evt_0", "applied"),
    "grants.put": lambda tx: tx.grants.put(ManualGrant("backup")),
    "grants.delete": lambda tx: tx.grants.delete("phone"),
    "history.put": lambda tx: tx.history.put([TransactionRow("re_1", 1001, "refund", -1, "eur", "ok", "")]),
    "history.put again": lambda tx: tx.history.put([replace(ROW, status="refunded")]),
    "history.delete": lambda tx: tx.history.delete(["ch_1"]),
    "features.replace": lambda tx: tx.features.replace({"backup": Entitlement("backup")}),
}


def everything(tx: Transaction) -> dict[str, object]:
    """All that the interface's readers return."""
    return {
        "meta": [tx.meta.get(key) for key in ("seed", "key")],
        "objects": [dict(tx.objects.all()), tx.objects.unchanged_since(10)],
        "checkouts": [tx.checkouts.latest(9), tx.checkouts.open()],
        "inbox": tx.inbox.pending_count(),
        "grants": tx.grants.all(),
        "history": sorted(tx.history.all(), key=by_date),
        "features": tx.features.all(),
    }


async def is_durable(ledger: Ledger, reopen: Reopen, name: str) -> None:
    """A change that was committed is there when the ledger is opened again."""
    await ledger.write(seed)
    before = await ledger.read(everything)
    await ledger.write(MUTATIONS[name])
    after = await ledger.read(everything)
    assert after != before
    assert await (await reopen()).read(everything) == after


async def is_rolled_back(ledger: Ledger, reopen: Reopen, name: str) -> None:
    """Of a change that failed half way nothing is left."""
    await ledger.write(seed)
    before = await ledger.read(everything)

    def failing(tx: Transaction) -> None:
        MUTATIONS[name](tx)
        raise RuntimeError("half way")

    with pytest.raises(RuntimeError, match="half way"):
        await ledger.write(failing)
    assert await ledger.read(everything) == before
    assert await (await reopen()).read(everything) == before


async def _an_object_comes_back_as_it_was(ledger: Ledger, reopen: Reopen) -> None:
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
    assert await (await reopen()).read(lambda tx: dict(tx.objects.all())) == {"cs_1": raw}


async def _an_object_that_does_not_differ_is_not_stored_again(ledger: Ledger, _reopen: Reopen) -> None:
    await ledger.write(lambda tx: tx.objects.put([INTENT], 5))
    before = await ledger.read(lambda tx: tx.objects.all())
    assert not await ledger.write(lambda tx: tx.objects.put([dict(INTENT)], 6))
    assert await ledger.read(lambda tx: tx.objects.unchanged_since(6)) == {"pi_1"}
    assert await ledger.write(lambda tx: tx.objects.put([INTENT, {**INTENT, "status": "canceled"}], 7))
    assert before["pi_1"] == INTENT, "a snapshot"
    assert (await ledger.read(lambda tx: tx.objects.all()))["pi_1"]["status"] == "canceled"
    assert await ledger.read(lambda tx: tx.objects.unchanged_since(7)) == set()


async def _a_checkout_from_first_to_last(ledger: Ledger, _reopen: Reopen) -> None:
    made = await ledger.write(lambda tx: tx.checkouts.add(*CHECKOUT))
    assert (made.state, made.session_id, made.expires_at) == ("creating", None, None)
    assert await ledger.read(lambda tx: tx.checkouts.open()) == [made]
    opened = await ledger.write(
        lambda tx: tx.checkouts.update(
            made.local_id, session_id="cs_1", url="https://c/1", state="open", expires_at=900
        )
    )
    assert await ledger.read(lambda tx: tx.checkouts.by_session("cs_1")) == opened
    later = await ledger.write(lambda tx: tx.checkouts.update(made.local_id, expires_at=901))
    assert (later.expires_at, later.url, later.success_url) == (901, "https://c/1", "http://r/ok")
    await ledger.write(lambda tx: tx.checkouts.update(made.local_id, state="complete"))
    assert await ledger.read(lambda tx: tx.checkouts.open()) == []
    assert await ledger.read(lambda tx: tx.checkouts.latest(1)) == [replace(later, state="complete")]
    assert await ledger.read(lambda tx: tx.checkouts.by_session("cs_2")) is None
    with pytest.raises(KeyError):
        await ledger.write(lambda tx: tx.checkouts.update(99, expires_at=1))


async def _an_idempotency_key_is_used_once(ledger: Ledger, _reopen: Reopen) -> None:
    await ledger.write(lambda tx: tx.checkouts.add(*CHECKOUT))
    with pytest.raises(Exception, match=r"(?i)unique"):
        await ledger.write(lambda tx: tx.checkouts.add(*CHECKOUT))
    assert len(await ledger.read(lambda tx: tx.checkouts.open())) == 1


async def _an_event_is_accepted_once_and_finished_once(ledger: Ledger, _reopen: Reopen) -> None:
    async def accept() -> bool:
        return await ledger.write(lambda tx: tx.inbox.accept("evt_1", "invoice.paid", "in_1", 100))

    assert await accept()
    assert not await accept()
    assert await ledger.read(lambda tx: tx.inbox.pending_count()) == 1
    await ledger.write(lambda tx: tx.inbox.finish("evt_1", "applied"))
    assert await ledger.read(lambda tx: tx.inbox.pending_count()) == 0
    assert not await accept()  # a late duplicate is still known


async def _rows_come_back_as_they_were(ledger: Ledger, _reopen: Reopen) -> None:
    await ledger.write(seed)
    assert await ledger.read(lambda tx: list(tx.history.all())) == [ROW]
    assert await ledger.read(lambda tx: tx.grants.all()) == [ManualGrant("phone", 10, "a gift", 5)]
    assert await ledger.read(lambda tx: tx.features.get("backup")) == FEATURE
    assert await ledger.read(lambda tx: tx.features.get("phone")) is None


async def _a_feature_that_is_missing_from_the_new_ones_is_locked(ledger: Ledger, _reopen: Reopen) -> None:
    both = {"backup": FEATURE, "phone": Entitlement("phone")}
    assert await ledger.write(lambda tx: tx.features.replace(both))
    assert await ledger.read(lambda tx: tx.features.all()) == both
    assert not await ledger.write(lambda tx: tx.features.replace(both))
    assert await ledger.write(lambda tx: tx.features.replace({"phone": both["phone"]}))
    assert await ledger.read(lambda tx: tx.features.all()) == both | {"backup": Entitlement("backup")}


async def _a_read_may_not_write(ledger: Ledger, _reopen: Reopen) -> None:
    with pytest.raises(Exception, match=r"(?i)read.?only"):
        await ledger.read(lambda tx: tx.meta.set("key", "value"))


CASES: Final[dict[str, Callable[[Ledger, Reopen], Awaitable[None]]]] = {
    case.__name__.lstrip("_"): case
    for case in (
        _an_object_comes_back_as_it_was,
        _an_object_that_does_not_differ_is_not_stored_again,
        _a_checkout_from_first_to_last,
        _an_idempotency_key_is_used_once,
        _an_event_is_accepted_once_and_finished_once,
        _rows_come_back_as_they_were,
        _a_feature_that_is_missing_from_the_new_ones_is_locked,
        _a_read_may_not_write,
    )
}
