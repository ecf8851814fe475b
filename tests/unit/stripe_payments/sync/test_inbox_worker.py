from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from simulator.stripe_cloud import StripeCloud
from stripe_payments.errors import PaymentError
from stripe_payments.ledger import Transaction
from stripe_payments.sync.fetch import units_of
from tests.unit.stripe_payments.engine import Engine, eventually, open_engine
from tests.unit.stripe_payments.full_storage import storage_full_beyond

BOUGHT = {"updates", "backups"}
COMPLETED = "checkout.session.completed"


async def deliver(engine: Engine, *events: tuple[str, str]) -> None:
    """What the webhook does: the event is durable, the worker is woken."""
    for event_id, object_id in events:
        await engine.ledger.write(
            lambda tx, e=event_id, o=object_id: tx.inbox.accept(e, "checkout.session.completed", o, 1)  # type: ignore[misc]
        )
    engine.inbox.kick()


async def waiting(engine: Engine) -> int:
    return await engine.ledger.read(lambda tx: tx.inbox.pending_count())


async def empties(engine: Engine) -> None:
    async def empty() -> bool:
        return await waiting(engine) == 0

    await eventually(empty, "the inbox is worked off")


async def test_an_event_leads_to_the_unlock(engine: Engine, cloud: StripeCloud) -> None:
    engine.run(engine.inbox.run())
    session_id = await engine.checkout()
    cloud.pay(session_id)
    await deliver(engine, ("evt_1", session_id))
    await empties(engine)
    assert await engine.unlocked() == BOUGHT


async def test_many_events_about_one_object_are_one_look(engine: Engine, cloud: StripeCloud) -> None:
    session_id = await engine.checkout()
    cloud.pay(session_id)
    await deliver(engine, *((f"evt_{n}", session_id) for n in range(9)))
    before = engine.asked()
    await engine.inbox.work()
    assert engine.asked() - before == 1
    assert await waiting(engine) == 0
    assert len(await engine.emitted("payment")) == 1


async def test_an_outage_only_puts_off(engine: Engine, cloud: StripeCloud) -> None:
    session_id = await engine.checkout()
    cloud.pay(session_id)
    cloud.set_faults(status=500)
    engine.run(engine.inbox.run())
    await deliver(engine, ("evt_1", session_id))

    async def tried() -> bool:
        events = await engine.ledger.read(lambda tx: tx.inbox.due(2**60, 10))
        return bool(events) and events[0].attempts >= 2

    await eventually(tried, "it was tried twice")
    assert await engine.unlocked() == set()
    cloud.set_faults()
    await empties(engine)
    assert await engine.unlocked() == BOUGHT


async def test_a_full_storage_only_puts_off_and_stripe_is_not_asked_without_end(
    engine: Engine, cloud: StripeCloud, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    session_id = await engine.checkout()
    cloud.pay(session_id)
    await deliver(engine, ("evt_1", session_id))
    (log,) = tmp_path.rglob("ledger.db-wal")
    with storage_full_beyond(log.stat().st_size):
        before = engine.asked()
        engine.run(engine.inbox.run())

        async def asked() -> bool:
            return engine.asked() > before

        await eventually(asked, "Stripe is asked")
        await asyncio.sleep(1.5)
        assert engine.asked() <= before + 3
        assert await engine.unlocked() == set()
    await empties(engine)
    assert await engine.unlocked() == BOUGHT
    assert not [record for record in caplog.records if record.exc_info]


async def test_an_event_whose_fetches_are_all_overtaken_is_retried_later(
    engine: Engine, cloud: StripeCloud, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A newer response for the same object is stored during each fetch, as by a poll."""
    session_id = await engine.checkout()
    cloud.pay(session_id)
    retrieve = engine.stripe.retrieve

    async def overtaken(object_id: str) -> dict[str, Any] | None:
        fetched = await retrieve(object_id)
        cloud.account.get("checkout.session", object_id)["metadata"]["changed"] = str(time.monotonic())
        newer = await retrieve(object_id)
        assert newer is not None
        assert newer != fetched
        await engine.reconciler.apply(units_of(newer, time.monotonic()), "poll")
        return fetched

    async def postponed() -> bool:
        events = await engine.ledger.read(lambda tx: tx.inbox.due(2**60, 10))
        return bool(events) and events[0].error == "overtaken"

    await deliver(engine, ("evt_1", session_id))
    with monkeypatch.context() as patched:
        patched.setattr(engine.stripe, "retrieve", overtaken)
        engine.run(engine.inbox.run())
        await eventually(postponed, "the event is due later")
    await empties(engine)
    assert await engine.unlocked() == BOUGHT


async def test_an_accepted_event_survives_a_restart(cloud: StripeCloud, tmp_path: Path) -> None:
    async with open_engine(cloud, tmp_path / "r") as engine:
        session_id = await engine.checkout()
        cloud.pay(session_id)
        await deliver(engine, ("evt_1", session_id))
        # rescheduled by an hour by a clock that ends with this process
        await engine.ledger.write(lambda tx: tx.inbox.retry("evt_1", 2**40, "stripe_unreachable"))
    async with open_engine(cloud, tmp_path / "r") as engine:
        engine.run(engine.inbox.run())
        await empties(engine)
        assert await engine.unlocked() == BOUGHT


async def test_events_that_mean_nothing_to_us_are_finished(engine: Engine) -> None:
    await deliver(engine, ("evt_1", "cs_test_nobody"), ("evt_2", "acct_x"), ("evt_3", "price_1"))
    await engine.inbox.work()
    assert await waiting(engine) == 0


async def test_one_event_that_cannot_be_applied_does_not_hold_up_the_others(
    engine: Engine, cloud: StripeCloud
) -> None:
    session_id = await engine.checkout()
    cloud.pay(session_id)
    cloud.set_faults(status=500, path="/v1/refunds*")
    await deliver(engine, ("evt_1", "re_broken"), ("evt_2", session_id))
    await engine.inbox.work()
    assert await engine.unlocked() == BOUGHT
    assert await waiting(engine) == 1


# -- an object that is fetched while its event is being stored ----------------------------------------


@asynccontextmanager
async def ledger_held(engine: Engine) -> AsyncIterator[None]:
    """Nothing is committed meanwhile, as on a flash that takes long to sync."""
    held, released = threading.Event(), threading.Event()

    def hold(tx: Transaction) -> None:
        held.set()
        released.wait(30)

    holding = asyncio.ensure_future(engine.ledger.write(hold))
    await asyncio.to_thread(held.wait, 30)
    try:
        yield
    finally:
        released.set()
    await holding


@pytest.fixture
async def paid(engine: Engine, cloud: StripeCloud) -> str:
    """The id of a paid session, with a worker that waits for events."""
    session_id = await engine.checkout()
    cloud.pay(session_id)
    engine.run(engine.inbox.run())
    await worker_is_idle(engine)
    return session_id


async def worker_is_idle(engine: Engine) -> None:
    async def idle() -> bool:
        return engine.inbox.idle

    await eventually(idle, "the worker waits for events")


async def requested(engine: Engine, before: int, number: int = 1) -> None:
    async def all_requested() -> bool:
        return engine.asked() >= before + number

    await eventually(all_requested, "Stripe gets the request")


async def test_the_object_is_fetched_while_the_event_is_stored_and_applied_after(
    engine: Engine, paid: str
) -> None:
    before = engine.asked()
    async with ledger_held(engine):
        accepting = asyncio.ensure_future(engine.inbox.accept("evt_1", COMPLETED, paid, 1))
        await requested(engine, before)
        assert not accepting.done()
        assert not any(held.unlocked for held in engine.reconciler.state.entitlements.values())
    assert await accepting
    await empties(engine)
    assert await engine.unlocked() == BOUGHT
    assert engine.asked() == before + 1


async def test_a_fetch_for_an_event_that_could_not_be_stored_has_no_effect(
    engine: Engine, cloud: StripeCloud, paid: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (log,) = tmp_path.rglob("ledger.db-wal")
    before = engine.asked()
    with storage_full_beyond(log.stat().st_size):
        async with ledger_held(engine):
            accepting = asyncio.ensure_future(engine.inbox.accept("evt_1", COMPLETED, paid, 1))
            await requested(engine, before)
        with pytest.raises(PaymentError, match="ledger_unavailable"):
            await accepting
    assert await waiting(engine) == 0
    assert await engine.unlocked() == set()
    # Stripe delivers the event again
    assert await engine.inbox.accept("evt_1", COMPLETED, paid, 1)
    await empties(engine)
    assert await engine.unlocked() == BOUGHT
    assert not [record for record in caplog.records if record.exc_info]


async def test_a_duplicate_that_arrives_while_the_event_is_stored_is_no_request(
    engine: Engine, paid: str
) -> None:
    before = engine.asked()
    async with ledger_held(engine):
        deliveries = [
            asyncio.ensure_future(engine.inbox.accept("evt_1", COMPLETED, paid, 1)) for _ in range(3)
        ]
        await requested(engine, before)
    assert await asyncio.gather(*deliveries) == [True, False, False]
    await empties(engine)
    assert not await engine.inbox.accept("evt_1", COMPLETED, paid, 1)
    assert engine.asked() == before + 1
    assert await engine.unlocked() == BOUGHT


async def test_events_of_one_payment_that_arrive_together_are_a_request_each(
    engine: Engine, cloud: StripeCloud, paid: str
) -> None:
    """The payment intent leads to the session too: the response that is stored last is the same."""
    intent = str(cloud.account.get("checkout.session", paid)["payment_intent"])
    before = engine.asked()
    async with ledger_held(engine):
        deliveries = [
            asyncio.ensure_future(engine.inbox.accept("evt_1", COMPLETED, paid, 1)),
            asyncio.ensure_future(engine.inbox.accept("evt_2", "payment_intent.succeeded", intent, 1)),
        ]
        await requested(engine, before, 2)
    assert await asyncio.gather(*deliveries) == [True, True]
    await empties(engine)
    assert engine.asked() == before + 2
    assert await engine.unlocked() == BOUGHT
    assert len(await engine.emitted("payment")) == 1


async def test_no_more_than_two_objects_are_fetched_early(engine: Engine, paid: str) -> None:
    before = engine.asked()
    async with ledger_held(engine):
        deliveries = [
            asyncio.ensure_future(engine.inbox.accept(f"evt_{n}", COMPLETED, f"cs_test_{n}", 1))
            for n in range(9)
        ]
        await requested(engine, before, 2)
        assert engine.asked() == before + 2
    assert await asyncio.gather(*deliveries) == [True] * 9
    await empties(engine)
    assert engine.asked() == before + 9


async def test_an_early_fetch_that_fails_is_retried(engine: Engine, cloud: StripeCloud, paid: str) -> None:
    cloud.set_faults(status=500, count=1)
    assert await engine.inbox.accept("evt_1", COMPLETED, paid, 1)
    await empties(engine)
    assert await engine.unlocked() == BOUGHT


async def test_of_two_early_fetches_of_one_object_the_later_counts(
    engine: Engine, cloud: StripeCloud, paid: str
) -> None:
    intent = str(cloud.account.get("checkout.session", paid)["payment_intent"])
    before = engine.asked()
    async with ledger_held(engine):
        first = asyncio.ensure_future(engine.inbox.accept("evt_1", COMPLETED, paid, 1))
        await requested(engine, before)
        await engine.stripe.create("refund", {"payment_intent": intent}, "key")
        second = asyncio.ensure_future(engine.inbox.accept("evt_2", "charge.refunded", paid, 1))
        await requested(engine, before, 3)
    assert await first
    assert await second
    await empties(engine)
    assert await engine.unlocked() == set()
    assert engine.asked() == before + 3


async def test_an_accepted_event_is_processed_after_a_stop_during_its_fetch(
    cloud: StripeCloud, tmp_path: Path
) -> None:
    async with open_engine(cloud, tmp_path / "r") as engine:
        session_id = await engine.checkout()
        cloud.pay(session_id)
        engine.run(engine.inbox.run())
        await worker_is_idle(engine)
        before = engine.asked()
        cloud.set_faults(latency_ms=300)
        assert await engine.inbox.accept("evt_1", COMPLETED, session_id, 1)
        await requested(engine, before)
    cloud.set_faults()
    async with open_engine(cloud, tmp_path / "r") as engine:
        engine.run(engine.inbox.run())
        await empties(engine)
        assert await engine.unlocked() == BOUGHT
