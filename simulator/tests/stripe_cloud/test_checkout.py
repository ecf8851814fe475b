"""One-time payments through Checkout, as the SDK sees them."""

from __future__ import annotations

from typing import Any

import pytest
import stripe

from .conftest import Shop

DAY = 86_400


async def test_a_card_pays_and_every_object_says_so(shop: Shop) -> None:
    customer = await shop.customer(metadata={"router_id": "r1"})
    session = await shop.session(
        await shop.price(),
        customer=customer,
        metadata={"router_id": "r1"},
        payment_intent_data={"metadata": {"router_id": "r1"}},
    )
    assert (session.status, session.payment_status, session.payment_intent) == ("open", "unpaid", None)
    assert session.url == f"{shop.cloud.url}/c/pay/{session.id}"
    assert session.expires_at == session.created + DAY

    assert shop.cloud.pay(session.id)["status"] == "paid"

    paid = await shop.call(
        shop.client.v1.checkout.sessions.retrieve,
        session.id,
        {"expand": ["payment_intent.latest_charge.balance_transaction", "line_items", "customer"]},
    )
    intent: Any = paid.payment_intent
    assert (paid.status, paid.payment_status, paid.amount_total, paid.url) == ("complete", "paid", 4999, None)
    assert (intent.status, intent.amount_received, intent.metadata["router_id"]) == ("succeeded", 4999, "r1")
    assert (intent.latest_charge.paid, intent.latest_charge.balance_transaction.amount) == (True, 4999)
    assert intent.latest_charge.receipt_url.startswith(shop.cloud.url)
    assert paid.line_items is not None
    assert paid.line_items.data[0].description == "Router OS Premium"
    assert shop.event_types()[-4:] == [
        "payment_intent.created",
        "charge.succeeded",
        "payment_intent.succeeded",
        "checkout.session.completed",
    ]


@pytest.mark.parametrize(
    ("card", "code", "decline_code"),
    [
        ("4000000000000002", "card_declined", "generic_decline"),
        ("4000 0000 0000 9995", "card_declined", "insufficient_funds"),
        ("4000000000000069", "expired_card", "expired_card"),
        ("4000000000000127", "incorrect_cvc", "incorrect_cvc"),
    ],
)
async def test_a_declined_card_leaves_the_session_open_and_says_why(
    shop: Shop, card: str, code: str, decline_code: str
) -> None:
    session = await shop.session(await shop.price())
    result = shop.cloud.pay(session.id, card=card)
    assert (result["status"], result["code"], result["decline_code"]) == ("declined", code, decline_code)

    after = await shop.call(
        shop.client.v1.checkout.sessions.retrieve, session.id, {"expand": ["payment_intent"]}
    )
    intent: Any = after.payment_intent
    assert (after.status, after.payment_status, intent.status) == (
        "open",
        "unpaid",
        "requires_payment_method",
    )
    assert intent.last_payment_error.code == code
    assert shop.event_types()[-2:] == ["charge.failed", "payment_intent.payment_failed"]

    assert shop.cloud.pay(session.id)["status"] == "paid"
    again = await shop.call(shop.client.v1.checkout.sessions.retrieve, session.id)
    assert again.payment_intent == intent.id, "the second attempt uses the same payment intent"


async def test_three_d_secure_is_asked_passed_and_failed(shop: Shop) -> None:
    session = await shop.session(await shop.price())
    asked = shop.cloud.pay(session.id, card="4000002500003155", challenge="leave")
    assert asked["status"] == "requires_action"
    intent_id = shop.cloud.account.get("checkout.session", session.id)["payment_intent"]
    intent = await shop.call(shop.client.v1.payment_intents.retrieve, intent_id)
    assert intent.status == "requires_action"
    assert intent.next_action is not None

    failed = shop.cloud.pay(session.id, challenge="fail")
    assert (failed["status"], failed["code"]) == ("declined", "payment_intent_authentication_failure")
    assert shop.cloud.pay(session.id, card="4000002500003155")["status"] == "paid"


async def test_a_bank_debit_completes_unpaid_and_settles_later(shop: Shop) -> None:
    session = await shop.session(await shop.price())
    assert shop.cloud.pay(session.id, card="bank_debit")["status"] == "processing"
    pending = await shop.call(
        shop.client.v1.checkout.sessions.retrieve, session.id, {"expand": ["payment_intent"]}
    )
    intent: Any = pending.payment_intent
    assert (pending.status, pending.payment_status, intent.status) == ("complete", "unpaid", "processing")

    shop.cloud.advance(4 * DAY)
    settled = await shop.call(shop.client.v1.checkout.sessions.retrieve, session.id)
    assert settled.payment_status == "paid"
    assert shop.event_types()[-1] == "checkout.session.async_payment_succeeded"


async def test_a_bank_debit_that_fails_closes_unpaid(shop: Shop) -> None:
    session = await shop.session(await shop.price())
    shop.cloud.pay(session.id, card="bank_debit_fails")
    shop.cloud.advance(4 * DAY)
    failed = await shop.call(
        shop.client.v1.checkout.sessions.retrieve, session.id, {"expand": ["payment_intent"]}
    )
    intent: Any = failed.payment_intent
    assert (failed.payment_status, intent.status) == ("unpaid", "requires_payment_method")
    assert shop.event_types()[-3:] == [
        "charge.failed",
        "payment_intent.payment_failed",
        "checkout.session.async_payment_failed",
    ]


async def test_a_zero_amount_session_has_no_payment_intent(shop: Shop) -> None:
    session = await shop.session(await shop.price(0))
    assert shop.cloud.pay(session.id, card="")["status"] == "paid"
    done = await shop.call(shop.client.v1.checkout.sessions.retrieve, session.id)
    assert (done.status, done.payment_status, done.payment_intent) == (
        "complete",
        "no_payment_required",
        None,
    )


async def test_sessions_expire_by_time_and_on_request(shop: Shop) -> None:
    price = await shop.price()
    by_time, on_request, paid = [await shop.session(price) for _ in range(3)]
    shop.cloud.pay(paid.id)
    assert (await shop.call(shop.client.v1.checkout.sessions.expire, on_request.id)).status == "expired"
    shop.cloud.advance(DAY + 1)
    statuses = [
        (await shop.call(shop.client.v1.checkout.sessions.retrieve, one.id)).status
        for one in (by_time, on_request, paid)
    ]
    assert statuses == ["expired", "expired", "complete"]
    assert shop.event_types().count("checkout.session.expired") == 2
    error = await shop.refused(shop.client.v1.checkout.sessions.expire, paid.id)
    assert error.http_status == 400


async def test_promotion_codes_and_coupons_take_their_share(shop: Shop) -> None:
    coupon = await shop.call(shop.client.v1.coupons.create, {"percent_off": 20, "duration": "once"})
    await shop.call(
        shop.client.v1.promotion_codes.create,
        {"code": "ROUTER20", "promotion": {"type": "coupon", "coupon": coupon.id}},
    )
    price = await shop.price(5000)
    session = await shop.session(price, allow_promotion_codes=True)
    result = shop.cloud.pay(session.id, promotion_code="router20")
    assert result["session"]["amount_total"] == 4000
    assert (await shop.call(shop.client.v1.coupons.retrieve, coupon.id)).times_redeemed == 1

    free = await shop.call(
        shop.client.v1.coupons.create, {"percent_off": 100, "duration": "once", "max_redemptions": 1}
    )
    gift = await shop.session(price, discounts=[{"coupon": free.id}])
    assert gift.amount_total == 0
    shop.cloud.pay(gift.id, card="")
    error = await shop.refused(
        shop.client.v1.checkout.sessions.create,
        {
            "mode": "payment",
            "line_items": [{"price": price, "quantity": 1}],
            "success_url": "http://x/",
            "discounts": [{"coupon": free.id}],
        },
    )
    assert error.code == "coupon_expired"


@pytest.mark.parametrize(
    ("change", "param", "code"),
    [
        (
            {"line_items": [{"price": "price_none", "quantity": 1}]},
            "line_items[0][price]",
            "resource_missing",
        ),
        ({"customer": "cus_none"}, "customer", "resource_missing"),
        ({"success_url": "javascript:alert(1)"}, "success_url", "url_invalid"),
        ({"line_items": []}, "line_items", "parameter_missing"),
        ({"expires_at": 5}, "expires_at", None),
        ({"subscription_data": {"metadata": {"a": "b"}}}, "subscription_data", None),
        ({"mode": "rent"}, "mode", None),
        ({"colour": "red"}, "colour", "parameter_unknown"),
    ],
)
async def test_what_stripe_refuses(shop: Shop, change: dict[str, Any], param: str, code: str | None) -> None:
    params = {
        "mode": "payment",
        "line_items": [{"price": await shop.price(), "quantity": 1}],
        "success_url": "http://router.lan/ok",
        **change,
    }
    error: Any = await shop.refused(shop.client.v1.checkout.sessions.create, params)
    assert (error.http_status, error.param, error.code) == (400, param, code)


async def test_modes_and_prices_must_agree(shop: Shop) -> None:
    monthly, once = await shop.monthly(), await shop.price()
    base = {"success_url": "http://router.lan/ok"}
    for mode, price in (("payment", monthly), ("subscription", once)):
        error = await shop.refused(
            shop.client.v1.checkout.sessions.create,
            {**base, "mode": mode, "line_items": [{"price": price, "quantity": 1}]},
        )
        assert error.http_status == 400
    await shop.call(shop.client.v1.prices.update, once, {"active": False})
    error = await shop.refused(
        shop.client.v1.checkout.sessions.create,
        {**base, "mode": "payment", "line_items": [{"price": once, "quantity": 1}]},
    )
    assert "inactive" in str(error)


async def test_a_setup_session_keeps_a_card(shop: Shop) -> None:
    session = await shop.call(
        shop.client.v1.checkout.sessions.create,
        {"mode": "setup", "customer": await shop.customer(), "success_url": "http://x/", "currency": "eur"},
    )
    assert shop.cloud.pay(session.id)["status"] == "paid"
    done = await shop.call(
        shop.client.v1.checkout.sessions.retrieve, session.id, {"expand": ["setup_intent"]}
    )
    intent: Any = done.setup_intent
    assert (done.payment_status, intent.status) == ("no_payment_required", "succeeded")


async def test_inline_prices_and_guests(shop: Shop) -> None:
    session = await shop.call(
        shop.client.v1.checkout.sessions.create,
        {
            "mode": "payment",
            "success_url": "http://x/",
            "customer_creation": "always",
            "line_items": [
                {
                    "quantity": 2,
                    "price_data": {
                        "currency": "eur",
                        "unit_amount": 150,
                        "product_data": {"name": "Sticker"},
                    },
                }
            ],
        },
    )
    shop.cloud.pay(session.id, email="guest@example.com", name="Guest")
    done = await shop.call(shop.client.v1.checkout.sessions.retrieve, session.id, {"expand": ["customer"]})
    customer: Any = done.customer
    assert (done.amount_total, customer.email) == (300, "guest@example.com")


@pytest.mark.parametrize(
    ("amount", "currency", "param"),
    [
        (4995, "kwd", "unit_amount"),
        (4999, "isk", "unit_amount"),
        (500_050, "ugx", "unit_amount"),
        (100_000_000, "eur", "unit_amount"),
        (150_000_000, "idr", None),
        (4990, "kwd", None),
        (17_450, "twd", None),
    ],
)
async def test_amounts_are_as_fine_and_as_large_as_the_currency_allows(
    shop: Shop, amount: int, currency: str, param: str | None
) -> None:
    if param is None:
        await shop.price(amount, currency=currency)
        return
    with pytest.raises(stripe.InvalidRequestError) as refused:
        await shop.price(amount, currency=currency)
    assert refused.value.param == param


@pytest.mark.parametrize(("amount", "currency"), [(49, "eur"), (17_499, "huf"), (29, "gbp"), (49, "jpy")])
async def test_a_plan_below_the_minimum_cannot_be_bought(shop: Shop, amount: int, currency: str) -> None:
    price = await shop.price(amount, currency=currency, recurring={"interval": "month"})
    with pytest.raises(stripe.InvalidRequestError) as refused:
        await shop.session(price, mode="subscription")
    assert refused.value.code == "amount_too_small"


@pytest.mark.parametrize(
    ("params", "refused"),
    [
        ({"consent_collection": {"terms_of_service": "required"}}, "consent_collection[terms_of_service]"),
        ({"tax_id_collection": {"enabled": True}}, "tax_id_collection"),
        ({"tax_id_collection": {"enabled": True}, "customer_update": {"name": "auto"}}, None),
        ({"automatic_tax": {"enabled": True}}, "automatic_tax"),
        ({"automatic_tax": {"enabled": True}, "customer_update": {"address": "auto"}}, None),
    ],
)
async def test_what_a_session_collects_needs_its_conditions(
    shop: Shop, params: dict[str, Any], refused: str | None
) -> None:
    price, customer = await shop.price(), await shop.customer()
    if refused is None:
        assert (await shop.session(price, customer=customer, **params)).status == "open"
        return
    with pytest.raises(stripe.InvalidRequestError) as error:
        await shop.session(price, customer=customer, **params)
    assert error.value.param == refused


async def test_a_one_time_purchase_with_an_invoice(shop: Shop) -> None:
    shop.cloud.account.settings["terms_of_service_url"] = "https://seller.example/terms"
    customer = await shop.customer()
    session = await shop.session(
        await shop.price(),
        customer=customer,
        invoice_creation={"enabled": True, "invoice_data": {"metadata": {"router_id": "r1"}}},
        consent_collection={"terms_of_service": "required"},
    )
    shop.cloud.pay(session.id)
    paid = await shop.call(
        shop.client.v1.checkout.sessions.retrieve, session.id, {"expand": ["invoice.payments"]}
    )
    invoice: Any = paid.invoice
    assert (invoice.status, invoice.amount_paid, invoice.parent) == ("paid", 4999, None)
    assert invoice.metadata["router_id"] == "r1"
    assert invoice.payments.data[0].payment.payment_intent == paid.payment_intent
    assert paid.consent is not None
    assert paid.consent.terms_of_service == "accepted"
    listed = await shop.call(shop.client.v1.invoices.list, {"customer": customer})
    assert [row.id for row in listed.data] == [invoice.id]


async def test_the_tax_behavior_of_a_price_is_set_once(shop: Shop) -> None:
    price = await shop.price()
    update = shop.client.v1.prices.update
    assert (await shop.call(update, price, {"tax_behavior": "inclusive"})).tax_behavior == "inclusive"
    error: Any = await shop.refused(update, price, {"tax_behavior": "exclusive"})
    assert error.param == "tax_behavior"
