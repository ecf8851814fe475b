"""Changing, cancelling and resuming a plan, against the simulated Stripe and a real ledger."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import Any

import pytest

from simulator.stripe_cloud import StripeCloud
from stripe_payments.billing.upcoming import is_proration
from stripe_payments.errors import PaymentError
from stripe_payments.rfc3339 import format_time, parse_time
from tests.unit.stripe_payments.engine import (
    BUSINESS,
    MONTHLY,
    ONE_TIME,
    YEARLY,
    Engine,
    at_dashboard,
    pay_a_part,
)

DAY = 86_400


async def refusal(awaitable: Any) -> PaymentError:
    with pytest.raises(PaymentError) as raised:
        await awaitable
    return raised.value


def charged(cloud: StripeCloud) -> list[int]:
    """What the buyer's card was charged, oldest first."""
    charges = cloud.account.newest_first("charge")
    return [charge["amount"] for charge in charges if charge["paid"]][::-1]


def customer_of(engine: Engine) -> str:
    customer = engine.identity.load().customer
    assert customer is not None
    return customer


async def test_the_previewed_amount_is_charged(engine: Engine, cloud: StripeCloud) -> None:
    subscription = await engine.subscribe()
    cloud.advance(10 * DAY)
    preview = await engine.subscriptions.preview_change(subscription, BUSINESS)
    assert (preview["subscription"], preview["price"], preview["plan"]) == (
        subscription,
        BUSINESS,
        "business",
    )
    assert 0 < preview["amount_due"] < 1499
    assert preview["proration"] == preview["amount_due"] == sum(line["amount"] for line in preview["lines"])
    assert preview["credit"] == 0
    assert preview["next_payment"]["amount"] == 1499
    cloud.advance(600)  # the buyer hesitates
    changed = await engine.subscriptions.change_plan(subscription, BUSINESS)
    assert charged(cloud) == [499, preview["amount_due"]]
    assert (changed["plan"], changed["price"], changed["status"]) == ("business", BUSINESS, "active")
    assert changed["latest_invoice"]["amount_due"] == preview["amount_due"]
    assert changed["amount"] == 1499
    assert await engine.unlocked() == {"updates", "backups", "monitoring"}
    raw = cloud.account.get("subscription", subscription)
    assert raw["items"]["data"][0]["quantity"] == 1
    assert raw["metadata"]["item"] == "business"
    assert raw["metadata"]["price_alias"] == BUSINESS
    newest = (await engine.history.page(1))["transactions"][0]
    assert "business" in newest["description"], "what it was paid for, not what was given back for it"


async def half_price(cloud: StripeCloud, subscription: str) -> None:
    coupon = await at_dashboard(cloud, "/v1/coupons", percent_off=50, duration="forever")
    await at_dashboard(cloud, f"/v1/subscriptions/{subscription}", discounts=[{"coupon": coupon["id"]}])


async def renewed(engine: Engine, cloud: StripeCloud, subscription: str) -> int:
    """Let the current period end; return what its renewal was charged."""
    (item,) = cloud.account.get("subscription", subscription)["items"]["data"]
    before = len(charged(cloud))
    cloud.advance(item["current_period_end"] - cloud.account.now() + 2 * 3600)
    await engine.reconciler.sync(subscription)
    return sum(charged(cloud)[before:])


@pytest.mark.parametrize("discounted", [False, True])
@pytest.mark.parametrize(
    ("before", "after"),
    [(YEARLY, MONTHLY), (YEARLY, BUSINESS), (MONTHLY, YEARLY), (MONTHLY, BUSINESS), (BUSINESS, MONTHLY)],
)
async def test_the_next_payment_after_a_change_is_the_one_that_comes(
    engine: Engine, cloud: StripeCloud, before: str, after: str, *, discounted: bool
) -> None:
    """Its date is that of the new price's period; discounts and the credit of the change are counted."""
    subscription = await engine.subscribe(before)
    if discounted:
        await half_price(cloud, subscription)
    cloud.advance(2 * DAY)
    preview = await engine.subscriptions.preview_change(subscription, after)
    await engine.subscriptions.change_plan(subscription, after)
    (held,) = await engine.subscriptions.list()
    assert preview["next_payment"]["date"] == held["current_period_end"]
    assert preview["next_payment"]["source"] == "preview"
    assert await renewed(engine, cloud, subscription) == preview["next_payment"]["amount"]
    list_price = engine.settings.prices[after].amount
    assert preview["renewal_amount"] == (list_price - round(list_price / 2) if discounted else list_price)


@pytest.mark.parametrize(("months", "discounted"), [(3, False), (24, True)])
async def test_a_discount_that_ends_before_the_next_payment_is_not_in_it(
    engine: Engine, cloud: StripeCloud, months: int, *, discounted: bool
) -> None:
    """Stripe previews the yearly price as of now, when the coupon still counts."""
    subscription = await engine.subscribe(MONTHLY)
    terms = {"amount_off": 200, "currency": "eur", "duration": "repeating", "duration_in_months": months}
    coupon = await at_dashboard(cloud, "/v1/coupons", **terms)
    await at_dashboard(cloud, f"/v1/subscriptions/{subscription}", discounts=[{"coupon": coupon["id"]}])
    cloud.advance(2 * DAY)
    preview = await engine.subscriptions.preview_change(subscription, YEARLY)
    await engine.subscriptions.change_plan(subscription, YEARLY)
    expected = 4999 - 200 * discounted
    assert (preview["next_payment"]["amount"], preview["renewal_amount"]) == (expected, expected)
    assert await renewed(engine, cloud, subscription) == expected


async def test_a_renewal_that_cannot_be_previewed_has_the_list_price_and_says_so(
    engine: Engine, cloud: StripeCloud
) -> None:
    subscription = await engine.subscribe()
    cloud.advance(2 * DAY)
    preview = engine.stripe.preview_invoice

    async def refuse_renewals(params: Any, key: str) -> dict[str, Any]:
        if "preview_mode" in params:
            raise PaymentError("stripe_error", reason="not offered")
        return await preview(params, key)

    engine.stripe.preview_invoice = refuse_renewals  # type: ignore[method-assign,assignment]
    shown = await engine.subscriptions.preview_change(subscription, BUSINESS)
    assert (shown["next_payment"]["amount"], shown["next_payment"]["source"]) == (1499, "list_price")


@pytest.mark.parametrize("key", ["subscription_item_details", "invoice_item_details"])
def test_a_proration_is_marked_under_either_key(key: str) -> None:
    other = "invoice_item_details" if key == "subscription_item_details" else "subscription_item_details"
    assert is_proration({"parent": {key: {"proration": True}, other: None}})
    assert not is_proration({"parent": {key: {"proration": False}, other: None}})
    assert not is_proration({"parent": None})


async def shown(engine: Engine, *, preview: bool = False) -> tuple[int, str, int, str]:
    """The period's amount and currency; the next payment's amount and where that comes from."""
    (held,) = await engine.subscriptions.list(preview=preview)
    upcoming = held["next_payment"]
    assert upcoming["date"] == held["current_period_end"]
    assert upcoming["currency"] == held["currency"]
    return held["amount"], held["currency"], upcoming["amount"], upcoming["source"]


async def test_the_amount_of_a_subscription_is_what_it_is_charged(engine: Engine, cloud: StripeCloud) -> None:
    """Not the catalog's: the quantity may be another one, a discount may apply."""
    subscription = await engine.subscribe()
    assert await shown(engine) == (499, "eur", 499, "price")
    (item,) = cloud.account.get("subscription", subscription)["items"]["data"]
    await at_dashboard(
        cloud,
        f"/v1/subscriptions/{subscription}",
        items=[{"id": item["id"], "quantity": 3}],
        proration_behavior="none",
    )
    await engine.reconciler.sync(subscription)
    assert await shown(engine) == (1497, "eur", 1497, "price")
    await half_price(cloud, subscription)
    await engine.reconciler.sync(subscription)
    assert await shown(engine) == (1497, "eur", 1497, "list_price"), "no invoice has the discount yet"
    assert (await shown(engine, preview=True))[2:] == (749, "preview")
    assert await renewed(engine, cloud, subscription) == 749
    assert await shown(engine) == (749, "eur", 749, "invoice")


async def test_a_subscription_in_another_currency_shows_what_its_invoice_charged(
    engine: Engine, cloud: StripeCloud
) -> None:
    """A price can have amounts in several currencies (`currency_options`)."""
    subscription = await engine.subscribe()
    raw = cloud.account.get("subscription", subscription)
    invoice = cloud.account.get("invoice", raw["latest_invoice"])
    with cloud.account.changing(raw, None):
        raw["currency"] = "usd"
    with cloud.account.changing(invoice, None):
        invoice.update(currency="usd", amount_due=599, amount_paid=599, total=599)
        invoice["lines"]["data"][0].update(amount=599, currency="usd")
    await engine.reconciler.sync(subscription)
    assert (await shown(engine))[:2] == (599, "usd")


async def test_the_credit_of_a_change_is_taken_off_the_next_payments(
    engine: Engine, cloud: StripeCloud
) -> None:
    subscription = await engine.subscribe(BUSINESS)
    cloud.advance(2 * DAY)
    await engine.subscriptions.change_plan(subscription, MONTHLY)
    assert (await shown(engine))[2:] == (0, "price")
    assert (await shown(engine, preview=True))[2:] == (0, "preview")
    assert await renewed(engine, cloud, subscription) == 0


async def test_where_nothing_more_is_charged_there_is_no_next_payment(engine: Engine) -> None:
    subscription = await engine.subscribe()
    await engine.subscriptions.cancel(subscription)
    for preview in (False, True):
        (held,) = await engine.subscriptions.list(preview=preview)
        assert held["next_payment"] is None


@pytest.mark.parametrize("fault", ["away", "forbidden"])
async def test_without_a_preview_the_expected_payment_is_shown(
    engine: Engine, cloud: StripeCloud, fault: str
) -> None:
    await engine.subscribe()
    faults: dict[str, Any] = {"drop_connection": True} if fault == "away" else {"status": 403}
    cloud.set_faults(**faults, method="POST", path="/v1/invoices/create_preview")
    assert await shown(engine, preview=True) == (499, "eur", 499, "price")


async def test_a_voided_invoice_gives_its_credit_to_the_next_payment(
    engine: Engine, cloud: StripeCloud
) -> None:
    subscription = await engine.subscribe()
    await at_dashboard(cloud, f"/v1/customers/{customer_of(engine)}", balance=-200)
    cloud.change_card(customer_of(engine), "4000000000000341")
    cloud.advance(32 * DAY)
    invoice = cloud.account.get("subscription", subscription)["latest_invoice"]
    await at_dashboard(cloud, f"/v1/invoices/{invoice}/void")
    await engine.poller.poll_everything()
    for preview in (False, True):
        assert (await shown(engine, preview=preview))[2] == 299


async def test_an_expired_quote_is_computed_again(engine: Engine, cloud: StripeCloud) -> None:
    elapsed = 0.0
    engine.subscriptions._quotes._monotonic = lambda: elapsed
    subscription = await engine.subscribe()
    cloud.advance(10 * DAY)
    first = await engine.subscriptions.preview_change(subscription, BUSINESS)
    cloud.advance(5 * DAY)
    elapsed = 3600.0
    await engine.subscriptions.change_plan(subscription, BUSINESS)
    assert charged(cloud)[-1] < first["amount_due"]


async def test_a_smaller_plan_leaves_a_credit(engine: Engine, cloud: StripeCloud) -> None:
    subscription = await engine.subscribe(BUSINESS)
    cloud.advance(15 * DAY)
    preview = await engine.subscriptions.preview_change(subscription, MONTHLY)
    assert preview["amount_due"] == 0
    assert preview["proration"] < 0
    assert preview["credit"] == -preview["proration"]
    await engine.subscriptions.change_plan(subscription, MONTHLY)
    assert charged(cloud) == [1499]
    assert await engine.unlocked() == {"updates", "backups"}
    assert cloud.account.get("customer", customer_of(engine))["balance"] == -preview["credit"]


async def test_a_change_from_monthly_to_yearly_is_billed_at_once(engine: Engine, cloud: StripeCloud) -> None:
    subscription = await engine.subscribe()
    cloud.advance(15 * DAY)
    preview = await engine.subscriptions.preview_change(subscription, YEARLY)
    assert 4999 - 499 < preview["amount_due"] < 4999
    await engine.subscriptions.change_plan(subscription, YEARLY)
    assert charged(cloud)[-1] == preview["amount_due"]
    (held,) = await engine.subscriptions.list()
    assert held["interval"] == "year"
    assert held["current_period_end"] == preview["next_payment"]["date"]


async def test_a_double_click_changes_and_charges_once(engine: Engine, cloud: StripeCloud) -> None:
    subscription = await engine.subscribe()
    cloud.advance(10 * DAY)
    service = engine.subscriptions
    first, second = await asyncio.gather(
        service.change_plan(subscription, BUSINESS), service.change_plan(subscription, BUSINESS)
    )
    assert first == second
    assert len(charged(cloud)) == 2
    error = await refusal(service.change_plan(subscription, BUSINESS))
    assert error.code == "not_changeable"


async def test_a_lost_response_does_not_charge_twice(engine: Engine, cloud: StripeCloud) -> None:
    subscription = await engine.subscribe()
    cloud.advance(10 * DAY)
    await engine.subscriptions.preview_change(subscription, BUSINESS)
    path = f"/v1/subscriptions/{subscription}"
    cloud.set_faults(method="POST", path=path, drop_connection=True, when="after", count=1)
    error = await refusal(engine.subscriptions.change_plan(subscription, BUSINESS))
    assert error.code == "stripe_unreachable"
    assert (await refusal(engine.subscriptions.change_plan(subscription, BUSINESS))).code == "not_changeable"
    assert len(charged(cloud)) == 2
    assert "monitoring" in await engine.unlocked()


async def test_a_declined_upgrade_keeps_the_old_plan_until_it_is_paid(
    engine: Engine, cloud: StripeCloud
) -> None:
    subscription = await engine.subscribe()
    cloud.change_card(customer_of(engine), "4000000000000341")
    cloud.advance(10 * DAY)
    changed = await engine.subscriptions.change_plan(subscription, BUSINESS)
    assert (changed["plan"], changed["status"]) == ("premium", "active")
    assert changed["pending_change"]["price"] == BUSINESS
    assert changed["pending_change"]["invoice_url"]
    assert await engine.unlocked() == {"updates", "backups"}
    assert (await refusal(engine.subscriptions.change_plan(subscription, BUSINESS))).code == "not_changeable"
    cloud.change_card(customer_of(engine), "4242424242424242")
    invoice = changed["latest_invoice"]["id"]
    await engine.stripe.update("invoice", invoice, {}, "pay", action="pay")
    await engine.reconciler.sync(invoice, "paid")
    (held,) = await engine.subscriptions.list()
    assert (held["plan"], held["pending_change"]) == ("business", None)
    assert "monitoring" in await engine.unlocked()


@pytest.mark.parametrize(
    ("subscription", "price", "code"),
    [
        ("own", "price_of_somebody", "unknown_price"),
        ("own", MONTHLY, "not_changeable"),
        ("own", ONE_TIME, "not_changeable"),
        ("sub_1Nothing", BUSINESS, "subscription_not_found"),
        ("cs_test_1", BUSINESS, "invalid_argument"),
        ("", BUSINESS, "invalid_argument"),
    ],
)
async def test_refused_changes(engine: Engine, subscription: str, price: str, code: str) -> None:
    own = await engine.subscribe()
    target = own if subscription == "own" else subscription
    for verb in (engine.subscriptions.preview_change, engine.subscriptions.change_plan):
        error = await refusal(verb(target, price))
        assert error.code == code
        assert error.message_in("it") != error.message_in("en")


async def test_the_subscription_of_another_router_is_not_found(engine: Engine, cloud: StripeCloud) -> None:
    await engine.subscribe()
    other = await engine.stripe.create("customer", {"metadata": {"router_id": "another"}}, "other")
    (price,) = (await engine.stripe.list("price", {"lookup_keys": [MONTHLY]})).data
    foreign = await engine.stripe.create(
        "subscription",
        {"customer": other["id"], "items": [{"price": price["id"]}], "trial_period_days": 5},
        "foreign",
    )
    service = engine.subscriptions
    for attempt in (
        service.preview_change(foreign["id"], BUSINESS),
        service.cancel(foreign["id"]),
        service.resume(foreign["id"]),
    ):
        assert (await refusal(attempt)).code == "subscription_not_found"
    assert cloud.account.get("subscription", foreign["id"])["cancel_at_period_end"] is False
    assert len(await service.list()) == 1


async def test_canceling_takes_effect_at_period_end_and_can_be_undone(
    engine: Engine, cloud: StripeCloud
) -> None:
    subscription = await engine.subscribe()
    service = engine.subscriptions
    first, second = await asyncio.gather(service.cancel(subscription), service.cancel(subscription))
    assert first == second
    assert first["cancel_at_period_end"] is True
    assert first["ends_at"] == first["current_period_end"]
    assert await engine.reason("backups") == "ending"
    assert (await service.cancel(subscription)) == first, "a repetition changes nothing"
    resumed = await service.resume(subscription)
    assert (resumed["cancel_at_period_end"], resumed["cancel_at"], resumed["ends_at"]) == (False, None, None)
    assert await engine.reason("backups") == "active"
    assert (await service.cancel(subscription))["cancel_at_period_end"] is True, "and once again"
    assert cloud.account.get("subscription", subscription)["cancel_at_period_end"] is True


async def test_a_cancellation_in_the_portal_can_be_undone_too(engine: Engine, cloud: StripeCloud) -> None:
    subscription = await engine.subscribe()
    at = cloud.clock.now() + 5 * DAY
    await engine.stripe.update("subscription", subscription, {"cancel_at": at}, "portal")
    await engine.reconciler.sync(subscription, "portal")
    (held,) = await engine.subscriptions.list()
    assert held["cancel_at_period_end"] is False
    assert held["ends_at"] == held["cancel_at"] != held["current_period_end"]
    assert (await engine.subscriptions.resume(subscription))["ends_at"] is None


async def test_cancel_at_once(engine: Engine) -> None:
    subscription = await engine.subscribe()
    ended = await engine.subscriptions.cancel(subscription, at_period_end=False)
    assert ended["status"] == "canceled"
    assert await engine.unlocked() == set()
    assert (await engine.subscriptions.cancel(subscription, at_period_end=False)) == ended
    assert (await refusal(engine.subscriptions.resume(subscription))).code == "not_changeable"
    assert await engine.checkout(MONTHLY), "and the plan can be bought again"


async def test_pauses_end_by_resuming(engine: Engine, cloud: StripeCloud) -> None:
    subscription = await engine.subscribe()
    await engine.stripe.update(
        "subscription", subscription, {"pause_collection": {"behavior": "void"}}, "pause"
    )
    await engine.reconciler.sync(subscription, "dashboard")
    assert await engine.reason("backups") == "active", "nothing is collected, the service is kept"
    engine.change(lock_paused=True)
    await engine.reconciler.recompute()
    assert await engine.reason("backups") == "paused"
    assert (await engine.subscriptions.list())[0]["paused"] is True
    assert (await engine.subscriptions.resume(subscription))["paused"] is False
    assert await engine.reason("backups") == "active"
    await engine.stripe.update("subscription", subscription, {}, "status", action="pause")
    await engine.reconciler.sync(subscription, "dashboard")
    assert await engine.unlocked() == set()
    cloud.change_card(customer_of(engine), "4000000000000341")
    error = await refusal(engine.subscriptions.resume(subscription))
    assert error.code == "payment_failed"
    assert "rifiutat" in error.message_in("it")
    cloud.change_card(customer_of(engine), "4242424242424242")
    assert (await engine.subscriptions.resume(subscription))["status"] == "active"


async def test_a_failed_resumption_is_paid_once(engine: Engine, cloud: StripeCloud) -> None:
    subscription = await engine.subscribe()
    await engine.stripe.update("subscription", subscription, {}, "pause", action="pause")
    cloud.change_card(customer_of(engine), "4000000000000341")
    assert (await refusal(engine.subscriptions.resume(subscription))).code == "payment_failed"
    (held,) = await engine.subscriptions.list()
    assert (held["status"], held["latest_invoice"]["status"]) == ("paused", "open")
    assert held["latest_invoice"]["url"], "where it can be paid"
    cloud.change_card(customer_of(engine), "4242424242424242")
    resumed = await engine.subscriptions.resume(subscription)
    assert (resumed["status"], resumed["latest_invoice"]["id"]) == ("active", held["latest_invoice"]["id"])
    assert charged(cloud) == [499, 499]


async def test_resuming_in_the_classic_billing_mode_pays_too(engine: Engine, cloud: StripeCloud) -> None:
    subscription = await engine.subscribe()
    cloud.account.get("subscription", subscription)["billing_mode"] = {
        "type": "classic",
        "flexible": None,
        "updated_at": None,
    }
    await engine.stripe.update("subscription", subscription, {}, "pause", action="pause")
    assert (await engine.subscriptions.resume(subscription))["status"] == "active"
    assert charged(cloud) == [499, 499]


@pytest.mark.parametrize("parts", [(499,), (200, 299)])
async def test_what_dunning_paused_resumes_when_the_debt_is_paid(
    engine: Engine, cloud: StripeCloud, parts: tuple[int, ...]
) -> None:
    """`parts`: what the owner had collected of it before, and what is left."""
    cloud.account.settings["dunning_ends_with"] = "paused"
    subscription = await engine.subscribe()
    cloud.change_card(customer_of(engine), "4000000000000341")
    cloud.advance(50 * DAY)
    for amount in parts[:-1]:
        owed = str(cloud.account.get("subscription", subscription)["latest_invoice"])
        await pay_a_part(cloud, owed, amount)
    cloud.change_card(customer_of(engine), "4000000000000341")
    await engine.reconciler.sync(subscription, "time")
    assert (await refusal(engine.subscriptions.resume(subscription))).code == "payment_failed"
    cloud.change_card(customer_of(engine), "4242424242424242")
    resumed = await engine.subscriptions.resume(subscription)
    assert (resumed["status"], resumed["latest_invoice"]["status"]) == ("active", "paid")
    assert charged(cloud) == [499, *parts], "no new period besides the one that was owed"


@pytest.mark.parametrize("when", ["before", "after"])
async def test_a_debt_whose_payment_stripe_stored_a_failure_for_is_paid_once(
    engine: Engine, cloud: StripeCloud, when: str
) -> None:
    cloud.account.settings["dunning_ends_with"] = "paused"
    subscription = await engine.subscribe()
    cloud.change_card(customer_of(engine), "4000000000000341")
    cloud.advance(50 * DAY)
    cloud.change_card(customer_of(engine), "4242424242424242")
    cloud.set_faults(status=500, stored=True, when=when, path="/v1/invoices/*", method="POST", count=1)
    assert (await refusal(engine.subscriptions.resume(subscription))).code == "stripe_error"
    assert (await engine.subscriptions.resume(subscription))["status"] == "active"
    assert charged(cloud) == [499, 499]


@pytest.mark.parametrize("when", ["before", "after"])
@pytest.mark.parametrize("path", ["configurations", "sessions"])
async def test_the_portal_opens_after_a_failure_that_stripe_stored(
    engine: Engine, cloud: StripeCloud, path: str, when: str
) -> None:
    await engine.subscribe()
    path = f"/v1/billing_portal/{path}"
    cloud.set_faults(status=500, stored=True, when=when, path=path, method="POST", count=1)
    assert (await refusal(engine.portal.open())).code == "stripe_error"
    assert await engine.portal.open()
    assert len(list(cloud.account.newest_first("billing_portal.configuration"))) == 1


async def _by_debit(engine: Engine, cloud: StripeCloud, later: str) -> tuple[str, int]:
    """A monthly plan paid by debit, upgraded when that has arrived and `later` is to pay; (its id, the amount
    that was previewed).
    """
    subscription = await engine.subscribe(card="bank_debit")
    cloud.advance(5 * DAY)
    await engine.poller.poll_everything()
    cloud.change_card(customer_of(engine), later)
    preview = await engine.subscriptions.preview_change(subscription, BUSINESS)
    assert (preview["pays_by_debit"], preview["waits_for_debit"]) == (True, True)
    changed = await engine.subscriptions.change_plan(subscription, BUSINESS)
    assert (changed["plan"], changed["pending_change"]) == ("business", None)
    return subscription, int(preview["amount_due"])


async def test_an_upgrade_by_bank_debit_unlocks_what_is_new_when_it_is_paid(
    engine: Engine, cloud: StripeCloud
) -> None:
    subscription, due = await _by_debit(engine, cloud, "bank_debit")
    assert await engine.unlocked() == {"updates", "backups"}
    assert [await engine.reason(one) for one in ("updates", "monitoring")] == ["active", "pending"]
    assert (await engine.status.show(subscription))["status"] == "pending"
    cloud.advance(5 * DAY)
    await engine.poller.poll_everything()
    assert charged(cloud) == [499, due]
    assert [await engine.reason(one) for one in ("updates", "monitoring")] == ["active", "active"]


async def test_an_upgrade_whose_bank_debit_fails_leaves_what_was_paid(
    engine: Engine, cloud: StripeCloud
) -> None:
    subscription, _ = await _by_debit(engine, cloud, "bank_debit_fails")
    cloud.advance(4 * DAY)
    await engine.poller.poll_everything()
    assert charged(cloud) == [499]
    assert await engine.unlocked() == {"updates", "backups"}
    assert [await engine.reason(one) for one in ("updates", "monitoring")] == ["grace", "unpaid"]
    invoice = cloud.account.get("subscription", subscription)["latest_invoice"]
    cloud.change_card(customer_of(engine), "4242424242424242")
    await at_dashboard(cloud, f"/v1/invoices/{invoice}/pay")
    await engine.poller.poll_everything()
    assert await engine.unlocked() == {"updates", "backups", "monitoring"}


@pytest.mark.parametrize("when", ["first payment", "upgrade", "renewal"])
async def test_a_plan_whose_bank_debit_is_processing_cannot_be_changed(
    engine: Engine, cloud: StripeCloud, when: str
) -> None:
    """Stripe would credit the unused time of what may never be paid."""
    if when == "upgrade":
        subscription, _ = await _by_debit(engine, cloud, "bank_debit")
    else:
        subscription = await engine.subscribe(card="bank_debit")
    if when == "renewal":
        cloud.advance(5 * DAY)
        cloud.advance(26.3 * DAY)
    error = await refusal(engine.subscriptions.preview_change(subscription, YEARLY))
    assert error.code == "not_changeable"
    assert "processed" in error.message_in("en")
    cloud.advance(5 * DAY)
    assert (await engine.subscriptions.preview_change(subscription, YEARLY))["price"] == YEARLY


async def test_an_upgrade_to_a_longer_period_that_fails_leaves_the_shorter_one(
    engine: Engine, cloud: StripeCloud
) -> None:
    subscription = await engine.subscribe()
    (listed,) = await engine.subscriptions.list()
    paid_until = listed["current_period_end"]
    cloud.change_card(customer_of(engine), "bank_debit_fails")
    cloud.advance(5 * DAY)
    await engine.subscriptions.change_plan(subscription, YEARLY)
    cloud.advance(4 * DAY)
    await engine.poller.poll_everything()
    (listed,) = await engine.subscriptions.list()
    assert (listed["status"], listed["grace_until"]) == ("past_due", paid_until)
    assert await engine.reason("updates") == "grace"


async def test_with_trusted_debits_an_upgrade_unlocks_at_once(engine: Engine, cloud: StripeCloud) -> None:
    engine.change(trust_pending_debits=True)
    subscription = await engine.subscribe(card="bank_debit")
    cloud.advance(5 * DAY)
    await engine.poller.poll_everything()
    preview = await engine.subscriptions.preview_change(subscription, BUSINESS)
    assert (preview["pays_by_debit"], preview["waits_for_debit"]) == (True, False)
    await engine.subscriptions.change_plan(subscription, BUSINESS)
    assert await engine.reason("monitoring") == "active"


@pytest.mark.parametrize("when", ["before", "after"])
async def test_a_failure_that_is_stored_under_its_key_blocks_no_change(
    engine: Engine, cloud: StripeCloud, when: str
) -> None:
    subscription = await engine.subscribe()
    cloud.advance(10 * DAY)
    path = f"/v1/subscriptions/{subscription}"
    service = engine.subscriptions
    preview = await service.preview_change(subscription, BUSINESS)
    broken = {"method": "POST", "path": path, "status": 500, "stored": True, "when": when, "count": 1}
    cloud.set_faults(**broken)
    assert (await refusal(service.change_plan(subscription, BUSINESS))).code == "stripe_error"
    if when == "after":
        # its effect is found out before anything is requested again
        assert (await refusal(service.change_plan(subscription, BUSINESS))).code == "not_changeable"
    else:
        assert (await service.change_plan(subscription, BUSINESS))["plan"] == "business"
    assert charged(cloud) == [499, preview["amount_due"]]
    for change, ending in ((service.cancel, True), (service.resume, False)):
        cloud.set_faults(**broken)
        assert (await refusal(change(subscription))).code == "stripe_error"
        assert (await change(subscription))["cancel_at_period_end"] is ending


async def test_a_schedule_does_not_keep_a_buyer_in_a_plan(engine: Engine, cloud: StripeCloud) -> None:
    subscription = await engine.subscribe()
    service = engine.subscriptions
    schedule = await at_dashboard(cloud, "/v1/subscription_schedules", from_subscription=subscription)
    error = await refusal(service.change_plan(subscription, BUSINESS))
    assert error.code == "not_changeable"
    assert "planned in Stripe" in error.message_in("en")
    assert (await service.cancel(subscription))["cancel_at_period_end"] is True
    assert cloud.account.get("subscription_schedule", schedule["id"])["status"] == "released"
    await at_dashboard(cloud, "/v1/subscription_schedules", from_subscription=subscription)
    error = await refusal(service.resume(subscription))
    assert (error.code, error.details["reason"]) != ("stripe_error", None)
    assert error.code == "not_changeable"


async def test_what_a_schedule_has_planned_is_listed_and_happens(engine: Engine, cloud: StripeCloud) -> None:
    subscription = await engine.subscribe()
    schedule = await at_dashboard(cloud, "/v1/subscription_schedules", from_subscription=subscription)
    current = schedule["phases"][0]
    later = {"items": [{"price": _price_id(cloud, BUSINESS)}], "end_date": current["end_date"] + 31 * DAY}
    now = {"items": [{"price": _price_id(cloud, MONTHLY)}], "start_date": current["start_date"]}
    phases = [now | {"end_date": current["end_date"]}, later]
    await at_dashboard(cloud, f"/v1/subscription_schedules/{schedule['id']}", phases=phases)
    await engine.reconciler.sync(subscription, "made at Stripe")
    (listed,) = await engine.subscriptions.list("it", preview=True)
    assert listed["planned_change"] == {
        "date": format_time(current["end_date"]),
        "price": BUSINESS,
        "title": "Business",
        "amount": 1499,
        "currency": "eur",
        "interval": "month",
    }
    assert listed["next_payment"]["amount"] == 1499
    cloud.advance(32 * DAY)
    await engine.reconciler.sync(subscription, "time")
    assert charged(cloud) == [499, 1499]
    assert await engine.reason("monitoring") == "active"
    cloud.advance(32 * DAY)
    await engine.reconciler.sync(subscription, "time")
    (listed,) = await engine.subscriptions.list(preview=True)
    assert (listed["plan"], listed["planned_change"]) == ("business", None)


async def test_without_the_permission_a_schedule_is_not_shown(engine: Engine, cloud: StripeCloud) -> None:
    subscription = await engine.subscribe()
    await at_dashboard(cloud, "/v1/subscription_schedules", from_subscription=subscription)
    await engine.reconciler.sync(subscription, "made at Stripe")
    cloud.set_faults(method="GET", path="/v1/subscription_schedules", status=403)
    (listed,) = await engine.subscriptions.list(preview=True)
    assert engine.asked("/v1/subscription_schedules", "GET") == 1
    assert (listed["id"], listed["planned_change"]) == (subscription, None)
    cloud.set_faults()
    (listed,) = await engine.subscriptions.list(preview=True)
    assert listed["planned_change"] is None, "it changes nothing"


def _price_id(cloud: StripeCloud, alias: str) -> str:
    found = (price for price in cloud.account.newest_first("price") if price["lookup_key"] == alias)
    return str(next(found)["id"])


async def test_a_plan_that_was_to_end_changes_and_goes_on(engine: Engine, cloud: StripeCloud) -> None:
    subscription = await engine.subscribe()
    cloud.advance(10 * DAY)
    service = engine.subscriptions
    await service.cancel(subscription)
    preview = await service.preview_change(subscription, BUSINESS)
    assert preview["pays_by_debit"] is False
    changed = await service.change_plan(subscription, BUSINESS)
    assert charged(cloud) == [499, preview["amount_due"]]
    assert (changed["plan"], changed["ends_at"], changed["cancel_at_period_end"]) == ("business", None, False)
    assert await engine.reason("monitoring") == "active"
    cloud.advance(32 * DAY)
    assert charged(cloud)[2:] == [1499]


async def test_a_renewal_that_is_not_final_yet_takes_the_credit_first(
    engine: Engine, cloud: StripeCloud
) -> None:
    subscription = await engine.subscribe(BUSINESS)
    (listed,) = await engine.subscriptions.list()
    ends = parse_time(listed["current_period_end"])
    assert ends is not None
    cloud.advance(ends - cloud.account.now() + 600)
    preview = await engine.subscriptions.preview_change(subscription, MONTHLY)
    assert preview["credit"] > 900
    assert preview["next_payment"]["amount"] == 499
    await engine.subscriptions.change_plan(subscription, MONTHLY)
    cloud.advance(32 * DAY)
    assert charged(cloud) == [1499, 1499 - preview["credit"], 499]


async def _price_in_dollars(engine: Engine, cloud: StripeCloud, **options: Any) -> None:
    """The business plan's price, at Stripe and in the catalog, whose own currency is the dollar."""
    product = cloud.account.get("price", next(one["id"] for one in cloud.account.newest_first("price")))
    await at_dashboard(
        cloud,
        "/v1/prices",
        product=product["product"],
        unit_amount=1799,
        currency="usd",
        recurring={"interval": "month"},
        lookup_key=BUSINESS,
        transfer_lookup_key="true",
        **options,
    )
    price = replace(engine.settings.prices[BUSINESS], amount=1799, currency="usd")
    engine.change(prices={**engine.settings.prices, BUSINESS: price})


async def test_a_price_with_an_amount_in_the_subscriptions_currency_can_be_changed_to(
    engine: Engine, cloud: StripeCloud
) -> None:
    """`currency_options`: a customer pays in the currency of the first subscription."""
    await _price_in_dollars(engine, cloud, currency_options={"eur": {"unit_amount": 1599}})
    subscription = await engine.subscribe()
    cloud.advance(10 * DAY)
    preview = await engine.subscriptions.preview_change(subscription, BUSINESS)
    assert (preview["currency"], preview["renewal_amount"]) == ("eur", 1599)
    assert 0 < preview["amount_due"] < 1100
    changed = await engine.subscriptions.change_plan(subscription, BUSINESS)
    assert charged(cloud) == [499, preview["amount_due"]]
    assert (changed["plan"], changed["amount"], changed["currency"]) == ("business", 1599, "eur")
    (listed,) = await engine.subscriptions.list(preview=True)
    assert (listed["amount"], listed["currency"]) == (1599, "eur")
    assert (listed["next_payment"]["amount"], listed["next_payment"]["currency"]) == (1599, "eur")
    cloud.advance(32 * DAY)
    assert charged(cloud)[2:] == [1599]


async def test_without_stripes_preview_such_a_change_shows_the_price_in_that_currency(
    engine: Engine, cloud: StripeCloud
) -> None:
    await _price_in_dollars(engine, cloud, currency_options={"eur": {"unit_amount": 1599}})
    subscription = await engine.subscribe()
    real = engine.stripe.preview_invoice

    async def refused(params: Any, key: str) -> Any:
        if params.get("preview_mode") == "recurring":
            raise PaymentError("stripe_key_permission")
        return await real(params, key)

    engine.stripe.preview_invoice = refused  # type: ignore[method-assign, assignment]
    preview = await engine.subscriptions.preview_change(subscription, BUSINESS)
    assert (preview["currency"], preview["renewal_amount"]) == ("eur", 1599)
    assert preview["next_payment"]["source"] == "list_price"


async def test_a_price_without_the_subscriptions_currency_is_refused(
    engine: Engine, cloud: StripeCloud
) -> None:
    await _price_in_dollars(engine, cloud, currency_options={"gbp": {"unit_amount": 1299}})
    subscription = await engine.subscribe()
    error = await refusal(engine.subscriptions.preview_change(subscription, BUSINESS))
    assert error.code == "not_changeable"
    assert "currency" in error.message_in("en")


async def test_an_end_that_was_announced_stays_until_the_change_is_paid(
    engine: Engine, cloud: StripeCloud
) -> None:
    subscription = await engine.subscribe()
    await engine.subscriptions.cancel(subscription)
    cloud.change_card(customer_of(engine), "4000000000000341")
    changed = await engine.subscriptions.change_plan(subscription, BUSINESS)
    assert (changed["plan"], changed["cancel_at_period_end"]) == ("premium", True)
    assert changed["pending_change"]["price"] == BUSINESS


async def test_a_change_leaves_what_else_the_subscription_has(engine: Engine, cloud: StripeCloud) -> None:
    subscription = await engine.subscribe()
    product = await at_dashboard(cloud, "/v1/products", name="Installation service")
    extra = await at_dashboard(
        cloud,
        "/v1/prices",
        product=product["id"],
        currency="eur",
        unit_amount=100,
        recurring={"interval": "month"},
    )
    path = f"/v1/subscriptions/{subscription}"
    await at_dashboard(cloud, path, items=[{"price": extra["id"], "quantity": 3}])
    await engine.subscriptions.change_plan(subscription, BUSINESS)
    items = cloud.account.get("subscription", subscription)["items"]["data"]
    held = {item["price"]["lookup_key"] or item["price"]["id"]: item["quantity"] for item in items}
    assert held == {BUSINESS: 1, extra["id"]: 3}


async def add_item(engine: Engine, cloud: StripeCloud, subscription: str, **item: Any) -> None:
    """As in the Dashboard."""
    await at_dashboard(cloud, f"/v1/subscriptions/{subscription}", items=[item])
    await engine.reconciler.sync(subscription, "dashboard")


async def test_a_second_plan_in_a_subscription_is_unlocked_too(engine: Engine, cloud: StripeCloud) -> None:
    subscription = await engine.subscribe()
    (business,) = (await engine.stripe.list("price", {"lookup_keys": [BUSINESS]})).data
    await add_item(engine, cloud, subscription, price=business["id"], quantity=0)
    assert await engine.unlocked() == {"updates", "backups"}, "nothing is paid for it"
    added = cloud.account.get("subscription", subscription)["items"]["data"][1]["id"]
    await add_item(engine, cloud, subscription, id=added, quantity=2)
    assert await engine.unlocked() == {"updates", "backups", "monitoring"}
    (held,) = await engine.subscriptions.list()
    assert (held["title"], held["amount"]) == ("Premium + Business", 499 + 2 * 1499)
    assert held["plan"] == "premium"
    error = await refusal(engine.subscriptions.change_plan(subscription, YEARLY))
    assert error.code == "not_changeable"
    assert "several plans" in error.message_in("en")
    await add_item(engine, cloud, subscription, id=added, deleted=True)
    assert await engine.unlocked() == {"updates", "backups"}


async def test_a_plan_behind_another_item_is_the_plan(engine: Engine, cloud: StripeCloud) -> None:
    subscription = await engine.subscribe(BUSINESS)
    raw = cloud.account.get("subscription", subscription)
    extra = await at_dashboard(
        cloud,
        "/v1/prices",
        product_data={"name": "Installation service"},
        currency="eur",
        unit_amount=100,
        recurring={"interval": "month"},
    )
    await add_item(engine, cloud, subscription, price=extra["id"])
    raw["items"]["data"].reverse()
    await engine.reconciler.sync(subscription, "dashboard")
    assert await engine.unlocked() == {"updates", "backups", "monitoring"}
    (held,) = await engine.subscriptions.list()
    assert (held["plan"], held["price"], held["amount"]) == ("business", BUSINESS, 1599)
    assert (await engine.subscriptions.change_plan(subscription, MONTHLY))["plan"] == "premium"
    assert await engine.unlocked() == {"updates", "backups"}


async def test_how_often_it_is_charged_is_shown(engine: Engine, cloud: StripeCloud) -> None:
    subscription = await engine.subscribe()
    raw = cloud.account.get("subscription", subscription)
    raw["items"]["data"][0]["price"]["recurring"]["interval_count"] = 3
    await engine.reconciler.sync(subscription, "dashboard")
    (held,) = await engine.subscriptions.list()
    assert (held["amount"], held["interval"], held["interval_count"]) == (499, "month", 3)


async def test_what_stripe_refuses_is_said_in_its_words(engine: Engine, cloud: StripeCloud) -> None:
    subscription = await engine.subscribe()
    extra = await at_dashboard(
        cloud,
        "/v1/prices",
        product=cloud.account.get("price", next(iter(cloud.account.newest_first("price")))["id"])["product"],
        currency="eur",
        unit_amount=100,
        recurring={"interval": "month"},
    )
    await at_dashboard(cloud, f"/v1/subscriptions/{subscription}", items=[{"price": extra["id"]}])
    error = await refusal(engine.subscriptions.change_plan(subscription, YEARLY))
    assert error.code == "not_changeable", "of another interval than the other item"
    assert "interval" in error.message_in("en")
    assert charged(cloud) == [499]


async def test_a_plan_with_a_payment_due_is_not_changed(engine: Engine, cloud: StripeCloud) -> None:
    subscription = await engine.subscribe()
    cloud.change_card(customer_of(engine), "4000000000000341")
    cloud.advance(32 * DAY)
    error = await refusal(engine.subscriptions.preview_change(subscription, BUSINESS))
    assert error.code == "not_changeable"
    assert "Fatture" in error.message_in("it")
    (held,) = await engine.subscriptions.list("it")
    assert held["status"] == "past_due"
    assert held["grace_until"]
    assert held["latest_invoice"]["status"] == "open"
    assert held["latest_invoice"]["url"]


async def test_all_routers_share_a_portal_configuration_without_plan_changes(
    engine: Engine, cloud: StripeCloud
) -> None:
    assert (await refusal(engine.portal.open())).code == "nothing_bought"
    await engine.subscribe()
    first = await engine.portal.open("http://192.168.1.1/cgi-bin/luci/admin/payments/shop", "it")
    again = await engine.portal.open()
    assert first["url"] != again["url"]
    (configuration,) = cloud.account.newest_first("billing_portal.configuration")
    assert configuration["features"]["subscription_update"]["enabled"] is False
    assert configuration["features"]["subscription_cancel"]["mode"] == "at_period_end"
    sessions = list(cloud.account.newest_first("billing_portal.session"))
    assert {session["configuration"] for session in sessions} == {configuration["id"]}
    assert sessions[1]["return_url"] == "http://192.168.1.1/cgi-bin/luci/admin/payments/shop"
    assert sessions[1]["locale"] == "it"
    await engine.ledger.write(lambda tx: tx.meta.delete("portal_configuration"))
    await engine.portal.open()
    assert len(list(cloud.account.newest_first("billing_portal.configuration"))) == 1, "it is found again"
    await engine.ledger.write(lambda tx: tx.meta.set("portal_configuration", "bpc_1Gone"))
    assert await engine.portal.open()
    assert (await refusal(engine.portal.open("javascript:alert(1)"))).code == "invalid_argument"


async def test_a_second_plan_is_refused_and_names_the_first(engine: Engine) -> None:
    subscription = await engine.subscribe()
    error = await refusal(engine.checkout(BUSINESS))
    assert error.code == "already_owned"
    for locale in ("en", "it"):
        hint = error.hint_in(locale) or ""
        assert subscription in hint
        assert "change_plan" in hint
        assert "portal" in hint


async def test_the_history_links_to_the_invoice(engine: Engine) -> None:
    await engine.subscribe()
    (line,) = (await engine.history.page())["transactions"]
    assert line["kind"] == "invoice"
    assert line["invoice_pdf"].endswith("/pdf")
    assert line["receipt_url"].startswith("http")


async def test_grants_unlock_and_can_be_revoked(engine: Engine, cloud: StripeCloud) -> None:
    await engine.reconciler.sync(await engine.checkout(), "clock")
    assert (await refusal(engine.grants.grant("nothing"))).code == "unknown_feature"
    assert (await refusal(engine.grants.grant("backups", "tomorrow"))).code == "invalid_argument"
    assert (await refusal(engine.grants.grant("backups", "2001-01-01T00:00:00Z"))).code == "invalid_argument"
    granted = await engine.grants.grant("backups", note="a review unit")
    assert granted["note"] == "a review unit"
    assert await engine.unlocked() == {"backups"}
    assert await engine.reason("backups") == "granted"
    assert await engine.grants.list() == [granted]
    assert await engine.grants.revoke("backups") == {"feature": "backups", "revoked": True}
    assert await engine.grants.revoke("backups") == {"feature": "backups", "revoked": False}
    assert await engine.unlocked() == set()
