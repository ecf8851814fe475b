"""Stripe's objects as frozen values, in Stripe's words: each stored object is parsed once. Pure.

Objects are as fetched with the pinned API version (https://docs.stripe.com/api), or as the ledger stores
them: with ids in place of the objects that were expanded in them. A field that is missing or of another type
is not an error: sessions with a total of nothing have neither payment intent nor currency. Texts are then
"", times 0 (`created`) or None. Amounts are in minor units, times in epoch seconds.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final, TypeVar

from stripe_payments.sync.raw_fields import (
    Raw,
    entries,
    expanded,
    integer,
    metadata,
    reference,
    subscription_details,
    text,
)

ARCHIVED_PURCHASE: Final = "stripe_payments.purchase"
"""`object` of what stands in the store for a one-time purchase whose objects are no longer kept: {id (that of
its Checkout session), object, purchase {the fields of `entitlements.Purchase` but its id}}.
"""
_ARCHIVED_SUBSCRIPTION: Final = "stripe_payments.subscription"
"""As `ARCHIVED_PURCHASE`, with `subscription`; from ledgers of schema 3 only."""


# -- objects ---------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class CheckoutSession:
    """`price`: the id of its single line's; `invoice`: of the plan that it began, or of a payment."""

    id: str
    created: int
    mode: str
    status: str
    payment_status: str
    amount_total: int | None
    currency: str
    payment_intent: str | None
    invoice: str | None
    price: str | None
    metadata: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class LastPaymentError:
    code: str | None
    decline_code: str | None


@dataclass(frozen=True, slots=True)
class PaymentIntent:
    id: str
    created: int
    status: str
    amount: int | None
    currency: str
    latest_charge: str | None
    description: str
    last_payment_error: LastPaymentError | None
    metadata: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Charge:
    """`amount_captured`: the amount where Stripe does not say; `refunds`: the ids of the newest ten;
    `presentment_*`: what the buyer saw and paid, where that was another currency.
    """

    id: str
    created: int
    payment_intent: str | None
    paid: bool
    amount_captured: int
    amount_refunded: int
    refunded: bool
    disputed: bool
    currency: str
    presentment_amount: int
    presentment_currency: str
    failure_code: str | None
    receipt_url: str | None
    refunds: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Refund:
    id: str
    created: int
    charge: str | None
    payment_intent: str | None
    amount: int
    currency: str
    status: str


@dataclass(frozen=True, slots=True)
class Dispute:
    """`case_type`: of a card payment's; `is_charge_refundable`: during an inquiry, before money was taken."""

    id: str
    created: int
    charge: str | None
    payment_intent: str | None
    amount: int
    currency: str
    status: str
    case_type: str
    is_charge_refundable: bool


@dataclass(frozen=True, slots=True)
class InvoiceLine:
    """`price`: its id; `period_end`: of the period that it charges or credits."""

    amount: int
    description: str
    price: str | None
    period_end: int | None = None


@dataclass(frozen=True, slots=True)
class Invoice:
    """`subscription`: the one it is for; `billing_reason`: why it was made. `payment_intents`: those that it
    was, or is to be, paid by (the list has no documented order); `paid_by`: those that paid it or a part of
    it, the newest first, and charges that have none (of invoices before March 2019); `paid_elsewhere`: what
    of `amount_paid` did not go through Stripe. `amount`: what was paid, is left to pay, or (void) was due.
    """

    id: str
    created: int
    status: str
    subscription: str | None
    billing_reason: str
    currency: str
    collection_method: str
    attempted: bool
    amount_due: int
    amount_paid: int
    amount: int
    due_date: int | None
    finalized_at: int | None
    paid_at: int | None
    starting_balance: int | None
    ending_balance: int | None
    payment_intents: tuple[str, ...]
    paid_by: tuple[str, ...]
    paid_elsewhere: int
    lines: tuple[InvoiceLine, ...]
    hosted_invoice_url: str | None
    invoice_pdf: str | None


@dataclass(frozen=True, slots=True)
class SubscriptionItem:
    """`quantity`: 0 is possible, and then nothing is paid for it."""

    price: str | None
    lookup_key: str | None
    quantity: int
    current_period_start: int | None
    current_period_end: int | None


@dataclass(frozen=True, slots=True)
class Subscription:
    """`paused_for`: why Stripe paused it (since 2026-09-30.endive); `period_start`: of the current period."""

    id: str
    created: int
    status: str
    currency: str
    items: tuple[SubscriptionItem, ...]
    cancel_at: int | None
    cancel_at_period_end: bool
    trial_end: int | None
    pause_collection: bool
    paused_for: str
    latest_invoice: str | None
    metadata: Mapping[str, str]
    period_start: int | None
    ended_at: int | None


StripeObject = CheckoutSession | PaymentIntent | Charge | Refund | Dispute | Invoice | Subscription


def parse_subscription(raw: Raw) -> Subscription:
    details = expanded(raw.get("status_details")) or {}
    paused = expanded(details.get("paused")) or {}
    items = tuple(_item(item) for item in entries(raw.get("items")))
    starts = [item.current_period_start for item in items]
    return Subscription(
        id=str(raw["id"]),
        created=integer(raw.get("created")) or 0,
        status=text(raw.get("status")),
        currency=text(raw.get("currency")),
        items=items,
        cancel_at=integer(raw.get("cancel_at")),
        cancel_at_period_end=bool(raw.get("cancel_at_period_end")),
        trial_end=integer(raw.get("trial_end")),
        pause_collection=bool(raw.get("pause_collection")),
        paused_for=text((expanded(paused.get("subscription")) or {}).get("type")),
        latest_invoice=reference(raw.get("latest_invoice")),
        metadata=metadata(raw),
        period_start=max((start for start in starts if start is not None), default=None),
        ended_at=integer(raw.get("ended_at")),
    )


def _item(raw: Raw) -> SubscriptionItem:
    price, quantity = raw.get("price"), integer(raw.get("quantity"))
    return SubscriptionItem(
        price=reference(price),
        lookup_key=text((expanded(price) or {}).get("lookup_key")) or None,
        quantity=1 if quantity is None else quantity,
        current_period_start=integer(raw.get("current_period_start")),
        current_period_end=integer(raw.get("current_period_end")),
    )


def _session(raw: Raw) -> CheckoutSession:
    prices = [reference(line.get("price")) for line in entries(raw.get("line_items"))]
    return CheckoutSession(
        id=str(raw["id"]),
        created=integer(raw.get("created")) or 0,
        mode=text(raw.get("mode")),
        status=text(raw.get("status")),
        payment_status=text(raw.get("payment_status")),
        amount_total=integer(raw.get("amount_total")),
        currency=text(raw.get("currency")),
        payment_intent=reference(raw.get("payment_intent")),
        invoice=reference(raw.get("invoice")),
        price=next((price for price in prices if price is not None), None),
        metadata=metadata(raw),
    )


def _intent(raw: Raw) -> PaymentIntent:
    error = expanded(raw.get("last_payment_error"))
    return PaymentIntent(
        id=str(raw["id"]),
        created=integer(raw.get("created")) or 0,
        status=text(raw.get("status")),
        amount=integer(raw.get("amount")),
        currency=text(raw.get("currency")),
        latest_charge=reference(raw.get("latest_charge")),
        description=text(raw.get("description")),
        last_payment_error=LastPaymentError(
            text(error.get("code")) or None, text(error.get("decline_code")) or None
        )
        if error
        else None,
        metadata=metadata(raw),
    )


def _charge(raw: Raw) -> Charge:
    refunds, presentment = raw.get("refunds"), expanded(raw.get("presentment_details")) or {}
    listed = refunds.get("data") if isinstance(refunds, Mapping) else None
    ids = [reference(refund) for refund in listed] if isinstance(listed, list) else []
    return Charge(
        id=str(raw["id"]),
        created=integer(raw.get("created")) or 0,
        payment_intent=reference(raw.get("payment_intent")),
        paid=bool(raw.get("paid")),
        amount_captured=integer(raw.get("amount_captured")) or integer(raw.get("amount")) or 0,
        amount_refunded=integer(raw.get("amount_refunded")) or 0,
        refunded=bool(raw.get("refunded")),
        disputed=bool(raw.get("disputed")),
        currency=text(raw.get("currency")),
        presentment_amount=integer(presentment.get("presentment_amount")) or 0,
        presentment_currency=text(presentment.get("presentment_currency")),
        failure_code=text(raw.get("failure_code")) or None,
        receipt_url=text(raw.get("receipt_url")) or None,
        refunds=tuple(refund for refund in ids if refund is not None),
    )


def _refund(raw: Raw) -> Refund:
    return Refund(
        id=str(raw["id"]),
        created=integer(raw.get("created")) or 0,
        charge=reference(raw.get("charge")),
        payment_intent=reference(raw.get("payment_intent")),
        amount=integer(raw.get("amount")) or 0,
        currency=text(raw.get("currency")),
        status=text(raw.get("status")),
    )


def _dispute(raw: Raw) -> Dispute:
    details = expanded(raw.get("payment_method_details")) or {}
    return Dispute(
        id=str(raw["id"]),
        created=integer(raw.get("created")) or 0,
        charge=reference(raw.get("charge")),
        payment_intent=reference(raw.get("payment_intent")),
        amount=integer(raw.get("amount")) or 0,
        currency=text(raw.get("currency")),
        status=text(raw.get("status")),
        case_type=text((expanded(details.get("card")) or {}).get("case_type")),
        is_charge_refundable=raw.get("is_charge_refundable") is True,
    )


def _invoice(raw: Raw) -> Invoice:
    transitions = expanded(raw.get("status_transitions")) or {}
    payments = entries(raw.get("payments"))
    # of several partial payments since 2025-05-28; entries that are open or canceled are attempts
    made = [entry for entry in payments if entry.get("status") == "paid"]
    made.sort(key=lambda entry: (integer(entry.get("created")) or 0, str(entry.get("id"))), reverse=True)
    paid_by = [(_paid_with(entry), integer(entry.get("amount_paid")) or 0) for entry in made]
    status = text(raw.get("status"))
    amount_due, amount_paid = integer(raw.get("amount_due")) or 0, integer(raw.get("amount_paid")) or 0
    remaining = integer(raw.get("amount_remaining"))
    left = amount_due if remaining is None else remaining
    return Invoice(
        id=str(raw["id"]),
        created=integer(raw.get("created")) or 0,
        status=status,
        subscription=reference(subscription_details(raw).get("subscription")),
        billing_reason=text(raw.get("billing_reason")),
        currency=text(raw.get("currency")),
        collection_method=text(raw.get("collection_method")),
        attempted=bool(raw.get("attempted")),
        amount_due=amount_due,
        amount_paid=amount_paid,
        amount={"paid": amount_paid, "open": left, "uncollectible": left}.get(status, amount_due),
        due_date=integer(raw.get("due_date")),
        finalized_at=integer(transitions.get("finalized_at")),
        paid_at=integer(transitions.get("paid_at")),
        starting_balance=integer(raw.get("starting_balance")),
        ending_balance=integer(raw.get("ending_balance")),
        payment_intents=tuple(
            intent for entry in payments if (intent := _paid_with(entry, "payment_intent")) is not None
        ),
        paid_by=tuple(payment for payment, _ in paid_by if payment is not None),
        # cash is no entry of the list; what the seller reported is a `payment_record`
        paid_elsewhere=max(
            0, amount_paid - sum(amount for payment, amount in paid_by if payment is not None)
        ),
        lines=tuple(_line(line) for line in entries(raw.get("lines"))),
        hosted_invoice_url=text(raw.get("hosted_invoice_url")) or None,
        invoice_pdf=text(raw.get("invoice_pdf")) or None,
    )


def _paid_with(entry: Raw, *kinds: str) -> str | None:
    """The payment intent of an invoice's payment, or the charge that has none (see `kinds`); None for a
    payment outside of Stripe. https://docs.stripe.com/api/invoice-payment/object
    """
    payment = expanded(entry.get("payment")) or {}
    found = (reference(payment.get(kind)) for kind in kinds or ("payment_intent", "charge"))
    return next((one for one in found if one is not None), None)


def _line(raw: Raw) -> InvoiceLine:
    pricing = expanded(raw.get("pricing")) or {}
    details = expanded(pricing.get("price_details")) or {}
    return InvoiceLine(
        amount=integer(raw.get("amount")) or 0,
        description=text(raw.get("description")),
        price=reference(details.get("price")),
        period_end=integer((expanded(raw.get("period")) or {}).get("end")),
    )


_PARSERS: Final[Mapping[str, Callable[[Raw], StripeObject]]] = {
    "checkout.session": _session,
    "payment_intent": _intent,
    "charge": _charge,
    "refund": _refund,
    "dispute": _dispute,
    "invoice": _invoice,
    "subscription": parse_subscription,
}


# -- all objects of a router -----------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class StripeObjects:
    """The objects of a kind by id, the newest first, and by what links them to each other.

    `raw`: as stored, by id. `charges_of_invoice`: the charges that paid it, of which there may be several;
    `refunds_of`, `disputes_of`: by the charge's id; `invoices_of`: by the subscription's id, the newest
    first. `archived_*`: see `ARCHIVED_PURCHASE`.
    """

    raw: Mapping[str, Raw] = field(default_factory=dict)
    sessions: Mapping[str, CheckoutSession] = field(default_factory=dict)
    intents: Mapping[str, PaymentIntent] = field(default_factory=dict)
    charges: Mapping[str, Charge] = field(default_factory=dict)
    refunds: Mapping[str, Refund] = field(default_factory=dict)
    disputes: Mapping[str, Dispute] = field(default_factory=dict)
    invoices: Mapping[str, Invoice] = field(default_factory=dict)
    subscriptions: Mapping[str, Subscription] = field(default_factory=dict)
    charges_of_invoice: Mapping[str, Sequence[Charge]] = field(default_factory=dict)
    refunds_of: Mapping[str, Sequence[Refund]] = field(default_factory=dict)
    disputes_of: Mapping[str, Sequence[Dispute]] = field(default_factory=dict)
    invoices_of: Mapping[str, Sequence[Invoice]] = field(default_factory=dict)
    archived_purchases: Sequence[Raw] = ()
    archived_subscriptions: Sequence[Raw] = ()
    parsed: Mapping[str, StripeObject] = field(default_factory=dict)


def parse_objects(raw: Mapping[str, Raw], earlier: StripeObjects | None = None) -> StripeObjects:
    """All stored objects of a router. Those that have not changed since `earlier` are not parsed again."""
    earlier = earlier or StripeObjects()
    if raw is earlier.raw:
        return earlier
    parsed: dict[str, StripeObject] = {}
    for object_id, stored in raw.items():
        parse = _PARSERS.get(str(stored.get("object")))
        if parse is not None:
            unchanged = stored is earlier.raw.get(object_id)
            parsed[object_id] = earlier.parsed[object_id] if unchanged else parse(stored)
    return _linked(raw, parsed)


def _linked(raw: Mapping[str, Raw], parsed: Mapping[str, StripeObject]) -> StripeObjects:
    charges = _newest_first(parsed, Charge)
    refunds = _newest_first(parsed, Refund)
    disputes = _newest_first(parsed, Dispute)
    invoices = _newest_first(parsed, Invoice)
    paid_by: dict[str, Charge] = {}
    for charge in charges.values():
        # failed attempts before or after the one that paid are of no interest
        if charge.paid:
            paid_by[charge.payment_intent or charge.id] = charge
    refunds_of: dict[str, dict[str, Refund]] = defaultdict(dict)
    for refund in refunds.values():
        refunds_of[refund.charge or ""][refund.id] = refund
    for charge in charges.values():
        # a charge lists its newest ten; those that it listed before are still stored
        refunds_of[charge.id].update((one, refunds[one]) for one in charge.refunds if one in refunds)
    disputes_of: dict[str, list[Dispute]] = defaultdict(list)
    for dispute in disputes.values():
        disputes_of[dispute.charge or ""].append(dispute)
    invoices_of: dict[str, list[Invoice]] = defaultdict(list)
    for invoice in invoices.values():
        invoices_of[invoice.subscription or ""].append(invoice)
    return StripeObjects(
        raw=raw,
        sessions=_newest_first(parsed, CheckoutSession),
        intents=_newest_first(parsed, PaymentIntent),
        charges=charges,
        refunds=refunds,
        disputes=disputes,
        invoices=invoices,
        subscriptions=_newest_first(parsed, Subscription),
        charges_of_invoice={
            invoice.id: [paid_by[payment] for payment in invoice.paid_by if payment in paid_by]
            for invoice in invoices.values()
        },
        refunds_of={charge: list(found.values()) for charge, found in refunds_of.items()},
        disputes_of=dict(disputes_of),
        invoices_of=dict(invoices_of),
        archived_purchases=[one for one in raw.values() if one.get("object") == ARCHIVED_PURCHASE],
        archived_subscriptions=[one for one in raw.values() if one.get("object") == _ARCHIVED_SUBSCRIPTION],
        parsed=parsed,
    )


_Kind = TypeVar("_Kind", bound=StripeObject)


def _newest_first(parsed: Mapping[str, StripeObject], kind: type[_Kind]) -> dict[str, _Kind]:
    found = [one for one in parsed.values() if isinstance(one, kind)]
    found.sort(key=lambda one: (one.created, one.id), reverse=True)
    return {one.id: one for one in found}
