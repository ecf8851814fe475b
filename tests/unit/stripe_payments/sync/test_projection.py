"""Shapes that the simulator, being of the newest version, does not produce, and the corners of the rules."""

from __future__ import annotations

from typing import Any

import pytest

from stripe_payments.sync import projection as derive
from ubus_py.blobmsg import encode_table

US = "a" * 32


def session(**fields: Any) -> dict[str, Any]:
    return {
        "id": "cs_1",
        "object": "checkout.session",
        "created": 100,
        "mode": "payment",
        "status": "complete",
        "payment_status": "paid",
        "amount_total": 4999,
        "currency": "eur",
        "customer": "cus_1",
        "metadata": {"router_id": US, "price_alias": "p", "item": "i"},
        "payment_intent": None,
        **fields,
    }


def intent(**fields: Any) -> dict[str, Any]:
    whole = {"id": "pi_1", "object": "payment_intent", "created": 100, "amount": 4999, "currency": "eur"}
    return whole | fields


def charge(**fields: Any) -> dict[str, Any]:
    return {"id": "ch_1", "object": "charge", "created": 150, "paid": True, "amount": 4999, **fields}


def test_a_session_for_nothing_has_neither_payment_nor_currency() -> None:
    raw = session(payment_status="no_payment_required", amount_total=0, currency=None)
    paid = derive.payment(raw)
    assert (paid.status, paid.amount, paid.currency, paid.payment_intent) == (
        "no_payment_required",
        0,
        None,
        None,
    )
    assert paid.paid_at == 100
    bought = derive.purchase(raw, paid)
    assert bought is not None
    assert bought.paid
    (row,) = derive.payment_rows(raw, paid, "i", None)
    assert (row.id, row.amount, row.currency) == ("cs_1", 0, "")


@pytest.mark.parametrize(
    ("fields", "status", "final"),
    [
        ({"status": "open", "payment_status": "unpaid"}, "unpaid", False),
        ({"status": "open", "payment_status": "no_payment_required"}, "unpaid", False),
        ({"status": "expired", "payment_status": "unpaid"}, "expired", True),
        ({"payment_status": "unpaid"}, "pending", False),
        ({"payment_status": "unpaid", "payment_intent": "pi_1"}, "pending", False),
        ({"payment_status": "unpaid", "payment_intent": intent(status="processing")}, "pending", False),
        (
            {
                "payment_status": "unpaid",
                "payment_intent": intent(
                    status="requires_payment_method", last_payment_error={"code": "card_declined"}
                ),
            },
            "failed",
            True,
        ),
        ({"payment_status": "unpaid", "payment_intent": intent(status="canceled")}, "failed", True),
    ],
)
def test_the_status_of_a_session(fields: dict[str, Any], status: str, final: bool) -> None:
    paid = derive.payment(session(**fields))
    assert (paid.status, paid.final) == (status, final)


def test_only_a_completed_session_of_mode_payment_is_a_purchase() -> None:
    for fields in ({"status": "open"}, {"status": "expired"}, {"mode": "subscription"}, {"mode": "setup"}):
        raw = session(**fields)
        assert derive.purchase(raw, derive.payment(raw)) is None


@pytest.mark.parametrize(
    ("refunded", "full"),
    [
        ({"refunded": True, "amount_refunded": 4999}, True),
        ({"refunded": False, "amount_refunded": 4999, "amount_captured": 4999}, True),
        ({"refunded": False, "amount_refunded": 4998, "amount_captured": 4999}, False),
        ({"amount_refunded": 0, "amount": 0, "amount_captured": 0}, False),
        ({}, False),
    ],
)
def test_full_and_partial_refunds(refunded: dict[str, Any], full: bool) -> None:
    assert derive.is_fully_refunded(charge(**refunded)) is full


@pytest.mark.parametrize(
    ("statuses", "state"),
    [
        ([], "open"),
        (["warning_needs_response"], "open"),
        (["under_review"], "open"),
        (["a_status_of_next_year"], "open"),
        (["warning_closed"], "won"),
        (["won"], "won"),
        (["won", "needs_response"], "open"),
        (["won", "needs_response", "lost"], "lost"),
    ],
)
def test_where_disputes_stand(statuses: list[str], state: str) -> None:
    held = charge(disputed=True)
    assert derive.dispute_state(held, [{"status": status} for status in statuses], None) == state


def test_disputes_that_were_not_fetched_leave_what_was_known() -> None:
    assert derive.dispute_state(charge(disputed=True), None, "lost") == "lost"
    assert derive.dispute_state(charge(disputed=True), None, None) == "open"
    assert derive.dispute_state(charge(disputed=False), None, None) is None
    assert derive.dispute_state(charge(disputed=False), [], None) is None


@pytest.mark.parametrize(
    ("fields", "ours"),
    [
        ({}, True),
        ({"customer": "cus_other"}, True),
        ({"metadata": {"router_id": "b" * 32}}, False),
        ({"metadata": {}, "client_reference_id": "b" * 32}, False),
        ({"metadata": {}}, True),
        ({"metadata": {}, "customer": {"id": "cus_1", "object": "customer"}}, True),
        ({"metadata": {}, "customer": "cus_other"}, False),
        ({"metadata": None, "customer": None}, False),
    ],
)
def test_whose_it_is(fields: dict[str, Any], ours: bool) -> None:
    assert derive.is_ours(session(**fields), US, "cus_1") is ours
    assert derive.is_ours({"object": "charge", "customer": None, "metadata": {}}, US, None) is False


def subscription(**fields: Any) -> dict[str, Any]:
    return {
        "id": "sub_1",
        "object": "subscription",
        "status": "active",
        "items": {"data": [{"price": {"id": "price_1", "lookup_key": "alias"}, "current_period_end": 900}]},
        "metadata": {"price_alias": "old", "item": "premium"},
        **fields,
    }


def test_the_periods_end_in_both_of_its_places() -> None:
    assert derive.subscription(subscription()).current_period_end == 900
    old = subscription(items={"data": [{"price": "price_1"}]}, current_period_end=800)
    row = derive.subscription(old)
    assert (row.current_period_end, row.price_id, row.price_alias) == (800, "price_1", "old")


def test_the_price_of_today_counts_and_not_that_of_the_purchase() -> None:
    assert derive.subscription(subscription()).price_alias == "alias"


def test_past_due_since_comes_from_stripe_and_not_from_when_we_looked() -> None:
    unpaid = {
        "id": "in_1",
        "object": "invoice",
        "status": "open",
        "created": 10,
        "status_transitions": {"finalized_at": 20},
    }
    assert derive.subscription(subscription(latest_invoice=unpaid)).past_due_since is None
    due = subscription(status="past_due", latest_invoice=unpaid)
    assert derive.subscription(due).past_due_since == 20
    due["latest_invoice"] = {**unpaid, "status_transitions": {"finalized_at": None}}
    assert derive.subscription(due).past_due_since == 10
    due["latest_invoice"] = "in_1"
    due["items"]["data"][0]["current_period_start"] = 5
    assert derive.subscription(due).past_due_since == 5


def test_pauses_and_ends() -> None:
    pause = {"behavior": "void"}
    row = derive.subscription(
        subscription(pause_collection=pause, cancel_at=5, cancel_at_period_end=True, trial_end=4)
    )
    assert row.paused_collection
    assert row.cancel_at_period_end
    assert (row.cancel_at, row.trial_end) == (5, 4)


def test_an_invoices_subscription_and_payment_in_their_old_and_new_places() -> None:
    new = {
        "parent": {"subscription_details": {"subscription": {"id": "sub_1"}}},
        "payments": {"data": [{"payment": {"type": "payment_intent", "payment_intent": "pi_1"}}]},
    }
    old = {"subscription": "sub_1", "payment_intent": {"id": "pi_1"}}
    for raw in (new, old):
        assert derive.subscription_of_invoice(raw) == "sub_1"
        assert derive.payment_intent_of_invoice(raw) == "pi_1"
    assert derive.subscription_of_invoice({}) is None
    assert derive.payment_intent_of_invoice({}) is None


def test_drafts_are_no_history() -> None:
    assert derive.invoice_row({"id": "in_1", "status": "draft"}, "") is None
    row = derive.invoice_row({"id": "in_1", "status": "open", "created": 3, "amount_due": 499}, "premium")
    assert row is not None
    assert (row.status, row.amount, row.date, row.kind) == ("unpaid", 499, 3, "invoice")


def test_a_hundred_lines_of_the_longest_fit_into_one_answer_on_the_bus() -> None:
    """The bus takes 1 MiB; Stripe's texts may have thousands of characters."""
    address = "https://pay.stripe.com/" + "x" * 2020
    raw = {
        "id": "in_1",
        "status": "paid",
        "created": 100,
        "amount_paid": 499,
        "currency": "eur",
        "lines": {"data": [{"description": "€" * 5000}]},
        "hosted_invoice_url": address,
        "invoice_pdf": address,
    }
    line = derive.invoice_row(raw, "")
    assert line is not None
    assert line.description
    told = [{"description": line.description, "url": line.receipt_url, "pdf": line.invoice_pdf}] * 100
    assert len(encode_table({"transactions": told})) < 900_000
    (refund,) = derive.money_back_rows({"refunds": {"data": [{"id": "re_1"}]}}, "€" * 5000, None)
    (payment,) = derive.payment_rows(session(), derive.payment(session()), "€" * 5000, None)
    assert refund.description == payment.description == line.description
