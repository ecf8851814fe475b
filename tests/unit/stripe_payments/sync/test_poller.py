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
from tests.unit.stripe_payments.seller import (
    MONTHLY,
    ONE_TIME,
    Seller,
    at_dashboard,
    eventually,
    selling,
    stocked_cloud,
)

BOUGHT = {"updates", "backups"}
DAY = 86_400


async def unlocks(seller: Seller) -> None:
    async def holds() -> bool:
        return await seller.unlocked() == BOUGHT

    await eventually(holds, "the purchase unlocks")


async def locks(seller: Seller) -> None:
    async def holds() -> bool:
        return not await seller.unlocked()

    await eventually(holds, "everything is locked")


async def test_a_payment_is_noticed_without_any_webhook_or_return(seller: Seller, cloud: StripeCloud) -> None:
    seller.run(seller.poller.run())
    session_id = await seller.checkout()
    cloud.pay(session_id)
    await unlocks(seller)
    assert await seller.ledger.read(lambda tx: tx.checkouts.open()) == []


async def test_a_payment_made_while_the_router_was_off_is_noticed_at_boot(
    cloud: StripeCloud, tmp_path: Path
) -> None:
    async with selling(cloud, tmp_path / "r") as seller:
        session_id = await seller.checkout()
    cloud.pay(session_id)
    async with selling(cloud, tmp_path / "r") as seller:
        seller.run(seller.poller.run())
        await unlocks(seller)


async def test_poll_now_finds_unrecorded_purchases(cloud: StripeCloud, tmp_path: Path) -> None:
    """The ledger was lost, or the session was made by another installation with the same identity."""
    state = tmp_path / "r"
    async with selling(cloud, state) as seller:
        session_id = await seller.checkout()
    cloud.pay(session_id)
    for leftover in state.glob("ledger.db*"):
        leftover.unlink()
    async with selling(cloud, state) as seller:
        seller.run(seller.poller.run())
        seller.poller.poll_now("test")
        await unlocks(seller)


async def test_the_customer_is_found_again_by_its_metadata(cloud: StripeCloud, tmp_path: Path) -> None:
    state = tmp_path / "r"
    async with selling(cloud, state) as seller:
        session_id = await seller.checkout()
        customer = seller.identity.load().customer
        seller.identity.set_customer(None)
    cloud.pay(session_id)
    for leftover in state.glob("ledger.db*"):
        leftover.unlink()
    async with selling(cloud, state) as seller:
        seller.run(seller.poller.run())
        seller.poller.poll_now("test")
        await unlocks(seller)
        assert seller.identity.load().customer == customer


async def test_refunds_and_lost_disputes_are_seen_by_polling_alone(
    seller: Seller, cloud: StripeCloud
) -> None:
    session_id = await seller.buy()
    seller.run(seller.poller.run())
    cloud.dispute(session_id)
    seller.poller.poll_now("test")

    async def disputed() -> bool:
        purchase = seller.reconciler.state.purchases.get(session_id)
        return purchase is not None and purchase.dispute == "open"

    await eventually(disputed, "the dispute is known")
    assert await seller.unlocked() == BOUGHT
    cloud.dispute(session_id, "lost")
    seller.poller.poll_now("test")
    await locks(seller)


async def test_a_round_makes_two_requests_at_most(seller: Seller, cloud: StripeCloud) -> None:
    sessions = [await seller.checkout(price) for price in seller.settings.prices]

    async def one_plan_page() -> bool:
        held = await seller.ledger.read(lambda tx: tx.checkouts.open())
        return len(held) == 2

    await eventually(one_plan_page, "opening a page for a plan has closed those before it")
    rows = await seller.ledger.read(lambda tx: tx.checkouts.latest(10))
    assert len(rows) == len(sessions) == 4
    for routine in (True, False, True, True, True, False):
        before = seller.asked()
        await seller.poller.round(list(rows), routine=routine)
        assert seller.asked() - before <= REQUESTS


async def test_the_one_that_was_paid_is_found_among_many_open_ones(
    seller: Seller, cloud: StripeCloud
) -> None:
    seller.run(seller.poller.run())
    for price in seller.settings.prices:
        if price != ONE_TIME:
            await seller.checkout(price)
    session_id = await seller.checkout()
    cloud.pay(session_id)
    await unlocks(seller)


async def test_after_an_outage_everything_is_right_within_one_round(
    seller: Seller, cloud: StripeCloud
) -> None:
    session_id = await seller.checkout()
    seller.run(seller.poller.run())
    cloud.set_faults(drop_connection=True)
    cloud.pay(session_id)

    async def noticed() -> bool:
        return seller.stripe.state.status == "unreachable"

    await eventually(noticed, "the outage is noticed")
    cloud.set_faults()
    seller.poller.poll_now("wan up")
    await unlocks(seller)


class Soonest(Random):
    """Chance that always takes the first moment."""

    def uniform(self, a: float, b: float) -> float:
        return a


class Latest(Random):
    """Chance that always takes the last one."""

    def uniform(self, a: float, b: float) -> float:
        return b


def poller_of(seller: Seller, chance: Random) -> Poller:
    return Poller(
        seller.ledger,
        seller.reconciler,
        seller.stripe,
        lambda: seller.settings,
        seller.identity,
        seller.clock,
        chance=chance,
    )


async def test_poll_soon_after_an_outage_ends_the_backoff(seller: Seller, cloud: StripeCloud) -> None:
    seller.change(poll_interval=86_400)
    await seller.buy()
    cloud.set_faults(drop_connection=True)
    poller = poller_of(seller, Soonest())
    seller.run(poller.run())

    async def noticed() -> bool:
        return seller.stripe.state.status == "unreachable"

    await eventually(noticed, "the outage is noticed")
    cloud.set_faults()
    asked = seller.asked("/v1/subscriptions")
    poller.poll_soon("the way is back")

    async def looked() -> bool:
        return seller.asked("/v1/subscriptions") > asked

    await eventually(looked, "everything is looked at")


@pytest.mark.parametrize("way", ["start", "nudge"])
async def test_a_router_locked_for_being_offline_polls_at_once(seller: Seller, way: str) -> None:
    await seller.subscribe()
    poller = poller_of(seller, Latest())
    if way == "nudge":
        seller.run(poller.run())
        await asyncio.sleep(0.1)  # it has planned its first look by now, or plans it at once
    held = await seller.ledger.read(lambda tx: tx.features.all())
    offline = {name: replace(one, unlocked=False, reason="offline") for name, one in held.items()}
    await seller.ledger.write(lambda tx: tx.features.replace(offline))
    if way == "nudge":
        poller.poll_soon("the way is back")
    else:
        seller.run(poller.run())
    await unlocks(seller)


async def test_a_new_router_does_not_poll_at_once(cloud: StripeCloud, tmp_path: Path) -> None:
    """Nor have the thousand others that are unpacked with it: nothing was bought that could be missing."""
    async with selling(cloud, tmp_path / "new", rebuilding=True) as seller:
        before = seller.asked()
        seller.run(poller_of(seller, Latest()).run())
        await asyncio.sleep(0.5)
        assert seller.asked() == before


async def test_a_retry_after_is_honoured(seller: Seller, cloud: StripeCloud) -> None:
    await seller.checkout()
    cloud.set_faults(status=429, retry_after=3600)
    seller.run(seller.poller.run())

    async def refused() -> bool:
        return any(request["status"] == 429 for request in cloud.requests())

    await eventually(refused, "Stripe refuses once")
    asked = seller.asked()
    cloud.set_faults()
    seller.poller.poll_now("impatience")
    # a request of somebody else's passes, the poller's own do not
    await seller.stripe.retrieve("cs_test_x")
    assert seller.asked() == asked + 1


async def test_without_a_customer_one_search_is_the_complete_round(
    seller: Seller, cloud: StripeCloud
) -> None:
    before = seller.asked()
    await seller.poller.round([], routine=True)
    assert seller.asked() - before == 1
    assert seller.asked("/v1/customers/search") == 1
    assert seller.clock.trusted
    assert seller.reconciler.last_sync is not None


async def test_a_session_of_another_account_is_closed(seller: Seller, cloud: StripeCloud) -> None:
    session_id = await seller.checkout()
    row = await seller.ledger.read(lambda tx: tx.checkouts.by_session(session_id))
    assert row is not None
    await seller.ledger.write(lambda tx: tx.checkouts.update(row.local_id, session_id="cs_live_elsewhere"))
    seller.run(seller.poller.run())

    async def closed() -> bool:
        return not await seller.ledger.read(lambda tx: tx.checkouts.open())

    await eventually(closed, "the session is given up")


async def test_polling_the_same_state_again_writes_nothing(
    seller: Seller, monkeypatch: pytest.MonkeyPatch
) -> None:
    await seller.buy()
    await seller.poller.round([], routine=True)
    for _ in range(4):
        await seller.poller.round([], routine=True)

    def changes(tx: object) -> int:
        return int(tx.meta._connection.total_changes)  # type: ignore[attr-defined]

    before = await seller.ledger.read(changes)
    for _ in range(4):
        await seller.poller.round([], routine=True)
        await seller.reconciler.recompute()
    assert await seller.ledger.read(changes) == before


async def test_the_last_contact_survives_a_restart(cloud: StripeCloud, tmp_path: Path) -> None:
    async with selling(cloud, tmp_path / "r") as seller:
        await seller.buy()
        stored = await seller.ledger.read(lambda tx: tx.meta.get(META_LAST_CONTACT))
        assert stored is not None
    async with selling(cloud, tmp_path / "r") as seller:
        assert seller.reconciler.last_sync == int(stored)
        assert seller.clock.floor is not None
        assert not seller.clock.trusted


async def test_a_renewal_is_noticed_although_the_next_poll_is_a_day_away(
    seller: Seller, cloud: StripeCloud
) -> None:
    seller.change(poll_interval=86_400)
    await seller.buy("price_premium_monthly")
    seller.run(seller.poller.run())
    await seller.poller.poll_everything()
    (before,) = seller.reconciler.state.subscriptions.values()
    cloud.advance(32 * 86_400)
    seller.clock.observe(cloud.clock.now())  # the month passes here too
    seller.poll_wakeup.set()

    async def renewed() -> bool:
        (held,) = seller.reconciler.state.subscriptions.values()
        return held.current_period_end != before.current_period_end

    await eventually(renewed, "the renewal")


async def test_a_cancelled_plan_locks_at_its_end_without_stripe(seller: Seller, cloud: StripeCloud) -> None:
    subscription = await seller.subscribe()
    await seller.subscriptions.cancel(subscription)
    seller.run(seller.poller.run())
    await seller.poller.poll_everything()
    cloud.set_faults(drop_connection=True)
    cloud.advance(32 * 86_400)
    seller.clock.observe(cloud.clock.now())
    seller.poll_wakeup.set()

    async def locked() -> bool:
        return await seller.unlocked() == set()

    await eventually(locked, "the end")
    assert await seller.reason("backups") == "canceled"


async def test_a_customer_missing_from_the_identity_is_searched_at_the_start(
    cloud: StripeCloud, tmp_path: Path
) -> None:
    async with selling(cloud, tmp_path / "r") as seller:
        await seller.checkout()
        customer = seller.identity.load().customer
        assert customer is not None
        seller.identity.set_customer(None)
    async with selling(cloud, tmp_path / "r") as seller:
        seller.run(seller.poller.run())

        async def found() -> bool:
            return seller.identity.load().customer == customer

        await eventually(found, "the customer is known again")


async def test_status_requests_share_one_poll(seller: Seller, cloud: StripeCloud) -> None:
    session_id = await seller.checkout()
    path = f"/v1/checkout/sessions/{session_id}"
    before = seller.asked(path)
    shown = await asyncio.gather(*(seller.status.show(session_id) for _ in range(5)))
    assert {one["status"] for one in shown} == {"unpaid"}
    assert (await seller.status.show(session_id))["status"] == "unpaid"
    assert seller.asked(path) - before == 1


async def test_a_status_request_sees_a_payment_at_once(seller: Seller, cloud: StripeCloud) -> None:
    """Before the poller's own schedule does: the buyer has come back."""
    seller.run(seller.poller.run())
    session_id = await seller.checkout()
    cloud.pay(session_id)
    assert (await seller.status.show(session_id))["status"] == "paid"
    assert await seller.unlocked() == BOUGHT


async def test_a_status_request_honours_a_retry_after(seller: Seller, cloud: StripeCloud) -> None:
    session_id = await seller.checkout()
    cloud.set_faults(status=429, retry_after=3600)
    seller.run(seller.poller.run())
    await eventually(lambda: _refused(cloud), "Stripe refuses once")
    cloud.set_faults()
    await asyncio.sleep(0.1)
    before = seller.asked()
    assert (await seller.status.show(session_id))["status"] == "unpaid"
    assert seller.asked() == before


async def _refused(cloud: StripeCloud) -> bool:
    return any(request["status"] == 429 for request in cloud.requests())


@pytest.mark.parametrize("lists", [True, False])
@pytest.mark.parametrize("noticed_by", ["poll", "portal", "checkout"])
async def test_a_plan_of_a_deleted_customer_locks(
    seller: Seller, cloud: StripeCloud, noticed_by: str, lists: bool
) -> None:
    """Deleting a customer cancels its subscriptions; the lists of another customer do not have them."""
    cloud.account.settings["lists_of_deleted_customers"] = lists
    await seller.subscribe()
    customer = str(seller.identity.load().customer)
    await seller.stripe.delete("customer", customer)
    if noticed_by == "portal":
        with pytest.raises(PaymentError):
            await seller.portal.open()
    elif noticed_by == "checkout":
        await seller.checkout(ONE_TIME)
    if noticed_by != "poll":
        assert seller.identity.load().customer != customer
    await seller.poller.poll_everything()
    assert await seller.unlocked() == set()
    assert await seller.checkout(MONTHLY), "and a plan can be bought"


async def test_a_plan_that_stripe_does_not_show_any_more_is_offline(
    cloud: StripeCloud, tmp_path: Path
) -> None:
    """The keys became those of another account, which answers all the time."""
    state, offline_days = tmp_path / "r", 30
    async with selling(cloud, state) as seller:
        await seller.subscribe()
        (plan,) = seller.reconciler.state.subscriptions.values()
        period_end = plan.current_period_end or 0
    async with stocked_cloud() as other, selling(other, state) as seller:
        seller.change(offline_days=offline_days)
        seller.poller.account_changed()
        await seller.poller.poll_everything()
        for after, unlocked in ((-DAY, True), (offline_days * DAY - DAY, True), (offline_days * DAY, False)):
            other.advance(period_end + after - other.clock.now())
            await seller.poller.poll_everything()
            await seller.reconciler.recompute()
            assert bool(await seller.unlocked()) is unlocked
        assert await seller.reason("backups") == "offline"
        assert await seller.checkout(MONTHLY), "and a plan can be bought at this account"


async def test_a_plan_is_as_recent_as_its_own_last_poll_after_a_restart(
    cloud: StripeCloud, tmp_path: Path
) -> None:
    async with selling(cloud, tmp_path / "r") as seller:
        subscription = await seller.subscribe()
        seen = await seller.ledger.read(lambda tx: tx.meta.get(META_LAST_SEEN))
        assert seen is not None
        assert set(json.loads(seen)) == {subscription}
        (plan,) = seller.reconciler.state.subscriptions.values()
        cloud.set_faults(method="GET", path="/v1/*", status=500)
        # it renews; this router does not hear of it
        cloud.advance((plan.current_period_end or 0) + 29 * DAY - cloud.clock.now())
    async with selling(cloud, tmp_path / "r") as seller:
        seller.clock.observe(cloud.clock.now())
        await seller.reconciler.recompute()
        assert await seller.unlocked() == BOUGHT, "29 days after the end of the period"
        cloud.advance(DAY)
        seller.clock.observe(cloud.clock.now())
        await seller.reconciler.recompute()
        assert await seller.reason("backups") == "offline"
        cloud.set_faults()
        await seller.poller.poll_everything()
        assert await seller.unlocked() == BOUGHT


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
    async with selling(cloud, state) as seller:
        await seller.buy(MONTHLY)
        (first,) = seller.reconciler.state.subscriptions
        await seller.stripe.delete("subscription", first)
        made = [await another_like(cloud, first) for _ in range(PAGE + 1)]
        for one in made[1:]:
            await seller.stripe.delete("subscription", one["id"])
    for leftover in state.glob("ledger.db*"):
        leftover.unlink()
    async with selling(cloud, state, rebuilding=True) as seller:
        await seller.poller.poll_everything()
        assert await seller.unlocked() == BOUGHT
        assert made[0]["id"] in {one.id for one in seller.reconciler.state.running}


async def test_subscriptions_that_no_list_contains_do_not_make_a_round_longer(
    seller: Seller, cloud: StripeCloud
) -> None:
    first = await seller.subscribe()
    customer = str(seller.identity.load().customer)
    for _ in range(6):
        await another_like(cloud, first)
    await seller.poller.poll_everything()
    assert len(seller.reconciler.state.running) == 7
    await seller.stripe.delete("customer", customer)
    for _ in range(12):
        before = seller.asked()
        await seller.poller.round([], routine=True)
        assert seller.asked() - before <= REQUESTS
    assert seller.reconciler.state.running == []
    assert await seller.unlocked() == set()


@pytest.mark.parametrize("price", [MONTHLY, ONE_TIME])
async def test_purchases_of_a_duplicate_customer_are_found(
    cloud: StripeCloud, tmp_path: Path, price: str
) -> None:
    """Search lags: a customer was created twice, and the younger one bought."""
    state = tmp_path / "r"
    async with selling(cloud, state) as seller:
        router = seller.reconciler.identity.router_id
        older = await at_dashboard(cloud, "/v1/customers", metadata={"router_id": router})
        cloud.advance(60)
        younger = await at_dashboard(cloud, "/v1/customers", metadata={"router_id": router})
        seller.identity.set_customer(younger["id"])
        await seller.buy(price)
        seller.identity.set_customer(None)
    for leftover in state.glob("ledger.db*"):
        leftover.unlink()
    async with selling(cloud, state, rebuilding=True) as seller:
        await seller.poller.poll_everything()
        assert await seller.unlocked() == BOUGHT
        wanted = younger if price == MONTHLY else older
        assert seller.identity.load().customer == wanted["id"], "the portal is the one of the running plan"
