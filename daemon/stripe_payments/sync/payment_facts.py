"""What single objects of Stripe's say, read from their JSON. Pure.

Objects are as fetched with the pinned API version, or as the ledger stores them: with ids in place of the
objects that were expanded in them. A field that is missing is not an error: sessions with a total of nothing
have neither payment intent nor currency.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal

from stripe_payments.entitlements import Purchase, Subscription

BEFORE_PERIOD: Final = 3600
"""Seconds. An invoice may be made a moment before the period that it pays for."""

Raw = Mapping[str, Any]
DisputeState = Literal["open", "won", "lost"]

# https://docs.stripe.com/api/disputes/object#dispute_object-status; every other status is open. A plain "won"
# also stands for an inquiry that was closed and a dispute that was prevented: no money has moved.
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


def is_lost(dispute: Raw) -> bool:
    """Whether the money of a dispute went back to the buyer for good."""
    return _DISPUTES.get(str(dispute.get("status"))) == "lost"


def needs_disputes(session: Raw, known: DisputeState | None) -> bool:
    """Whether a fetched session is incomplete without its charge's disputes, which the API cannot expand.
    `known`: what the stored disputes say.
    """
    intent = expanded(session.get("payment_intent")) or {}
    charge = expanded(intent.get("latest_charge")) or {}
    return bool(charge.get("disputed")) and known not in ("won", "lost")


def is_fully_refunded(charge: Raw) -> bool:
    """Whether nothing of what was captured is left. (`refunded` alone is false for a charge that was captured
    in part.)
    """
    captured = integer(charge.get("amount_captured")) or integer(charge.get("amount")) or 0
    returned = integer(charge.get("amount_refunded")) or 0
    return bool(charge.get("refunded")) or 0 < captured <= returned


# -- a payment -----------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Payment:
    """What there is to know of one payment, by a Checkout session or by a payment intent that has none.

    status: paid, pending, unpaid, failed, expired, refunded, partially_refunded, disputed,
    no_payment_required; amount and amount_refunded in minor units of currency (None if Stripe has none yet);
    paid_at and created in epoch seconds; final: nothing more happens unless someone refunds, disputes or
    pays again; failure_code, decline_code: Stripe's words for the last failed attempt; item: the plan or
    product, by our metadata ("" if unknown).
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
    final: bool
    failure_code: str | None
    decline_code: str | None
    receipt_url: str | None
    item: str


def payment(root: Raw, intent: Raw | None, charge: Raw | None, disputes: Iterable[Raw] = ()) -> Payment:
    """The payment that `root`, a Checkout session or a payment intent (then `intent` as well), stands for.

    `intent`, `charge`: the session's payment intent and its latest charge, as far as they exist; `disputes`:
    the charge's.
    """
    session = root if root.get("object") == "checkout.session" else None
    dispute = dispute_state(charge, disputes)
    refunded = (integer(charge.get("amount_refunded")) or 0) if charge else 0
    charged = bool(charge and charge.get("paid"))
    fully_refunded = bool(charge and is_fully_refunded(charge))
    status, final = _status(session, intent)
    if dispute in ("open", "lost"):
        status, final = "disputed", dispute == "lost"
    elif charged and fully_refunded:
        status, final = "refunded", True
    elif charged and refunded > 0:
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
        amount_refunded=refunded,
        fully_refunded=fully_refunded,
        dispute=dispute,
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
        dispute=paid.dispute,
        paid_at=paid.paid_at,
    )


# -- a subscription ------------------------------------------------------------------------------


def subscription(raw: Raw, latest_invoice: Raw | None) -> Subscription:
    """What the subscription itself says. Of several items (we sell one) the period that ends last counts.

    `past_due_since` is that of its latest invoice, and `returned` is not known: both take all its invoices.
    """
    items = subscription_items(raw)
    ends = [end for item in items if (end := integer(item.get("current_period_end"))) is not None]
    marks = metadata(raw)
    price = items[0].get("price") if items else None
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
        past_due_since=_past_due_since(raw, latest_invoice) if status == "past_due" else None,
    )


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


# -- an invoice ----------------------------------------------------------------------------------


def fell_due(invoice: Raw) -> int | None:
    """When an invoice was to be paid: as soon as it was final."""
    transitions = expanded(invoice.get("status_transitions")) or {}
    final = integer(transitions.get("finalized_at"))
    return final if final is not None else integer(invoice.get("created"))


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


def dearest_line(invoice: Raw) -> Raw | None:
    """What an invoice is above all for."""
    found = [line for line in data(invoice.get("lines")) if isinstance(line, Mapping)]
    return max(found, key=lambda line: integer(line.get("amount")) or 0, default=None)


def price_of_line(line: Raw) -> str | None:
    """The id of the price on an invoice's line."""
    pricing = expanded(line.get("pricing"))
    details = expanded(pricing.get("price_details")) if pricing else None
    return reference(details.get("price")) if details else None
