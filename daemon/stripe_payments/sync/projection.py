"""What all stored objects of one router amount to: purchases, subscriptions, history, entitlements. Pure.

    fetch → store → parse → project → diff → outbox

The same objects result in the same state, in whatever order and however often they were fetched. No IO, no
clock, no SQLite, UCI or ubus. `payment_facts` and `plan_facts` are the rules for single payments and plans;
this module applies them to all objects, and derives the history and the notifications from the results.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Final, Literal

from stripe_payments.entitlements import (
    Entitlement,
    ManualGrant,
    Purchase,
    Subscription,
    changes,
    entitlements,
)
from stripe_payments.payment_history import TransactionRow, by_date
from stripe_payments.settings import Settings
from stripe_payments.sync import payment_facts, plan_facts
from stripe_payments.sync.payment_facts import DisputeState, Payment
from stripe_payments.sync.plan_facts import InvoiceMoney
from stripe_payments.sync.raw_fields import Raw
from stripe_payments.sync.stripe_objects import Dispute, Invoice, InvoiceLine, Refund, StripeObjects

__all__ = ["ENDED", "News", "NewsKind", "State", "diff", "project"]

NewsKind = Literal["feature", "payment", "subscription"]
News = tuple[NewsKind, Mapping[str, Any]]
"""An entry of the outbox: its kind and payload."""

LONGEST_TITLE: Final = 250
"""Characters of what a line of the history is for: a hundred lines have to go into one answer on the bus."""

ENDED: Final = frozenset({"canceled", "incomplete_expired"})
"""Statuses that a subscription never leaves."""

_NEWS_FOR: Final = 3 * 86_400
"""Seconds: for as long as Stripe delivers an event again."""


@dataclass(frozen=True, slots=True)
class State:
    """One router's. `parsed`: the objects that it was projected from; `purchases` and `subscriptions` by id;
    `payments` by the id of the Checkout session, or of the payment intent that has none; `invoices` by the
    invoice's id; `rows`: the history that follows from the objects, sorted by `by_date`; `archived`: rows
    whose objects are no longer stored; `news`: what listeners are sent when the row of that id is new or its
    status differs.
    """

    parsed: StripeObjects = field(default_factory=StripeObjects)
    purchases: Mapping[str, Purchase] = field(default_factory=dict)
    subscriptions: Mapping[str, Subscription] = field(default_factory=dict)
    payments: Mapping[str, Payment] = field(default_factory=dict)
    invoices: Mapping[str, InvoiceMoney] = field(default_factory=dict)
    rows: Sequence[TransactionRow] = ()
    archived: Iterable[TransactionRow] = ()
    news: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    entitlements: Mapping[str, Entitlement] = field(default_factory=dict)

    @property
    def objects(self) -> Mapping[str, Raw]:
        """The objects as stored, by id."""
        return self.parsed.raw

    @property
    def history(self) -> list[TransactionRow]:
        """The complete history, sorted by `by_date`."""
        merged = {row.id: row for row in self.archived} | {row.id: row for row in self.rows}
        return sorted(merged.values(), key=by_date)

    @property
    def running(self) -> list[Subscription]:
        """The subscriptions that have not ended for good, by id."""
        return [one for one in self.subscriptions.values() if one.status not in ENDED]

    def dispute(self, session_id: str) -> DisputeState | None:
        """Where the disputes of a Checkout session's payment stand, also if only its purchase is stored."""
        paid = self.payments.get(session_id)
        if paid is not None:
            return paid.dispute
        purchase = self.purchases.get(session_id)
        dispute = purchase.dispute if purchase is not None else None
        return "lost" if dispute == "lost_in_part" else dispute

    def payment_of(self, payment_intent: str) -> Payment | None:
        """The payment made by a payment intent, by its session where there is one."""
        found = [paid for paid in self.payments.values() if paid.payment_intent == payment_intent]
        return max(found, key=lambda paid: (paid.created, paid.id), default=None)

    def credited_since(self, invoice_id: str) -> int:
        """What of an invoice's payment later changes of the plan turned into customer credit; minor units."""
        invoice = self.parsed.invoices.get(invoice_id)
        own = self.parsed.invoices_of[invoice.subscription or ""] if invoice is not None else ()
        return plan_facts.credited_since(own, self.invoices, invoice_id)


def project(
    objects: StripeObjects,
    settings: Settings,
    now: int | None,
    *,
    last_seen: Mapping[str, int],
    previous: Mapping[str, Entitlement],
    grants: Iterable[ManualGrant] = (),
    must_not_lock: Collection[str] = (),
    archived: Iterable[TransactionRow] = (),
) -> State:
    """The state that follows from all stored objects of one router.

    `settings`: the catalog, and how long grace and offline last; `now`: trusted epoch seconds or None;
    `last_seen`, `must_not_lock`: as in `entitlements`; `previous`: the entitlements before; `grants`: the
    administrator's; `archived`: rows of the history whose objects are no longer stored.
    """
    backs = payment_facts.money_back(objects)
    payments = payment_facts.payments(objects, backs)
    purchases = payment_facts.purchases(objects, payments)
    invoices = plan_facts.invoice_money(objects, backs)
    subscriptions = plan_facts.subscriptions(objects, invoices)
    rows, news = _history(objects, settings, payments, invoices)
    return State(
        parsed=objects,
        purchases=purchases,
        subscriptions=subscriptions,
        payments=payments,
        invoices=invoices,
        rows=sorted({row.id: row for row in rows}.values(), key=by_date),
        archived=archived,
        news=news,
        entitlements=entitlements(
            subscriptions.values(),
            purchases.values(),
            settings,
            now,
            last_seen=last_seen,
            previous=previous,
            grants=grants,
            must_not_lock=must_not_lock,
        ),
    )


def diff(
    before: State, after: State, settings: Settings, now: int | None, *, rebuilding: bool = False
) -> list[News]:
    """The notifications for the rest of the system, in order: payments, subscriptions, features.

    `rebuilding`: the ledger is being filled from Stripe again, with the payments of years; listeners were
    notified of those when they were made.
    """
    statuses = {row.id: row.status for row in before.rows}
    if any(row.id in after.news and row.id not in statuses for row in after.rows):
        statuses = {row.id: row.status for row in before.archived} | statuses
    found: list[News] = []
    for row in after.rows:
        payload = after.news.get(row.id)
        if payload is None or statuses.get(row.id) == row.status:
            continue
        if row.id not in statuses and rebuilding and now is not None and now - row.date >= _NEWS_FOR:
            continue
        found.append(("payment", payload))
    found += [
        ("subscription", _subscription_news(one, settings))
        for one in after.subscriptions.values()
        if one != before.subscriptions.get(one.id)
    ]
    found += [("feature", change.payload()) for change in changes(before.entitlements, after.entitlements)]
    return found


def _subscription_news(subscription: Subscription, settings: Settings) -> dict[str, Any]:
    known = [
        settings.price(price_id) or settings.price(alias or "") for price_id, alias in subscription.prices
    ]
    price = next((found for found in known if found is not None), None)
    plan, alias = subscription.plan or "", subscription.price_alias or subscription.price_id
    return {
        "id": subscription.id,
        "status": subscription.status,
        "plan": price.of if price is not None else plan,
        "price": price.alias if price is not None else alias,
        "cancel_at_period_end": subscription.cancel_at_period_end,
    }


# -- the history ---------------------------------------------------------------------------------


def _history(
    objects: StripeObjects,
    settings: Settings,
    payments: Mapping[str, Payment],
    invoices: Mapping[str, InvoiceMoney],
) -> tuple[list[TransactionRow], dict[str, Mapping[str, Any]]]:
    """(rows, what listeners are sent of them by the row's id)."""
    rows: list[TransactionRow] = []
    news: dict[str, Mapping[str, Any]] = {}
    documents = _invoices_of_purchases(objects)
    for paid in payments.values():
        if paid.for_plan:
            continue  # its invoices are its payments
        title = paid.item or paid.description
        if (row := _payment_row(paid, title)) is not None:
            document = documents.get(paid.id)
            rows.append(replace(row, invoice_pdf=document.invoice_pdf) if document is not None else row)
            news[row.id] = _payment_news(paid)
        if paid.charge is not None and paid.charge in objects.charges:
            rows += _money_back(objects, paid.charge, title)
    shown = {document.id for document in documents.values()}
    for invoice in objects.invoices.values():
        if invoice.id in shown:
            continue  # the row of the payment links to it
        item = _invoice_item(invoice, settings)
        row = _invoice_row(invoice, invoices[invoice.id], item)
        if row is None:
            continue
        rows.append(row)
        if row.amount:  # nothing was charged for a trial or a voucher
            news[row.id] = _invoice_news(row, invoice, item)
        for charge in objects.charges_of_invoice[invoice.id]:
            rows += _money_back(objects, charge.id, item or row.description)
    return rows, news


def _invoices_of_purchases(objects: StripeObjects) -> dict[str, Invoice]:
    """The invoices made for one-time payments (`invoice_creation`), by the session's id."""
    found = {}
    for session in objects.sessions.values():
        invoice = objects.invoices.get(session.invoice or "")
        if session.mode == "payment" and invoice is not None:
            found[session.id] = invoice
    return found


def _payment_row(paid: Payment, title: str) -> TransactionRow | None:
    """A payment's line; None for an attempt that never came to anything, which is no history."""
    if paid.status in ("unpaid", "expired"):
        return None
    return TransactionRow(
        id=paid.payment_intent or paid.id,
        date=paid.paid_at or paid.created,
        kind="payment",
        amount=paid.amount or 0,
        currency=paid.currency or "",
        status=paid.status,
        description=title[:LONGEST_TITLE],
        receipt_url=paid.receipt_url,
    )


def _money_back(objects: StripeObjects, charge: str, title: str) -> list[TransactionRow]:
    """The lines of a charge's refunds and disputes."""
    rows = [_money_back_row(refund, "refund", title) for refund in objects.refunds_of.get(charge, ())]
    disputes = objects.disputes_of.get(charge, ())
    return rows + [_money_back_row(dispute, "dispute", title) for dispute in disputes]


def _money_back_row(one: Refund | Dispute, kind: Literal["refund", "dispute"], title: str) -> TransactionRow:
    return TransactionRow(
        id=one.id,
        date=one.created,
        kind=kind,
        amount=-one.amount,
        currency=one.currency,
        status=one.status,
        description=title[:LONGEST_TITLE],
    )


def _invoice_row(invoice: Invoice, money: InvoiceMoney, title: str) -> TransactionRow | None:
    """The line of an invoice that was sent; None while it is a draft."""
    if invoice.status in ("", "draft"):
        return None
    line = _dearest_line(invoice)
    moments = (invoice.paid_at, invoice.finalized_at, invoice.created)
    unpaid = invoice.status in ("open", "uncollectible")
    return TransactionRow(
        id=invoice.id,
        date=next(moment for moment in moments if moment is not None),
        kind="invoice",
        amount=invoice.amount,
        currency=invoice.currency,
        status=money.outcome or ("unpaid" if unpaid else invoice.status),
        description=(title or (line.description if line is not None else ""))[:LONGEST_TITLE],
        receipt_url=invoice.hosted_invoice_url,
        invoice_pdf=invoice.invoice_pdf,
    )


def _dearest_line(invoice: Invoice) -> InvoiceLine | None:
    """What an invoice is mainly for: after a change of plan it also has lines of credit for the old one."""
    return max(invoice.lines, key=lambda line: line.amount, default=None)


def _invoice_item(invoice: Invoice, settings: Settings) -> str:
    """The name of the plan that an invoice is for, by the price on its dearest line."""
    line = _dearest_line(invoice)
    price = settings.price(line.price) if line is not None and line.price else None
    return price.of if price is not None else ""


def _payment_news(paid: Payment) -> dict[str, Any]:
    payload: dict[str, Any] = {
        "id": paid.id,
        "payment_intent": paid.payment_intent or "",
        "status": paid.status,
        "amount": paid.amount or 0,
        "currency": paid.currency or "",
        "item": paid.item,
    }
    if paid.failure_code:
        payload["failure"] = paid.decline_code or paid.failure_code
    return payload


def _payment_intent(invoice: Invoice) -> str:
    """The newest that paid it, else one that is to; "" without one."""
    paid = [one for one in invoice.paid_by if one in invoice.payment_intents]
    return next(iter(paid or invoice.payment_intents), "")


def _invoice_news(row: TransactionRow, invoice: Invoice, item: str) -> dict[str, Any]:
    return {
        "id": row.id,
        "payment_intent": _payment_intent(invoice),
        "status": row.status,
        "amount": row.amount,
        "currency": row.currency,
        "item": item,
    }
