"""One fetched object into the ledger: inside the transaction that `sync` opened."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from stripe_payments.entitlements import entitlements
from stripe_payments.settings import Settings

from . import derive
from .fetching import Unit
from .stored_objects import flatten

if TYPE_CHECKING:
    from stripe_payments.ledger import CheckoutState, Transaction, TransactionRow


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
    news.
    """

    ours: bool = False
    changed: bool = False
    effects: bool = False

    def add(self, other: Applied) -> None:
        self.ours |= other.ours
        self.changed |= other.changed
        self.effects |= other.effects


def apply_unit(tx: Transaction, unit: Unit, book: Book) -> Applied:
    """Store the object and everything that follows from it. A foreign one leaves no trace."""
    if not derive.is_ours(unit.root, book.router_id, book.customer):
        return Applied()
    applied = Applied(ours=True)
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
            _subscription(tx, unit, applied)
        case "invoice":
            _history(tx, derive.invoice_row(unit.root, _invoice_item(unit.root, book)), applied)
    return applied


def _checkout(tx: Transaction, unit: Unit, book: Book, applied: Applied) -> None:
    session = unit.root
    checkout = tx.checkouts.by_session(unit.id)
    state = _STATES.get(str(session.get("status")))
    if checkout is not None and state is not None and checkout.state != state:
        tx.checkouts.update(checkout.local_id, state=state)
        applied.changed = True
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
        if row.kind == "payment" and (before is None or before.status != row.status):
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


def _subscription(tx: Transaction, unit: Unit, applied: Applied) -> None:
    row = derive.subscription(unit.root)
    before = tx.subscriptions.get(row.id)
    if before == row:
        return
    tx.subscriptions.put(row)
    tx.outbox.add(
        "subscription",
        {
            "id": row.id,
            "status": row.status,
            "plan": row.plan or "",
            "price": row.price_alias or row.price_id,
            "cancel_at_period_end": row.cancel_at_period_end,
        },
    )
    applied.changed = applied.effects = True


def _invoice_item(invoice: Mapping[str, Any], book: Book) -> str:
    """The name of the plan that an invoice is for, by the price on its lines."""
    lines = invoice.get("lines")
    for line in lines.get("data", []) if isinstance(lines, Mapping) else []:
        pricing = line.get("pricing")
        details = pricing.get("price_details") if isinstance(pricing, Mapping) else None
        price_id = derive.reference(
            details.get("price") if isinstance(details, Mapping) else line.get("price")
        )
        price = book.settings.price(price_id) if price_id else None
        if price is not None:
            return price.of
    return ""


def recompute(tx: Transaction, book: Book, *, holding: bool) -> tuple[str, ...]:
    """Entitlements from all rows; what changed goes to the outbox. Gives the names of the features that
    changed.

    `holding`: the ledger is being rebuilt and may not know yet what was paid, so that nothing may lock.
    """
    before = tx.features.all()
    after = entitlements(
        tx.subscriptions.all(),
        tx.purchases.all(),
        book.settings,
        book.now,
        last_contact=book.last_contact,
        previous=before,
        grants=tx.grants.all(),
    )
    if holding:
        for name, held in before.items():
            if held.unlocked and (name not in after or not after[name].unlocked):
                after[name] = held
    changes = tx.features.replace(after)
    for change in changes:
        tx.outbox.add("feature", change.payload())
    return tuple(change.after.feature for change in changes)
