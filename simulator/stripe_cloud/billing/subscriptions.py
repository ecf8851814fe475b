"""Subscriptions: beginning, first payment, ending, pausing, resuming.  Changes in between are in `changes`.

https://docs.stripe.com/billing/subscriptions/overview
"""

from __future__ import annotations

from typing import Any

from .. import cards, discounts
from ..account import Account
from ..api_errors import Json, StripeApiError, invalid
from ..cards import TestCard
from ..clock import DAY, HOUR
from ..objects import billing as objects
from ..objects import catalog
from ..paying import Attempt
from ..simulated import check_billable
from . import calendar, collection, invoicing, resumption
from .proration import change_lines

INCOMPLETE_FOR = 23 * HOUR
"""An unpaid first invoice is void after this long, and its subscription incomplete_expired."""

TRIAL_REMINDER = 3 * DAY
ENDED = frozenset({"canceled", "incomplete_expired"})


def trial_wanted(data: Json) -> bool:
    return bool(data.get("trial_period_days") or data.get("trial_end"))


def check_currency(account: Account, customer: str, currency: str) -> None:
    """A customer's subscriptions have one currency. https://docs.stripe.com/billing/customer#currency"""
    for sub in account.newest_first("subscription"):
        if sub["customer"] == customer and sub["status"] not in ENDED and sub["currency"] != currency:
            raise invalid(
                "You cannot combine currencies on a single customer. This customer has an active "
                "subscription, subscription schedule, discount, quote, or invoice item with currency "
                f"{sub['currency']}"
            )


def begin(account: Account, customer: str, priced: list[tuple[Json, int, Json]], params: Json) -> Json:
    """A new subscription over (price, quantity, metadata) items with its first invoice, not yet paid.

    Emits `customer.subscription.created`: trialing with a trial, active where an invoice is sent, else
    incomplete.
    """
    now = account.now()
    currency = params.get("currency") or priced[0][0]["currency"]
    for price, _, _ in priced:
        check_billable(price)
        catalog.priced_in(account, price, currency)
    check_currency(account, customer, currency)
    sent = params.get("collection_method") == "send_invoice"
    if sent and "days_until_due" not in params:
        raise invalid(
            "When using `collection_method=send_invoice`, you must also set `days_until_due`.",
            param="days_until_due",
        )
    sub = objects.subscription(account, customer, params, currency=currency)
    trial_end = _trial_end(params, now)
    end = trial_end or calendar.next_end(now, priced[0][0]["recurring"], now)
    items = [
        objects.subscription_item(account, sub["id"], price, quantity, start=now, end=end, metadata=metadata)
        for price, quantity, metadata in priced
    ]
    sub["items"] = objects.items_list(sub["id"], items)
    if trial_end:
        sub.update(status="trialing", trial_start=now, trial_end=trial_end, billing_cycle_anchor=trial_end)
        if trial_end - TRIAL_REMINDER > now:
            account.schedule(trial_end - TRIAL_REMINDER, "remind_of_trial_end", sub["id"])
    elif sent:
        sub["status"] = "active"
    if params.get("cancel_at_period_end"):
        sub.update(cancel_at_period_end=True, cancel_at=end, canceled_at=now)
    elif isinstance(params.get("cancel_at"), int):
        sub.update(cancel_at=params["cancel_at"], canceled_at=now)
    for index, given in enumerate(params.get("discounts") or []):
        add_discount(account, sub, given, f"discounts[{index}]")
    if "presented_in" in params:
        sub["presentment_details"] = {"presentment_currency": params["presented_in"]}
    account.add(sub)
    account.emit("customer.subscription.created", sub)
    invoice = invoicing.draft(
        account, sub, invoicing.cycle_lines(account, sub, free=bool(trial_end)), reason="subscription_create"
    )
    if sent:
        account.schedule(now + invoicing.DRAFT_FOR, "finalize_invoice", invoice["id"])
        schedule_next(account, sub)
        return sub
    invoicing.finalize(account, invoice)
    account.schedule(now + INCOMPLETE_FOR, "expire_incomplete", sub["id"])
    return sub


def add_discount(account: Account, sub: Json, given: Json, param: str) -> None:
    """Apply a coupon or promotion code to every invoice while it lasts."""
    coupon, code = discounts.coupon_of(account, given, param=param)
    end = None
    if coupon["duration"] == "repeating":
        end = calendar.plus(
            account.now(), {"interval": "month", "interval_count": 1}, coupon["duration_in_months"]
        )
    discount = account.add(
        catalog.discount(
            account,
            coupon["id"],
            promotion_code_id=code["id"] if code else None,
            customer=sub["customer"],
            subscription=sub["id"],
            end=end,
        )
    )
    sub["discounts"].append(discount["id"])


def schedule_next(account: Account, sub: Json) -> None:
    """Put the subscription's next moment on the agenda."""
    if sub["status"] in ENDED:
        return
    moments = [sub["items"]["data"][0]["current_period_end"]]
    moments += [sub["cancel_at"]] if sub["cancel_at"] else []
    pause = sub["pause_collection"]
    moments += [pause["resumes_at"]] if pause and pause["resumes_at"] else []
    account.schedule(max(account.now(), min(moments)), "subscription", sub["id"])


def from_checkout(account: Account, session: Json, customer: str, items: list[Json], params: Json) -> Json:
    """The subscription a Checkout session is about to start."""
    data = {**params.get("subscription_data", {}), "currency": session["currency"]}
    if "presentment_details" in session:
        data["presented_in"] = session["presentment_details"]["presentment_currency"]
    if session["automatic_tax"]["enabled"]:
        data["automatic_tax"] = {"enabled": True}
    data["discounts"] = [
        {"promotion_code": used["promotion_code"]} if used["promotion_code"] else {"coupon": used["coupon"]}
        for used in session["discounts"]
    ]
    recurring: list[tuple[Json, int, Json]] = [
        (i["price"], i["quantity"], {}) for i in items if i["price"]["type"] == "recurring"
    ]
    return begin(account, customer, recurring, data)


def pay_first(
    account: Account,
    sub: Json,
    method: Json | None,
    card: TestCard | None,
    *,
    authenticated: bool | None,
) -> Attempt | None:
    """The buyer pays the first invoice; None when nothing was due and the subscription began all the same."""
    invoice = account.get("invoice", sub["latest_invoice"])
    if invoice["status"] == "paid":
        activate(account, sub, method)
        return None
    attempt = collection.collect(account, invoice, method, card, on_session=True, authenticated=authenticated)
    if attempt.state in {"succeeded", "processing"}:
        activate(account, sub, method)
    return attempt


def check_card(card: TestCard | None, authenticated: bool | None) -> Attempt | None:
    """A card given where nothing is due yet is verified only."""
    if card is None:
        return None
    if card.challenge != "never" and authenticated is None:
        return Attempt("requires_action", {})
    if authenticated is False:
        return Attempt("declined", {}, decline=cards.AUTHENTICATION_FAILED)
    return Attempt("declined", {}, decline=card.decline) if card.decline else None


def activate(account: Account, sub: Json, method: Json | None) -> None:
    """Incomplete to active (a trial stays trialing), with the card kept for renewals."""
    with account.changing(sub, "customer.subscription.updated"):
        if method is not None:
            sub["default_payment_method"] = method["id"]
        if sub["status"] == "incomplete":
            sub["status"] = "active"
    if method is not None:
        account.emit("payment_method.attached", method)
    drop_spent_discounts(account, sub)
    schedule_next(account, sub)


def drop_spent_discounts(account: Account, sub: Json) -> None:
    """A coupon for one invoice is gone after it; one for some months after those."""
    kept = []
    for discount_id in sub["discounts"]:
        discount = account.get("discount", discount_id)
        coupon = account.get("coupon", discount["source"]["coupon"])
        over = discount["end"] is not None and discount["end"] <= account.now()
        if coupon["duration"] != "once" and not over:
            kept.append(discount_id)
    if kept != sub["discounts"]:
        with account.changing(sub, "customer.subscription.updated"):
            sub["discounts"] = kept


def abandon(account: Account, sub: Json) -> None:
    """The first invoice was never paid."""
    if sub["status"] not in {"incomplete", "trialing"}:
        return
    invoice = account.get("invoice", sub["latest_invoice"])
    if invoice["status"] == "open":
        invoicing.void(account, invoice)
    with account.changing(sub, "customer.subscription.updated"):
        sub.update(status="incomplete_expired", ended_at=account.now())


def cancel(account: Account, sub: Json, params: Json) -> Json:
    """At once.  `prorate`: credit the unused time; `invoice_now`: settle that in a last invoice."""
    if sub["status"] in ENDED:
        raise StripeApiError(404, f"No such subscription: '{sub['id']}'", code="resource_missing", param="id")
    now = account.now()
    lines: list[Json] = account.behind(sub["id"]).pop("pending_lines", [])
    if params.get("prorate"):
        for item in sub["items"]["data"]:
            lines += change_lines(account, sub, item, None, now)
    if params.get("invoice_now") and lines:
        invoice = invoicing.draft(account, sub, lines, reason="subscription_update")
        invoicing.finalize(account, invoice)
    never_paid = sub["status"] == "incomplete"
    with account.changing(sub, None):
        sub.update(
            status="incomplete_expired" if never_paid else "canceled",
            canceled_at=sub["canceled_at"] or now,
            ended_at=now,
            pending_update=None,
        )
        _note_reason(sub, params.get("cancellation_details", {}))
    schedule = account.find(sub["schedule"])
    if schedule is not None:
        with account.changing(schedule, "subscription_schedule.canceled"):
            schedule.update(status="canceled", canceled_at=now, current_phase=None)
    latest = account.find(sub["latest_invoice"])
    if latest is not None and latest["status"] == "draft":
        with account.changing(latest, "invoice.updated"):
            latest["auto_advance"] = False
    account.emit("customer.subscription.deleted", sub)
    return sub


def end_at_cancel_at(account: Account, sub: Json) -> None:
    """`cancel_at` has come."""
    with account.changing(sub, None):
        sub.update(status="canceled", ended_at=sub["cancel_at"] or account.now())
        sub["cancellation_details"]["reason"] = (
            sub["cancellation_details"]["reason"] or "cancellation_requested"
        )
    account.emit("customer.subscription.deleted", sub)


def pause(account: Account, sub: Json, reason: str) -> Json:
    """The status `paused`: no service, no invoices, until resumed."""
    with account.changing(sub, None):
        sub["status"] = "paused"
        sub["status_details"] = {
            "paused": {
                "subscription": {"type": reason},
                "transitioned_at": account.now(),
                "type": "subscription",
            }
        }
    account.emit("customer.subscription.paused", sub)
    return sub


def resume(account: Account, sub: Json, params: Json) -> Json:
    """Active at once where nothing is due; else once the resumption invoice is paid."""
    if "payment_behavior" in params and sub["billing_mode"]["type"] != "flexible":
        raise invalid(
            "`payment_behavior` can only be passed for subscriptions with `billing_mode=flexible`.",
            param="payment_behavior",
        )
    invoice = resumption.begin(account, sub, params)
    if invoice is None:
        pass
    elif invoice["status"] == "paid":
        resumption.apply_if_paid(account, sub, invoice)
    elif params.get("payment_behavior") == "resume_on_payment_success":
        collection.charge_automatically(account, invoice, sub)
    schedule_next(account, sub)
    return sub


def _note_reason(sub: Json, given: Json) -> None:
    details = sub["cancellation_details"]
    details["reason"] = details["reason"] or "cancellation_requested"
    for name in ("comment", "feedback"):
        if name in given:
            details[name] = given[name] or None


def _trial_end(params: Json, now: int) -> int | None:
    if isinstance(params.get("trial_end"), int):
        if params["trial_end"] <= now:
            raise invalid(
                "Invalid timestamp: must be an integer Unix timestamp in the future.", param="trial_end"
            )
        return int(params["trial_end"])
    days: Any = params.get("trial_period_days")
    return now + int(days) * DAY if days else None
