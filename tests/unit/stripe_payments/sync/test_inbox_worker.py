from __future__ import annotations

import asyncio
import time
from pathlib import Path
from typing import Any

import pytest

from simulator.stripe_cloud import StripeCloud
from stripe_payments.sync.fetch import units_of
from tests.unit.stripe_payments.engine import Engine, eventually, open_engine
from tests.unit.stripe_payments.full_storage import storage_full_beyond

BOUGHT = {"updates", "backups"}


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
        newer = await retrieve(object_id)
        assert newer is not None
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
        # put off for an hour by a clock that ends with this process
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
