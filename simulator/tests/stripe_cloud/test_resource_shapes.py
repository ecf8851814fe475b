"""Every endpoint is driven, and everything it returns agrees with the SDK's resource classes, deeply."""

from __future__ import annotations

import copy
from typing import Any

import stripe

from simulator.stripe_cloud.resource_shapes import expandable, fields, violations
from simulator.stripe_cloud.routes import ROUTES

from .conftest import Shop

DAY = 86_400


def reported_payment(amount: int, currency: str) -> Any:
    """The parameters that report a bank transfer to Stripe."""
    return {
        "amount_requested": {"value": amount, "currency": currency},
        "initiated_at": 1_760_000_000,
        "outcome": "guaranteed",
        "guaranteed": {"guaranteed_at": 1_760_000_000},
        "payment_method_details": {"type": "custom", "custom": {"display_name": "Bank transfer"}},
        "processor_details": {"type": "custom", "custom": {"payment_reference": "17/2026"}},
    }


async def test_every_endpoint_returns_what_the_sdk_declares(shop: Shop) -> None:
    """The fixture has `validate_answers` on: any difference would be a 500 and fail here."""
    v1 = shop.client.v1
    call = shop.call
    cloud = shop.cloud
    await call(v1.accounts.retrieve_current)
    await call(v1.accounts.retrieve, cloud.account.ACCOUNT_ID)
    await call(
        v1.webhook_endpoints.create, {"url": "http://127.0.0.1:9/", "enabled_events": ["product.created"]}
    )
    endpoint = (await call(v1.webhook_endpoints.list)).data[0].id
    await call(v1.webhook_endpoints.retrieve, endpoint)
    await call(v1.webhook_endpoints.update, endpoint, {"description": "x", "metadata": {"a": "b"}})
    await call(v1.webhook_endpoints.delete, endpoint)

    address: Any = {"line1": "Via Roma 1", "city": "Torino", "country": "IT"}
    customer = await shop.customer(address=address, shipping={"name": "A", "address": address}, name="A")
    await call(v1.customers.update, customer, {"description": "x", "address": "", "tax_exempt": "none"})
    await call(v1.customers.list, {"expand": ["data.subscriptions", "data.sources", "data.tax_ids"]})
    await call(v1.customers.search, {"query": "email:'owner@example.com'"})

    product = await call(
        v1.products.create,
        {
            "name": "P",
            "default_price_data": {"currency": "eur", "unit_amount": 100},
            "marketing_features": [{"name": "f"}],
        },
    )
    await call(v1.products.update, product.id, {"description": "d", "metadata": {"a": "b"}})
    await call(v1.products.retrieve, product.id, {"expand": ["default_price"]})
    await call(v1.products.list, {"active": True, "ids": [product.id]})
    empty = await call(v1.products.create, {"name": "E", "id": "prod_own"})
    await call(v1.products.delete, empty.id)
    price, monthly = await shop.price(), await shop.monthly(900)
    await call(v1.prices.update, price, {"nickname": "n", "lookup_key": "k", "tax_behavior": "inclusive"})
    await call(v1.prices.retrieve, price, {"expand": ["product", "currency_options"]})
    await call(v1.prices.list, {"recurring": {"interval": "month"}, "currency": "eur", "type": "recurring"})

    coupon = await call(v1.coupons.create, {"percent_off": 12.5, "duration": "forever"})
    short = await call(
        v1.coupons.create,
        {"amount_off": 100, "currency": "eur", "duration": "repeating", "duration_in_months": 2},
    )
    await call(v1.coupons.retrieve, coupon.id)
    await call(v1.coupons.list)
    code = await call(
        v1.promotion_codes.create, {"promotion": {"type": "coupon", "coupon": short.id}, "code": "HI"}
    )
    await call(v1.promotion_codes.update, code.id, {"active": True, "metadata": {"a": "b"}})
    await call(v1.promotion_codes.retrieve, code.id, {"expand": ["promotion.coupon"]})
    await call(v1.promotion_codes.list, {"code": "HI"})

    session = await shop.session(price, customer=customer, discounts=[{"coupon": coupon.id}], locale="it")
    await call(v1.checkout.sessions.update, session.id, {"metadata": {"a": "b"}})
    cloud.pay(session.id, card="4000000000000002")
    intent = str(cloud.account.get("checkout.session", session.id)["payment_intent"])
    await call(v1.payment_intents.retrieve, intent, {"expand": ["latest_charge"]})
    cloud.pay(session.id, card="3ds", challenge="leave")
    await call(v1.payment_intents.retrieve, intent)
    cloud.pay(session.id)
    await call(
        v1.checkout.sessions.retrieve, session.id, {"expand": ["line_items", "customer", "discounts.coupon"]}
    )
    await call(v1.checkout.sessions.line_items.list, session.id, {"expand": ["data.price.product"]})
    await call(
        v1.checkout.sessions.list, {"customer": customer, "status": "complete", "payment_intent": intent}
    )
    expired = await shop.session(price)
    await call(v1.checkout.sessions.expire, expired.id)
    await call(v1.payment_intents.update, intent, {"metadata": {"a": "b"}, "description": "d"})
    await call(
        v1.payment_intents.list, {"customer": customer, "expand": ["data.latest_charge.balance_transaction"]}
    )
    charges = await call(v1.charges.list, {"payment_intent": intent, "expand": ["data.refunds"]})
    await call(v1.charges.retrieve, charges.data[0].id, {"expand": ["customer", "payment_intent"]})
    unpaid = await shop.session(price)
    cloud.pay(unpaid.id, card="declined")
    await call(
        v1.payment_intents.cancel, str(cloud.account.get("checkout.session", unpaid.id)["payment_intent"])
    )

    debit = await shop.session(price)
    cloud.pay(debit.id, card="bank_debit")
    debit_intent = str(cloud.account.get("checkout.session", debit.id)["payment_intent"])
    await call(v1.payment_intents.retrieve, debit_intent, {"expand": ["latest_charge", "payment_method"]})
    cloud.advance(4 * DAY)
    refund = await call(v1.refunds.create, {"payment_intent": debit_intent, "metadata": {"a": "b"}})
    await call(v1.refunds.update, refund.id, {"metadata": {"c": "d"}})
    await call(v1.refunds.create, {"payment_intent": intent, "amount": 100})
    await call(v1.refunds.retrieve, refund.id, {"expand": ["charge", "balance_transaction"]})
    await call(v1.refunds.list, {"charge": str(refund.charge)})
    cloud.dispute(intent)
    disputes = await call(v1.disputes.list, {"expand": ["data.charge"]})
    await call(v1.disputes.retrieve, disputes.data[0].id)
    await call(v1.disputes.close, disputes.data[0].id)
    movements = await call(v1.balance_transactions.list)
    await call(v1.balance_transactions.retrieve, movements.data[0].id, {"expand": ["source"]})
    await call(v1.balance.retrieve)

    setup = await call(
        v1.checkout.sessions.create,
        {"mode": "setup", "customer": customer, "success_url": "http://x/", "currency": "eur"},
    )
    cloud.pay(setup.id)
    setup_intent = str(cloud.account.get("checkout.session", setup.id)["setup_intent"])
    await call(v1.setup_intents.retrieve, setup_intent, {"expand": ["payment_method"]})

    method = cloud.change_card(customer, "4242424242424242")
    await call(v1.payment_methods.retrieve, method["id"])
    await call(v1.payment_methods.list, {"customer": customer, "type": "card"})
    await call(v1.customers.payment_methods.list, customer)
    await call(v1.customers.retrieve, customer, {"expand": ["invoice_settings.default_payment_method"]})

    sub = await call(
        v1.subscriptions.create,
        {
            "customer": customer,
            "items": [{"price": monthly}],
            "metadata": {"a": "b"},
            "discounts": [{"promotion_code": code.id}],
            "trial_period_days": 5,
        },
    )
    await call(v1.subscriptions.update, sub.id, {"trial_end": "now"})
    await call(
        v1.subscriptions.retrieve,
        sub.id,
        {"expand": ["latest_invoice.payments", "customer", "discounts", "items.data.price.product"]},
    )
    await call(v1.subscription_items.list, {"subscription": sub.id})
    items: Any = v1.subscription_items
    item = await call(items.create, {"subscription": sub.id, "price": monthly, "proration_behavior": "none"})
    await call(items.update, item.id, {"quantity": 2, "proration_behavior": "none"})
    await call(items.retrieve, item.id)
    await call(items.delete, item.id, {"proration_behavior": "none"})
    await call(v1.subscriptions.list, {"customer": customer, "status": "all", "price": monthly})
    await call(v1.subscriptions.search, {"query": "status:'active'"})
    await call(v1.subscriptions.pause, sub.id, {})
    await call(v1.subscriptions.resume, sub.id, {"payment_behavior": "resume_on_payment_success"})
    schedule = await call(v1.subscription_schedules.create, {"from_subscription": sub.id})
    await call(v1.subscription_schedules.retrieve, schedule.id, {"expand": ["phases.items.price"]})
    await call(v1.subscription_schedules.update, schedule.id, {"end_behavior": "release"})
    await call(v1.subscription_schedules.release, schedule.id)
    await call(v1.invoices.create_preview, {"subscription": sub.id})
    await call(
        v1.invoices.create_preview,
        {"customer": customer, "subscription_details": {"items": [{"price": monthly}]}},
    )
    await call(
        v1.invoices.create_preview, {"subscription": sub.id, "subscription_details": {"cancel_now": True}}
    )
    cloud.advance(32 * DAY)
    invoices = await call(v1.invoices.list, {"customer": customer, "expand": ["data.payments"]})
    await call(v1.invoices.search, {"query": f"customer:'{customer}'"})
    paid = next(invoice for invoice in invoices.data if invoice.amount_paid)
    await call(v1.invoices.update, str(paid.id), {"metadata": {"a": "b"}, "description": "x"})
    await call(
        v1.invoices.retrieve,
        str(paid.id),
        {
            "expand": [
                "payments.data.payment.payment_intent",
                "confirmation_secret",
                "discounts",
                "parent.subscription_details.subscription",
            ]
        },
    )
    await call(v1.invoices.line_items.list, str(paid.id))
    note = await call(v1.credit_notes.create, {"invoice": str(paid.id), "amount": 1, "credit_amount": 1})
    await call(v1.credit_notes.retrieve, note.id, {"expand": ["invoice", "customer_balance_transaction"]})
    await call(v1.credit_notes.list, {"invoice": str(paid.id)})
    balance: Any = v1.customers.balance_transactions
    back = await call(balance.create, customer, {"amount": 1, "currency": "eur"})
    await call(balance.retrieve, customer, back.id)
    await call(balance.list, customer)
    payments = await call(v1.invoice_payments.list, {"invoice": str(paid.id), "status": "paid"})
    await call(
        v1.invoice_payments.retrieve, payments.data[0].id, {"expand": ["invoice", "payment.payment_intent"]}
    )
    cloud.account.settings["dunning_ends_with"] = "past_due"
    cloud.change_card(customer, "4000000000000341")
    cloud.advance(28 * DAY)
    while not (drafts := await call(v1.invoices.list, {"customer": customer, "status": "draft"})).data:
        cloud.advance(1800)
    await call(v1.invoices.finalize_invoice, str(drafts.data[0].id))
    await call(v1.invoices.mark_uncollectible, str(drafts.data[0].id))
    await call(v1.invoices.pay, str(drafts.data[0].id), {"paid_out_of_band": True})
    cloud.advance(34 * DAY)
    late = (await call(v1.invoices.list, {"customer": customer, "status": "open"})).data[0]
    method = cloud.change_card(customer, "4242424242424242")
    part = await call(
        v1.payment_intents.create,
        {
            "amount": 100,
            "currency": late.currency,
            "customer": customer,
            "payment_method": method["id"],
            "confirm": True,
            "off_session": True,
        },
    )
    await call(v1.invoices.attach_payment, str(late.id), {"payment_intent": part.id})
    record = await call(v1.payment_records.report_payment, reported_payment(50, late.currency))
    await call(v1.invoices.attach_payment, str(late.id), {"payment_record": record.id})
    await call(v1.invoices.retrieve, str(late.id), {"expand": ["payments.data.payment.payment_record"]})
    await call(v1.payment_records.retrieve, record.id)
    await call(v1.invoices.void_invoice, str(late.id))
    await call(v1.subscriptions.cancel, sub.id, {"prorate": True, "invoice_now": True})

    configuration = await call(
        v1.billing_portal.configurations.create,
        {
            "features": {"invoice_history": {"enabled": True}},
            "business_profile": {"headline": "h"},
            "name": "n",
        },
    )
    await call(
        v1.billing_portal.configurations.update,
        configuration.id,
        {"default_return_url": "http://x/", "active": True},
    )
    await call(v1.billing_portal.configurations.retrieve, configuration.id)
    await call(v1.billing_portal.sessions.create, {"customer": customer, "expand": ["configuration"]})
    await call(
        v1.billing_portal.sessions.create,
        {
            "customer": customer,
            "flow_data": {"type": "subscription_cancel", "subscription_cancel": {"subscription": sub.id}},
        },
    )
    await call(v1.billing_portal.configurations.list, {"is_default": True})
    event = (await call(v1.events.list, {"limit": 100, "type": "invoice.*"})).data[0]
    await call(v1.events.retrieve, event.id)
    await call(v1.coupons.delete, coupon.id)
    await call(v1.customers.delete, customer)
    await call(v1.customers.retrieve, customer)

    for stored in cloud.account.dump()["objects"].values():
        assert violations(stored, None, stored["object"]) == []
    called = {(r["method"], r["path"]) for r in cloud.requests() if r["status"] == 200}
    missed = [
        f"{r.method} {r.path}"
        for r in ROUTES
        if not any(m == r.method and r.pattern.fullmatch(p) for m, p in called)
    ]
    assert missed == [], "endpoints that this test never reached"


async def test_a_wrong_answer_is_noticed(shop: Shop) -> None:
    """The check itself can fail: each of these differences is found."""
    session = await shop.session(await shop.price())
    shop.cloud.pay(session.id)
    intent = copy.deepcopy(next(shop.cloud.account.newest_first("payment_intent")))
    assert violations(intent) == []
    for change, words in (
        ({"amount": "4999"}, "expected int"),
        ({"amount": True}, "expected int"),
        ({"amount": None}, "null is not allowed"),
        ({"status": "nearly"}, "is none of"),
        ({"colour": "red"}, "no such field"),
        ({"metadata": {"a": 1}}, "expected str"),
        ({"latest_charge": 5}, "expected"),
        ({"last_payment_error": {"type": "sad"}}, "is none of"),
    ):
        found = violations({**intent, **change})
        assert found, change
        assert words in " ".join(found)
    del intent["currency"]
    assert violations(intent) == [".currency: missing"]


def test_expandable_fields_are_read_from_the_sdk() -> None:
    shape = fields(stripe.Charge)
    assert expandable(shape["customer"])
    assert not expandable(shape["payment_method"])
    assert not expandable(shape["status"])
