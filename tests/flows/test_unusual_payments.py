"""Payments that are not simply paid: given back, disputed, pending, free, tried first, confirmed again."""

from collections.abc import AsyncIterator

import pytest

from tests.flows.conftest import WorldMaker
from tests.flows.subscriber import BUSINESS, GOOD_CARD, PREMIUM, Subscriber

NOTHING: frozenset[str] = frozenset()
MONTHLY = "price_premium_monthly"
YEARLY = "price_premium_yearly"


@pytest.fixture
async def subscriber(make_world: WorldMaker) -> AsyncIterator[Subscriber]:
    async with make_world() as world:
        yield await Subscriber(world).listens()
        assert world.stripe.drift == []


async def test_a_plan_that_is_refunded_in_full_locks(subscriber: Subscriber) -> None:
    await subscriber.buy(MONTHLY)
    await subscriber.agreed(PREMIUM, "active")
    invoice = await subscriber.last_invoice()
    assert (await subscriber.seller.refund(invoice["id"]))["amount"] == 499
    await subscriber.agreed(NOTHING, "refunded")
    await subscriber.invoice_becomes("refunded")
    assert (await subscriber.payment(invoice["id"]))["status"] == "refunded"


async def test_a_plan_that_is_refunded_in_part_stays(subscriber: Subscriber) -> None:
    await subscriber.buy(MONTHLY)
    await subscriber.agreed(PREMIUM, "active")
    invoice = await subscriber.last_invoice()
    await subscriber.seller.refund(invoice["id"], 200)
    await subscriber.invoice_becomes("partially_refunded")
    await subscriber.agreed(PREMIUM, "active")


@pytest.mark.parametrize("outcome", ["won", "lost"])
async def test_a_dispute_about_a_plan_locks_when_it_is_lost(subscriber: Subscriber, outcome: str) -> None:
    await subscriber.buy(MONTHLY)
    await subscriber.agreed(PREMIUM, "active")
    charge = (await subscriber.world.account.request("GET", "charges"))["data"][0]["id"]
    await subscriber.world.control("dispute", {"charge": charge, "outcome": "open"})
    await subscriber.invoice_becomes("disputed")
    await subscriber.agreed(PREMIUM, "active")
    await subscriber.world.control("dispute", {"charge": charge, "outcome": outcome})
    if outcome == "won":
        await subscriber.invoice_becomes("paid")
        await subscriber.agreed(PREMIUM, "active")
    else:
        await subscriber.agreed(NOTHING, "disputed")


async def test_a_dispute_that_is_won_after_all_unlocks_by_webhook(subscriber: Subscriber) -> None:
    await subscriber.buy()
    await subscriber.agreed(PREMIUM, "paid")
    charge = (await subscriber.world.account.request("GET", "charges"))["data"][0]["id"]
    for outcome in ("open", "lost"):
        await subscriber.world.control("dispute", {"charge": charge, "outcome": outcome})
    await subscriber.agreed(NOTHING, "disputed")
    for outcome in ("appeal_under_review", "won"):
        await subscriber.world.control("dispute", {"charge": charge, "outcome": outcome})
    await subscriber.agreed(PREMIUM, "paid")


async def test_a_bank_debit_that_fails_never_unlocks(subscriber: Subscriber) -> None:
    session_id = await subscriber.buy(card="bank_debit_fails")

    async def pending() -> bool:
        return bool((await subscriber.payment(session_id))["status"] == "pending")

    await subscriber.world.wait_until(pending)
    await subscriber.agreed(NOTHING)
    await subscriber.time_passes(4)

    async def failed() -> bool:
        return bool((await subscriber.payment(session_id))["status"] == "failed")

    await subscriber.world.wait_until(failed)
    payment = await subscriber.payment(session_id)
    assert payment["failure"]["reason"] == "debit_failed"
    await subscriber.agreed(NOTHING)
    assert subscriber.observer.scripts() == {}


async def test_a_total_of_nothing_unlocks(subscriber: Subscriber) -> None:
    await subscriber.seller.configure("main", allow_promotion_codes="1")
    account = subscriber.world.account
    coupon = await account.request("POST", "coupons", percent_off=100, duration="once")
    promotion = {"type": "coupon", "coupon": coupon["id"]}
    await account.request("POST", "promotion_codes", promotion=promotion, code="FREE")
    session_id = await subscriber.checkout()
    await subscriber.world.control(f"checkout/{session_id}/pay", {"promotion_code": "FREE", "card": ""})
    await subscriber.agreed(PREMIUM, "paid")
    payment = await subscriber.payment(session_id)
    assert (payment["status"], payment["amount"]) == ("no_payment_required", 0)
    assert await subscriber.charged() == []


async def test_a_trial_without_a_card_ends_by_itself(subscriber: Subscriber) -> None:
    await subscriber.seller.configure(MONTHLY, trial_days="14", trial_requires_card="0")
    await subscriber.buy(MONTHLY, card="")
    await subscriber.agreed(PREMIUM, "trialing")
    assert subscriber.in_uci()["until"] == (await subscriber.subscription())["trial_end"]
    await subscriber.time_passes(15)
    await subscriber.agreed(NOTHING, "canceled")
    assert await subscriber.charged() == []
    await subscriber.buy(MONTHLY)
    await subscriber.agreed(PREMIUM, "active")
    assert await subscriber.charged() == [499], "there is one trial a router"


async def test_a_renewal_that_the_bank_wants_confirmed(subscriber: Subscriber) -> None:
    await subscriber.buy(MONTHLY, card="4000002760003184")
    await subscriber.agreed(PREMIUM, "active")
    await subscriber.time_passes(32)
    await subscriber.agreed(PREMIUM, "grace")
    owing = await subscriber.subscription()
    assert owing["status"] == "past_due"
    assert owing["latest_invoice"]["url"], "where the buyer confirms"
    await subscriber.gives_card(GOOD_CARD)
    await subscriber.pays_open_invoice()
    await subscriber.agreed(PREMIUM, "active")
    assert subscriber.flips("remote_backup_daily") == ["unlock"]


async def test_what_an_administrator_grants(subscriber: Subscriber) -> None:
    await subscriber.seller.grant("phone_support", "with our apologies")
    await subscriber.agreed(frozenset({"phone_support"}), "granted")
    assert subscriber.in_uci("phone_support")["source"] == "manual"
    await subscriber.buy(MONTHLY)
    await subscriber.agreed(PREMIUM | {"phone_support"})
    await subscriber.seller.revoke("phone_support")
    await subscriber.agreed(PREMIUM, "active")


async def test_the_portal_is_reached_from_the_router(subscriber: Subscriber) -> None:
    assert await subscriber.refusal("portal") == "nothing_bought"
    await subscriber.buy(MONTHLY)
    await subscriber.agreed(PREMIUM, "active")
    url = (await subscriber.call("portal", return_url=f"{subscriber.world.front.url}/"))["url"]
    assert url.startswith(f"{subscriber.world.stripe.url}/p/session/")
    assert await subscriber.refusal("portal", return_url="javascript:alert(1)") == "invalid_argument"
    assert await subscriber.refusal("create_checkout_session", price_id="price_business_monthly") == (
        "already_owned"
    )


async def test_of_two_open_pages_for_plans_one_can_be_paid(subscriber: Subscriber) -> None:
    """Stripe would sell both, and charge both every month."""
    account = subscriber.world.account
    monthly = await subscriber.checkout(MONTHLY)
    yearly = await subscriber.checkout(YEARLY)

    async def expired() -> bool:
        return bool((await account.request("GET", f"checkout/sessions/{monthly}"))["status"] == "expired")

    await subscriber.world.wait_until(expired)
    await subscriber.world.pay(yearly)
    await subscriber.agreed(PREMIUM, "active")
    assert await subscriber.charged() == [4999]
    assert len((await subscriber.call("subscriptions"))["subscriptions"]) == 1


async def test_the_next_payment_that_is_shown_before_a_change_is_the_one_that_comes(
    subscriber: Subscriber,
) -> None:
    """From a discounted plan by the month to a larger one: its first renewal has the discount."""
    await subscriber.buy(MONTHLY)
    await subscriber.agreed(PREMIUM, "active")
    account = subscriber.world.account
    subscription = (await subscriber.subscription())["id"]
    coupon = await account.request("POST", "coupons", percent_off=50, duration="forever")
    await account.request("POST", f"subscriptions/{subscription}", discounts=[{"coupon": coupon["id"]}])
    change = {"subscription": subscription, "price_id": "price_business_monthly"}
    preview = await subscriber.call("preview_change", **change)
    changed = await subscriber.call("change_plan", **change)
    assert changed["current_period_end"] == preview["next_payment"]["date"]
    before = len(await subscriber.charged())
    await subscriber.time_passes(32)

    async def renewed() -> bool:
        return len(await subscriber.charged()) > before

    await subscriber.world.wait_until(renewed)
    assert (await subscriber.charged())[before:] == [preview["next_payment"]["amount"]] == [749]

    async def shown() -> bool:
        return bool((await subscriber.subscription())["amount"] == 749)

    await subscriber.world.wait_until(shown)
    await subscriber.agreed(BUSINESS, "active")
