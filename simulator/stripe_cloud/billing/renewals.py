"""What time does to subscriptions: renewals, trials that end, invoices that are finalised, charged and
tried again.
"""

from __future__ import annotations

from collections.abc import Callable

from ..account import Account
from ..api_errors import Json
from ..paying import Attempt
from . import calendar, changes, collection, invoicing, phases, resumption, subscriptions


def payment_settled(account: Account, invoice: Json, attempt: Attempt) -> None:
    """A bank debit for an invoice is final."""
    sub = account.get("subscription", invoice["parent"]["subscription_details"]["subscription"])
    if attempt.state == "succeeded":
        invoicing.mark_paid(account, invoice)
        collection.recovered(account, invoice, sub)
        return
    account.emit("invoice.payment_failed", invoice)
    if invoice["billing_reason"] == "subscription_create":
        # https://docs.stripe.com/billing/subscriptions/overview#subscription-lifecycle: it stays active
        invoicing.void(account, invoice)
    else:
        collection.refused(account, invoice, sub)


def _look_at(account: Account, subscription_id: str) -> None:
    """A boundary of the subscription may have come: its end, the end of a pause, of a trial, of a period."""
    sub = account.get("subscription", subscription_id)
    now = account.now()
    if sub["status"] in subscriptions.ENDED or sub["status"] == "incomplete":
        return
    if sub["cancel_at"] is not None and sub["cancel_at"] <= now:
        subscriptions.end_at_cancel_at(account, sub)
        return
    pause = sub["pause_collection"]
    if pause and pause["resumes_at"] and pause["resumes_at"] <= now:
        with account.changing(sub, "customer.subscription.updated"):
            sub["pause_collection"] = None
    if sub["status"] == "paused":
        return
    if sub["items"]["data"][0]["current_period_end"] <= now:
        _new_period(account, sub)
    subscriptions.schedule_next(account, sub)


def _new_period(account: Account, sub: Json) -> None:
    trial_over = sub["status"] == "trialing"
    if trial_over and collection.payment_method_for(account, sub) is None:
        behaviour = sub["trial_settings"]["end_behavior"]["missing_payment_method"]
        if behaviour == "cancel":
            subscriptions.cancel(account, sub, {})
            return
        if behaviour == "pause":
            subscriptions.pause(account, sub, "trial_end_without_payment_method")
            return
    subscriptions.drop_spent_discounts(account, sub)
    phases.enter_next(account, sub)
    with account.changing(sub, "customer.subscription.updated"):
        for item in sub["items"]["data"]:
            start = item["current_period_end"]
            item["current_period_start"] = start
            item["current_period_end"] = calendar.next_end(
                sub["billing_cycle_anchor"], item["price"]["recurring"], start
            )
        if trial_over:
            sub["status"] = "active"
    lines = invoicing.cycle_lines(account, sub) + account.behind(sub["id"]).pop("pending_lines", [])
    invoice = invoicing.draft(account, sub, lines, reason="subscription_cycle")
    when = account.now() + invoicing.DRAFT_FOR
    with account.changing(invoice, None):
        invoice["period_end"] = invoice["lines"]["data"][0]["period"]["start"]
        invoice["automatically_finalizes_at"] = when
        if sub["status"] == "unpaid" or (sub["pause_collection"] or {}).get("behavior") == "keep_as_draft":
            invoice.update(auto_advance=False, automatically_finalizes_at=None)
    account.schedule(when, "finalize_invoice", invoice["id"])


def _finalize(account: Account, invoice_id: str) -> None:
    invoice = account.get("invoice", invoice_id)
    sub = account.get("subscription", invoice["parent"]["subscription_details"]["subscription"])
    if invoice["status"] != "draft" or not invoice["auto_advance"]:
        return
    invoicing.finalize(account, invoice)
    behaviour = (sub["pause_collection"] or {}).get("behavior")
    if invoice["status"] == "open" and behaviour == "void":
        invoicing.void(account, invoice)
    elif invoice["status"] == "open" and behaviour == "mark_uncollectible":
        invoicing.mark_uncollectible(account, invoice)
    elif invoice["status"] == "open" and invoice["collection_method"] == "send_invoice":
        account.schedule(invoice["due_date"], "invoice_due", invoice["id"])
    elif invoice["status"] == "open":
        collection.charge_automatically(account, invoice, sub)
    else:
        collection.recovered(account, invoice, sub)


def _due(account: Account, invoice_id: str) -> None:
    """An invoice that was sent has not been paid by its due date."""
    invoice = account.get("invoice", invoice_id)
    sub = account.get("subscription", invoice["parent"]["subscription_details"]["subscription"])
    if invoice["status"] == "open" and sub["status"] == "active":
        with account.changing(sub, "customer.subscription.updated"):
            sub["status"] = "past_due"


def _retry(account: Account, invoice_id: str) -> None:
    invoice = account.get("invoice", invoice_id)
    sub = account.get("subscription", invoice["parent"]["subscription_details"]["subscription"])
    due = invoice["next_payment_attempt"] is not None and invoice["next_payment_attempt"] <= account.now()
    if invoice["status"] == "open" and due and sub["status"] not in subscriptions.ENDED:
        collection.charge_automatically(account, invoice, sub)


def _expire_incomplete(account: Account, subscription_id: str) -> None:
    sub = account.get("subscription", subscription_id)
    if sub["status"] == "incomplete":
        subscriptions.abandon(account, sub)


def _remind_of_trial_end(account: Account, subscription_id: str) -> None:
    sub = account.get("subscription", subscription_id)
    if sub["status"] == "trialing":
        account.emit("customer.subscription.trial_will_end", sub)


def _expire_pending_update(account: Account, subscription_id: str) -> None:
    changes.expire_pending_update(account, account.get("subscription", subscription_id))


def _expire_resumption(account: Account, subscription_id: str) -> None:
    resumption.expire(account, account.get("subscription", subscription_id))


TASKS: dict[str, Callable[[Account, str], None]] = {
    "subscription": _look_at,
    "finalize_invoice": _finalize,
    "invoice_due": _due,
    "retry_invoice": _retry,
    "expire_incomplete": _expire_incomplete,
    "remind_of_trial_end": _remind_of_trial_end,
    "expire_pending_update": _expire_pending_update,
    "expire_resumption": _expire_resumption,
}
