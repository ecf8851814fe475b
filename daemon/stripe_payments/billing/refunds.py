"""Refund payments, in part or in full."""

from __future__ import annotations

import asyncio
import time
import uuid
from typing import TYPE_CHECKING, Any, Final

from stripe_payments.errors import PaymentError
from stripe_payments.i18n import _
from stripe_payments.log import Log
from stripe_payments.shared_tasks import SharedTasks
from stripe_payments.stripe_api import IDEMPOTENCY_KEY_TTL, StripeAPI, is_transient, object_kind
from stripe_payments.sync import payment_facts as facts

if TYPE_CHECKING:
    from stripe_payments.ledger import Ledger, Transaction
    from stripe_payments.stripe_api.parameters import RefundCreateParams
    from stripe_payments.sync import Reconciler

_log = Log("refunds")

REASONS: Final = ("duplicate", "fraudulent", "requested_by_customer")

_WHY: Final = {
    "refunded": _("it is already fully refunded"),
    "disputed": _("it is disputed"),
    "no_payment_required": _("there was no charge"),
}
_NOT_PAID: Final = _("it is not paid")
_UNKNOWN_REASON: Final = _("it must be one of duplicate, fraudulent, requested_by_customer")
_AMOUNT: Final = _("it must be a positive integer, in the currency's smallest unit")


class RefundService:
    def __init__(self, ledger: Ledger, stripe: StripeAPI, reconciler: Reconciler) -> None:
        self._ledger = ledger
        self._stripe = stripe
        self._reconciler = reconciler
        self._refunds: SharedTasks[tuple[str, int | None, str | None], dict[str, Any]] = SharedTasks()
        self._lock = asyncio.Lock()

    async def refund(
        self, payment_id: str, amount: int | None = None, reason: str | None = None
    ) -> dict[str, Any]:
        """Refund `amount` minor units of a payment (cs_, pi_, ch_, in_), or the rest of it, and return {id,
        payment_id, amount, currency, status, reason}.

        Callers that request the same refund while it is in progress get that one: a double click refunds
        once. Raises invalid_argument, payment_not_found, not_refundable, amount_too_large, Stripe's errors.
        """
        if object_kind(payment_id) not in ("checkout.session", "payment_intent", "charge", "invoice"):
            raise PaymentError("invalid_argument", argument="payment_id")
        if reason and reason not in REASONS:
            raise PaymentError("invalid_argument", argument="reason", reason=_UNKNOWN_REASON)
        if amount is not None and amount <= 0:
            raise PaymentError("invalid_argument", argument="amount", reason=_AMOUNT)
        return await self._refunds.run(
            (payment_id, amount, reason), lambda: self._one_at_a_time(payment_id, amount, reason)
        )

    async def _one_at_a_time(self, payment_id: str, amount: int | None, reason: str | None) -> dict[str, Any]:
        async with self._lock:  # each depends on the amount that the one before has left
            return await self._refund(payment_id, amount, reason)

    async def _refund(self, payment_id: str, amount: int | None, reason: str | None) -> dict[str, Any]:
        paid = await self._payment(payment_id)
        entry = f"refund {paid.payment_intent} {amount or 'all'} {reason or ''}"
        unanswered = await self._ledger.read(lambda tx: _unanswered(tx, entry))
        if unanswered is not None and paid.payment_intent is not None:
            return await self._create(payment_id, paid.payment_intent, amount, reason, entry, unanswered)
        if paid.status not in ("paid", "partially_refunded") or paid.payment_intent is None:
            why = _WHY.get(paid.status, _NOT_PAID)
            raise PaymentError("not_refundable", payment_id=payment_id, reason=why)
        left = (paid.amount or 0) - paid.amount_refunded
        if amount is not None and amount > left:
            raise PaymentError("amount_too_large", amount=amount, available=left)
        key = uuid.uuid4().hex
        return await self._create(payment_id, paid.payment_intent, amount, reason, entry, key)

    async def _create(
        self, payment_id: str, intent: str, amount: int | None, reason: str | None, entry: str, key: str
    ) -> dict[str, Any]:
        """Create the refund. Until Stripe has answered, the ledger's `entry` holds the idempotency key: the
        same request after a lost response or a power cut gets the same refund.
        """
        await self._ledger.write(lambda tx: tx.meta.set(entry, f"{key} {int(time.time())}"))
        params: RefundCreateParams = {
            "payment_intent": intent,
            "metadata": {"router_id": self._reconciler.identity.router_id},
        }
        if amount is not None:
            params["amount"] = amount
        if reason:
            params["reason"] = reason
        try:
            refund = await self._stripe.create("refund", params, f"refund-{key}")
        except PaymentError as error:
            if not is_transient(error):
                await self._ledger.write(lambda tx: tx.meta.delete(entry))
            if error.details.get("stripe_code") in ("charge_already_refunded", "charge_disputed"):
                raise PaymentError(
                    "not_refundable", payment_id=payment_id, reason=error.details.get("reason")
                ) from error
            raise
        await self._ledger.write(lambda tx: tx.meta.delete(entry))
        _log.info("refunded", payment=intent, refund=refund["id"], amount=refund.get("amount"))
        await self._sync(intent)
        return {
            "id": refund["id"],
            "payment_id": payment_id,
            "amount": refund.get("amount"),
            "currency": refund.get("currency"),
            "status": refund.get("status"),
            "reason": refund.get("reason"),
        }

    async def _payment(self, payment_id: str) -> facts.Payment:
        """The payment as Stripe has it now; only one of ours can be refunded here."""
        outcome = await self._reconciler.sync(payment_id, "refund")
        if not outcome.ours:
            raise PaymentError("payment_not_found", payment_id=payment_id)
        state = self._reconciler.state
        stored = state.objects.get(payment_id, {})
        kind = object_kind(payment_id)
        paid: facts.Payment | None = None
        if kind == "invoice":
            # its payment is no object of its own in the ledger: the invoice stands for it
            intent_id = next(iter(facts.payment_intents_of_invoice(stored)), None)
            intent = await self._stripe.retrieve(intent_id) if intent_id else None
            if intent is not None:
                paid = facts.payment(intent, intent, facts.expanded(intent.get("latest_charge")))
        elif kind == "checkout.session":
            paid = state.payments.get(payment_id)
        else:
            intent_id = payment_id if kind == "payment_intent" else stored.get("payment_intent")
            paid = state.payment_of(str(intent_id))
        if paid is None:
            raise PaymentError("not_refundable", payment_id=payment_id, reason=_NOT_PAID)
        return paid

    async def _sync(self, intent: str) -> None:
        """Apply the effect now; if Stripe is unreachable at this moment, the poller will."""
        try:
            await self._reconciler.sync(intent, "refund")
        except PaymentError as error:
            _log.warning("refund not synced, left to the poller", error=error.code)


def _unanswered(tx: Transaction, entry: str) -> str | None:
    """The idempotency key of the same request that got no answer, while Stripe still knows it."""
    key, _, at = (tx.meta.get(entry) or "").partition(" ")
    return key if at.isdigit() and abs(time.time() - int(at)) < IDEMPOTENCY_KEY_TTL else None
