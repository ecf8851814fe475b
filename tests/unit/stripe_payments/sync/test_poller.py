from __future__ import annotations

import asyncio
import json
from dataclasses import replace
from pathlib import Path
from random import Random
from typing import Any

import pytest

from simulator.stripe_cloud import StripeCloud
from stripe_payments.errors import PaymentError
from stripe_payments.sync import META_LAST_CONTACT, Poller
from stripe_payments.sync.poller import PAGE, REQUESTS
from stripe_payments.sync.reconciler import META_LAST_SEEN
from tests.unit.stripe_payments.engine import (
    MONTHLY,
    ONE_TIME,
    Engine,
    at_dashboard,
    eventually,
    open_engine,
    stocked_cloud,
)

BOUGHT = {"updates", "backups"}
DAY = 86_400


async def unlocks(engine: Engine) -> None:
    async def holds() -> bool:
        return await engine.unlocked() == BOUGHT

    await eventually(holds, "the purchase unlocks")


async def locks(engine: Engine) -> None:
    async def holds() -> bool:
        return not await engine.unlocked()

    await eventually(holds, "everything is locked")


async def test_a_payment_is_noticed_without_any_webhook_or_return(engine: Engine, cloud: StripeCloud) -> None:
    engine.run(engine.poller.run())
    session_id = await engine.checkout()
    cloud.pay(session_id)
    await unlocks(engine)
    assert await engine.ledger.read(lambda tx: tx.checkouts.open()) == []


async def test_a_payment_made_while_the_router_was_off_is_noticed_at_boot(
    cloud: StripeCloud, tmp_path: Path
) -> None:
    async with open_engine(cloud, tmp_path / "r") as engine:
        session_id = await engine.checkout()
    cloud.pay(session_id)
    async with open_engine(cloud, tmp_path / "r") as engine:
        engine.run(engine.poller.run())
        await unlocks(engine)


async def test_poll_now_finds_unrecorded_purchases(cloud: StripeCloud, tmp_path: Path) -> None:
    """The ledger was lost, or the session was made by another installation with the same identity."""
    state = tmp_path / "r"
    async with open_engine(cloud, state) as engine:
        session_id = await engine.checkout()
    cloud.pay(session_id)
    for leftover in state.glob("ledger.db*"):
        leftover.unlink()
    async with open_engine(cloud, state) as engine:
        engine.run(engine.poller.run())
        engine.poller.poll_now("test")
        await unlocks(engine)


async def test_the_customer_is_found_again_by_its_metadata(cloud: StripeCloud, tmp_path: Path) -> None:
    state = tmp_path / "r"
    async with open_engine(cloud, state) as engine:
        session_id = await engine.checkout()
        customer = engine.identity.load().customer
        engine.identity.set_customer(None)
    cloud.pay(session_id)
    for leftover in state.glob("ledger.db*"):
        leftover.unlink()
    async with open_engine(cloud, state) as engine:
        engine.run(engine.poller.run())
        engine.poller.poll_now("test")
        await unlocks(engine)
        assert engine.identity.load().customer == customer


async def test_refunds_and_lost_disputes_are_seen_by_polling_alone(
    engine: Engine, cloud: StripeCloud
) -> None:
    session_id = await engine.buy()
    engine.run(engine.poller.run())
    cloud.dispute(session_id)
    engine.poller.poll_now("test")

    async def disputed() -> bool:
        purchase = engine.reconciler.state.purchases.get(session_id)
        return purchase is not None and purchase.dispute == "open"

    await eventually(disputed, "the dispute is known")
    assert await engine.unlocked() == BOUGHT
    cloud.dispute(session_id, "lost")
    engine.poller.poll_now("test")
    await locks(engine)


async def test_a_round_makes_two_requests_at_most(engine: Engine, cloud: StripeCloud) -> None:
    sessions = [await engine.checkout(price) for price in engine.settings.prices]

    async def one_plan_page() -> bool:
        held = await engine.ledger.read(lambda tx: tx.checkouts.open())
        return len(held) == 2

    await eventually(one_plan_page, "opening a page for a plan has closed those before it")
    rows = await engine.ledger.read(lambda tx: tx.checkouts.latest(10))
    assert len(rows) == len(sessions) == 4
    for routine in (True, False, True, True, True, False):
        before = engine.asked()
        await engine.poller.round(list(rows), routine=routine)
        assert engine.asked() - before <= REQUESTS


async def test_the_one_that_was_paid_is_found_among_many_open_ones(
    engine: Engine, cloud: StripeCloud
) -> None:
    engine.run(engine.poller.run())
    for price in engine.settings.prices:
        if price != ONE_TIME:
            await engine.checkout(price)
    session_id = await engine.checkout()
    cloud.pay(session_id)
    await unlocks(engine)


async def test_after_an_outage_everything_is_right_within_one_round(
    engine: Engine, cloud: StripeCloud
) -> None:
    session_id = await engine.checkout()
    engine.run(engine.poller.run())
    cloud.set_faults(drop_connection=True)
    cloud.pay(session_id)

    async def noticed() -> bool:
        return engine.stripe.state.status == "unreachable"

    await eventually(noticed, "the outage is noticed")
    cloud.set_faults()
    engine.poller.poll_now("wan up")
    await unlocks(engine)


class Soonest(Random):
    """Chance that always takes the first moment."""

    def uniform(self, a: float, b: float) -> float:
        return a


class Latest(Random):
    """Chance that always takes the last one."""

    def uniform(self, a: float, b: float) -> float:
        return b


def poller_of(engine: Engine, chance: Random) -> Poller:
    return Poller(
        engine.ledger,
        engine.reconciler,
        engine.stripe,
        lambda: engine.settings,
        engine.identity,
        engine.clock,
        chance=chance,
    )


async def test_poll_soon_after_an_outage_ends_the_backoff(engine: Engine, cloud: StripeCloud) -> None:
    engine.change(poll_interval=86_400)
    await engine.buy()
    cloud.set_faults(drop_connection=True)
    poller = poller_of(engine, Soonest())
    engine.run(poller.run())

    async def noticed() -> bool:
        return engine.stripe.state.status == "unreachable"

    await eventually(noticed, "the outage is noticed")
    cloud.set_faults()
    asked = engine.asked("/v1/subscriptions")
    poller.poll_soon("the way is back")

    async def looked() -> bool:
        return engine.asked("/v1/subscriptions") > asked

    await eventually(looked, "everything is looked at")


@pytest.mark.parametrize("way", ["start", "nudge"])
async def test_a_router_locked_for_being_offline_polls_at_once(engine: Engine, way: str) -> None:
    await engine.subscribe()
    poller = poller_of(engine, Latest())
    if way == "nudge":
        engine.run(poller.run())
        await asyncio.sleep(0.1)  # it has planned its first look by now, or plans it at once
    held = await engine.ledger.read(lambda tx: tx.features.all())
    offline = {name: replace(one, unlocked=False, reason="offline") for name, one in held.items()}
    await engine.ledger.write(lambda tx: tx.features.replace(offline))
    if way == "nudge":
        poller.poll_soon("the way is back")
    else:
        engine.run(poller.run())
    await unlocks(engine)


async def test_a_new_router_does_not_poll_at_once(cloud: StripeCloud, tmp_path: Path) -> None:
    """Nor have the thousand others that are unpacked with it: nothing was bought that could be missing."""
    async with open_engine(cloud, tmp_path / "new", rebuilding=True) as engine:
        before = engine.asked()
        engine.run(poller_of(engine, Latest()).run())
        await asyncio.sleep(0.5)
        assert engine.asked() == before


async def test_a_retry_after_is_honoured(engine: Engine, cloud: StripeCloud) -> None:
    await engine.checkout()
    cloud.set_faults(status=429, retry_after=3600)
    engine.run(engine.poller.run())

    async def refused() -> bool:
        return any(request["status"] == 429 for request in cloud.requests())

    await eventually(refused, "Stripe refuses once")
    asked = engine.asked()
    cloud.set_faults()
    engine.poller.poll_now("impatience")
    # a request of another part passes, the poller's own do not
    await engine.stripe.retrieve("cs_test_x")
    assert engine.asked() == asked + 1


async def test_without_a_customer_one_search_is_the_complete_round(
    engine: Engine, cloud: StripeCloud
) -> None:
    before = engine.asked()
    await engine.poller.round([], routine=True)
    assert engine.asked() - before == 1
    assert engine.asked("/v1/customers/search") == 1
    assert engine.clock.trusted
    assert engine.reconciler.last_sync is not None


async def test_a_session_of_another_account_is_closed(engine: Engine, cloud: StripeCloud) -> None:
    session_id = await engine.checkout()
    row = await engine.ledger.read(lambda tx: tx.checkouts.by_session(session_id))
    assert row is not None
    await engine.ledger.write(lambda tx: tx.checkouts.update(row.local_id, session_id="cs_live_elsewhere"))
    engine.run(engine.poller.run())

    async def closed() -> bool:
        return not await engine.ledger.read(lambda tx: tx.checkouts.open())

    await eventually(closed, "the session is given up")


async def test_polling_the_same_state_again_writes_nothing(
    engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    await engine.buy()
    await engine.poller.round([], routine=True)
    for _ in range(4):
        await engine.poller.round([], routine=True)

    def changes(tx: object) -> int:
        return int(tx.meta._connection.total_changes)  # type: ignore[attr-defined]

    before = await engine.ledger.read(changes)
    for _ in range(4):
        await engine.poller.round([], routine=True)
        await engine.reconciler.recompute()
    assert await engine.ledger.read(changes) == before


async def test_the_last_contact_survives_a_restart(cloud: StripeCloud, tmp_path: Path) -> None:
    async with open_engine(cloud, tmp_path / "r") as engine:
        await engine.buy()
        stored = await engine.ledger.read(lambda tx: tx.meta.get(META_LAST_CONTACT))
        assert stored is not None
    async with open_engine(cloud, tmp_path / "r") as engine:
        assert engine.reconciler.last_sync == int(stored)
        assert engine.clock.floor is not None
        assert not engine.clock.trusted


async def test_a_renewal_is_noticed_although_the_next_poll_is_a_day_away(
    engine: Engine, cloud: StripeCloud
) -> None:
    engine.change(poll_interval=86_400)
    await engine.buy("price_premium_monthly")
    engine.run(engine.poller.run())
    await engine.poller.poll_everything()
    (before,) = engine.reconciler.state.subscriptions.values()
    cloud.advance(32 * 86_400)
    engine.clock.observe(cloud.clock.now())  # the month passes here too
    engine.poll_wakeup.set()

    async def renewed() -> bool:
        (held,) = engine.reconciler.state.subscriptions.values()
        return held.current_period_end != before.current_period_end

    await eventually(renewed, "the renewal")


async def test_a_cancelled_plan_locks_at_its_end_without_stripe(engine: Engine, cloud: StripeCloud) -> None:
    subscription = await engine.subscribe()
    await engine.subscriptions.cancel(subscription)
    engine.run(engine.poller.run())
    await engine.poller.poll_everything()
    cloud.set_faults(drop_connection=True)
    cloud.advance(32 * 86_400)
    engine.clock.observe(cloud.clock.now())
    engine.poll_wakeup.set()

    async def locked() -> bool:
        return await engine.unlocked() == set()

    await eventually(locked, "the end")
    assert await engine.reason("backups") == "canceled"


async def test_a_customer_missing_from_the_identity_is_searched_at_the_start(
    cloud: StripeCloud, tmp_path: Path
) -> None:
    async with open_engine(cloud, tmp_path / "r") as engine:
        await engine.checkout()
        customer = engine.identity.load().customer
        assert customer is not None
        engine.identity.set_customer(None)
    async with open_engine(cloud, tmp_path / "r") as engine:
        engine.run(engine.poller.run())

        async def found() -> bool:
            return engine.identity.load().customer == customer

        await eventually(found, "the customer is known again")


async def test_status_requests_share_one_poll(engine: Engine, cloud: StripeCloud) -> None:
    session_id = await engine.checkout()
    path = f"/v1/checkout/sessions/{session_id}"
    before = engine.asked(path)
    shown = await asyncio.gather(*(engine.status.show(session_id) for _ in range(5)))
    assert {one["status"] for one in shown} == {"unpaid"}
    assert (await engine.status.show(session_id))["status"] == "unpaid"
    assert engine.asked(path) - before == 1


async def test_a_status_request_sees_a_payment_at_once(engine: Engine, cloud: StripeCloud) -> None:
    """Before the poller's own schedule does: the buyer has come back."""
    engine.run(engine.poller.run())
    session_id = await engine.checkout()
    cloud.pay(session_id)
    assert (await engine.status.show(session_id))["status"] == "paid"
    assert await engine.unlocked() == BOUGHT


async def test_a_status_request_honours_a_retry_after(engine: Engine, cloud: StripeCloud) -> None:
    session_id = await engine.checkout()
    cloud.set_faults(status=429, retry_after=3600)
    engine.run(engine.poller.run())
    await eventually(lambda: _refused(cloud), "Stripe refuses once")
    cloud.set_faults()
    await asyncio.sleep(0.1)
    before = engine.asked()
    assert (await engine.status.show(session_id))["status"] == "unpaid"
    assert engine.asked() == before


async def _refused(cloud: StripeCloud) -> bool:
    return any(request["status"] == 429 for request in cloud.requests())


@pytest.mark.parametrize("lists", [True, False])
@pytest.mark.parametrize("noticed_by", ["poll", "portal", "checkout"])
async def test_a_plan_of_a_deleted_customer_locks(
    engine: Engine, cloud: StripeCloud, noticed_by: str, lists: bool
) -> None:
    """Deleting a customer cancels its subscriptions; the lists of another customer do not have them."""
    cloud.account.settings["lists_of_deleted_customers"] = lists
    await engine.subscribe()
    customer = str(engine.identity.load().customer)
    await engine.stripe.delete("customer", customer)
    if noticed_by == "portal":
        with pytest.raises(PaymentError):
            await engine.portal.open()
    elif noticed_by == "checkout":
        await engine.checkout(ONE_TIME)
    if noticed_by != "poll":
        assert engine.identity.load().customer != customer
    await engine.poller.poll_everything()
    assert await engine.unlocked() == set()
    assert await engine.checkout(MONTHLY), "and a plan can be bought"


async def test_a_plan_that_stripe_does_not_show_any_more_is_offline(
    cloud: StripeCloud, tmp_path: Path
) -> None:
    """The keys became those of another account, which answers all the time."""
    state, offline_days = tmp_path / "r", 30
    async with open_engine(cloud, state) as engine:
        await engine.subscribe()
        (plan,) = engine.reconciler.state.subscriptions.values()
        period_end = plan.current_period_end or 0
        assert engine.reconciler.unseen_s(plan.id) == 0
    async with stocked_cloud() as other, open_engine(other, state) as engine:
        engine.change(offline_days=offline_days)
        engine.poller.account_changed()
        await engine.poller.poll_everything()
        for after, unlocked in ((-DAY, True), (offline_days * DAY - DAY, True), (offline_days * DAY, False)):
            other.advance(period_end + after - other.clock.now())
            await engine.poller.poll_everything()
            await engine.reconciler.recompute()
            assert bool(await engine.unlocked()) is unlocked
            assert engine.reconciler.unseen_s(plan.id) > DAY
        assert await engine.reason("backups") == "offline"
        assert await engine.checkout(MONTHLY), "and a plan can be bought at this account"


async def test_a_plan_is_as_recent_as_its_own_last_poll_after_a_restart(
    cloud: StripeCloud, tmp_path: Path
) -> None:
    async with open_engine(cloud, tmp_path / "r") as engine:
        subscription = await engine.subscribe()
        seen = await engine.ledger.read(lambda tx: tx.meta.get(META_LAST_SEEN))
        assert seen is not None
        assert set(json.loads(seen)) == {subscription}
        (plan,) = engine.reconciler.state.subscriptions.values()
        cloud.set_faults(method="GET", path="/v1/*", status=500)
        # it renews; this router does not hear of it
        cloud.advance((plan.current_period_end or 0) + 29 * DAY - cloud.clock.now())
    async with open_engine(cloud, tmp_path / "r") as engine:
        engine.clock.observe(cloud.clock.now())
        await engine.reconciler.recompute()
        assert await engine.unlocked() == BOUGHT, "29 days after the end of the period"
        cloud.advance(DAY)
        engine.clock.observe(cloud.clock.now())
        await engine.reconciler.recompute()
        assert await engine.reason("backups") == "offline"
        cloud.set_faults()
        await engine.poller.poll_everything()
        assert await engine.unlocked() == BOUGHT


async def another_like(cloud: StripeCloud, subscription: str) -> dict[str, Any]:
    """A subscription made in the Dashboard, with the customer, price and card of another one."""
    model = cloud.account.get("subscription", subscription)
    made = await at_dashboard(
        cloud,
        "/v1/subscriptions",
        customer=model["customer"],
        items=[{"price": model["items"]["data"][0]["price"]["id"]}],
        default_payment_method=model["default_payment_method"],
    )
    return dict(made)


async def test_a_rebuilt_ledger_finds_a_plan_behind_twenty_ended_ones(
    cloud: StripeCloud, tmp_path: Path
) -> None:
    """Made in the Dashboard: no Checkout session leads to them."""
    state = tmp_path / "r"
    async with open_engine(cloud, state) as engine:
        await engine.buy(MONTHLY)
        (first,) = engine.reconciler.state.subscriptions
        await engine.stripe.delete("subscription", first)
        made = [await another_like(cloud, first) for _ in range(PAGE + 1)]
        for one in made[1:]:
            await engine.stripe.delete("subscription", one["id"])
    for leftover in state.glob("ledger.db*"):
        leftover.unlink()
    async with open_engine(cloud, state, rebuilding=True) as engine:
        await engine.poller.poll_everything()
        assert await engine.unlocked() == BOUGHT
        assert made[0]["id"] in {one.id for one in engine.reconciler.state.running}


async def test_subscriptions_that_no_list_contains_do_not_make_a_round_longer(
    engine: Engine, cloud: StripeCloud
) -> None:
    first = await engine.subscribe()
    customer = str(engine.identity.load().customer)
    for _ in range(6):
        await another_like(cloud, first)
    await engine.poller.poll_everything()
    assert len(engine.reconciler.state.running) == 7
    await engine.stripe.delete("customer", customer)
    for _ in range(12):
        before = engine.asked()
        await engine.poller.round([], routine=True)
        assert engine.asked() - before <= REQUESTS
    assert engine.reconciler.state.running == []
    assert await engine.unlocked() == set()


async def test_an_unpaid_invoice_older_than_two_pages_is_paid_late(
    engine: Engine, cloud: StripeCloud
) -> None:
    subscription = await engine.subscribe()
    changed = {"collection_method": "send_invoice", "days_until_due": 7}
    await at_dashboard(cloud, f"/v1/subscriptions/{subscription}", **changed)
    for month in range(2 * PAGE + 2):
        cloud.advance(31 * DAY)
        engine.clock.observe(cloud.clock.now())
        if month % PAGE == 0:
            await engine.poller.poll_everything()
    invoices = [one["id"] for one in cloud.account.newest_first("invoice") if one["status"] == "open"]
    assert len(invoices) > 2 * PAGE
    await engine.poller.poll_everything()
    await at_dashboard(cloud, f"/v1/invoices/{invoices[-1]}/pay", paid_out_of_band=True)
    await engine.poller.poll_everything()
    assert engine.reconciler.state.parsed.invoices[invoices[-1]].status == "paid"
    before = engine.asked()
    await engine.poller.round([], routine=True)
    assert engine.asked() - before <= REQUESTS


@pytest.mark.parametrize("price", [MONTHLY, ONE_TIME])
async def test_purchases_of_a_duplicate_customer_are_found(
    cloud: StripeCloud, tmp_path: Path, price: str
) -> None:
    """Search lags: a customer was created twice, and the younger one bought."""
    state = tmp_path / "r"
    async with open_engine(cloud, state) as engine:
        router = engine.reconciler.identity.router_id
        older = await at_dashboard(cloud, "/v1/customers", metadata={"router_id": router})
        cloud.advance(60)
        younger = await at_dashboard(cloud, "/v1/customers", metadata={"router_id": router})
        engine.identity.set_customer(younger["id"])
        await engine.buy(price)
        engine.identity.set_customer(None)
    for leftover in state.glob("ledger.db*"):
        leftover.unlink()
    async with open_engine(cloud, state, rebuilding=True) as engine:
        await engine.poller.poll_everything()
        assert await engine.unlocked() == BOUGHT
        wanted = younger if price == MONTHLY else older
        assert engine.identity.load().customer == wanted["id"], "the portal is the one of the running plan"
