"""One fetched object into the ledger: inside the transaction that `sync` opened."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Final

from stripe_payments.entitlements import entitlements
from stripe_payments.ledger.opening import META_REBUILDING
from stripe_payments.settings import Settings
from stripe_payments.sync import projection as derive
from stripe_payments.sync.fetch import Unit
from stripe_payments.sync.invoice_money import InvoiceMoney
from stripe_payments.sync.stored_objects import flatten

if TYPE_CHECKING:
    from stripe_payments.ledger import Checkout, CheckoutState, Transaction, TransactionRow


_NEWS_FOR: Final = 3 * 86_400
"""Seconds: for as long as Stripe delivers an event again."""

_STATES: Final[dict[str, CheckoutState]] = {"open": "open", "complete": "complete", "expired": "expired"}


@dataclass(frozen=True, slots=True)
class Book:
    """What derivation is relative to: who we are, what we sell, what time it is (trusted epoch seconds or
    None).
    """

    settings: Settings
    router_id: str
    customer: str | None
    now: int | None
    last_contact: int | None


@dataclass(slots=True)
class Applied:
    """ours: something belonged to this router; changed: a row differs from before; effects: the outbox has
    news; touched: the subscriptions that have to be `settle`d once everything of the answer is stored.
    """

    ours: bool = False
    changed: bool = False
    effects: bool = False
    touched: set[str] = field(default_factory=set)

    def add(self, other: Applied) -> None:
        self.ours |= other.ours
        self.changed |= other.changed
        self.effects |= other.effects
        self.touched |= other.touched


def apply_unit(tx: Transaction, unit: Unit, book: Book) -> Applied:
    """Store the object and everything that follows from it. A foreign one leaves no trace."""
    if not derive.is_ours(unit.root, book.router_id, book.customer):
        return Applied()
    applied = Applied(ours=True)
    if unit.kind == "checkout.session" and _is_mere_offer(tx, unit.root):
        _checkout_state(tx, unit.root, applied)
        return applied
    for raw in [*flatten(unit.root), *(dict(dispute) for dispute in unit.disputes or ())]:
        # flash is written only for a difference; the same object is fetched again at every poll
        if tx.objects.get(raw["id"]) != raw:
            tx.objects.put(raw, book.now or 0)
            applied.changed = True
    match unit.kind:
        case "checkout.session":
            _checkout(tx, unit, book, applied)
        case "payment_intent":
            _payment(tx, unit, book, applied)
        case "subscription":
            applied.touched.add(unit.id)
        case "invoice" if applied.changed or tx.transactions.get(unit.id) is None:
            _invoice(tx, unit.root, book, applied)
        case "charge" if applied.changed:
            _charge(tx, unit, book, applied)
    return applied


def settle(tx: Transaction, applied: Applied, book: Book) -> None:
    """The rows of the subscriptions that were touched, from all that is stored of them by now."""
    money = InvoiceMoney(tx)
    for subscription_id in sorted(applied.touched):
        row = money.settled(subscription_id)
        if row is None or row == tx.subscriptions.get(subscription_id):
            continue
        tx.subscriptions.put(row)
        price = book.settings.price(row.price_id) or book.settings.price(row.price_alias or "")
        payload = {
            "id": row.id,
            "status": row.status,
            "plan": price.of if price is not None else row.plan or "",
            "price": price.alias if price is not None else row.price_alias or row.price_id,
            "cancel_at_period_end": row.cancel_at_period_end,
        }
        tx.outbox.add("subscription", payload)
        applied.changed = applied.effects = True
    applied.touched.clear()


def _is_mere_offer(tx: Transaction, session: Mapping[str, Any]) -> bool:
    """A session that nobody has tried to pay says nothing that its checkout does not: no flash for it."""
    return (
        derive.is_untouched(session)
        and tx.checkouts.by_session(str(session["id"])) is not None
        and tx.objects.get(str(session["id"])) is None
    )


def _checkout_state(tx: Transaction, session: Mapping[str, Any], applied: Applied) -> Checkout | None:
    checkout = tx.checkouts.by_session(str(session["id"]))
    state = _STATES.get(str(session.get("status")))
    if checkout is not None and state is not None and checkout.state != state:
        tx.checkouts.update(checkout.local_id, state=state)
        applied.changed = True
    return checkout


def _checkout(tx: Transaction, unit: Unit, book: Book, applied: Applied) -> None:
    session = unit.root
    checkout = _checkout_state(tx, session, applied)
    known = tx.purchases.get(unit.id)
    paid = derive.payment(session, unit.disputes, known.dispute if known else None)
    bought = derive.purchase(session, paid, checkout.price_id if checkout else None)
    if bought is not None and bought != known:
        tx.purchases.put(bought)
        applied.changed = True
    if session.get("mode") != "subscription":  # its invoices tell of a subscription's payments
        _payment(tx, unit, book, applied, paid)


def _payment(
    tx: Transaction, unit: Unit, book: Book, applied: Applied, paid: derive.Payment | None = None
) -> None:
    if paid is None:
        paid = derive.payment(unit.root, unit.disputes)
    marks = derive.metadata(unit.root)
    item = marks.get("item", "")
    rows = derive.payment_rows(
        unit.root, paid, item or str(unit.root.get("description") or ""), unit.disputes
    )
    for row in rows:
        before = _history(tx, row, applied)
        if row.kind == "payment" and _is_news(tx, before, row, book):
            payload: dict[str, Any] = {
                "id": paid.id,
                "payment_intent": paid.payment_intent or "",
                "status": paid.status,
                "amount": paid.amount or 0,
                "currency": paid.currency or "",
                "item": item,
            }
            if paid.failure_code:
                payload["failure"] = paid.decline_code or paid.failure_code
            tx.outbox.add("payment", payload)
            applied.effects = True


def _history(tx: Transaction, row: TransactionRow | None, applied: Applied) -> TransactionRow | None:
    """Store the row if it differs; gives the one before."""
    if row is None:
        return None
    before = tx.transactions.get(row.id)
    if before != row:
        tx.transactions.put(row)
        applied.changed = True
    return before


def _invoice(tx: Transaction, invoice: Mapping[str, Any], book: Book, applied: Applied) -> None:
    """The invoice's line in the history, with those of its refunds and disputes; listeners hear what
    changed.
    """
    subscription_id = derive.subscription_of_invoice(invoice)
    if subscription_id is not None:
        applied.touched.add(subscription_id)
    item = _invoice_item(invoice, book)
    row = derive.invoice_row(invoice, item)
    if row is None:
        return
    money = InvoiceMoney(tx).of(invoice)
    row = replace(row, status=money.status(row.status))
    before = _history(tx, row, applied)
    for line in derive.money_back_rows(money.charge, item or row.description, money.disputes):
        _history(tx, line, applied)
    # nothing has been asked of anybody for a trial or a voucher; a draft that nobody paid is no news either
    if _is_news(tx, before, row, book) and row.amount:
        payload = {
            "id": row.id,
            "payment_intent": derive.payment_intent_of_invoice(invoice) or "",
            "status": row.status,
            "amount": row.amount,
            "currency": row.currency,
            "item": item,
        }
        tx.outbox.add("payment", payload)
        applied.effects = True


def _is_news(tx: Transaction, before: TransactionRow | None, row: TransactionRow, book: Book) -> bool:
    """Whether listeners hear of it. A ledger that is being filled anew meets the payments of years, of which
    they heard when those were made.
    """
    if before is not None:
        return before.status != row.status
    if tx.meta.get(META_REBUILDING) is None or book.now is None:
        return True
    return book.now - row.date < _NEWS_FOR


def _charge(tx: Transaction, unit: Unit, book: Book, applied: Applied) -> None:
    """A charge counts by the invoice that it paid. One of a one-time purchase is told of by its session."""
    invoice = InvoiceMoney(tx).invoice_of(unit.root)
    if invoice is not None:
        _invoice(tx, invoice, book, applied)


def _invoice_item(invoice: Mapping[str, Any], book: Book) -> str:
    """The name of the plan that an invoice is for, by the price on its dearest line: that of a change of plan
    has what is given back for the old one, too.
    """
    line = derive.dearest_line(invoice)
    price_id = derive.price_of_line(line) if line is not None else None
    price = book.settings.price(price_id) if price_id else None
    return price.of if price is not None else ""


def recompute(tx: Transaction, book: Book, *, held: frozenset[str]) -> tuple[str, ...]:
    """Entitlements from all rows; what changed goes to the outbox. Gives the names of the features that
    changed.

    `held`: features that must not lock, because the ledger is being rebuilt and may not know yet that they
    were paid.
    """
    before = tx.features.all()
    sources = {held.source for held in before.values()}
    after = entitlements(
        tx.subscriptions.deciding(sources),
        tx.purchases.deciding(sources),
        book.settings,
        book.now,
        last_contact=book.last_contact,
        previous=before,
        grants=tx.grants.all(),
    )
    for name in held & before.keys():
        if before[name].unlocked and (name not in after or not after[name].unlocked):
            after[name] = before[name]
    changes = tx.features.replace(after)
    for change in changes:
        tx.outbox.add("feature", change.payload())
    return tuple(change.after.feature for change in changes)
