"""`payment_status`: the state of a payment, by the id of any object that belongs to it."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final

from stripe_payments.billing.declines import shown_failure
from stripe_payments.billing.transaction_list import presentment
from stripe_payments.errors import PaymentError
from stripe_payments.rfc3339 import format_time
from stripe_payments.stripe_api import is_transient, object_kind

if TYPE_CHECKING:
    from stripe_payments.entitlements import Subscription
    from stripe_payments.ledger import Checkout, Ledger
    from stripe_payments.settings import Settings
    from stripe_payments.sync import Poller, Reconciler
    from stripe_payments.sync.payment_facts import Payment
    from stripe_payments.sync.projection import State
    from stripe_payments.sync.stripe_objects import Invoice

# https://docs.stripe.com/api/subscriptions/object#subscription_object-status
_SUBSCRIPTION: Final = {
    "active": "paid",
    "trialing": "no_payment_required",
    "past_due": "unpaid",
    "unpaid": "unpaid",
    "paused": "unpaid",
    "incomplete": "pending",
    "incomplete_expired": "expired",
    "canceled": "expired",
}
_SAYS_MORE: Final = frozenset({"pending", "unpaid", "refunded", "partially_refunded", "disputed"})
"""Statuses of the latest invoice that an active subscription does not have: a bank debit or an e-mailed
invoice may not be paid yet, and what was paid may be back.
"""
_INVOICE: Final = {"paid": "paid", "draft": "pending", "void": "expired"}


class PaymentStatusService:
    """`show` answers from the ledger; while a payment may still change, it wakes the poller for it first."""

    def __init__(
        self,
        ledger: Ledger,
        poller: Poller,
        reconciler: Reconciler,
        settings: Callable[[], Settings],
    ) -> None:
        self._ledger = ledger
        self._poller = poller
        self._reconciler = reconciler
        self._settings = settings

    async def show(self, payment_id: str, locale: str | None = None) -> dict[str, Any]:
        """Return {status, amount, currency, payment_date, id, payment_id, item, title, amount_refunded,
        receipt_url, final, failure, presentment}.

        status: paid, pending, unpaid, failed, expired, refunded, partially_refunded, disputed,
        no_payment_required; amounts in minor units; payment_date RFC 3339, null until paid; id: the
        Checkout session, payment_id: its payment intent, once it has one; final false while this may still
        change (an open session can be paid with another card after a decline); failure {code, decline_code,
        reason, message} or null; presentment {amount, currency} or null: what the buyer was charged in a
        currency of their own (Adaptive Pricing). Raises invalid_argument, payment_not_found, and Stripe's
        errors.
        """
        kind = object_kind(payment_id)
        if kind not in ("checkout.session", "payment_intent", "charge", "invoice", "subscription"):
            raise PaymentError("invalid_argument", argument="payment_id")
        known = await self._known(payment_id, kind, locale)
        if known is not None and known["final"]:
            return known
        try:
            outcome = await self._poller.poll_object(payment_id)
        except PaymentError as error:
            if known is not None and is_transient(error):
                return known  # the last known state; the poller keeps polling
            raise
        if not outcome.ours:
            raise PaymentError("payment_not_found", payment_id=payment_id)
        current = await self._known(payment_id, kind, locale)
        if current is None:
            raise PaymentError("payment_not_found", payment_id=payment_id)
        return current

    async def _known(self, payment_id: str, kind: str, locale: str | None) -> dict[str, Any] | None:
        """What is stored of it, None if nothing."""
        state = self._reconciler.state
        if kind == "subscription":
            row = state.subscriptions.get(payment_id)
            return self._of_subscription(state, row, locale) if row is not None else None
        if kind == "invoice":
            invoice = state.parsed.invoices.get(payment_id)
            return self._of_invoice(state, invoice, locale) if invoice else None
        paid = _payment(state, payment_id, kind)
        if paid is not None:
            return self._of_payment(state, paid, locale)
        if (invoice := _invoice(state, payment_id, kind)) is not None:
            return self._of_invoice(state, invoice, locale)
        checkout = await self._ledger.read(lambda tx: tx.checkouts.by_session(payment_id))
        return self._of_checkout(checkout, locale) if checkout is not None else None

    def _of_checkout(self, checkout: Checkout, locale: str | None) -> dict[str, Any]:
        """A session without a payment attempt: only the order is known."""
        price = self._settings().price(checkout.price_alias)
        expired = checkout.state in ("expired", "failed")
        return self._answer(
            status="expired" if expired else "unpaid",
            amount=price.amount if price is not None else None,
            currency=price.currency if price is not None else None,
            paid_at=None,
            id=checkout.session_id or "",
            payment_id=checkout.session_id or "",
            item=price.of if price is not None else None,
            locale=locale,
            amount_refunded=0,
            receipt_url=None,
            final=expired,
            failure=None,
            presentment=None,
        )

    def _of_payment(self, state: State, paid: Payment, locale: str | None) -> dict[str, Any]:
        why = shown_failure(paid.failure_code, paid.decline_code, locale)
        return self._answer(
            status=paid.status,
            amount=paid.amount,
            currency=paid.currency,
            paid_at=paid.paid_at,
            id=paid.id,
            payment_id=paid.payment_intent or paid.id,
            item=paid.item or None,
            locale=locale,
            amount_refunded=paid.amount_refunded,
            receipt_url=paid.receipt_url,
            final=paid.final,
            failure=why,
            presentment=_presentment(state, paid),
        )

    def _of_invoice(self, state: State, invoice: Invoice, locale: str | None) -> dict[str, Any]:
        status, money = invoice.status, state.invoices[invoice.id]
        paid_at = invoice.paid_at or invoice.finalized_at or invoice.created
        return self._answer(
            status=money.outcome or _INVOICE.get(status, "unpaid"),
            amount=invoice.amount,
            currency=invoice.currency or None,
            paid_at=paid_at if status == "paid" else None,
            id=invoice.id,
            payment_id=invoice.id,
            item=None,
            locale=locale,
            amount_refunded=money.refunded,
            receipt_url=invoice.hosted_invoice_url,
            final=status in ("paid", "void") and money.dispute != "open",
            failure=None,
            presentment=presentment(state, invoice.id),
        )

    def _of_subscription(self, state: State, held: Subscription, locale: str | None) -> dict[str, Any]:
        raw = state.parsed.subscriptions.get(held.id)
        invoice = state.parsed.invoices.get(raw.latest_invoice or "") if raw is not None else None
        last = self._of_invoice(state, invoice, locale) if invoice is not None else {}
        change = held.unpaid_change
        owed = held.owed or (change.state if change is not None else None)
        if held.status == "active" and not owed and last.get("status") in _SAYS_MORE:
            owed = last["status"]
        return self._answer(
            status=owed or _SUBSCRIPTION.get(held.status, "unpaid"),
            amount=last.get("amount"),
            currency=raw.currency or None if raw is not None else None,
            paid_at=None,
            id=held.id,
            payment_id=held.id,
            item=held.plan,
            locale=locale,
            amount_refunded=0,
            receipt_url=last.get("receipt_url"),
            final=False,  # it renews, so it is fetched for every request
            failure=None,
            presentment=last.get("presentment"),
        ) | {"payment_date": last.get("payment_date")}

    def _answer(
        self,
        *,
        status: str,
        amount: int | None,
        currency: str | None,
        paid_at: int | None,
        item: str | None,
        locale: str | None,
        **rest: Any,
    ) -> dict[str, Any]:
        sold = self._settings().sellable(item) if item else None
        return {
            "status": status,
            "amount": amount if amount is not None else 0,
            "currency": currency,
            "payment_date": format_time(paid_at) if paid_at is not None else None,
            "item": item,
            "title": sold.title_in(locale) if sold is not None else item,
            **rest,
        }


def _invoice(state: State, payment_id: str, kind: str) -> Invoice | None:
    """The invoice that a payment intent or charge paid, or tried to pay."""
    charge = state.parsed.charges.get(payment_id) if kind == "charge" else None
    payment = (charge.payment_intent if charge is not None else None) or payment_id
    return next(
        (one for one in state.parsed.invoices.values() if payment in one.payment_intents + one.paid_by), None
    )


def _presentment(state: State, paid: Payment) -> dict[str, Any] | None:
    """Of a one-time payment, by its payment intent; of the first payment of a plan, by the invoice."""
    session = state.parsed.sessions.get(paid.id)
    if session is not None and session.invoice is not None and paid.for_plan:
        return presentment(state, session.invoice)
    return presentment(state, paid.payment_intent or paid.id)


def _payment(state: State, payment_id: str, kind: str) -> Payment | None:
    """The payment of a Checkout session, of a payment intent, or of the payment intent of a charge."""
    if kind == "checkout.session":
        return state.payments.get(payment_id)
    intent: str | None = payment_id
    if kind == "charge":
        charge = state.parsed.charges.get(payment_id)
        intent = charge.payment_intent if charge is not None else None
    return state.payment_of(intent) if intent is not None else None
