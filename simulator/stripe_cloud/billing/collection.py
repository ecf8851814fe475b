"""Getting an invoice paid: at once with the buyer there, later without them, again after a refusal.

`Dunning` is what the Dashboard's "Manage failed payments" page configures: when to try again, and what
becomes of the subscription afterwards.  https://docs.stripe.com/billing/revenue-recovery/smart-retries
"""

from __future__ import annotations

from .. import cards, paying
from ..account import Account
from ..api_errors import Json, StripeApiError, invalid
from ..cards import TestCard
from ..clock import DAY
from ..paying import Attempt
from . import invoicing, pending_updates, resumption

RETRIES_AFTER = (3 * DAY, 5 * DAY, 7 * DAY)
AFTERWARDS = ("canceled", "unpaid", "past_due", "paused")


def card_of(account: Account, method: Json) -> TestCard:
    """The test card behind a payment method."""
    return cards.CARDS[account.behind(method["id"])["card"]]


def payment_method_for(account: Account, sub: Json) -> Json | None:
    """The subscription's own default, else the customer's."""
    customer = account.get("customer", sub["customer"])
    default = (customer.get("invoice_settings") or {}).get("default_payment_method")
    return account.find(sub["default_payment_method"] or default)


def collect(
    account: Account,
    invoice: Json,
    method: Json | None,
    card: TestCard | None,
    *,
    on_session: bool,
    authenticated: bool | None = None,
) -> Attempt:
    """One attempt at the invoice's payment intent.  Emits the invoice's events; the caller looks after the
    subscription.
    """
    intent = invoicing.intent_of(account, invoice)
    assert intent is not None
    with account.changing(invoice, None):
        invoice["attempted"] = True
        invoice["attempt_count"] += 1
    if method is None or card is None:
        account.emit("invoice.payment_failed", invoice)
        return Attempt("declined", intent)
    attempt = paying.confirm(
        account, intent, method, card, on_session=on_session, authenticated=authenticated
    )
    if attempt.state == "succeeded":
        invoicing.mark_paid(account, invoice)
    elif attempt.state == "requires_action":
        account.emit("invoice.payment_action_required", invoice)
        if not on_session:
            account.emit("invoice.payment_failed", invoice)
    elif attempt.state == "declined":
        account.emit("invoice.payment_failed", invoice)
    return attempt


def charge_automatically(account: Account, invoice: Json, sub: Json) -> Attempt:
    """An off-session attempt, with the subscription following its result."""
    method = payment_method_for(account, sub)
    card = card_of(account, method) if method else None
    attempt = collect(account, invoice, method, card, on_session=False)
    after_attempt(account, invoice, sub, attempt)
    return attempt


def after_attempt(account: Account, invoice: Json, sub: Json, attempt: Attempt) -> None:
    """Active after a payment, past_due after a refusal, with the next try scheduled or the end reached."""
    if attempt.state == "succeeded":
        recovered(account, invoice, sub)
    elif attempt.state in {"declined", "requires_action"}:
        refused(account, invoice, sub)


def recovered(account: Account, invoice: Json, sub: Json) -> None:
    """The latest invoice is paid: the subscription is in good standing again, and a pending change takes
    effect.
    """
    pending_updates.apply_if_paid(account, sub, invoice)
    resumption.apply_if_paid(account, sub, invoice)
    if sub["latest_invoice"] == invoice["id"] and sub["status"] in {"past_due", "unpaid", "incomplete"}:
        with account.changing(sub, "customer.subscription.updated"):
            sub["status"] = "active"


def refused(account: Account, invoice: Json, sub: Json) -> None:
    if sub["status"] == "active":
        with account.changing(sub, "customer.subscription.updated"):
            sub["status"] = "past_due"
    if sub["status"] not in {"past_due", "unpaid"}:
        return
    tried = invoice["attempt_count"] - 1
    if tried < len(RETRIES_AFTER):
        when = account.now() + RETRIES_AFTER[tried]
        with account.changing(invoice, "invoice.updated"):
            invoice["next_payment_attempt"] = when
        account.schedule(when, "retry_invoice", invoice["id"])
        return
    with account.changing(invoice, "invoice.updated"):
        invoice.update(next_payment_attempt=None, auto_advance=False)
    _give_up(account, sub)


def _give_up(account: Account, sub: Json) -> None:
    then = account.settings["dunning_ends_with"]
    if then == "canceled":
        with account.changing(sub, None):
            sub.update(status="canceled", canceled_at=account.now(), ended_at=account.now())
            sub["cancellation_details"]["reason"] = "payment_failed"
        account.emit("customer.subscription.deleted", sub)
    elif sub["status"] != then:
        # dunning can end in `paused` since 2026-09-30.endive
        if then == "paused":
            sub["status_details"] = {
                "paused": {
                    "subscription": {"type": "final_payment_failure"},
                    "transitioned_at": account.now(),
                    "type": "subscription",
                }
            }
        with account.changing(sub, "customer.subscription.updated"):
            sub["status"] = then


def check_payable(invoice: Json) -> None:
    """400 for an invoice that cannot be paid, or has been."""
    if invoice["status"] == "paid":
        raise invalid("Invoice is already paid", code="invoice_already_paid")
    if invoice["status"] not in {"open", "uncollectible"}:
        raise invalid(f"This invoice is {invoice['status']} and cannot be paid.", code="invoice_not_editable")


def pay_now(account: Account, invoice: Json, method: Json | None) -> Attempt:
    """`POST /v1/invoices/ID/pay`: 402 with Stripe's card error when the bank says no."""
    check_payable(invoice)
    sub = account.get("subscription", invoice["parent"]["subscription_details"]["subscription"])
    chosen = method or payment_method_for(account, sub)
    if chosen is None:
        raise invalid(
            "There is no default payment_method set on this Customer or Invoice. Please set a default "
            "payment_method.",
            code="invoice_payment_intent_requires_action",
        )
    attempt = collect(account, invoice, chosen, card_of(account, chosen), on_session=False)
    if attempt.state == "succeeded":
        recovered(account, invoice, sub)
        return attempt
    if attempt.state == "processing":
        return attempt
    decline = attempt.decline or cards.AUTHENTICATION_REQUIRED
    raise StripeApiError(
        402, decline.en, kind="card_error", code=decline.code, decline_code=decline.decline_code
    )
