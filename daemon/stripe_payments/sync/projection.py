"""What all stored objects of one router amount to: purchases, subscriptions, history, entitlements. Pure.

    fetch → store → project → diff → outbox

`project` knows nothing of how the objects came: the same objects make the same state in whatever order, and
however often, they were fetched. No IO, no clock, no SQLite, UCI or ubus.
"""

from __future__ import annotations

from collections import defaultdict
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
from stripe_payments.sync import payment_facts as facts
from stripe_payments.sync import plan_facts
from stripe_payments.sync.payment_facts import DisputeState, Payment, Raw
from stripe_payments.sync.plan_facts import InvoiceMoney

__all__ = [
    "ARCHIVED_PURCHASE",
    "News",
    "NewsKind",
    "State",
    "diff",
    "project",
]

Objects = Mapping[str, Raw]
"""Stored objects by id, each on its own: with ids in place of the objects that were expanded in it."""

NewsKind = Literal["feature", "payment", "subscription"]
News = tuple[NewsKind, Mapping[str, Any]]
"""An entry of the outbox: its kind and payload."""

ARCHIVED_PURCHASE: Final = "stripe_payments.purchase"
"""`object` of what stands in the store for a one-time purchase whose objects are no longer kept: {id (that of
its Checkout session), object, purchase {the fields of `Purchase` but its id}}.
"""
_ARCHIVED_SUBSCRIPTION: Final = "stripe_payments.subscription"
"""As `ARCHIVED_PURCHASE`, with `subscription`; from ledgers of schema 3 only."""

LONGEST_TITLE: Final = 250
"""Characters of what a line of the history is for: a hundred lines have to go into one answer on the bus."""

_ENDED: Final = frozenset({"canceled", "incomplete_expired"})
"""Statuses that a subscription never leaves."""

_NEWS_FOR: Final = 3 * 86_400
"""Seconds: for as long as Stripe delivers an event again."""


@dataclass(frozen=True, slots=True)
class State:
    """One router's. `purchases` and `subscriptions` by id; `payments` by the id of the Checkout session, or
    of the payment intent that has none; `invoices` by the invoice's id; `history` sorted by `by_date`, with
    the archived rows; `news`: what listeners are sent when the row of that id is new or its status differs.
    """

    objects: Objects = field(default_factory=dict)
    purchases: Mapping[str, Purchase] = field(default_factory=dict)
    subscriptions: Mapping[str, Subscription] = field(default_factory=dict)
    payments: Mapping[str, Payment] = field(default_factory=dict)
    invoices: Mapping[str, InvoiceMoney] = field(default_factory=dict)
    history: Sequence[TransactionRow] = ()
    news: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    entitlements: Mapping[str, Entitlement] = field(default_factory=dict)

    @property
    def running(self) -> list[Subscription]:
        """The subscriptions that have not ended for good, by id."""
        return [held for held in self.subscriptions.values() if held.status not in _ENDED]

    def dispute(self, session_id: str) -> DisputeState | None:
        """Where the disputes of a Checkout session's payment stand."""
        paid = self.payments.get(session_id)
        return paid.dispute if paid is not None else None

    def payment_of(self, payment_intent: str) -> Payment | None:
        """The payment made by a payment intent, by its session where there is one."""
        found = [paid for paid in self.payments.values() if paid.payment_intent == payment_intent]
        return max(found, key=lambda paid: (paid.created, paid.id), default=None)

    def credited_since(self, invoice_id: str) -> int:
        """What of an invoice's payment later changes of the plan turned into customer credit; minor units."""
        subscription = facts.subscription_of_invoice(self.objects.get(invoice_id, {}))
        own = [one for one in self.newest("invoice") if facts.subscription_of_invoice(one) == subscription]
        return plan_facts.credited_since(own, self.invoices, invoice_id)

    def newest(self, kind: str) -> list[Raw]:
        """The stored objects of a kind (``payment_intent``), newest first."""
        return _newest_first(raw for raw in self.objects.values() if raw.get("object") == kind)


def project(
    objects: Objects,
    settings: Settings,
    now: int | None,
    *,
    last_contact: int | None,
    previous: Mapping[str, Entitlement],
    grants: Iterable[ManualGrant] = (),
    held: Collection[str] = (),
    archived: Iterable[TransactionRow] = (),
) -> State:
    """The state that follows from all stored objects of one router.

    `settings`: the catalog, and how long grace and offline last; `now`, `last_contact`: trusted epoch seconds
    or None; `previous`: the entitlements before; `grants`: the administrator's; `held`: features that must
    not lock (see `entitlements`); `archived`: rows of the history whose objects are no longer stored.
    """
    links = _Links(objects)
    payments = {str(root["id"]): _payment(root, links) for root in links.payment_roots()}
    invoices = {str(invoice["id"]): _money(invoice, links) for invoice in links.invoices}
    purchases = _purchases(links, payments)
    subscriptions = {
        held.id: held for held in sorted(_subscriptions(links, invoices), key=lambda held: held.id)
    }
    rows, news = _history(links, settings, payments, invoices)
    merged = {row.id: row for row in archived} | {row.id: row for row in rows}
    return State(
        objects=objects,
        purchases=purchases,
        subscriptions=subscriptions,
        payments=payments,
        invoices=invoices,
        history=sorted(merged.values(), key=by_date),
        news=news,
        entitlements=entitlements(
            subscriptions.values(),
            purchases.values(),
            settings,
            now,
            last_contact=last_contact,
            previous=previous,
            grants=grants,
            held=held,
        ),
    )


def diff(
    before: State, after: State, settings: Settings, now: int | None, *, rebuilding: bool = False
) -> list[News]:
    """What the rest of the system is to hear of, in order: payments, subscriptions, features.

    `rebuilding`: the ledger is being filled from Stripe again and meets the payments of years, whose
    listeners were notified when those were made.
    """
    statuses = {row.id: row.status for row in before.history}
    found: list[News] = []
    for row in after.history:
        payload = after.news.get(row.id)
        if payload is None or statuses.get(row.id) == row.status:
            continue
        if row.id not in statuses and rebuilding and now is not None and now - row.date >= _NEWS_FOR:
            continue
        found.append(("payment", payload))
    found += [
        ("subscription", _subscription_news(held, settings))
        for held in after.subscriptions.values()
        if held != before.subscriptions.get(held.id)
    ]
    found += [("feature", change.payload()) for change in changes(before.entitlements, after.entitlements)]
    return found


# -- how the objects hang together ---------------------------------------------------------------


class _Links:
    """The objects by kind, newest first, and by what links them to each other."""

    def __init__(self, objects: Objects) -> None:
        self.objects = objects
        kinds: dict[str, list[Raw]] = defaultdict(list)
        for raw in objects.values():
            kinds[str(raw.get("object"))].append(raw)
        self.sessions = _newest_first(kinds["checkout.session"])
        self.intents = _newest_first(kinds["payment_intent"])
        self.invoices = _newest_first(kinds["invoice"])
        self.subscriptions = kinds["subscription"]
        self.archived_purchases = kinds[ARCHIVED_PURCHASE]
        self.archived_subscriptions = kinds[_ARCHIVED_SUBSCRIPTION]
        self._refunds = _by_charge(kinds["refund"])
        self._disputes = _by_charge(kinds["dispute"])
        self._charges: dict[str, Raw] = {}
        for charge in _newest_first(kinds["charge"]):
            intent = facts.reference(charge.get("payment_intent"))
            # the newest of a payment intent; a failed attempt before or after the paid one is of no interest
            if intent is not None and (intent not in self._charges or charge.get("paid")):
                self._charges[intent] = charge

    def follow(self, value: object) -> Raw | None:
        """The stored object that a field refers to."""
        found = facts.reference(value)
        return self.objects.get(found) if found is not None else None

    def payment_roots(self) -> list[Raw]:
        """What stands for a payment: sessions, and payment intents that neither a session nor an invoice
        names.
        """
        named = {facts.reference(session.get("payment_intent")) for session in self.sessions}
        named.update(intent for one in self.invoices for intent in facts.payment_intents_of_invoice(one))
        return self.sessions + [intent for intent in self.intents if intent["id"] not in named]

    def intent_of(self, root: Raw) -> Raw | None:
        return self.follow(root.get("payment_intent")) if root.get("object") == "checkout.session" else root

    def charge_of(self, root: Raw) -> Raw | None:
        """The charge of a session's or an intent's payment."""
        intent = self.intent_of(root)
        return self.follow(intent.get("latest_charge")) if intent is not None else None

    def charges_of_invoice(self, invoice: Raw) -> list[Raw]:
        """The charges that paid an invoice: it can have had several partial payments."""
        found = [self._charges.get(intent) for intent in facts.payments_made(invoice)]
        return [charge for charge in found if charge is not None and charge.get("paid")]

    def disputes_of(self, charge: Raw | None) -> Sequence[Raw]:
        return self._disputes.get(str(charge["id"]), ()) if charge is not None else ()

    def refunds_of(self, charge: Raw | None) -> Sequence[Raw]:
        """A charge lists its newest ten; those that it listed before are still stored."""
        if charge is None:
            return ()
        listed = [self.follow(refund) for refund in facts.data(charge.get("refunds"))]
        stored = self._refunds.get(str(charge["id"]), [])
        return list({str(raw["id"]): raw for raw in (*stored, *listed) if raw is not None}.values())

    def invoices_of(self, subscription_id: str) -> list[Raw]:
        return [one for one in self.invoices if facts.subscription_of_invoice(one) == subscription_id]


def _newest_first(objects: Iterable[Raw]) -> list[Raw]:
    return sorted(
        objects, key=lambda raw: (facts.integer(raw.get("created")) or 0, str(raw["id"])), reverse=True
    )


def _by_charge(objects: Iterable[Raw]) -> dict[str, list[Raw]]:
    found: dict[str, list[Raw]] = defaultdict(list)
    for raw in objects:
        found[facts.reference(raw.get("charge")) or ""].append(raw)
    return found


# -- payments and invoices -----------------------------------------------------------------------


def _payment(root: Raw, links: _Links) -> Payment:
    charge = links.charge_of(root)
    return facts.payment(
        root, links.intent_of(root), charge, links.disputes_of(charge), links.refunds_of(charge)
    )


def _money(invoice: Raw, links: _Links) -> InvoiceMoney:
    backs = {
        str(charge["id"]): facts.money_back(charge, links.disputes_of(charge), links.refunds_of(charge))
        for charge in links.charges_of_invoice(invoice)
    }
    return plan_facts.invoice_money(invoice, backs)


def _purchases(links: _Links, payments: Mapping[str, Payment]) -> dict[str, Purchase]:
    found = [facts.purchase(session, payments[str(session["id"])]) for session in links.sessions]
    bought = [purchase for purchase in found if purchase is not None]
    bought += [Purchase(id=str(raw["id"]), **raw["purchase"]) for raw in links.archived_purchases]
    return {purchase.id: purchase for purchase in sorted(bought, key=lambda purchase: purchase.id)}


# -- subscriptions -------------------------------------------------------------------------------


def _subscriptions(links: _Links, invoices: Mapping[str, InvoiceMoney]) -> Iterable[Subscription]:
    for raw in links.subscriptions:
        latest = links.follow(raw.get("latest_invoice"))
        held = plan_facts.subscription(raw, latest)
        own = links.invoices_of(held.id)
        since = None
        if held.past_due:
            moments = [held.past_due_since, plan_facts.owed_since(own)]
            since = min((moment for moment in moments if moment is not None), default=None)
        start = plan_facts.period_start(raw)
        returned = plan_facts.returned(own, invoices, start)
        yield replace(
            held, past_due_since=since, returned=returned, owed=plan_facts.owed(held, latest, own, start)
        )
    for raw in links.archived_subscriptions:
        yield Subscription(id=str(raw["id"]), **raw["subscription"])


def _subscription_news(held: Subscription, settings: Settings) -> dict[str, Any]:
    price = settings.price(held.price_id) or settings.price(held.price_alias or "")
    return {
        "id": held.id,
        "status": held.status,
        "plan": price.of if price is not None else held.plan or "",
        "price": price.alias if price is not None else held.price_alias or held.price_id,
        "cancel_at_period_end": held.cancel_at_period_end,
    }


# -- the history ---------------------------------------------------------------------------------


def _history(
    links: _Links,
    settings: Settings,
    payments: Mapping[str, Payment],
    invoices: Mapping[str, InvoiceMoney],
) -> tuple[list[TransactionRow], dict[str, Mapping[str, Any]]]:
    """(rows, what listeners are sent of them by the row's id)."""
    rows: list[TransactionRow] = []
    news: dict[str, Mapping[str, Any]] = {}
    for root in links.payment_roots():
        if root.get("mode") == "subscription":
            continue  # its invoices are its payments
        paid = payments[str(root["id"])]
        title = paid.item or str(root.get("description") or "")
        if (row := payment_row(paid, title)) is not None:
            rows.append(row)
            news[row.id] = _payment_news(paid)
        rows += _money_back(links, links.charge_of(root), title)
    for invoice in links.invoices:
        item = _invoice_item(invoice, settings)
        row = invoice_row(invoice, item)
        if row is None:
            continue
        row = replace(row, status=invoices[row.id].status(row.status))
        rows.append(row)
        if row.amount:  # no payment was asked for a trial or a voucher
            news[row.id] = _invoice_news(row, invoice, item)
        for charge in links.charges_of_invoice(invoice):
            rows += _money_back(links, charge, item or row.description)
    return rows, news


def payment_row(paid: Payment, title: str) -> TransactionRow | None:
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


def _money_back(links: _Links, charge: Raw | None, title: str) -> list[TransactionRow]:
    """The lines of a charge's refunds and disputes."""
    rows = [money_back_row(refund, "refund", title) for refund in links.refunds_of(charge)]
    return rows + [money_back_row(dispute, "dispute", title) for dispute in links.disputes_of(charge)]


def money_back_row(raw: Raw, kind: Literal["refund", "dispute"], title: str) -> TransactionRow:
    return TransactionRow(
        id=str(raw["id"]),
        date=facts.integer(raw.get("created")) or 0,
        kind=kind,
        amount=-(facts.integer(raw.get("amount")) or 0),
        currency=str(raw.get("currency") or ""),
        status=str(raw.get("status") or ""),
        description=title[:LONGEST_TITLE],
    )


def invoice_row(raw: Raw, title: str) -> TransactionRow | None:
    """The line of an invoice that was sent; None while it is a draft."""
    status = str(raw.get("status") or "")
    if status in ("", "draft"):
        return None
    transitions = facts.expanded(raw.get("status_transitions")) or {}
    moments = (transitions.get("paid_at"), transitions.get("finalized_at"), raw.get("created"))
    line = facts.dearest_line(raw)
    described = line.get("description") if line is not None else None
    amount = raw.get("amount_paid") if status == "paid" else raw.get("amount_due")
    return TransactionRow(
        id=str(raw["id"]),
        date=next((found for moment in moments if (found := facts.integer(moment)) is not None), 0),
        kind="invoice",
        amount=facts.integer(amount) or 0,
        currency=str(raw.get("currency") or ""),
        status={"open": "unpaid", "uncollectible": "unpaid"}.get(status, status),
        description=(title or str(described or ""))[:LONGEST_TITLE],
        receipt_url=raw.get("hosted_invoice_url"),
        invoice_pdf=raw.get("invoice_pdf"),
    )


def _invoice_item(invoice: Raw, settings: Settings) -> str:
    """The name of the plan that an invoice is for, by the price on its dearest line: that of a change of plan
    also has what is credited for the old one.
    """
    line = facts.dearest_line(invoice)
    price_id = facts.price_of_line(line) if line is not None else None
    price = settings.price(price_id) if price_id else None
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


def _invoice_news(row: TransactionRow, invoice: Raw, item: str) -> dict[str, Any]:
    return {
        "id": row.id,
        "payment_intent": next(
            iter(facts.payments_made(invoice) or facts.payment_intents_of_invoice(invoice)), ""
        ),
        "status": row.status,
        "amount": row.amount,
        "currency": row.currency,
        "item": item,
    }
