"""What waits, and payments that failed."""

from __future__ import annotations

import time

import pytest

from stripe_payments.diagnostics.finding import ago
from tests.unit.stripe_payments.diagnostics.rows import finding, fine, row
from tests.unit.stripe_payments.harness import Harness, Shop


async def test_polling(shop: Shop) -> None:
    await shop.harness.call("sync")
    await fine(shop.harness, "polling")
    shop.stripe.advance(86_400)
    shop.stripe.set_faults(status=503)  # Stripe's Date header still tells how late it has become
    await row(shop.harness, "clock")
    await finding(shop.harness, "polling", "warning", says="(24 hours ago)", hint="stripe-payments sync")


async def test_a_router_that_never_bought_anything_need_not_hear_often(shop: Shop) -> None:
    await shop.harness.call("sync")
    shop.stripe.advance(7200)
    shop.stripe.set_faults(status=503)
    await row(shop.harness, "clock")
    await fine(shop.harness, "polling")
    shop.stripe.set_faults()
    await shop.buy()
    shop.stripe.advance(7200)
    shop.stripe.set_faults(status=503)
    await row(shop.harness, "clock")
    await finding(
        shop.harness, "polling", "warning", says="Last successful poll", hint="stripe-payments sync"
    )


async def test_never_polled(offline: Harness) -> None:
    await finding(offline, "polling", "info", says="not been polled", hint="sync")


async def test_a_purchase_under_way_and_one_left_lying(shop: Shop) -> None:
    await shop.checkout()
    await finding(shop.harness, "checkouts", "info", says="Open purchases")
    await shop.harness.add_checkout("cs_test_forgotten", created_at=int(time.time()) - 3 * 86_400)
    await finding(shop.harness, "checkouts", "warning", says="more than a day", hint="sync")


async def test_changes_that_rpcd_does_not_take(shop: Shop) -> None:
    harness = shop.harness
    await harness.router.stop()
    await shop.buy()

    async def refused() -> bool:
        return not (await row(harness, "effects"))["ok"]

    await harness.until(refused)
    await finding(harness, "effects", "warning", says="could not be applied", hint="killall -HUP rpcd")
    await harness.router.start()

    async def all_told() -> bool:
        return bool((await row(harness, "effects"))["severity"] == "ok")

    await harness.until(all_told)


@pytest.mark.parametrize(
    ("card", "code", "hint"),
    [
        ("4000000000000002", "generic_decline", "declined the payment"),
        ("4000000000009995", "insufficient_funds", "Insufficient funds"),
        ("4000000000000069", "expired_card", "has expired"),
        ("4000000000000127", "incorrect_cvc", "security code"),
        ("4000000000009987", "lost_card", "declined the payment"),
        ("4000008400001629", "", "confirm"),
    ],
)
async def test_a_payment_that_failed(shop: Shop, card: str, code: str, hint: str) -> None:
    session = await shop.checkout()
    shop.stripe.pay(session, card=card, challenge="fail")
    await shop.harness.call("payment_status", payment_id=session)
    await finding(shop.harness, "payments", "warning", says=code, hint=hint)


async def test_a_payment_that_failed_and_then_succeeded_is_no_fault(shop: Shop) -> None:
    session = await shop.checkout()
    shop.stripe.pay(session, card="4000000000000002")
    await shop.harness.call("payment_status", payment_id=session)
    shop.stripe.pay(session)
    await shop.harness.call("sync")
    await fine(shop.harness, "payments")


async def test_a_country_that_the_card_is_not_for(shop: Shop) -> None:
    """No test card of Stripe's declines so: the stored payment intent is made to say it."""
    session = await shop.checkout()
    shop.stripe.pay(session, card="4000000000000002")
    (intent,) = shop.stripe.account.newest_first("payment_intent")
    intent["last_payment_error"] |= {"code": "country_code_invalid", "decline_code": None}
    await shop.harness.call("payment_status", payment_id=session)
    await finding(shop.harness, "payments", "warning", says="country_code_invalid", hint="in this country")


async def test_a_renewal_that_was_not_paid(shop: Shop) -> None:
    session = await shop.checkout(price_id="price_premium_monthly")
    shop.stripe.pay(session, card="4000000000000341")
    await shop.harness.call("sync")
    shop.stripe.advance(32 * 86_400)
    await shop.harness.call("sync")
    await finding(shop.harness, "payments", "warning", says="“Premium” unpaid", hint="payment method")


async def test_a_plan_that_stripe_no_longer_shows_keeps_others_from_being_sold(shop: Shop) -> None:
    """As after a change of the keys to those of another account."""
    session = await shop.checkout(price_id="price_premium_monthly")
    shop.stripe.pay(session)
    await shop.harness.call("sync")
    (plan,) = shop.stripe.account.newest_first("subscription")
    await fine(shop.harness, "subscriptions")
    parts = await shop.harness.parts()
    parts.reconciler._last_seen[plan["id"]] -= 2 * 86_400  # it was polled since, and not shown
    await finding(shop.harness, "subscriptions", "warning", says=str(plan["id"]), hint="Dashboard")


async def test_two_plans_that_are_charged(shop: Shop) -> None:
    """Two pages paid in the same moment; Stripe sells both."""
    session = await shop.checkout(price_id="price_premium_monthly")
    shop.stripe.pay(session)
    await shop.harness.call("sync")
    (plan,) = shop.stripe.account.newest_first("subscription")
    second = await shop.account.request(
        "POST",
        "subscriptions",
        customer=plan["customer"],
        items=[{"price": plan["items"]["data"][0]["price"]["id"]}],
        default_payment_method=plan["default_payment_method"],
        metadata=plan["metadata"],
    )
    await fine(shop.harness, "subscriptions")
    await shop.harness.call("sync")
    for one in (plan, second):
        await finding(
            shop.harness, "subscriptions", "warning", says=str(one["id"]), hint="cancel_subscription"
        )
    await shop.harness.call("cancel_subscription", subscription=second["id"])
    await fine(shop.harness, "subscriptions")


@pytest.mark.parametrize(
    ("seconds", "says"),
    [
        (-5, "0 min fa"),
        (7199, "119 min fa"),
        (7200, "2 ore fa"),
        (172_799, "47 ore fa"),
        (172_800, "2 giorni fa"),
        (345_780, "4 giorni fa"),
    ],
)
def test_an_age_has_the_unit_of_a_person(seconds: int, says: str) -> None:
    assert ago(seconds).in_locale("it") == says
