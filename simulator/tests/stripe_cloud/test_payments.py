"""Refunds and disputes."""

from __future__ import annotations

from typing import Any

import pytest
import stripe

from simulator.stripe_cloud.api_errors import StripeApiError
from simulator.stripe_cloud.money import format_amount

from .conftest import Shop

DAY = 86_400


async def paid_intent(shop: Shop, card: str = "4242424242424242") -> str:
    session = await shop.session(await shop.price())
    shop.cloud.pay(session.id, card=card)
    return str(shop.cloud.account.get("checkout.session", session.id)["payment_intent"])


async def test_partial_then_full_refund(shop: Shop) -> None:
    intent = await paid_intent(shop)
    create = shop.client.v1.refunds.create
    first = await shop.call(
        create, {"payment_intent": intent, "amount": 1000, "reason": "requested_by_customer"}
    )
    charge = await shop.call(shop.client.v1.charges.retrieve, str(first.charge), {"expand": ["refunds"]})
    assert (first.status, charge.amount_refunded, charge.refunded) == ("succeeded", 1000, False)
    error: Any = await shop.refused(create, {"payment_intent": intent, "amount": 4000})
    assert (error.http_status, error.param) == (400, "amount")
    await shop.call(create, {"charge": charge.id})
    charge = await shop.call(shop.client.v1.charges.retrieve, charge.id, {"expand": ["refunds"]})
    assert (charge.amount_refunded, charge.refunded) == (4999, True)
    assert charge.refunds is not None
    assert [refund.amount for refund in charge.refunds.data] == [3999, 1000]
    assert (await shop.refused(create, {"charge": charge.id})).code == "charge_already_refunded"
    assert shop.event_types().count("charge.refunded") == 2
    listed = await shop.call(shop.client.v1.refunds.list, {"payment_intent": intent})
    assert len(listed.data) == 2


@pytest.mark.parametrize("amount", [0, -5])
async def test_nothing_cannot_be_refunded(shop: Shop, amount: int) -> None:
    error = await shop.refused(
        shop.client.v1.refunds.create, {"payment_intent": await paid_intent(shop), "amount": amount}
    )
    assert error.code == "parameter_invalid_integer"


async def test_what_was_not_paid_cannot_be_refunded(shop: Shop) -> None:
    intent = await paid_intent(shop, card="4000000000000002")
    assert (await shop.refused(shop.client.v1.refunds.create, {"payment_intent": intent})).http_status == 400
    canceled = await shop.call(
        shop.client.v1.payment_intents.cancel, intent, {"cancellation_reason": "abandoned"}
    )
    assert canceled.status == "canceled"
    error = await shop.refused(shop.client.v1.payment_intents.cancel, await paid_intent(shop))
    assert error.code == "payment_intent_unexpected_state"


async def test_a_refund_of_a_debit_takes_days(shop: Shop) -> None:
    intent = await paid_intent(shop, card="bank_debit")
    shop.cloud.advance(4 * DAY)
    refund = await shop.call(shop.client.v1.refunds.create, {"payment_intent": intent})
    assert refund.status == "pending"
    shop.cloud.advance(6 * DAY)
    assert (await shop.call(shop.client.v1.refunds.retrieve, refund.id)).status == "succeeded"


@pytest.mark.parametrize("outcome", ["won", "lost"])
async def test_a_dispute_is_opened_and_closed(shop: Shop, outcome: str) -> None:
    intent = await paid_intent(shop)
    opened = shop.cloud.dispute(intent)
    assert opened["status"] == "needs_response"
    charge = await shop.call(shop.client.v1.charges.retrieve, opened["charge"])
    assert charge.disputed
    error = await shop.refused(shop.client.v1.refunds.create, {"payment_intent": intent})
    assert error.code == "charge_disputed"
    shop.cloud.dispute(intent, outcome)
    listed = await shop.call(shop.client.v1.disputes.list, {"payment_intent": intent})
    assert [dispute.status for dispute in listed.data] == [outcome]
    assert listed.data[0].balance_transactions[0].amount == -4999
    types = shop.event_types()
    assert types.index("charge.dispute.created") < types.index("charge.dispute.closed")
    assert ("charge.dispute.funds_reinstated" in types) == (outcome == "won")
    with pytest.raises(StripeApiError):
        shop.cloud.dispute(intent, "won")


async def test_some_cards_are_disputed_by_themselves(shop: Shop) -> None:
    intent = await paid_intent(shop, card="disputed")
    listed = await shop.call(shop.client.v1.disputes.list, {"payment_intent": intent})
    closed = await shop.call(shop.client.v1.disputes.close, listed.data[0].id)
    assert closed.status == "lost"


async def test_the_balance_adds_up(shop: Shop) -> None:
    intent = await paid_intent(shop)
    await shop.call(shop.client.v1.refunds.create, {"payment_intent": intent, "amount": 999})
    movements = await shop.call(shop.client.v1.balance_transactions.list)
    balance = await shop.call(shop.client.v1.balance.retrieve)
    assert balance.pending[0].amount == sum(movement.net for movement in movements.data)


@pytest.mark.parametrize(
    ("amount", "currency", "english", "italian"),
    [
        (4999, "eur", "€49.99", "49,99\u00a0€"),
        (-123456, "usd", "-$1,234.56", "-1.234,56\u00a0USD"),
        (500, "jpy", "¥500", "500\u00a0JPY"),
        (100, "chf", "CHF1.00", "1,00\u00a0CHF"),
        (500000, "ugx", "UGX5,000", "5.000\u00a0UGX"),
        (499950, "huf", "HUF4,999.50", "4.999,50\u00a0HUF"),
    ],
)
def test_amounts_for_people(amount: int, currency: str, english: str, italian: str) -> None:
    assert format_amount(amount, currency, "en") == english
    assert format_amount(amount, currency, "it") == italian


async def test_an_invoice_is_paid_by_several_payments(shop: Shop) -> None:
    sub = await shop.subscribe()
    customer = shop.cloud.account.get("subscription", sub)["customer"]
    shop.cloud.change_card(customer, "4000000000000341")
    shop.cloud.advance(32 * 86_400)
    method = shop.cloud.change_card(customer, "4242424242424242")["id"]
    invoice = str(shop.cloud.account.get("subscription", sub)["latest_invoice"])

    async def part(amount: int) -> Any:
        intent = await shop.call(
            shop.client.v1.payment_intents.create,
            {
                "amount": amount,
                "currency": "eur",
                "customer": customer,
                "payment_method": method,
                "confirm": True,
                "off_session": True,
            },
        )
        attach = shop.client.v1.invoices.attach_payment
        return await shop.call(attach, invoice, {"payment_intent": intent.id, "expand": ["payments"]})

    first = await part(200)
    assert (first.status, first.amount_paid, first.amount_remaining) == ("open", 200, 299)
    second = await part(299)
    assert (second.status, second.amount_paid, second.amount_remaining) == ("paid", 499, 0)
    entries = sorted((entry.status, entry.amount_paid or 0) for entry in second.payments.data)
    assert entries == [("canceled", 0), ("paid", 200), ("paid", 299)]
    assert shop.cloud.account.get("subscription", sub)["status"] == "active"
    error = await shop.refused(shop.client.v1.payment_intents.create, {"amount": 1, "currency": "eur"})
    assert error.http_status == 501


async def test_a_lost_dispute_is_appealed_and_won_late(shop: Shop) -> None:
    intent = await paid_intent(shop)
    shop.cloud.dispute(intent, amount=1000)
    assert shop.cloud.dispute(intent, "lost")["amount"] == 1000
    for status in ("appeal_needs_response", "appeal_under_review", "won"):
        assert shop.cloud.dispute(intent, status)["status"] == status


async def test_a_dispute_is_prevented(shop: Shop) -> None:
    intent = await paid_intent(shop)
    shop.cloud.dispute(intent, "prevented", case_type="resolution")
    listed = await shop.call(shop.client.v1.disputes.list, {"payment_intent": intent})
    details: Any = listed.data[0].payment_method_details
    assert (listed.data[0].status, details.card.case_type) == ("prevented", "resolution")


@pytest.mark.parametrize("charge_follows", [True, False])
async def test_a_refund_comes_back(shop: Shop, charge_follows: bool) -> None:
    intent = await paid_intent(shop)
    refund = await shop.call(shop.client.v1.refunds.create, {"payment_intent": intent})
    shop.cloud.fail_refund(refund.id, charge_follows=charge_follows)
    assert (await shop.call(shop.client.v1.refunds.retrieve, refund.id)).status == "failed"
    charge = await shop.call(shop.client.v1.charges.retrieve, str(refund.charge))
    assert charge.amount_refunded == (0 if charge_follows else charge.amount)
    assert "refund.failed" in shop.event_types()


async def latest_invoice(shop: Shop, sub: str) -> stripe.Invoice:
    found = shop.cloud.account.get("subscription", sub)["latest_invoice"]
    return await shop.call(shop.client.v1.invoices.retrieve, found)


async def test_a_credit_note_on_an_open_invoice_leaves_less_to_pay(shop: Shop) -> None:
    sub = await shop.subscribe(card="4000000000000341")
    shop.cloud.advance(32 * DAY)
    invoice = await latest_invoice(shop, sub)
    create = shop.client.v1.credit_notes.create
    note = await shop.call(create, {"invoice": str(invoice.id), "amount": 200})
    assert (note.type, note.pre_payment_amount, note.post_payment_amount) == ("pre_payment", 200, 0)
    lowered = await latest_invoice(shop, sub)
    assert (lowered.status, lowered.amount_due, lowered.pre_payment_credit_notes_amount) == ("open", 299, 200)
    error = await shop.refused(create, {"invoice": str(invoice.id), "amount": 400})
    assert error.http_status == 400
    await shop.call(create, {"invoice": str(invoice.id), "amount": 299})
    forgiven = await latest_invoice(shop, sub)
    assert (forgiven.status, forgiven.total, forgiven.amount_paid) == ("paid", 499, 0)
    assert shop.cloud.account.get("subscription", sub)["status"] == "active"


async def test_a_credit_note_on_a_paid_invoice_gives_back_in_three_ways(shop: Shop) -> None:
    sub = await shop.subscribe()
    customer = shop.cloud.account.get("subscription", sub)["customer"]
    invoice = str((await latest_invoice(shop, sub)).id)
    create = shop.client.v1.credit_notes.create
    assert (await shop.refused(create, {"invoice": invoice, "amount": 200})).http_status == 400
    parts: Any = {"refund_amount": 100, "credit_amount": 70, "out_of_band_amount": 30}
    note = await shop.call(create, {"invoice": invoice, "amount": 200, **parts})
    refund: Any = note.refunds[0]
    assert (await shop.call(shop.client.v1.refunds.retrieve, refund.refund)).amount == 100
    held = await shop.call(shop.client.v1.customers.retrieve, customer)
    assert held.balance == -70
    transactions = await shop.call(shop.client.v1.customers.balance_transactions.list, customer)
    assert [(row.type, row.amount, row.credit_note) for row in transactions.data] == [
        ("credit_note", -70, note.id)
    ]
    assert (await latest_invoice(shop, sub)).post_payment_credit_notes_amount == 200


async def test_each_change_of_the_credit_balance_is_a_transaction(shop: Shop) -> None:
    sub = await shop.subscribe(card="4000000000000341")
    customer = shop.cloud.account.get("subscription", sub)["customer"]
    balance = shop.client.v1.customers.balance_transactions
    given = await shop.call(balance.create, customer, {"amount": -200, "currency": "eur"})
    assert (given.type, given.ending_balance) == ("adjustment", -200)
    await shop.call(shop.client.v1.customers.update, customer, {"balance": -300})
    shop.cloud.advance(32 * DAY)
    invoice = await latest_invoice(shop, sub)
    assert (invoice.status, invoice.starting_balance, invoice.amount_due) == ("open", -300, 199)
    await shop.call(shop.client.v1.invoices.void_invoice, str(invoice.id))
    rows = (await shop.call(balance.list, customer)).data
    assert [(row.type, row.amount, row.ending_balance) for row in rows] == [
        ("unapplied_from_invoice", -300, -300),
        ("applied_to_invoice", 300, 0),
        ("adjustment", -100, -300),
        ("adjustment", -200, -200),
    ]
    error = await shop.refused(balance.create, customer, {"amount": 1, "currency": "usd"})
    assert error.http_status == 400


@pytest.mark.parametrize(
    ("path", "refundable"),
    [
        (("needs_response", "under_review", "won"), False),
        (("needs_response", "under_review", "lost"), False),
        (("warning_needs_response", "warning_under_review", "warning_closed"), True),
    ],
)
async def test_a_dispute_goes_through_its_statuses(
    shop: Shop, path: tuple[str, ...], refundable: bool
) -> None:
    intent = await paid_intent(shop)
    opened = shop.cloud.dispute(intent, "inquiry" if refundable else "open")
    assert (opened["status"], opened["is_charge_refundable"]) == (path[0], refundable)
    for status in path[1:]:
        assert shop.cloud.dispute(intent, status)["status"] == status
    assert not next(shop.cloud.account.newest_first("dispute"))["is_charge_refundable"]
    assert "charge.dispute.closed" in shop.event_types()
    with pytest.raises(StripeApiError):
        shop.cloud.dispute(intent, "under_review")


async def test_the_buyer_pays_in_a_currency_of_their_own(shop: Shop) -> None:
    session = await shop.session(await shop.price())
    with pytest.raises(StripeApiError):
        shop.cloud.pay(session.id, currency="usd")
    offered: Any = {"adaptive_pricing": {"enabled": True}}
    session = await shop.session(await shop.price(), **offered)
    shop.cloud.pay(session.id, currency="usd")
    done: Any = await shop.call(
        shop.client.v1.checkout.sessions.retrieve, session.id, {"expand": ["payment_intent.latest_charge"]}
    )
    shown = {"presentment_amount": 5499, "presentment_currency": "usd"}
    assert (done.amount_total, done.currency) == (4999, "eur")
    for one in (done, done.payment_intent, done.payment_intent.latest_charge):
        assert one.presentment_details.to_dict() == shown
    back = await shop.call(
        shop.client.v1.refunds.create, {"payment_intent": done.payment_intent.id, "amount": 1000}
    )
    assert back.presentment_details is not None
    assert (back.amount, back.presentment_details.presentment_amount) == (1000, 1100)


async def test_a_subscription_is_charged_in_the_buyers_currency_each_time(shop: Shop) -> None:
    shop.cloud.account.settings["adaptive_pricing"] = True
    session = await shop.session(
        await shop.monthly(1000), mode="subscription", customer=await shop.customer()
    )
    shop.cloud.pay(session.id, card="3ds", currency="jpy")
    shop.cloud.advance(32 * DAY)
    charges = await shop.call(shop.client.v1.charges.list)
    shown: Any = [row.presentment_details for row in charges.data if row.paid]
    assert [(one.presentment_amount, one.presentment_currency) for one in shown] == [(1650, "jpy")] * 2
    (sub,) = (await shop.call(shop.client.v1.subscriptions.list)).data
    assert sub.presentment_details is not None
    assert (sub.currency, sub.presentment_details.presentment_currency) == ("eur", "jpy")
