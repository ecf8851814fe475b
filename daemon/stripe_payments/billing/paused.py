"""Resume a paused subscription: with a payment, and without paying anything twice."""

from __future__ import annotations

import uuid
from typing import TYPE_CHECKING, Final

from stripe_payments.billing.declines import failure
from stripe_payments.errors import PaymentError
from stripe_payments.stripe_api import StripeAPI
from stripe_payments.sync.raw_fields import expanded
from stripe_payments.sync.stripe_objects import Invoice

if TYPE_CHECKING:
    from stripe_payments.entitlements import Subscription
    from stripe_payments.stripe_api.parameters import SubscriptionResumeParams
    from stripe_payments.sync.reconciler import Reconciler

_PAYING: Final = frozenset({"processing", "succeeded"})


class PausedSubscriptions:
    def __init__(self, stripe: StripeAPI, reconciler: Reconciler) -> None:
        self._stripe = stripe
        self._reconciler = reconciler

    async def resume(self, subscription_id: str) -> None:
        """Resume one that was just synced, and pay. Without `payment_behavior` Stripe attempts no payment and
        voids the invoice after 23 hours. Raises payment_failed; the subscription then stays paused, with an
        invoice to be paid. https://docs.stripe.com/api/subscriptions/resume
        """
        params: SubscriptionResumeParams = {"payment_behavior": "resume_on_payment_success"}
        row, latest = self._stored(subscription_id)
        if latest is not None and latest.status == "open":
            # of an attempt to resume, or of the renewal that paused it: a second one would charge twice
            await self._collect(latest)
            await self._reconciler.sync(subscription_id, "to be resumed")
            row, latest = self._stored(subscription_id)
            if row.status != "paused" or (latest is not None and latest.status == "open"):
                return
        if row.paused_after_dunning and latest is not None and latest.status == "paid":
            # what could not be collected has been paid since: no new period begins besides that
            params |= {"billing_cycle_anchor": {"type": "unchanged"}, "proration_behavior": "none"}
        key = f"resume-{uuid.uuid4().hex}"
        try:
            await self._stripe.update("subscription", subscription_id, params, key, action="resume")
        except PaymentError as error:
            if error.details.get("param") != "payment_behavior":
                raise
            # not for the billing mode `classic`
            del params["payment_behavior"]
            await self._stripe.update(
                "subscription", subscription_id, params, f"{key}-classic", action="resume"
            )
        await self._reconciler.sync(subscription_id, "resumed")
        row, latest = self._stored(subscription_id)
        if row.status == "paused" and latest is not None and latest.status == "open":
            await self._collect(latest, again=not latest.attempted)

    def _stored(self, subscription_id: str) -> tuple[Subscription, Invoice | None]:
        """The subscription and its latest invoice, as the ledger has them."""
        state = self._reconciler.state
        raw = state.parsed.subscriptions[subscription_id]
        return state.subscriptions[subscription_id], state.parsed.invoices.get(raw.latest_invoice or "")

    async def _collect(self, invoice: Invoice, *, again: bool = True) -> None:
        """Pay what is left of an open invoice, unless a bank debit for it is under way; with `again` False,
        raise payment_failed for the attempt that was made.
        """
        for intent_id in set(invoice.payment_intents).difference(invoice.paid_by):
            intent = await self._stripe.retrieve(intent_id)
            if intent is None or intent.get("status") == "canceled":
                continue
            if intent.get("status") in _PAYING:
                return
            if not again:
                failed = expanded(intent.get("last_payment_error")) or {}
                why = failure(failed.get("code") or "authentication_required", failed.get("decline_code"))
                raise PaymentError("payment_failed", reason=why.message)
        if again:
            await self._stripe.update("invoice", invoice.id, {}, f"pay-{uuid.uuid4().hex}", "pay")
