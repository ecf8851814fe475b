"""What waits, and payments that failed."""

from __future__ import annotations

import time

import pytest

from tests.unit.stripe_payments.diagnostics.rows import fine, row, told
from tests.unit.stripe_payments.house import House, Shop


async def test_polling(shop: Shop) -> None:
    await shop.house.call("sync")
    await fine(shop.house, "polling")
    shop.stripe.advance(86_400)
    shop.stripe.set_faults(status=503)  # Stripe's Date header still tells how late it has become
    await row(shop.house, "clock")
    await told(shop.house, "polling", "warning", says="Last successful poll", hint="stripe-payments sync")


async def test_a_router_that_never_bought_anything_need_not_hear_often(shop: Shop) -> None:
    await shop.house.call("sync")
    shop.stripe.advance(7200)
    shop.stripe.set_faults(status=503)
    await row(shop.house, "clock")
    await fine(shop.house, "polling")
    shop.stripe.set_faults()
    await shop.buy()
    shop.stripe.advance(7200)
    shop.stripe.set_faults(status=503)
    await row(shop.house, "clock")
    await told(shop.house, "polling", "warning", says="Last successful poll", hint="stripe-payments sync")


async def test_never_polled(offline: House) -> None:
    await told(offline, "polling", "info", says="not been polled", hint="sync")


async def test_a_purchase_under_way_and_one_left_lying(shop: Shop) -> None:
    await shop.checkout()
    await told(shop.house, "checkouts", "info", says="Open purchases")
    await shop.house.add_checkout("cs_test_forgotten", created_at=int(time.time()) - 3 * 86_400)
    await told(shop.house, "checkouts", "warning", says="more than a day", hint="sync")


async def test_changes_that_rpcd_does_not_take(shop: Shop) -> None:
    house = shop.house
    await house.router.stop()
    await shop.buy()

    async def refused() -> bool:
        return not (await row(house, "effects"))["ok"]

    await house.until(refused)
    await told(house, "effects", "warning", says="could not be applied", hint="killall -HUP rpcd")
    await house.router.start()

    async def all_told() -> bool:
        return bool((await row(house, "effects"))["severity"] == "ok")

    await house.until(all_told)


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
    await shop.house.call("payment_status", payment_id=session)
    await told(shop.house, "payments", "warning", says=code, hint=hint)


async def test_a_payment_that_failed_and_then_succeeded_is_no_fault(shop: Shop) -> None:
    session = await shop.checkout()
    shop.stripe.pay(session, card="4000000000000002")
    await shop.house.call("payment_status", payment_id=session)
    shop.stripe.pay(session)
    await shop.house.call("sync")
    await fine(shop.house, "payments")


async def test_a_country_that_the_card_is_not_for(shop: Shop) -> None:
    """No test card of Stripe's declines so: the stored payment intent is made to say it."""
    session = await shop.checkout()
    shop.stripe.pay(session, card="4000000000000002")
    (intent,) = shop.stripe.account.newest_first("payment_intent")
    intent["last_payment_error"] |= {"code": "country_code_invalid", "decline_code": None}
    await shop.house.call("payment_status", payment_id=session)
    await told(shop.house, "payments", "warning", says="country_code_invalid", hint="in this country")


async def test_a_renewal_that_was_not_paid(shop: Shop) -> None:
    session = await shop.checkout(price_id="price_premium_monthly")
    shop.stripe.pay(session, card="4000000000000341")
    await shop.house.call("sync")
    shop.stripe.advance(32 * 86_400)
    await shop.house.call("sync")
    await told(shop.house, "payments", "warning", says="“premium” unpaid", hint="payment method")
