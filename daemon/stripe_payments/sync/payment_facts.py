"""The rules for charges, one-time payments and purchases: paid, refunded, disputed. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, Literal

from stripe_payments.entitlements import Purchase
from stripe_payments.sync.stripe_objects import (
    Charge,
    CheckoutSession,
    Dispute,
    Invoice,
    PaymentIntent,
    Refund,
    StripeObjects,
)

DisputeState = Literal["open", "won", "lost"]

# https://docs.stripe.com/api/disputes/object#dispute_object-status; every other status is open. A plain "won"
# also stands for an inquiry that was closed and a dispute that was prevented: no money has moved. An appeal
# begins after a loss, and the money stays with the buyer until it is won.
_DISPUTES: Final[dict[str, DisputeState]] = {
    "lost": "lost",
    "appeal_needs_response": "lost",
    "appeal_under_review": "lost",
    "won": "won",
    "warning_closed": "won",
    "prevented": "won",
}

_NO_REFUND: Final = frozenset({"failed", "canceled"})
"""https://docs.stripe.com/api/refunds/object#refund_object-status: the money is with the seller again."""


# -- disputes and refunds ------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class MoneyBack:
    """What of a charge went back to the buyer, in minor units of its currency: by refunds, and by disputes
    that were lost. `dispute`: where its disputes stand; `inquiry`: nothing but inquiries is open, and what is
    left can still be refunded.
    """

    captured: int = 0
    refunded: int = 0
    lost: int = 0
    dispute: DisputeState | None = None
    inquiry: bool = False

    @property
    def whole(self) -> bool:
        """Whether nothing of what was captured is left."""
        return 0 < self.captured <= self.refunded + self.lost


def money_back(objects: StripeObjects) -> dict[str, MoneyBack]:
    """What went back of each charge, by its id."""
    return {
        charge.id: _money_back(
            charge, objects.disputes_of.get(charge.id, ()), objects.refunds_of.get(charge.id, ())
        )
        for charge in objects.charges.values()
    }


def _money_back(charge: Charge, disputes: Sequence[Dispute], refunds: Sequence[Refund]) -> MoneyBack:
    """By its disputes and the refunds that are known of it."""
    captured = charge.amount_captured

    def disputed(wanted: Iterable[Dispute]) -> int:
        return sum(_disputed(charge, one) for one in wanted)

    lost = disputed(one for one in disputes if _DISPUTES.get(one.status) == "lost")
    # Stripe refunded the buyer, so that no dispute was opened; with another case type the charge stands
    resolved = disputed(
        one for one in disputes if one.status == "prevented" and one.case_type == "resolution"
    )
    return MoneyBack(
        captured=captured,
        refunded=min(captured, max(_refunded(charge, refunds), resolved)),
        lost=min(captured, lost),
        dispute=_dispute_state(charge, disputes),
        inquiry=_is_inquiry(disputes),
    )


def _disputed(charge: Charge, dispute: Dispute) -> int:
    """What a dispute is about, in the charge's currency: it can be a part of the charge
    (https://docs.stripe.com/api/disputes/object). In the currency that the buyer paid in, it is that part of
    what they paid; in any other its amount cannot be compared, and it counts as one about the whole.
    """
    if dispute.currency == charge.currency:
        return dispute.amount
    if dispute.currency == charge.presentment_currency and dispute.amount < charge.presentment_amount:
        return charge.amount_captured * dispute.amount // charge.presentment_amount
    return charge.amount_captured


def _is_inquiry(disputes: Iterable[Dispute]) -> bool:
    open_ones = [one for one in disputes if one.status not in _DISPUTES]
    return bool(open_ones) and all(one.is_charge_refundable for one in open_ones)


def _dispute_state(charge: Charge, disputes: Iterable[Dispute]) -> DisputeState | None:
    """Where a charge's disputes stand: a lost one outweighs an open one, that a won one.

    A charge that says "disputed", of which no dispute has been fetched, counts as openly disputed.
    """
    states = {_DISPUTES.get(dispute.status, "open") for dispute in disputes}
    ranked: tuple[DisputeState, ...] = ("lost", "open", "won")
    for state in ranked:
        if state in states:
            return state
    return "open" if charge.disputed else None


def _refunded(charge: Charge, refunds: Sequence[Refund]) -> int:
    """Without the refunds that failed. Whether `amount_refunded` still counts those is not documented: where
    all refunds are known, their sum decides.
    """
    returned = charge.amount_refunded
    if charge.refunded:
        returned = max(returned, charge.amount_captured)
    if sum(one.amount for one in refunds) < returned:
        return returned  # older refunds than the ten that a charge lists are not known
    return min(returned, sum(one.amount for one in refunds if one.status not in _NO_REFUND))


# -- payments ------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Payment:
    """What there is to know of one payment, by a Checkout session or by a payment intent that has none.

    status: paid, pending, unpaid, failed, expired, refunded, partially_refunded, disputed,
    no_payment_required; amount and amount_refunded in minor units of currency (None if Stripe has none yet);
    paid_at and created in epoch seconds; final: nothing more happens unless someone refunds, disputes or
    pays again; failure_code, decline_code: Stripe's words for the last failed attempt; item: the plan or
    product, by our metadata ("" if unknown); lost: nothing of it is left, and disputes took it or a part;
    for_plan: it is the first one of a subscription, whose invoice it paid; inquiry: as in `MoneyBack`.
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
    fully_refunded: bool
    dispute: DisputeState | None
    lost: bool
    final: bool
    failure_code: str | None
    decline_code: str | None
    receipt_url: str | None
    item: str
    description: str
    for_plan: bool
    inquiry: bool


def payments(objects: StripeObjects, backs: Mapping[str, MoneyBack]) -> dict[str, Payment]:
    """Those of the Checkout sessions, and of the payment intents that neither a session nor an invoice names;
    by the id of the session or intent. `backs`: as `money_back` returns.
    """
    found = {}
    named = {session.payment_intent for session in objects.sessions.values()}
    for invoice in objects.invoices.values():
        named.update(invoice.payment_intents)
    for session in objects.sessions.values():
        found[session.id] = _payment(session, objects, backs)
    for intent in objects.intents.values():
        if intent.id not in named:
            found[intent.id] = _payment(intent, objects, backs)
    return found


def _payment(
    root: CheckoutSession | PaymentIntent, objects: StripeObjects, backs: Mapping[str, MoneyBack]
) -> Payment:
    session, intent = (
        (root, objects.intents.get(root.payment_intent or ""))
        if isinstance(root, CheckoutSession)
        else (None, root)
    )
    charge = objects.charges.get(intent.latest_charge or "") if intent is not None else None
    back = backs[charge.id] if charge is not None else MoneyBack()
    charged = charge is not None and charge.paid
    invoice = objects.invoices.get(session.invoice or "") if session is not None else None
    status, final = _status(session, intent, invoice)
    if back.dispute in ("open", "lost"):
        status, final = "disputed", back.dispute == "lost"
    elif charged and back.whole:
        status, final = "refunded", True
    elif charged and back.refunded > 0:
        status, final = "partially_refunded", True
    paid_at = charge.created if charge is not None and charge.paid else None
    if paid_at is None and status in ("paid", "no_payment_required"):
        paid_at = root.created or None
    failure_code, decline_code = _failure(status, intent, charge)
    amount = session.amount_total if session is not None else None
    return Payment(
        id=root.id,
        payment_intent=session.payment_intent if session is not None else root.id,
        charge=intent.latest_charge if intent is not None else None,
        status=status,
        amount=amount if amount is not None or intent is None else intent.amount,
        currency=root.currency or (intent.currency if intent is not None else "") or None,
        created=root.created,
        paid_at=paid_at,
        amount_refunded=back.refunded,
        fully_refunded=back.whole and not back.lost,
        dispute=back.dispute,
        lost=back.whole and back.lost > 0,
        final=final,
        failure_code=failure_code,
        decline_code=decline_code,
        receipt_url=charge.receipt_url if charge is not None else None,
        item=root.metadata.get("item", ""),
        description=root.description if isinstance(root, PaymentIntent) else "",
        for_plan=session is not None and session.mode == "subscription",
        inquiry=back.inquiry,
    )


def _status(
    session: CheckoutSession | None, intent: PaymentIntent | None, invoice: Invoice | None
) -> tuple[str, bool]:
    if session is None:
        return _intent_status(intent)
    if session.payment_status == "paid":
        return "paid", True
    if session.status == "expired":
        return "expired", True
    if session.payment_status == "no_payment_required" and session.status == "complete":
        return "no_payment_required", True
    if invoice is not None and invoice.status in ("void", "uncollectible"):
        return "failed", True  # the debit for a plan did not arrive
    if intent is None:
        # complete without being paid: a bank debit is under way
        return ("pending", False) if session.status == "complete" else ("unpaid", False)
    status, final = _intent_status(intent)
    if session.status == "complete":
        return ("pending", False) if status in ("unpaid", "paid") else (status, final)
    # an open session can be paid with another card: a failure in it is not the end
    return status, False


def _intent_status(intent: PaymentIntent | None) -> tuple[str, bool]:
    match intent.status if intent is not None else None:
        case "succeeded":
            return "paid", True
        case "processing" | "requires_capture":
            return "pending", False
        case "canceled":
            return "failed", True
        case "requires_payment_method" if intent is not None and intent.last_payment_error is not None:
            return "failed", True
        case _:
            return "unpaid", False


def _failure(
    status: str, intent: PaymentIntent | None, charge: Charge | None
) -> tuple[str | None, str | None]:
    """(failure code, decline code) of the last attempt, where the payment has not been made."""
    if status not in ("failed", "unpaid", "expired") or intent is None:
        return None, None
    error = intent.last_payment_error
    code = error.code if error is not None else None
    if status == "failed" and not code:
        code = charge.failure_code if charge is not None else None
        if not code and intent.status == "canceled":
            code = "canceled"
    return code, error.decline_code if error is not None else None


def purchases(objects: StripeObjects, made: Mapping[str, Payment]) -> dict[str, Purchase]:
    """The one-time purchases, by their session's id: sessions of mode payment that were completed. `made`: as
    `payments` returns.
    """
    found = [
        _purchase(session, made[session.id])
        for session in objects.sessions.values()
        if session.mode == "payment" and session.status == "complete"
    ]
    found += [Purchase(id=str(raw["id"]), **raw["purchase"]) for raw in objects.archived_purchases]
    return {purchase.id: purchase for purchase in sorted(found, key=lambda purchase: purchase.id)}


def _purchase(session: CheckoutSession, paid: Payment) -> Purchase:
    return Purchase(
        id=session.id,
        price_id=session.price or "",
        price_alias=session.metadata.get("price_alias"),
        product=session.metadata.get("item"),
        paid=session.payment_status in ("paid", "no_payment_required"),
        fully_refunded=paid.fully_refunded,
        dispute="lost_in_part" if paid.dispute == "lost" and not paid.lost else paid.dispute,
        paid_at=paid.paid_at,
    )
