"""From Stripe's objects to our rows. Pure.

Objects come in as fetched (resources.py says what is expanded), of the pinned API version or of an older one:
a period's end on the subscription itself instead of on its items, an invoice's subscription at its top level.
A field that is missing is not an error: zero-amount sessions have neither payment intent nor currency.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal

from stripe_payments.entitlements import Purchase, Subscription
from stripe_payments.ledger import TransactionRow

Raw = Mapping[str, Any]
DisputeState = Literal["open", "won", "lost"]

LONGEST_TITLE: Final = 250
"""Characters of what a line of the history is for: a hundred lines have to go into one answer on the bus."""

# A plain "won" also stands for an inquiry that was closed and a dispute that was prevented: no money has
# moved.
_DISPUTES: Final[dict[str, DisputeState]] = {
    "lost": "lost",
    "won": "won",
    "warning_closed": "won",
    "prevented": "won",
}


def reference(value: object) -> str | None:
    """The id in an expandable field, expanded or not."""
    if isinstance(value, str):
        return value or None
    if isinstance(value, Mapping):
        found = value.get("id")
        return found if isinstance(found, str) else None
    return None


def _expanded(value: object) -> Raw | None:
    return value if isinstance(value, Mapping) else None


def integer(value: object) -> int | None:
    """The value if it is a whole number, else None."""
    return value if isinstance(value, int) and not isinstance(value, bool) else None


def metadata(raw: Raw) -> dict[str, str]:
    found = raw.get("metadata")
    return {str(k): str(v) for k, v in found.items()} if isinstance(found, Mapping) else {}


# -- whose is it ---------------------------------------------------------------------------------


def is_ours(raw: Raw, router_id: str, customer: str | None) -> bool:
    """Whether an object belongs to this router: the router_id in its metadata decides, else its customer
    does.

    Charges, invoices and subscriptions made by Stripe for us may lack our metadata; their customer is ours
    alone. An invoice made for a subscription also carries the subscription's metadata.
    """
    marked = metadata(raw).get("router_id") or _subscription_metadata(raw).get("router_id")
    if not marked and raw.get("object") == "checkout.session":
        marked = raw.get("client_reference_id")
    if marked:
        return bool(marked == router_id)
    owner = reference(raw.get("customer"))
    return owner is not None and owner == customer


def _subscription_metadata(raw: Raw) -> dict[str, str]:
    parent = raw.get("parent")
    details = parent.get("subscription_details") if isinstance(parent, Mapping) else None
    if not isinstance(details, Mapping):
        details = raw.get("subscription_details")  # before 2025-03-31
    return metadata(details) if isinstance(details, Mapping) else {}


# -- a payment -----------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Payment:
    """What there is to know of one payment.

    status: paid, pending, unpaid, failed, expired, refunded, partially_refunded, disputed,
    no_payment_required; amount and amount_refunded in minor units of currency (None if Stripe has none yet);
    paid_at and created in epoch seconds; final: nothing more happens unless somebody refunds, disputes or
    pays anew; failure_code, decline_code: Stripe's words for the last failed attempt.
    """

    id: str
    payment_intent: str | None
    charge: str | None
    status: str
    amount: int | None
    currency: str | None
    created: int
    paid_at: int | None
    amount_refunded: int
    dispute: DisputeState | None
    final: bool
    failure_code: str | None
    decline_code: str | None
    receipt_url: str | None


def dispute_state(
    charge: Raw | None, disputes: Iterable[Raw] | None, known: DisputeState | None
) -> DisputeState | None:
    """Where a charge's disputes stand: a lost one outweighs an open one, that a won one.

    `disputes` None means that they were not fetched: what was known stays, and a charge that says "disputed"
    counts as openly disputed until we know better.
    """
    if disputes is not None:
        states = {_DISPUTES.get(str(dispute.get("status")), "open") for dispute in disputes}
        ranked: tuple[DisputeState, ...] = ("lost", "open", "won")
        for state in ranked:
            if state in states:
                return state
        return "open" if charge and charge.get("disputed") else None
    if known is not None:
        return known
    return "open" if charge and charge.get("disputed") else None


def needs_disputes(session: Raw, known: DisputeState | None) -> bool:
    """Whether the answer is not complete without the charge's disputes (the API has no field to expand for
    them).
    """
    intent = _expanded(session.get("payment_intent")) or {}
    charge = _expanded(intent.get("latest_charge")) or {}
    return bool(charge.get("disputed")) and known not in ("won", "lost")


def is_untouched(session: Raw) -> bool:
    """Whether nobody has tried to pay this Checkout session yet, nor will any more if it has expired."""
    return session.get("status") in ("open", "expired") and not any(
        session.get(name) for name in ("payment_intent", "subscription", "invoice", "setup_intent")
    )


def payment(
    root: Raw, disputes: Iterable[Raw] | None = None, known_dispute: DisputeState | None = None
) -> Payment:
    """The payment that a Checkout session or a payment intent tells of."""
    session: Raw | None = root if root.get("object") == "checkout.session" else None
    intent = _expanded(session.get("payment_intent")) if session is not None else root
    charge = _expanded(intent.get("latest_charge")) if intent else None
    dispute = dispute_state(charge, disputes, known_dispute)
    refunded = (integer(charge.get("amount_refunded")) or 0) if charge else 0
    charged = bool(charge and charge.get("paid"))
    status, final = _status(session, intent)
    if dispute in ("open", "lost"):
        status, final = "disputed", dispute == "lost"
    elif charge and charged and is_fully_refunded(charge):
        status, final = "refunded", True
    elif charged and refunded > 0:
        status, final = "partially_refunded", True
    created = (session or intent or {}).get("created")
    paid_at = charge.get("created") if charge and charged else None
    if paid_at is None and status in ("paid", "no_payment_required"):
        paid_at = created
    error = (intent or {}).get("last_payment_error")
    error = error if isinstance(error, Mapping) and status in ("failed", "unpaid", "expired") else {}
    failure = (
        error.get("code") or (charge or {}).get("failure_code") if status == "failed" else error.get("code")
    )
    if status == "failed" and not failure and (intent or {}).get("status") == "canceled":
        failure = "canceled"
    amount = session.get("amount_total") if session is not None else None
    if amount is None and intent:
        amount = intent.get("amount")
    return Payment(
        id=str(root.get("id")),
        payment_intent=reference(session.get("payment_intent")) if session is not None else reference(root),
        charge=reference(intent.get("latest_charge")) if intent else None,
        status=status,
        amount=integer(amount),
        currency=(session or {}).get("currency") or (intent or {}).get("currency"),
        created=integer(created) or 0,
        paid_at=integer(paid_at),
        amount_refunded=refunded,
        dispute=dispute,
        final=final,
        failure_code=failure,
        decline_code=error.get("decline_code"),
        receipt_url=charge.get("receipt_url") if charge else None,
    )


def is_fully_refunded(charge: Raw) -> bool:
    """`refunded` says so; older answers of partly captured charges only let it be computed."""
    captured = integer(charge.get("amount_captured")) or integer(charge.get("amount")) or 0
    returned = integer(charge.get("amount_refunded")) or 0
    return bool(charge.get("refunded")) or 0 < captured <= returned


def _status(session: Raw | None, intent: Raw | None) -> tuple[str, bool]:
    if session is not None:
        if session.get("payment_status") == "paid":
            return "paid", True
        if session.get("status") == "expired":
            return "expired", True
        if session.get("payment_status") == "no_payment_required" and session.get("status") == "complete":
            return "no_payment_required", True
        if intent is None:
            # complete without being paid: a bank debit is under way
            return ("pending", False) if session.get("status") == "complete" else ("unpaid", False)
        status, final = _intent_status(intent)
        if session.get("status") == "complete":
            return ("pending", False) if status in ("unpaid", "paid") else (status, final)
        # an open session can be paid with another card: a failure in it is not the end
        return status, False
    return _intent_status(intent or {})


def _intent_status(intent: Raw) -> tuple[str, bool]:
    match intent.get("status"):
        case "succeeded":
            return "paid", True
        case "processing" | "requires_capture":
            return "pending", False
        case "canceled":
            return "failed", True
        case "requires_payment_method" if intent.get("last_payment_error"):
            return "failed", True
        case _:
            return "unpaid", False


def price_of(session: Raw) -> str | None:
    """The Stripe price of a session's single line."""
    lines = session.get("line_items")
    for line in lines.get("data", []) if isinstance(lines, Mapping) else []:
        if (price := reference(line.get("price"))) is not None:
            return price
    return None


def purchase(session: Raw, paid: Payment, known_price: str | None = None) -> Purchase | None:
    """The one-time purchase that a completed session is; None for one that nobody completed, and for
    subscriptions.
    """
    if session.get("mode") != "payment" or session.get("status") != "complete":
        return None
    marks = metadata(session)
    intent = _expanded(session.get("payment_intent"))
    charge = _expanded(intent.get("latest_charge")) if intent else None
    return Purchase(
        id=str(session["id"]),
        price_id=price_of(session) or known_price or "",
        price_alias=marks.get("price_alias"),
        product=marks.get("item"),
        paid=session.get("payment_status") in ("paid", "no_payment_required"),
        fully_refunded=bool(charge and is_fully_refunded(charge)),
        dispute=paid.dispute,
        paid_at=paid.paid_at,
    )


# -- a subscription ------------------------------------------------------------------------------


def subscription(raw: Raw) -> Subscription:
    """The subscription's row. Of several items (we sell one) the period that ends last counts."""
    items = _items(raw)
    ends = [end for item in items if (end := integer(item.get("current_period_end"))) is not None]
    if not ends and (end := integer(raw.get("current_period_end"))) is not None:  # before 2025-03-31
        ends = [end]
    marks = metadata(raw)
    price = items[0].get("price") if items else raw.get("plan")
    status = str(raw.get("status"))
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
        past_due_since=_past_due_since(raw) if status == "past_due" else None,
    )


def _items(raw: Raw) -> Sequence[Raw]:
    held = raw.get("items")
    return held.get("data", []) if isinstance(held, Mapping) else []


def period_start(raw: Raw) -> int | None:
    """When the subscription's current period began."""
    starts = [
        start for item in _items(raw) if (start := integer(item.get("current_period_start"))) is not None
    ]
    return max(starts) if starts else integer(raw.get("current_period_start"))  # before 2025-03-31


def _alias_of(price: object, marks: Mapping[str, str]) -> str | None:
    """Our name of the price: its lookup_key follows a change of plan, our metadata may be that of the old
    one.
    """
    key = price.get("lookup_key") if isinstance(price, Mapping) else None
    return key if isinstance(key, str) and key else marks.get("price_alias")


def _past_due_since(raw: Raw) -> int | None:
    """When the payment that is owed fell due: the unpaid invoice's finalization, else the start of the
    period.

    Taken from Stripe's objects and never from the moment we noticed, so that grace ends at the same second
    whatever we saw and when.
    """
    invoice = _expanded(raw.get("latest_invoice"))
    if invoice and invoice.get("status") != "paid" and (since := fell_due(invoice)) is not None:
        return since
    return period_start(raw)


def fell_due(invoice: Raw) -> int | None:
    """When an invoice was to be paid: as soon as it was final."""
    transitions = _expanded(invoice.get("status_transitions")) or {}
    final = integer(transitions.get("finalized_at"))
    return final if final is not None else integer(invoice.get("created"))


def subscription_of_invoice(invoice: Raw) -> str | None:
    """The subscription that an invoice is for, in the new place or the old one."""
    parent = _expanded(invoice.get("parent"))
    details = _expanded(parent.get("subscription_details")) if parent else None
    return reference(details.get("subscription") if details else None) or reference(
        invoice.get("subscription")
    )


def dearest_line(invoice: Raw) -> Raw | None:
    """What an invoice is above all for."""
    lines = _expanded(invoice.get("lines"))
    found = [line for line in lines.get("data", []) if isinstance(line, Mapping)] if lines else []
    return max(found, key=lambda line: integer(line.get("amount")) or 0, default=None)


def price_of_line(line: Raw) -> str | None:
    """The price's id, in the new place or the old one."""
    pricing = _expanded(line.get("pricing"))
    details = _expanded(pricing.get("price_details")) if pricing else None
    return reference(details.get("price") if details else line.get("price"))


def payment_intent_of_invoice(invoice: Raw) -> str | None:
    """The payment intent that paid an invoice: among its payments since 2025-03-31, at its top level
    before.
    """
    payments = _expanded(invoice.get("payments"))
    for entry in payments.get("data", []) if payments else []:
        paid_by = _expanded(entry.get("payment")) or {}
        if (found := reference(paid_by.get("payment_intent"))) is not None:
            return found
    return reference(invoice.get("payment_intent"))


# -- the history ---------------------------------------------------------------------------------


def payment_rows(
    root: Raw, paid: Payment, title: str, disputes: Iterable[Raw] | None
) -> list[TransactionRow]:
    """A payment with its refunds and disputes. An attempt that never came to anything is not history."""
    rows: list[TransactionRow] = []
    if paid.status not in ("unpaid", "expired"):
        rows.append(
            TransactionRow(
                id=paid.payment_intent or paid.id,
                date=paid.paid_at or paid.created,
                kind="payment",
                amount=paid.amount or 0,
                currency=paid.currency or "",
                status=paid.status,
                description=title[:LONGEST_TITLE],
                receipt_url=paid.receipt_url,
                invoice_pdf=None,
            )
        )
    intent = _expanded(root.get("payment_intent")) if root.get("object") == "checkout.session" else root
    charge = _expanded(intent.get("latest_charge")) if intent else None
    return rows + money_back_rows(charge, title, disputes)


def money_back_rows(charge: Raw | None, title: str, disputes: Iterable[Raw] | None) -> list[TransactionRow]:
    """The refunds in a charge, and its disputes."""
    held = charge.get("refunds") if charge else None
    refunds = held.get("data", []) if isinstance(held, Mapping) else []
    rows = [_money_back(refund, "refund", title) for refund in refunds]
    return rows + [_money_back(dispute, "dispute", title) for dispute in disputes or ()]


def _money_back(raw: Raw, kind: Literal["refund", "dispute"], title: str) -> TransactionRow:
    return TransactionRow(
        id=str(raw["id"]),
        date=integer(raw.get("created")) or 0,
        kind=kind,
        amount=-(integer(raw.get("amount")) or 0),
        currency=str(raw.get("currency") or ""),
        status=str(raw.get("status") or ""),
        description=title[:LONGEST_TITLE],
        receipt_url=None,
        invoice_pdf=None,
    )


def invoice_row(raw: Raw, title: str) -> TransactionRow | None:
    """An invoice that was sent; None while it is a draft."""
    status = str(raw.get("status") or "")
    if status in ("", "draft"):
        return None
    transitions = _expanded(raw.get("status_transitions")) or {}
    moments = (transitions.get("paid_at"), transitions.get("finalized_at"), raw.get("created"))
    line = dearest_line(raw)
    described = line.get("description") if line is not None else None
    amount = raw.get("amount_paid") if status == "paid" else raw.get("amount_due")
    return TransactionRow(
        id=str(raw["id"]),
        date=next((found for moment in moments if (found := integer(moment)) is not None), 0),
        kind="invoice",
        amount=integer(amount) or 0,
        currency=str(raw.get("currency") or ""),
        status={"open": "unpaid", "uncollectible": "unpaid"}.get(status, status),
        description=(title or str(described or ""))[:LONGEST_TITLE],
        receipt_url=raw.get("hosted_invoice_url"),
        invoice_pdf=raw.get("invoice_pdf"),
    )
