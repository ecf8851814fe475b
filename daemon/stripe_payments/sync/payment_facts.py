"""What single objects of Stripe's say, read from their JSON. Pure.

Objects are as fetched with the pinned API version, or as the ledger stores them: with ids in place of the
objects that were expanded in them. A field that is missing is not an error: sessions with a total of nothing
have neither payment intent nor currency.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal

from stripe_payments.entitlements import Purchase

Raw = Mapping[str, Any]
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


def reference(value: object) -> str | None:
    """The id in an expandable field, expanded or not."""
    if isinstance(value, str):
        return value or None
    if isinstance(value, Mapping):
        found = value.get("id")
        return found if isinstance(found, str) else None
    return None


def expanded(value: object) -> Raw | None:
    """The object in an expandable field; None where there is only its id, or nothing."""
    return value if isinstance(value, Mapping) else None


def integer(value: object) -> int | None:
    """The value if it is a whole number, else None."""
    return value if isinstance(value, int) and not isinstance(value, bool) else None


def metadata(raw: Raw) -> dict[str, str]:
    found = raw.get("metadata")
    return {str(k): str(v) for k, v in found.items()} if isinstance(found, Mapping) else {}


def data(value: object) -> Sequence[Any]:
    """The entries of a list object; none where there is no list."""
    found = value.get("data") if isinstance(value, Mapping) else None
    return found if isinstance(found, list) else []


# -- whose is it ---------------------------------------------------------------------------------


def is_ours(raw: Raw, router_id: str, customer: str | None) -> bool:
    """Whether an object belongs to this router: the router_id in its metadata decides, else its customer.

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
    details = _subscription_details(raw)
    return metadata(details) if details is not None else {}


def _subscription_details(invoice: Raw) -> Raw | None:
    parent = expanded(invoice.get("parent"))
    return expanded(parent.get("subscription_details")) if parent else None


# -- disputes and refunds ------------------------------------------------------------------------


def dispute_state(charge: Raw | None, disputes: Iterable[Raw]) -> DisputeState | None:
    """Where a charge's disputes stand: a lost one outweighs an open one, that a won one.

    A charge that says "disputed", of which no dispute has been fetched, counts as openly disputed.
    """
    states = {_DISPUTES.get(str(dispute.get("status")), "open") for dispute in disputes}
    ranked: tuple[DisputeState, ...] = ("lost", "open", "won")
    for state in ranked:
        if state in states:
            return state
    return "open" if charge and charge.get("disputed") else None


def needs_disputes(session: Raw, known: DisputeState | None) -> bool:
    """Whether a fetched session is incomplete without its charge's disputes, which the API cannot expand.
    `known`: what the stored disputes say.
    """
    intent = expanded(session.get("payment_intent")) or {}
    charge = expanded(intent.get("latest_charge")) or {}
    return bool(charge.get("disputed")) and known not in ("won", "lost")


@dataclass(frozen=True, slots=True)
class MoneyBack:
    """What of a charge went back to the buyer, in minor units of its currency: by refunds, and by disputes
    that were lost. `dispute`: where its disputes stand.
    """

    captured: int = 0
    refunded: int = 0
    lost: int = 0
    dispute: DisputeState | None = None

    @property
    def whole(self) -> bool:
        """Whether nothing of what was captured is left."""
        return 0 < self.captured <= self.refunded + self.lost


def money_back(charge: Raw, disputes: Sequence[Raw] = (), refunds: Sequence[Raw] = ()) -> MoneyBack:
    """What of a charge went back, by its disputes and the refunds that are known of it.

    A dispute can be about a part of the charge (https://docs.stripe.com/api/disputes/object); in another
    currency its amount cannot be compared, and it counts as one about the whole.
    """
    captured = integer(charge.get("amount_captured")) or integer(charge.get("amount")) or 0

    def disputed(wanted: Iterable[Raw]) -> int:
        return sum(
            (integer(one.get("amount")) or 0) if one.get("currency") == charge.get("currency") else captured
            for one in wanted
        )

    lost = disputed(one for one in disputes if _DISPUTES.get(str(one.get("status"))) == "lost")
    # Stripe refunded the buyer, so that no dispute was opened
    resolved = disputed(one for one in disputes if _is_resolved(one))
    return MoneyBack(
        captured=captured,
        refunded=min(captured, max(_refunded(charge, refunds, captured), resolved)),
        lost=min(captured, lost),
        dispute=dispute_state(charge, disputes),
    )


def _refunded(charge: Raw, refunds: Sequence[Raw], captured: int) -> int:
    """Without the refunds that failed. Whether `amount_refunded` still counts those is not documented: where
    all refunds are known, their sum decides.
    """
    returned = integer(charge.get("amount_refunded")) or 0
    if charge.get("refunded"):
        returned = max(returned, captured)
    amounts = [(str(one.get("status")), integer(one.get("amount")) or 0) for one in refunds]
    if sum(amount for _, amount in amounts) < returned:
        return returned  # older refunds than the ten that a charge lists are not known
    return min(returned, sum(amount for status, amount in amounts if status not in _NO_REFUND))


def _is_resolved(dispute: Raw) -> bool:
    """A dispute that Stripe prevented by a refund; with another case type the charge stands."""
    details = expanded(dispute.get("payment_method_details")) or {}
    card = expanded(details.get("card")) or {}
    return dispute.get("status") == "prevented" and card.get("case_type") == "resolution"


# -- a payment -----------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Payment:
    """What there is to know of one payment, by a Checkout session or by a payment intent that has none.

    status: paid, pending, unpaid, failed, expired, refunded, partially_refunded, disputed,
    no_payment_required; amount and amount_refunded in minor units of currency (None if Stripe has none yet);
    paid_at and created in epoch seconds; final: nothing more happens unless someone refunds, disputes or
    pays again; failure_code, decline_code: Stripe's words for the last failed attempt; item: the plan or
    product, by our metadata ("" if unknown); lost: nothing of it is left, and disputes took it or a part.
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


def payment(
    root: Raw,
    intent: Raw | None,
    charge: Raw | None,
    disputes: Sequence[Raw] = (),
    refunds: Sequence[Raw] = (),
) -> Payment:
    """The payment that `root`, a Checkout session or a payment intent (then `intent` as well), stands for.

    `intent`, `charge`: the session's payment intent and its latest charge, as far as they exist; `disputes`,
    `refunds`: the charge's.
    """
    session = root if root.get("object") == "checkout.session" else None
    back = money_back(charge, disputes, refunds) if charge else MoneyBack()
    charged = bool(charge and charge.get("paid"))
    status, final = _status(session, intent)
    if back.dispute in ("open", "lost"):
        status, final = "disputed", back.dispute == "lost"
    elif charged and back.whole:
        status, final = "refunded", True
    elif charged and back.refunded > 0:
        status, final = "partially_refunded", True
    created = root.get("created")
    paid_at = charge.get("created") if charge and charged else None
    if paid_at is None and status in ("paid", "no_payment_required"):
        paid_at = created
    failure_code, decline_code = _failure(status, intent, charge)
    amount = session.get("amount_total") if session is not None else None
    if amount is None and intent:
        amount = intent.get("amount")
    return Payment(
        id=str(root.get("id")),
        payment_intent=reference(session.get("payment_intent") if session is not None else root),
        charge=reference(intent.get("latest_charge")) if intent else None,
        status=status,
        amount=integer(amount),
        currency=root.get("currency") or (intent or {}).get("currency"),
        created=integer(created) or 0,
        paid_at=integer(paid_at),
        amount_refunded=back.refunded,
        fully_refunded=back.whole and not back.lost,
        dispute=back.dispute,
        lost=back.whole and back.lost > 0,
        final=final,
        failure_code=failure_code,
        decline_code=decline_code,
        receipt_url=charge.get("receipt_url") if charge else None,
        item=metadata(root).get("item", ""),
    )


def _status(session: Raw | None, intent: Raw | None) -> tuple[str, bool]:
    if session is None:
        return _intent_status(intent or {})
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


def _failure(status: str, intent: Raw | None, charge: Raw | None) -> tuple[str | None, str | None]:
    """(failure code, decline code) of the last attempt, where the payment has not been made."""
    if status not in ("failed", "unpaid", "expired") or intent is None:
        return None, None
    error = expanded(intent.get("last_payment_error")) or {}
    code = error.get("code")
    if status == "failed" and not code:
        code = (charge or {}).get("failure_code")
        if not code and intent.get("status") == "canceled":
            code = "canceled"
    return code, error.get("decline_code")


def is_untouched(session: Raw) -> bool:
    """Whether no attempt has been made to pay this Checkout session, nor will be if it has expired."""
    return session.get("status") in ("open", "expired") and not any(
        session.get(name) for name in ("payment_intent", "subscription", "invoice", "setup_intent")
    )


def price_of(session: Raw) -> str | None:
    """The Stripe price of a session's single line."""
    for line in data(session.get("line_items")):
        if (price := reference(line.get("price"))) is not None:
            return price
    return None


def purchase(session: Raw, paid: Payment) -> Purchase | None:
    """The one-time purchase that a completed session is; None for one that was not completed, and for
    subscriptions.
    """
    if session.get("mode") != "payment" or session.get("status") != "complete":
        return None
    marks = metadata(session)
    return Purchase(
        id=str(session["id"]),
        price_id=price_of(session) or "",
        price_alias=marks.get("price_alias"),
        product=marks.get("item"),
        paid=session.get("payment_status") in ("paid", "no_payment_required"),
        fully_refunded=paid.fully_refunded,
        dispute="lost_in_part" if paid.dispute == "lost" and not paid.lost else paid.dispute,
        paid_at=paid.paid_at,
    )


# -- an invoice ----------------------------------------------------------------------------------


def subscription_of_invoice(invoice: Raw) -> str | None:
    """The subscription that an invoice is for."""
    details = _subscription_details(invoice)
    return reference(details.get("subscription")) if details else None


def payment_intents_of_invoice(invoice: Raw) -> list[str]:
    """The payment intents that an invoice was, or is to be, paid by. The list has no documented order."""
    found = []
    for entry in data(invoice.get("payments")):
        paid_by = expanded(entry.get("payment")) or {}
        if (intent := reference(paid_by.get("payment_intent"))) is not None:
            found.append(intent)
    return found


def payments_made(invoice: Raw) -> list[str]:
    """The payment intents that paid an invoice or a part of it, the newest first: entries that are open or
    canceled are attempts. (Of several partial payments since 2025-05-28.)
    """
    made = [entry for entry in data(invoice.get("payments")) if entry.get("status") == "paid"]
    made.sort(key=lambda entry: (integer(entry.get("created")) or 0, str(entry.get("id"))), reverse=True)
    return payment_intents_of_invoice({"payments": {"data": made}})


def from_credit(invoice: Raw) -> int:
    """What of a paid invoice the customer's credit balance paid; negative where it added to the balance.
    A balance below zero is credit (https://docs.stripe.com/billing/customer/balance).
    """
    before, after = integer(invoice.get("starting_balance")), integer(invoice.get("ending_balance"))
    if invoice.get("status") != "paid" or before is None or after is None:
        return 0
    return min(after, 0) - min(before, 0)


def dearest_line(invoice: Raw) -> Raw | None:
    """What an invoice is above all for."""
    found = [line for line in data(invoice.get("lines")) if isinstance(line, Mapping)]
    return max(found, key=lambda line: integer(line.get("amount")) or 0, default=None)


def price_of_line(line: Raw) -> str | None:
    """The id of the price on an invoice's line."""
    pricing = expanded(line.get("pricing"))
    details = expanded(pricing.get("price_details")) if pricing else None
    return reference(details.get("price")) if details else None
