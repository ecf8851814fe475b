from __future__ import annotations

import asyncio
import time
from pathlib import Path
from typing import Any

import pytest

from simulator.stripe_cloud import StripeCloud
from stripe_payments.sync.fetch import units_of
from tests.unit.stripe_payments.full_storage import storage_full_beyond
from tests.unit.stripe_payments.seller import Seller, eventually, selling

BOUGHT = {"updates", "backups"}


async def deliver(seller: Seller, *events: tuple[str, str]) -> None:
    """What the webhook does: the event is durable, the worker is told."""
    for event_id, object_id in events:
        await seller.ledger.write(
            lambda tx, e=event_id, o=object_id: tx.inbox.accept(e, "checkout.session.completed", o, 1)  # type: ignore[misc]
        )
    seller.inbox.kick()


async def waiting(seller: Seller) -> int:
    return await seller.ledger.read(lambda tx: tx.inbox.pending_count())


async def empties(seller: Seller) -> None:
    async def empty() -> bool:
        return await waiting(seller) == 0

    await eventually(empty, "the inbox is worked off")


async def test_an_event_leads_to_the_unlock(seller: Seller, cloud: StripeCloud) -> None:
    seller.run(seller.inbox.run())
    session_id = await seller.checkout()
    cloud.pay(session_id)
    await deliver(seller, ("evt_1", session_id))
    await empties(seller)
    assert await seller.unlocked() == BOUGHT


async def test_many_events_about_one_object_are_one_look(seller: Seller, cloud: StripeCloud) -> None:
    session_id = await seller.checkout()
    cloud.pay(session_id)
    await deliver(seller, *((f"evt_{n}", session_id) for n in range(9)))
    before = seller.asked()
    await seller.inbox.work()
    assert seller.asked() - before == 1
    assert await waiting(seller) == 0
    assert len(await seller.told("payment")) == 1


async def test_an_outage_only_puts_off(seller: Seller, cloud: StripeCloud) -> None:
    session_id = await seller.checkout()
    cloud.pay(session_id)
    cloud.set_faults(status=500)
    seller.run(seller.inbox.run())
    await deliver(seller, ("evt_1", session_id))

    async def tried() -> bool:
        events = await seller.ledger.read(lambda tx: tx.inbox.due(2**60, 10))
        return bool(events) and events[0].attempts >= 2

    await eventually(tried, "it was tried twice")
    assert await seller.unlocked() == set()
    cloud.set_faults()
    await empties(seller)
    assert await seller.unlocked() == BOUGHT


async def test_a_full_storage_only_puts_off_and_stripe_is_not_asked_without_end(
    seller: Seller, cloud: StripeCloud, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    session_id = await seller.checkout()
    cloud.pay(session_id)
    await deliver(seller, ("evt_1", session_id))
    (log,) = tmp_path.rglob("ledger.db-wal")
    with storage_full_beyond(log.stat().st_size):
        before = seller.asked()
        seller.run(seller.inbox.run())

        async def asked() -> bool:
            return seller.asked() > before

        await eventually(asked, "Stripe is asked")
        await asyncio.sleep(1.5)
        assert seller.asked() <= before + 3
        assert await seller.unlocked() == set()
    await empties(seller)
    assert await seller.unlocked() == BOUGHT
    assert not [record for record in caplog.records if record.exc_info]


async def test_an_event_whose_fetches_are_all_overtaken_is_retried_later(
    seller: Seller, cloud: StripeCloud, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A newer response for the same object is stored during each fetch, as by a poll."""
    session_id = await seller.checkout()
    cloud.pay(session_id)
    retrieve = seller.stripe.retrieve

    async def overtaken(object_id: str) -> dict[str, Any] | None:
        fetched = await retrieve(object_id)
        newer = await retrieve(object_id)
        assert newer is not None
        await seller.reconciler.apply(units_of(newer, time.monotonic()), "poll")
        return fetched

    async def postponed() -> bool:
        events = await seller.ledger.read(lambda tx: tx.inbox.due(2**60, 10))
        return bool(events) and events[0].error == "overtaken"

    await deliver(seller, ("evt_1", session_id))
    with monkeypatch.context() as patched:
        patched.setattr(seller.stripe, "retrieve", overtaken)
        seller.run(seller.inbox.run())
        await eventually(postponed, "the event is due later")
    await empties(seller)
    assert await seller.unlocked() == BOUGHT


async def test_an_accepted_event_survives_a_restart(cloud: StripeCloud, tmp_path: Path) -> None:
    async with selling(cloud, tmp_path / "r") as seller:
        session_id = await seller.checkout()
        cloud.pay(session_id)
        await deliver(seller, ("evt_1", session_id))
        # put off for an hour by a clock that ends with this process
        await seller.ledger.write(lambda tx: tx.inbox.retry("evt_1", 2**40, "stripe_unreachable"))
    async with selling(cloud, tmp_path / "r") as seller:
        seller.run(seller.inbox.run())
        await empties(seller)
        assert await seller.unlocked() == BOUGHT


async def test_events_that_mean_nothing_to_us_are_finished(seller: Seller) -> None:
    await deliver(seller, ("evt_1", "cs_test_nobody"), ("evt_2", "acct_x"), ("evt_3", "price_1"))
    await seller.inbox.work()
    assert await waiting(seller) == 0


async def test_one_event_that_cannot_be_applied_does_not_hold_up_the_others(
    seller: Seller, cloud: StripeCloud
) -> None:
    session_id = await seller.checkout()
    cloud.pay(session_id)
    cloud.set_faults(status=500, path="/v1/refunds*")
    await deliver(seller, ("evt_1", "re_broken"), ("evt_2", session_id))
    await seller.inbox.work()
    assert await seller.unlocked() == BOUGHT
    assert await waiting(seller) == 1
