"""Subscriptions through months of the simulator's clock, as the SDK sees them."""

from __future__ import annotations

import itertools
from datetime import UTC, datetime
from typing import Any

import pytest
import stripe
from hypothesis import given
from hypothesis import strategies as st

from simulator.stripe_cloud.api_errors import StripeApiError
from simulator.stripe_cloud.billing import calendar
from simulator.stripe_cloud.billing.proration import share

from .conftest import Shop

HOUR = 3_600
DAY = 86_400
MONTH = {"interval": "month", "interval_count": 1}


def period_end(sub: stripe.Subscription) -> int:
    return sub.items.data[0].current_period_end


async def fetch(shop: Shop, sub_id: str, *expand: str) -> stripe.Subscription:
    return await shop.call(shop.client.v1.subscriptions.retrieve, sub_id, {"expand": list(expand)})


def until_renewal(shop: Shop, sub: stripe.Subscription) -> float:
    """Seconds to just after the renewal's invoice was finalised and charged."""
    return period_end(sub) - shop.cloud.clock.precise() + HOUR + 1


async def test_checkout_starts_a_subscription_with_a_paid_invoice(shop: Shop) -> None:
    sub = await fetch(shop, await shop.subscribe(metadata={"router_id": "r1"}), "latest_invoice.payments")
    invoice: Any = sub.latest_invoice
    assert (sub.status, sub.metadata["router_id"]) == ("active", "r1")
    assert (invoice.status, invoice.amount_paid, invoice.billing_reason) == (
        "paid",
        499,
        "subscription_create",
    )
    assert invoice.parent.subscription_details.metadata["router_id"] == "r1"
    assert invoice.payments.data[0].payment.payment_intent.startswith("pi_")
    assert invoice.invoice_pdf.startswith(shop.cloud.url)
    types = shop.event_types()
    assert types.index("customer.subscription.created") < types.index("customer.subscription.updated")
    assert types[-1] == "checkout.session.completed"


async def test_a_declined_first_payment_leaves_it_incomplete_then_expired(shop: Shop) -> None:
    session = await shop.session(await shop.monthly(), mode="subscription", customer=await shop.customer())
    assert shop.cloud.pay(session.id, card="4000000000000002")["status"] == "declined"
    listed = await shop.call(shop.client.v1.subscriptions.list, {"status": "all"})
    assert [sub.status for sub in listed.data] == ["incomplete"]
    shop.cloud.advance(25 * HOUR)
    listed = await shop.call(shop.client.v1.subscriptions.list, {"status": "all"})
    assert [sub.status for sub in listed.data] == ["incomplete_expired"]


async def test_it_renews_every_month(shop: Shop) -> None:
    sub_id = await shop.subscribe()
    for _ in range(3):
        before = await fetch(shop, sub_id)
        shop.cloud.advance(until_renewal(shop, before))
        after = await fetch(shop, sub_id, "latest_invoice")
        invoice: Any = after.latest_invoice
        assert after.items.data[0].current_period_start == period_end(before)
        assert (after.status, invoice.status, invoice.billing_reason) == (
            "active",
            "paid",
            "subscription_cycle",
        )
    invoices = await shop.call(shop.client.v1.invoices.list, {"subscription": sub_id})
    assert len(invoices.data) == 4
    assert len({invoice.number for invoice in invoices.data}) == 4


async def test_a_long_jump_does_every_renewal_on_its_day(shop: Shop) -> None:
    sub_id = await shop.subscribe()
    shop.cloud.advance(366 * DAY)
    invoices = await shop.call(shop.client.v1.invoices.list, {"subscription": sub_id, "limit": 100})
    assert len(invoices.data) == 13
    created = [invoice.created for invoice in invoices.data][::-1]
    assert all(27 * DAY < later - earlier < 32 * DAY for earlier, later in itertools.pairwise(created))


async def test_a_failed_renewal_goes_past_due_is_retried_and_ends(shop: Shop) -> None:
    sub_id = await shop.subscribe(card="4000000000000341")
    shop.cloud.advance(until_renewal(shop, await fetch(shop, sub_id)))
    late = await fetch(shop, sub_id, "latest_invoice")
    invoice: Any = late.latest_invoice
    assert (late.status, invoice.status, invoice.attempt_count) == ("past_due", "open", 1)
    assert invoice.next_payment_attempt is not None
    assert "invoice.payment_failed" in shop.event_types()
    shop.cloud.advance(20 * DAY)
    gone = await fetch(shop, sub_id)
    assert (gone.status, gone.cancellation_details and gone.cancellation_details.reason) == (
        "canceled",
        "payment_failed",
    )


async def test_dunning_can_end_unpaid_and_be_paid_after_all(shop: Shop) -> None:
    shop.cloud.account.settings["dunning_ends_with"] = "unpaid"
    sub_id = await shop.subscribe(card="4000000000000341")
    shop.cloud.advance(until_renewal(shop, await fetch(shop, sub_id)) + 20 * DAY)
    unpaid = await fetch(shop, sub_id)
    assert unpaid.status == "unpaid"
    error = await shop.refused(shop.client.v1.invoices.pay, str(unpaid.latest_invoice))
    assert isinstance(error, stripe.CardError)
    shop.cloud.change_card(str(unpaid.customer), "4242424242424242")
    paid = await shop.call(shop.client.v1.invoices.pay, str(unpaid.latest_invoice))
    assert paid.status == "paid"
    assert (await fetch(shop, sub_id)).status == "active"


async def test_a_new_card_lets_the_next_retry_succeed(shop: Shop) -> None:
    sub_id = await shop.subscribe(card="4000000000000341")
    sub = await fetch(shop, sub_id)
    shop.cloud.advance(until_renewal(shop, sub))
    shop.cloud.change_card(str(sub.customer), "4242424242424242")
    assert (await fetch(shop, sub_id)).status == "past_due"
    shop.cloud.advance(3 * DAY + 10)
    assert (await fetch(shop, sub_id)).status == "active"


async def test_a_renewal_that_needs_the_buyer_says_so(shop: Shop) -> None:
    sub_id = await shop.subscribe(card="4000002760003184")
    shop.cloud.advance(until_renewal(shop, await fetch(shop, sub_id)))
    assert (await fetch(shop, sub_id)).status == "past_due"
    assert "invoice.payment_action_required" in shop.event_types()


async def test_a_bank_debit_is_active_while_it_settles(shop: Shop) -> None:
    sub_id = await shop.subscribe(card="bank_debit")
    sub = await fetch(shop, sub_id, "latest_invoice")
    invoice: Any = sub.latest_invoice
    assert (sub.status, invoice.status) == ("active", "open")
    shop.cloud.advance(4 * DAY)
    assert (await shop.call(shop.client.v1.invoices.retrieve, invoice.id)).status == "paid"

    failing = await shop.subscribe(card="bank_debit_fails")
    shop.cloud.advance(4 * DAY)
    failed = await fetch(shop, failing, "latest_invoice")
    voided: Any = failed.latest_invoice
    assert (failed.status, voided.status) == ("active", "void")


async def test_a_trial_ends_in_a_paid_period(shop: Shop) -> None:
    session = await shop.session(
        await shop.monthly(),
        mode="subscription",
        customer=await shop.customer(),
        subscription_data={"trial_period_days": 14},
    )
    assert session.amount_total == 0
    shop.cloud.pay(session.id)
    done = await shop.call(shop.client.v1.checkout.sessions.retrieve, session.id)
    sub = await fetch(shop, str(done.subscription))
    assert (done.payment_status, sub.status) == ("no_payment_required", "trialing")
    assert sub.trial_end == sub.items.data[0].current_period_end
    shop.cloud.advance(11 * DAY + 60)
    assert "customer.subscription.trial_will_end" in shop.event_types()
    shop.cloud.advance(3 * DAY + 2 * HOUR)
    after = await fetch(shop, sub.id, "latest_invoice")
    invoice: Any = after.latest_invoice
    assert (after.status, invoice.amount_paid) == ("active", 499)


@pytest.mark.parametrize(
    ("behaviour", "status"), [("cancel", "canceled"), ("pause", "paused"), ("create_invoice", "past_due")]
)
async def test_a_trial_without_a_card_ends_as_configured(shop: Shop, behaviour: str, status: str) -> None:
    session = await shop.session(
        await shop.monthly(),
        mode="subscription",
        customer=await shop.customer(),
        payment_method_collection="if_required",
        subscription_data={
            "trial_period_days": 7,
            "trial_settings": {"end_behavior": {"missing_payment_method": behaviour}},
        },
    )
    shop.cloud.pay(session.id, card="")
    sub_id = str(shop.cloud.account.get("checkout.session", session.id)["subscription"])
    shop.cloud.advance(7 * DAY + 2 * HOUR)
    sub = await fetch(shop, sub_id)
    assert sub.status == status
    if status == "paused":
        resume = shop.client.v1.subscriptions.resume
        at_once: Any = {"payment_behavior": "resume_on_payment_success"}
        assert (await shop.call(resume, sub_id, at_once)).status == "paused"
        shop.cloud.change_card(str(sub.customer), "4242424242424242")
        assert (await shop.call(resume, sub_id, at_once)).status == "active"


async def test_a_declined_card_starts_no_trial(shop: Shop) -> None:
    session = await shop.session(
        await shop.monthly(),
        mode="subscription",
        customer=await shop.customer(),
        subscription_data={"trial_period_days": 7},
    )
    assert shop.cloud.pay(session.id, card="4000000000000002")["status"] == "declined"
    assert (await shop.call(shop.client.v1.subscriptions.list, {"status": "all"})).data == []


async def test_cancel_at_period_end_resume_and_expiry(shop: Shop) -> None:
    sub_id = await shop.subscribe()
    update = shop.client.v1.subscriptions.update
    ending = await shop.call(update, sub_id, {"cancel_at_period_end": True})
    assert (ending.status, ending.cancel_at_period_end, ending.cancel_at) == (
        "active",
        True,
        period_end(ending),
    )
    kept = await shop.call(update, sub_id, {"cancel_at_period_end": False})
    assert (kept.cancel_at_period_end, kept.cancel_at, kept.canceled_at) == (False, None, None)
    await shop.call(update, sub_id, {"cancel_at": "min_period_end"})
    shop.cloud.advance(32 * DAY)
    gone = await fetch(shop, sub_id)
    assert (gone.status, gone.ended_at) == ("canceled", period_end(ending))
    assert shop.event_types()[-1] == "customer.subscription.deleted"
    error = await shop.refused(shop.client.v1.subscriptions.cancel, sub_id)
    assert error.code == "resource_missing"


async def test_cancel_at_once(shop: Shop) -> None:
    sub_id = await shop.subscribe()
    gone = await shop.call(
        shop.client.v1.subscriptions.cancel, sub_id, {"cancellation_details": {"feedback": "unused"}}
    )
    assert gone.status == "canceled"
    assert (await shop.call(shop.client.v1.subscriptions.list, {})).data == []
    shop.cloud.advance(40 * DAY)
    assert len((await shop.call(shop.client.v1.invoices.list, {"subscription": sub_id})).data) == 1


async def test_the_previewed_change_is_the_charged_one(shop: Shop) -> None:
    business = await shop.price(1499, name="Business", recurring=MONTH)
    sub_id = await shop.subscribe()
    shop.cloud.advance(11 * DAY)
    sub = await fetch(shop, sub_id)
    moment = shop.cloud.clock.now()
    items: Any = [{"id": sub.items.data[0].id, "price": business}]
    preview = await shop.call(
        shop.client.v1.invoices.create_preview,
        {
            "subscription": sub_id,
            "subscription_details": {
                "items": items,
                "proration_behavior": "always_invoice",
                "proration_date": moment,
            },
        },
    )
    changed = await shop.call(
        shop.client.v1.subscriptions.update,
        sub_id,
        {
            "items": items,
            "proration_behavior": "always_invoice",
            "proration_date": moment,
            "payment_behavior": "pending_if_incomplete",
            "expand": ["latest_invoice"],
        },
    )
    invoice: Any = changed.latest_invoice
    assert changed.items.data[0].price.id == business
    assert preview.id != invoice.id
    assert 0 < preview.amount_due == invoice.amount_paid < 1000
    assert [line.amount for line in preview.lines.data] == [line.amount for line in invoice.lines.data]
    assert invoice.lines.data[0].amount < 0, "the unused time is credited"
    error = await shop.refused(shop.client.v1.invoices.retrieve, str(preview.id))
    assert error.http_status == 404


async def test_a_change_that_cannot_be_paid_waits(shop: Shop) -> None:
    business = await shop.price(1499, name="Business", recurring=MONTH)
    sub_id = await shop.subscribe(card="4000000000000341")
    shop.cloud.advance(DAY)
    sub = await fetch(shop, sub_id)
    params: Any = {
        "items": [{"id": sub.items.data[0].id, "price": business}],
        "proration_behavior": "always_invoice",
        "payment_behavior": "pending_if_incomplete",
    }
    held = await shop.call(shop.client.v1.subscriptions.update, sub_id, params)
    assert held.pending_update is not None
    assert held.items.data[0].price.id != business
    assert held.status == "active"

    shop.cloud.change_card(str(sub.customer), "4242424242424242")
    await shop.call(shop.client.v1.invoices.pay, str(held.latest_invoice))
    applied = await fetch(shop, sub_id)
    assert (applied.pending_update, applied.items.data[0].price.id) == (None, business)


async def test_a_pending_change_expires(shop: Shop) -> None:
    business = await shop.price(1499, name="Business", recurring=MONTH)
    sub_id = await shop.subscribe(card="4000000000000341")
    sub = await fetch(shop, sub_id)
    params: Any = {
        "items": [{"id": sub.items.data[0].id, "price": business}],
        "proration_behavior": "always_invoice",
        "payment_behavior": "pending_if_incomplete",
    }
    held = await shop.call(shop.client.v1.subscriptions.update, sub_id, params)
    shop.cloud.advance(DAY)
    after = await fetch(shop, sub_id)
    assert (after.pending_update, after.status) == (None, "active")
    assert (await shop.call(shop.client.v1.invoices.retrieve, str(held.latest_invoice))).status == "void"
    error = await shop.refused(
        shop.client.v1.subscriptions.update, sub_id, {**params, "metadata": {"a": "b"}}
    )
    assert error.http_status == 400, "metadata cannot come along with pending_if_incomplete"


async def test_a_downgrade_leaves_credit_that_the_next_invoice_uses(shop: Shop) -> None:
    dear, cheap = await shop.monthly(3000), await shop.monthly(1000)
    sub_id = await shop.subscribe(dear)
    sub = await fetch(shop, sub_id)
    await shop.call(
        shop.client.v1.subscriptions.update,
        sub_id,
        {"items": [{"id": sub.items.data[0].id, "price": cheap}], "proration_behavior": "always_invoice"},
    )
    customer = await shop.call(shop.client.v1.customers.retrieve, str(sub.customer))
    assert customer.balance is not None
    assert -2000 <= customer.balance < -1990
    shop.cloud.advance(until_renewal(shop, sub))
    renewed = await fetch(shop, sub_id, "latest_invoice")
    invoice: Any = renewed.latest_invoice
    assert (invoice.total, invoice.amount_due, invoice.status) == (1000, 0, "paid")


async def test_month_to_year_bills_at_once_and_starts_a_new_cycle(shop: Shop) -> None:
    yearly = await shop.monthly(4999, "year")
    sub_id = await shop.subscribe()
    shop.cloud.advance(5 * DAY)
    sub = await fetch(shop, sub_id)
    changed = await shop.call(
        shop.client.v1.subscriptions.update,
        sub_id,
        {"items": [{"id": sub.items.data[0].id, "price": yearly}], "expand": ["latest_invoice"]},
    )
    invoice: Any = changed.latest_invoice
    assert 360 * DAY < period_end(changed) - shop.cloud.clock.now() < 367 * DAY
    assert 4999 - 499 < invoice.amount_paid < 4999


async def test_prorations_wait_for_the_next_invoice_by_default(shop: Shop) -> None:
    business = await shop.price(1499, name="Business", recurring=MONTH)
    sub_id = await shop.subscribe()
    shop.cloud.advance(10 * DAY)
    sub = await fetch(shop, sub_id)
    await shop.call(
        shop.client.v1.subscriptions.update,
        sub_id,
        {"items": [{"id": sub.items.data[0].id, "price": business}]},
    )
    upcoming = await shop.call(shop.client.v1.invoices.create_preview, {"subscription": sub_id})
    shop.cloud.advance(until_renewal(shop, await fetch(shop, sub_id)))
    renewed = await fetch(shop, sub_id, "latest_invoice")
    invoice: Any = renewed.latest_invoice
    assert invoice.total == upcoming.total > 1499
    assert len(invoice.lines.data) == 3


async def test_a_preview_has_the_prorations_that_wait(shop: Shop) -> None:
    sub_id = await shop.subscribe()
    sub = await fetch(shop, sub_id)
    shop.cloud.advance(10 * DAY)
    item: Any = {"id": sub.items.data[0].id, "quantity": 2}
    await shop.call(shop.client.v1.subscriptions.update, sub_id, {"items": [item]})
    change: Any = {
        "items": [{**item, "quantity": 3}],
        "proration_behavior": "always_invoice",
        "proration_date": shop.cloud.clock.now(),
    }
    create_preview = shop.client.v1.invoices.create_preview
    said = await shop.call(create_preview, {"subscription": sub_id, "subscription_details": change})
    await shop.call(shop.client.v1.subscriptions.update, sub_id, change)
    charged: Any = (await fetch(shop, sub_id, "latest_invoice")).latest_invoice
    assert said.amount_due == charged.amount_paid > 499


async def test_pausing_collection_keeps_the_status_and_takes_no_money(shop: Shop) -> None:
    sub_id = await shop.subscribe()
    sub = await fetch(shop, sub_id)
    resumes = period_end(sub) + 5 * DAY
    await shop.call(
        shop.client.v1.subscriptions.update,
        sub_id,
        {"pause_collection": {"behavior": "void", "resumes_at": resumes}},
    )
    shop.cloud.advance(until_renewal(shop, sub))
    paused = await fetch(shop, sub_id, "latest_invoice")
    invoice: Any = paused.latest_invoice
    assert (paused.status, invoice.status) == ("active", "void")
    shop.cloud.advance(6 * DAY)
    assert (await fetch(shop, sub_id)).pause_collection is None


async def test_coupons_last_as_long_as_they_say(shop: Shop) -> None:
    once = await shop.call(shop.client.v1.coupons.create, {"percent_off": 50, "duration": "once"})
    price = await shop.monthly(1000)
    session = await shop.session(
        price, mode="subscription", customer=await shop.customer(), discounts=[{"coupon": once.id}]
    )
    shop.cloud.pay(session.id)
    sub_id = str(shop.cloud.account.get("checkout.session", session.id)["subscription"])
    first = await fetch(shop, sub_id, "latest_invoice")
    invoice: Any = first.latest_invoice
    assert (invoice.amount_paid, first.discounts) == (500, [])
    shop.cloud.advance(until_renewal(shop, first))
    later: Any = (await fetch(shop, sub_id, "latest_invoice")).latest_invoice
    assert later.amount_paid == 1000


async def test_a_coupon_that_ends_with_the_period_is_not_in_the_preview_of_the_next(shop: Shop) -> None:
    terms: Any = {"percent_off": 50, "duration": "repeating", "duration_in_months": 1}
    coupon = await shop.call(shop.client.v1.coupons.create, terms)
    price = await shop.monthly(1000)
    session = await shop.session(
        price, mode="subscription", customer=await shop.customer(), discounts=[{"coupon": coupon.id}]
    )
    shop.cloud.pay(session.id)
    sub_id = str(shop.cloud.account.get("checkout.session", session.id)["subscription"])
    sub = await fetch(shop, sub_id)
    preview = await shop.call(shop.client.v1.invoices.create_preview, {"subscription": sub_id})
    shop.cloud.advance(until_renewal(shop, sub))
    later: Any = (await fetch(shop, sub_id, "latest_invoice")).latest_invoice
    assert (preview.amount_due, later.amount_paid) == (1000, 1000)


async def test_a_subscription_made_by_the_api_needs_a_card(shop: Shop) -> None:
    customer, price = await shop.customer(), await shop.monthly()
    create = shop.client.v1.subscriptions.create
    error = await shop.refused(create, {"customer": customer, "items": [{"price": price}]})
    assert error.http_status == 400
    shop.cloud.change_card(customer, "4242424242424242")
    sub = await shop.call(create, {"customer": customer, "items": [{"price": price}]})
    assert sub.status == "active"


async def test_the_portal_cancels_by_date_and_keeps(shop: Shop) -> None:
    from simulator.stripe_cloud import portal

    sub_id = await shop.subscribe()
    sub = await fetch(shop, sub_id)
    session = await shop.call(
        shop.client.v1.billing_portal.sessions.create,
        {"customer": str(sub.customer), "return_url": "http://router.lan/"},
    )
    assert session.url == f"{shop.cloud.url}/p/session/{session.id}"
    stored = shop.cloud.account.get("subscription", sub_id)
    portal.cancel(shop.cloud.account, stored)
    ending = await fetch(shop, sub_id)
    assert (ending.cancel_at, ending.cancel_at_period_end) == (period_end(sub), False)
    portal.keep(shop.cloud.account, stored)
    assert (await fetch(shop, sub_id)).cancel_at is None


@given(
    st.integers(1_577_836_800, 2_208_988_800),
    st.sampled_from(["day", "week", "month", "year"]),
    st.integers(1, 12),
)
def test_periods_follow_each_other_without_gap_and_keep_their_day(
    anchor: int, interval: str, count: int
) -> None:
    start = datetime.fromtimestamp(anchor, UTC)
    recurring = {"interval": interval, "interval_count": count}
    moment = anchor
    for cycle in range(1, 15):
        following = calendar.next_end(anchor, recurring, moment)
        assert following == calendar.plus(anchor, recurring, cycle) > moment
        if interval in {"month", "year"}:
            day = datetime.fromtimestamp(following, UTC).day
            last = datetime.fromtimestamp(following + DAY, UTC).day == 1
            assert day == start.day or (day < start.day and last)
        moment = following


@given(st.integers(0, 10**7), st.integers(0, 10**6), st.integers(1, 10**7), st.integers(0, 10**8))
def test_a_share_lies_between_nothing_and_everything(
    amount: int, start: int, length: int, moment: int
) -> None:
    part = share(amount, start, start + length, moment)
    assert 0 <= part <= amount
    assert share(amount, start, start + length, start) == amount
    assert share(amount, start, start + length, start + length) == 0


async def test_deleting_the_customer_ends_what_they_had(shop: Shop) -> None:
    sub_id = await shop.subscribe()
    sub = await fetch(shop, sub_id)
    waiting = await shop.session(await shop.price(), customer=str(sub.customer))
    await shop.call(shop.client.v1.customers.delete, str(sub.customer))
    assert (await fetch(shop, sub_id)).status == "canceled"
    with pytest.raises(StripeApiError):
        shop.cloud.pay(waiting.id)
    shop.cloud.advance(40 * DAY)


async def test_an_invoice_that_is_sent_is_past_due_after_its_due_date(shop: Shop) -> None:
    sub_id = await shop.subscribe()
    update = shop.client.v1.subscriptions.update
    error = await shop.refused(update, sub_id, {"collection_method": "send_invoice"})
    assert error.user_message is not None
    assert "days_until_due" in error.user_message
    await shop.call(update, sub_id, {"collection_method": "send_invoice", "days_until_due": 20})
    shop.cloud.advance(until_renewal(shop, await fetch(shop, sub_id)))
    sub = await fetch(shop, sub_id, "latest_invoice")
    invoice: Any = sub.latest_invoice
    assert (sub.status, invoice.status, invoice.attempted) == ("active", "open", False)
    assert invoice.due_date == invoice.status_transitions.finalized_at + 20 * DAY
    shop.cloud.advance(20 * DAY)
    assert (await fetch(shop, sub_id)).status == "past_due"
    await shop.call(shop.client.v1.invoices.pay, str(invoice.id), {"paid_out_of_band": True})
    assert (await fetch(shop, sub_id)).status == "active"


async def test_the_dashboard_begins_a_subscription_by_invoice(shop: Shop) -> None:
    create = shop.client.v1.subscriptions.create
    wanted: Any = {"customer": await shop.customer(), "items": [{"price": await shop.monthly()}]}
    wanted["collection_method"] = "send_invoice"
    error = await shop.refused(create, wanted)
    assert "days_until_due" in str(error.user_message)
    sub = await shop.call(create, {**wanted, "days_until_due": 7})
    shop.cloud.advance(HOUR + 1)
    sub = await fetch(shop, sub.id, "latest_invoice")
    invoice: Any = sub.latest_invoice
    assert (sub.status, invoice.status, invoice.due_date - invoice.created) == (
        "active",
        "open",
        7 * DAY + HOUR,
    )
    shop.cloud.advance(7 * DAY)
    assert (await fetch(shop, sub.id)).status == "past_due"
    # what a change costs is sent too, and may not be made to wait for a card
    item = {"id": sub.items.data[0].id, "quantity": 2}
    change: Any = {"items": [item], "proration_behavior": "always_invoice"}
    update = shop.client.v1.subscriptions.update
    error = await shop.refused(update, sub.id, {**change, "payment_behavior": "pending_if_incomplete"})
    assert "charge_automatically" in str(error.user_message)
    await shop.call(update, sub.id, change)
    changed: Any = (await fetch(shop, sub.id, "latest_invoice")).latest_invoice
    assert (changed.status, changed.attempted) == ("open", False)


async def test_what_cash_has_paid_or_the_seller_forgave_shows_no_charge(shop: Shop) -> None:
    shop.cloud.account.settings["dunning_ends_with"] = "past_due"
    sub_id = await shop.subscribe()
    customer = str((await fetch(shop, sub_id)).customer)
    shop.cloud.change_card(customer, "4000000000000341")
    shop.cloud.advance(62 * DAY + 2 * HOUR)
    sub = await fetch(shop, sub_id)
    invoices = shop.client.v1.invoices
    second, first, _ = (await shop.call(invoices.list, {"subscription": sub_id})).data
    assert (sub.status, first.status, second.status) == ("past_due", "open", "open")
    cash: Any = await shop.call(
        invoices.pay, str(first.id), {"paid_out_of_band": True, "expand": ["payments"]}
    )
    assert (cash.status, [entry.status for entry in cash.payments.data]) == ("paid", ["canceled"])
    error = await shop.refused(invoices.pay, str(first.id), {"paid_out_of_band": True})
    assert error.code == "invoice_already_paid"
    assert (await fetch(shop, sub_id)).status == "past_due"
    await shop.call(invoices.void_invoice, str(second.id))
    assert (await fetch(shop, sub_id)).status == "active"


async def test_dunning_can_end_in_a_pause(shop: Shop) -> None:
    shop.cloud.account.settings["dunning_ends_with"] = "paused"
    sub_id = await shop.subscribe()
    sub = await fetch(shop, sub_id)
    shop.cloud.change_card(str(sub.customer), "4000000000000341")
    shop.cloud.advance(52 * DAY)
    paused: Any = await fetch(shop, sub_id)
    assert paused.status == "paused"
    assert paused.status_details.paused.subscription.type == "final_payment_failure"


async def test_resuming_attempts_no_payment_unless_requested(shop: Shop) -> None:
    sub_id = await shop.subscribe()
    api = shop.client.v1
    await shop.call(api.subscriptions.pause, sub_id, {})
    waiting: Any = await shop.call(api.subscriptions.resume, sub_id, {"expand": ["latest_invoice"]})
    assert (waiting.status, waiting.latest_invoice.status, waiting.latest_invoice.attempted) == (
        "paused",
        "open",
        False,
    )
    shop.cloud.advance(24 * HOUR)
    given_up: Any = await fetch(shop, sub_id, "latest_invoice")
    assert (given_up.status, given_up.latest_invoice.status) == ("paused", "void")
    at_once: Any = {"payment_behavior": "resume_on_payment_success"}
    assert (await shop.call(api.subscriptions.resume, sub_id, at_once)).status == "active"
    assert shop.event_types().count("customer.subscription.resumed") == 1
    await shop.call(api.subscriptions.pause, sub_id, {})
    again: Any = await shop.call(api.subscriptions.resume, sub_id, {})
    await shop.call(api.invoices.pay, again.latest_invoice)
    assert (await fetch(shop, sub_id)).status == "active"


async def test_a_bank_debit_cannot_pay_for_a_change_that_waits(shop: Shop) -> None:
    sub_id = await shop.subscribe(card="bank_debit")
    sub = await fetch(shop, sub_id)
    change: Any = {
        "items": [{"id": sub.items.data[0].id, "quantity": 2}],
        "proration_behavior": "always_invoice",
        "payment_behavior": "pending_if_incomplete",
    }
    error: Any = await shop.refused(shop.client.v1.subscriptions.update, sub_id, change)
    assert (error.http_status, error.param) == (400, "payment_behavior")
    change["payment_behavior"] = "allow_incomplete"
    changed: Any = await shop.call(shop.client.v1.subscriptions.update, sub_id, change)
    assert (changed.status, changed.items.data[0].quantity) == ("active", 2)


async def test_a_schedule_alone_decides_when_its_subscription_ends(shop: Shop) -> None:
    sub_id = await shop.subscribe()
    api = shop.client.v1
    schedule = await shop.call(api.subscription_schedules.create, {"from_subscription": sub_id})
    assert (await fetch(shop, sub_id)).schedule == schedule.id
    end: Any = {"cancel_at_period_end": True}
    error = await shop.refused(api.subscriptions.update, sub_id, end)
    assert schedule.id in str(error.user_message)
    await shop.call(api.subscription_schedules.release, schedule.id)
    assert (await shop.call(api.subscriptions.update, sub_id, end)).cancel_at_period_end
    assert (await shop.refused(api.subscription_schedules.release, schedule.id)).http_status == 400
    other = await shop.call(api.subscription_schedules.create, {"from_subscription": sub_id})
    await shop.call(api.subscriptions.cancel, sub_id)
    ended = await shop.call(api.subscription_schedules.retrieve, other.id)
    assert ended.status == "canceled"


async def test_items_are_changed_one_by_one_too(shop: Shop) -> None:
    sub_id = await shop.subscribe()
    items = shop.client.v1.subscription_items
    other = await shop.monthly(1499)
    added = await shop.call(items.create, {"subscription": sub_id, "price": other})
    assert [item.price.unit_amount for item in (await fetch(shop, sub_id)).items.data] == [499, 1499]
    changed = await shop.call(items.update, added.id, {"quantity": 3})
    assert changed.quantity == 3
    assert (await shop.call(items.retrieve, added.id)).quantity == 3
    await shop.call(items.delete, added.id)
    assert len((await fetch(shop, sub_id)).items.data) == 1
    last = (await fetch(shop, sub_id)).items.data[0].id
    assert (await shop.refused(items.delete, last)).http_status == 400
    assert (await shop.refused(items.retrieve, added.id)).code == "resource_missing"


async def change_now(shop: Shop, sub_id: str, price: str) -> Any:
    """Change the plan at once, billed at once; returns the invoice."""
    item = (await fetch(shop, sub_id)).items.data[0].id
    items: Any = [{"id": item, "price": price}]
    changed = await shop.call(
        shop.client.v1.subscriptions.update,
        sub_id,
        {"items": items, "proration_behavior": "always_invoice", "expand": ["latest_invoice"]},
    )
    return changed.latest_invoice


@pytest.mark.parametrize(("percent", "duration"), [(50, "forever"), (100, "forever"), (50, "once")])
async def test_a_coupon_counts_on_prorations_too(shop: Shop, percent: int, duration: Any) -> None:
    coupon: Any = {"percent_off": percent, "duration": duration}
    made = await shop.call(shop.client.v1.coupons.create, coupon)
    monthly = await shop.monthly(1000)
    session = await shop.session(
        monthly, mode="subscription", customer=await shop.customer(), discounts=[{"coupon": made.id}]
    )
    shop.cloud.pay(session.id)
    sub_id = str(shop.cloud.account.get("checkout.session", session.id)["subscription"])
    sub = await fetch(shop, sub_id)
    shop.cloud.advance((period_end(sub) - shop.cloud.clock.precise()) / 2)
    left = (period_end(sub) - shop.cloud.clock.now()) / (period_end(sub) - sub.start_date)
    invoice = await change_now(shop, sub_id, await shop.monthly(3000))
    credit, debit = invoice.lines.data
    paid, cost = (1000 * (100 - percent) / 100, 3000 * (100 - percent * (duration == "forever")) / 100)
    assert credit.amount == pytest.approx(-paid * left, abs=1)
    assert debit.amount == pytest.approx(cost * left, abs=1)
    assert invoice.total == credit.amount + debit.amount
    details = credit.parent.subscription_item_details.proration_details
    assert len(details.credited_items.invoice_line_items) == 1
    assert debit.parent.subscription_item_details.proration_details.credited_items is None


async def test_a_credit_is_of_what_was_debited_not_of_todays_price(shop: Shop) -> None:
    sub_id = await shop.subscribe(await shop.monthly(1000))
    item = (await fetch(shop, sub_id)).items.data[0].id
    items: Any = [{"id": item, "price": await shop.monthly(5000)}]
    update = shop.client.v1.subscriptions.update
    await shop.call(update, sub_id, {"items": items, "proration_behavior": "none"})
    invoice = await change_now(shop, sub_id, await shop.monthly(6000))
    assert invoice.lines.data[0].amount == pytest.approx(-1000, abs=1)


async def test_a_price_in_several_currencies(shop: Shop) -> None:
    options: Any = {"usd": {"unit_amount": 599}}
    small = await shop.price(499, recurring=MONTH, currency_options=options)
    shown: Any = await shop.call(shop.client.v1.prices.retrieve, small, {"expand": ["currency_options"]})
    assert shown.currency_options["usd"].unit_amount == 599
    session = await shop.session(small, mode="subscription", customer=await shop.customer(), currency="usd")
    assert (session.currency, session.amount_total) == ("usd", 599)
    shop.cloud.pay(session.id)
    sub_id = str(shop.cloud.account.get("checkout.session", session.id)["subscription"])
    sub = await fetch(shop, sub_id, "latest_invoice")
    invoice: Any = sub.latest_invoice
    assert (sub.currency, sub.items.data[0].price.currency) == ("usd", "eur")
    assert (invoice.currency, invoice.amount_paid, invoice.lines.data[0].currency) == ("usd", 599, "usd")
    large = await shop.price(1499, recurring=MONTH, currency_options={"usd": {"unit_amount": 1799}})
    changed = await change_now(shop, sub_id, large)
    assert (changed.currency, changed.lines.data[1].amount) == ("usd", pytest.approx(1799, abs=1))
    items: Any = [{"id": sub.items.data[0].id, "price": await shop.monthly(9900)}]
    error = await shop.refused(shop.client.v1.subscriptions.update, sub_id, {"items": items})
    assert "only supports `eur`" in str(error.user_message)


@pytest.mark.parametrize(
    ("behavior", "default", "total", "tax"),
    [
        ("exclusive", "inclusive", 1220, 220),
        ("inclusive", "exclusive", 1000, 180),
        ("unspecified", "inclusive", 1000, 180),
        ("unspecified", "exclusive", 1220, 220),
    ],
)
async def test_automatic_tax_is_added_or_contained(
    shop: Shop, behavior: str, default: str, total: int, tax: int
) -> None:
    shop.cloud.account.settings.update(tax_percent=22, tax_behavior=default)
    monthly = await shop.price(1000, recurring=MONTH, tax_behavior=behavior)
    once = await shop.price(1000, tax_behavior=behavior)
    for price, mode in ((monthly, "subscription"), (once, "payment")):
        session = await shop.session(
            price,
            mode=mode,
            customer=await shop.customer(),
            automatic_tax={"enabled": True},
            customer_update={"address": "auto"},
        )
        shop.cloud.pay(session.id)
        sessions = shop.client.v1.checkout.sessions
        done: Any = await shop.call(sessions.retrieve, session.id, {"expand": ["invoice"]})
        assert (done.amount_total, done.total_details.amount_tax) == (total, tax)
        if mode == "payment":
            intent = await shop.call(shop.client.v1.payment_intents.retrieve, str(done.payment_intent))
            assert intent.amount == total
            continue
        assert (done.invoice.total, done.invoice.total_excluding_tax) == (total, total - tax)
        assert done.invoice.amount_paid == total
        (entry,) = done.invoice.total_taxes
        assert (entry.amount, entry.taxable_amount, entry.tax_behavior) == (
            tax,
            total - tax,
            default if behavior == "unspecified" else behavior,
        )


async def test_who_is_exempt_pays_no_tax(shop: Shop) -> None:
    shop.cloud.account.settings.update(tax_percent=22)
    customer = await shop.customer(tax_exempt="reverse")
    session = await shop.session(
        await shop.price(1000, recurring=MONTH),
        mode="subscription",
        customer=customer,
        automatic_tax={"enabled": True},
        customer_update={"address": "auto"},
    )
    shop.cloud.pay(session.id)
    assert shop.cloud.account.get("checkout.session", session.id)["amount_total"] == 1000
