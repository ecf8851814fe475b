"""What a subscription and its invoices say of a plan: until when it runs, what was paid, what was returned.

Pure.

Objects are as in payment_facts.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, Literal

from stripe_payments.entitlements import Subscription
from stripe_payments.sync import payment_facts as facts
from stripe_payments.sync.payment_facts import (
    DisputeState,
    MoneyBack,
    Raw,
    data,
    expanded,
    integer,
    metadata,
    reference,
)

BEFORE_PERIOD: Final = 3600
"""Seconds. An invoice may be made a moment before the period that it pays for."""


def subscription(raw: Raw, latest_invoice: Raw | None) -> Subscription:
    """What the subscription itself says. Of several items (we sell one) the period that ends last counts.

    `past_due_since` is that of its latest invoice, and `returned` is not known: both take all its invoices.
    """
    items = subscription_items(raw)
    ends = [end for item in items if (end := integer(item.get("current_period_end"))) is not None]
    marks = metadata(raw)
    price = items[0].get("price") if items else None
    status = str(raw.get("status"))
    gave_up = _gave_up(raw)
    return Subscription(
        id=str(raw["id"]),
        status=status,
        price_id=reference(price) or "",
        price_alias=_alias_of(price, marks),
        plan=marks.get("item"),
        current_period_end=max(ends, default=None),
        cancel_at=integer(raw.get("cancel_at")),
        cancel_at_period_end=bool(raw.get("cancel_at_period_end")),
        trial_end=integer(raw.get("trial_end")),
        paused_collection=bool(raw.get("pause_collection")),
        past_due_since=_past_due_since(raw, latest_invoice) if status == "past_due" or gave_up else None,
        paused_after_dunning=gave_up,
    )


def _gave_up(raw: Raw) -> bool:
    """Whether Stripe paused it after the last attempt to collect a payment (since 2026-09-30.endive)."""
    details = expanded(raw.get("status_details")) or {}
    paused = expanded(details.get("paused")) or {}
    cause = (expanded(paused.get("subscription")) or {}).get("type")
    return raw.get("status") == "paused" and cause == "final_payment_failure"


def owed_since(invoices: Iterable[Raw]) -> int | None:
    """When the first of the payments that are owed now fell due: a later renewal is no new start."""
    since: int | None = None
    for invoice in invoices:
        if invoice.get("status") in ("open", "uncollectible"):
            since = fell_due(invoice)
        elif invoice.get("status") == "paid" and invoice.get("amount_paid"):
            break
    return since


def owed(
    held: Subscription, latest: Raw | None, own: Sequence[Raw], period_start: int | None
) -> Literal["pending", "unpaid"] | None:
    """Whether an active subscription's money is still missing, by its latest and all its own invoices.

    With a delayed payment method it is active at once, and stays so when Stripe voids the invoice of a failed
    debit (https://docs.stripe.com/billing/subscriptions/overview). A renewal that is processing does not
    count: the plan was paid before, and a failure makes it past_due.
    """
    if held.status != "active" or latest is None or not latest.get("attempted"):
        return None
    begun = (period_start or 0) - BEFORE_PERIOD
    if not integer(latest.get("amount_due")) or (integer(latest.get("created")) or 0) < begun:
        return None
    paid = [one for one in own if one.get("status") == "paid" and integer(one.get("amount_paid"))]
    if latest.get("status") == "open":
        return None if paid else "pending"
    if latest.get("status") in ("void", "uncollectible"):
        paid_now = [one for one in paid if (integer(one.get("created")) or 0) >= begun]
        return None if paid_now else "unpaid"
    return None


def subscription_items(raw: Raw) -> Sequence[Raw]:
    return data(raw.get("items"))


def period_start(raw: Raw) -> int | None:
    """When the subscription's current period began."""
    starts = [integer(item.get("current_period_start")) for item in subscription_items(raw)]
    return max((start for start in starts if start is not None), default=None)


def _alias_of(price: object, marks: Mapping[str, str]) -> str | None:
    """Our name of the price: its lookup_key follows a change of plan, our metadata may be that of the old
    one.
    """
    key = price.get("lookup_key") if isinstance(price, Mapping) else None
    return key if isinstance(key, str) and key else marks.get("price_alias")


def _past_due_since(raw: Raw, latest_invoice: Raw | None) -> int | None:
    """When the payment that is owed fell due: the unpaid invoice's finalization, else the start of the
    period.

    Taken from Stripe's objects and never from the moment we noticed, so that grace ends at the same second
    whatever we saw and when.
    """
    if latest_invoice and latest_invoice.get("status") != "paid":
        since = fell_due(latest_invoice)
        if since is not None:
            return since
    return period_start(raw)


def fell_due(invoice: Raw) -> int | None:
    """When an invoice was to be paid: as soon as it was final; one that is sent, by its due date."""
    due = integer(invoice.get("due_date"))
    if due is not None and invoice.get("collection_method") == "send_invoice":
        return due
    transitions = expanded(invoice.get("status_transitions")) or {}
    final = integer(transitions.get("finalized_at"))
    return final if final is not None else integer(invoice.get("created"))


# -- money -----------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class InvoiceMoney:
    """What became of the payments of one invoice. Amounts in minor units; `paid`: by all of them, `credit`
    of the customer's balance included; `credited`: what the invoice added to that balance; `charges`: the ids
    of the charges that paid it, as far as they are stored.
    """

    paid: int = 0
    credit: int = 0
    refunded: int = 0
    lost: int = 0
    credited: int = 0
    dispute: DisputeState | None = None
    charges: tuple[str, ...] = ()

    @property
    def returned(self) -> int:
        return min(self.paid, self.refunded + self.lost)

    def status(self, of_invoice: str) -> str:
        """The invoice's status in the history: what became of the payment outweighs that it was paid."""
        if of_invoice != "paid" or not self.paid:
            return of_invoice
        if self.dispute in ("open", "lost"):
            return "disputed"
        if self.refunded >= self.paid:
            return "refunded"
        return "partially_refunded" if self.refunded else of_invoice


def invoice_money(invoice: Raw, backs: Mapping[str, MoneyBack]) -> InvoiceMoney:
    """`backs`: what went back of each of the charges that paid the invoice, by the charge's id."""
    if invoice.get("status") != "paid":
        return InvoiceMoney()
    credit = facts.from_credit(invoice)
    states = {back.dispute for back in backs.values()}
    ranked: tuple[DisputeState, ...] = ("lost", "open", "won")
    return InvoiceMoney(
        paid=(integer(invoice.get("amount_paid")) or 0) + max(0, credit),
        refunded=sum(back.refunded for back in backs.values()),
        lost=sum(back.lost for back in backs.values()),
        credit=max(0, credit),
        credited=max(0, -credit),
        dispute=next((state for state in ranked if state in states), None),
        charges=tuple(backs),
    )


def returned(
    own: Sequence[Raw], invoices: Mapping[str, InvoiceMoney], period_start: int | None
) -> Literal["refunded", "disputed"] | None:
    """Which way all that was paid for the current period went back; None while something is left. `own`: the
    subscription's invoices, newest first.

    A change to a cheaper plan pays for its period with credit from an earlier payment. Where nothing else
    was paid, the period goes with that payment.
    """
    begun = (period_start or 0) - BEFORE_PERIOD
    current = [one for one in own if (integer(one.get("created")) or 0) >= begun]
    moneys = [invoices[str(one["id"])] for one in current]
    if all(money.paid == money.credit for money in moneys) and any(
        money.credit or money.credited for money in moneys
    ):
        source = _source_of_credit(own, invoices)
        moneys = [source] if source is not None else moneys
    paid = sum(money.paid for money in moneys)
    if not paid or sum(money.returned for money in moneys) < paid:
        return None
    return "disputed" if any(money.lost for money in moneys) else "refunded"


def _source_of_credit(own: Sequence[Raw], invoices: Mapping[str, InvoiceMoney]) -> InvoiceMoney | None:
    """What had paid for the last credit that an invoice added; None for credit of another origin."""
    moneys = iter([invoices[str(one["id"])] for one in own])
    if next((money for money in moneys if money.credited), None) is None:
        return None
    return next((money for money in moneys if money.paid > money.credit), None)


def credited_since(own: Sequence[Raw], invoices: Mapping[str, InvoiceMoney], invoice_id: str) -> int:
    """What of an invoice's payment later changes to a cheaper plan turned into credit. `own`: as in
    `returned`.
    """
    credited = 0
    for one in own:
        money = invoices[str(one["id"])]
        if one["id"] == invoice_id:
            return credited
        credited = 0 if money.paid > money.credit else credited + money.credited
    return 0
