"""Change the plan of a subscription, cancel it, resume it.

Every change is made to the subscription as Stripe has it now, and enters the ledger by `sync` like any other;
the reply is the ledger's state afterwards. The same request twice at the same time makes one change.
"""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from stripe_payments.billing.declines import failure
from stripe_payments.billing.eligibility import ChangeProblem, change_problem, items_of
from stripe_payments.billing.plan_quotes import CHARGED_FOR, SHOWN_FOR, PlanQuotes, preview_view
from stripe_payments.billing.prices import PriceIds
from stripe_payments.billing.subscription_view import list_subscriptions, show_subscription
from stripe_payments.entitlements import Subscription, announced_end, period_end_of
from stripe_payments.errors import PaymentError
from stripe_payments.i18n import Text, _
from stripe_payments.log import Log
from stripe_payments.settings import Price, Settings
from stripe_payments.shared_tasks import SharedTasks
from stripe_payments.stripe_api import StripeAPI, is_transient, object_kind

if TYPE_CHECKING:
    from stripe_payments.clock import TrustedClock
    from stripe_payments.stripe_api.parameters import InvoiceCreatePreviewParams, SubscriptionUpdateParams
    from stripe_payments.sync.reconciler import Reconciler

_log = Log("subscriptions")

ENDED: Final = frozenset({"canceled", "incomplete_expired"})


_REASONS: Final[Mapping[ChangeProblem, Text]] = {
    "ended": _("it has ended; subscribe again"),
    "payment_due": _("an invoice is unpaid; pay it first under Invoices and payment methods"),
    "paused": _("it is paused; resume it first"),
    "incomplete": _("its first payment has not succeeded yet"),
    "ending": _("it is ending; resume it first, otherwise the new plan would end with it"),
    "pending_change": _("a plan change is waiting for payment; pay it, or wait until it expires"),
    "several_items": _("it has several items in Stripe; change it there"),
    "one_time": _("a one-time purchase cannot replace a plan"),
    "same_price": _("it already has this price"),
    "other_currency": _("its currency cannot change"),
}


@dataclass(frozen=True, slots=True)
class _Current:
    """A subscription of this router as Stripe has it now."""

    row: Subscription
    raw: Mapping[str, Any]


class SubscriptionService:
    def __init__(
        self,
        stripe: StripeAPI,
        reconciler: Reconciler,
        settings: Callable[[], Settings],
        clock: TrustedClock,
        prices: PriceIds,
    ) -> None:
        self._stripe = stripe
        self._reconciler = reconciler
        self._settings = settings
        self._prices = prices
        self._quotes = PlanQuotes(clock)
        self._changes: SharedTasks[tuple[str, ...], str] = SharedTasks()
        self._one_at_a_time = asyncio.Lock()

    async def list(self, locale: str | None = None) -> list[dict[str, Any]]:
        """All of this router's subscriptions; see `subscription_view` for the shape."""
        settings = self._settings()
        return list_subscriptions(self._reconciler.state, settings, locale)

    async def preview_change(self, subscription_id: str, price_id: str) -> dict[str, Any]:
        """Return what a change to a price of the catalog costs: {subscription, price, plan, amount_due,
        currency, proration, credit, tax, proration_date, lines[] {description, amount}, next_payment {date,
        amount}}.

        Amounts in minor units: amount_due is charged at once; proration is the new price for the rest of the
        period less the unused part of the old one; credit stays at Stripe for the next invoices.
        `change_plan` charges exactly this within the next quarter of an hour. Raises
        subscription_not_found, unknown_price, price_unavailable, not_changeable, and Stripe's errors.
        """
        current, price = await self._changeable(subscription_id, price_id)
        row, stripe_price = current.row, await self._prices.id_of(price)
        date = self._quotes.proration_date(row, current.raw, price, SHOWN_FOR)
        params: InvoiceCreatePreviewParams = {
            "subscription": row.id,
            "subscription_details": {
                "items": [{"id": items_of(current.raw)[0]["id"], "price": stripe_price, "quantity": 1}],
                "proration_behavior": "always_invoice",
            },
        }
        if date is not None:
            params["subscription_details"]["proration_date"] = date
        try:
            invoice = await self._stripe.preview_invoice(params, f"preview-{uuid.uuid4().hex}")
        except PaymentError as error:
            raise _explained(error) from error
        return preview_view(invoice, row, price, date)

    async def change_plan(
        self, subscription_id: str, price_id: str, locale: str | None = None
    ) -> dict[str, Any]:
        """Change to a price of the catalog now, for the previewed amount, and return the subscription.

        If the payment fails (declined, or the bank requires 3-D Secure), the old plan stays and
        `pending_change` names the invoice whose payment completes the change. Raises as `preview_change`.
        """

        async def change() -> str:
            current, price = await self._changeable(subscription_id, price_id)
            row, stripe_price = current.row, await self._prices.id_of(price)
            date = self._quotes.proration_date(row, current.raw, price, CHARGED_FOR)
            params: SubscriptionUpdateParams = {
                "items": [{"id": items_of(current.raw)[0]["id"], "price": stripe_price, "quantity": 1}],
                "proration_behavior": "always_invoice",
                "payment_behavior": "pending_if_incomplete",
            }
            if date is not None:
                params["proration_date"] = date
            # a change between the same prices as of the same second is the same change
            key = f"change-{row.id}-{row.price_id}-{stripe_price}-{date or uuid.uuid4().hex}"
            changed = await self._stripe.update("subscription", row.id, params, key)
            self._quotes.discard(row, price)
            pending = bool(changed.get("pending_update"))
            _log.info("plan changed", subscription=row.id, price=price.alias, pending=pending)
            if not pending:
                await self._update_metadata(row.id, price)
            return row.id

        return await self._once(("change", subscription_id, price_id), change, locale)

    async def cancel(
        self, subscription_id: str, *, at_period_end: bool = True, locale: str | None = None
    ) -> dict[str, Any]:
        """Cancel at the end of the paid period, or at once (without a refund), and return the subscription.

        One that has ended, or will have ended by then, stays as it is.
        """

        async def cancel() -> str:
            row = (await self._fetch(subscription_id)).row
            if row.status in ENDED:
                return row.id
            if not at_period_end or row.status == "incomplete":
                await self._stripe.delete("subscription", row.id)
                _log.info("subscription ended", subscription=row.id)
                return row.id
            end, period_end = announced_end(row), period_end_of(row)
            if end is None or (period_end is not None and end > period_end):
                await self._update(row.id, {"cancel_at_period_end": True})
                _log.info("subscription ends with its period", subscription=row.id)
            return row.id

        return await self._once(("cancel", subscription_id, str(at_period_end)), cancel, locale)

    async def resume(self, subscription_id: str, locale: str | None = None) -> dict[str, Any]:
        """Undo a cancellation that has not taken effect yet, or end a pause, and return the subscription.

        One that renews stays as it is. Raises not_changeable for one that has ended, and payment_failed if
        resuming requires a payment that fails.
        """

        async def resume() -> str:
            row = (await self._fetch(subscription_id)).row
            if row.status in ENDED:
                raise PaymentError("not_changeable", reason=_REASONS["ended"])
            if row.cancel_at_period_end:
                await self._update(row.id, {"cancel_at_period_end": False})
            elif row.cancel_at is not None:
                await self._update(row.id, {"cancel_at": ""})
            if row.paused_collection:
                await self._update(row.id, {"pause_collection": ""})
            if row.status == "paused":
                await self._stripe.update(
                    "subscription", row.id, {}, f"resume-{uuid.uuid4().hex}", action="resume"
                )
            _log.info("subscription resumed", subscription=row.id)
            return row.id

        return await self._once(("resume", subscription_id), resume, locale)

    async def _once(
        self, key: tuple[str, ...], change: Callable[[], Awaitable[str]], locale: str | None
    ) -> dict[str, Any]:
        """A second click joins the change in progress; changes are made one at a time."""
        subscription_id = await self._changes.run(key, lambda: self._make(change))
        settings = self._settings()
        shown = show_subscription(self._reconciler.state, subscription_id, settings, locale)
        if shown is None:
            raise PaymentError("subscription_not_found", subscription=subscription_id)
        return shown

    async def _make(self, change: Callable[[], Awaitable[str]]) -> str:
        async with self._one_at_a_time:
            try:
                subscription_id = await change()
            except PaymentError as error:
                raise _explained(error) from error
            try:
                await self._reconciler.sync(subscription_id, "changed here")
            except PaymentError as error:
                if not is_transient(error):
                    raise
                _log.warning("change not synced, left to the poller", error=error.code)
            return subscription_id

    async def close(self) -> None:
        await self._changes.close()

    async def _fetch(self, subscription_id: str) -> _Current:
        """Sync it first. Raises subscription_not_found for one of another router."""
        if object_kind(subscription_id) != "subscription":
            raise PaymentError("invalid_argument", argument="subscription")
        outcome = await self._reconciler.sync(subscription_id, "to be changed")
        if not outcome.ours:
            raise PaymentError("subscription_not_found", subscription=subscription_id)
        state = self._reconciler.state
        row = state.subscriptions.get(subscription_id)
        if row is None:
            raise PaymentError("subscription_not_found", subscription=subscription_id)
        return _Current(row, state.objects[subscription_id])

    async def _changeable(self, subscription_id: str, price_id: str) -> tuple[_Current, Price]:
        settings = self._settings()
        if not settings.enabled:
            raise PaymentError("disabled")
        price = settings.price(price_id)
        if price is None:
            raise PaymentError("unknown_price", price_id=price_id)
        current = await self._fetch(subscription_id)
        if (problem := change_problem(current.row, current.raw, price, settings)) is not None:
            raise PaymentError("not_changeable", reason=_REASONS[problem])
        return current, price

    async def _update(self, subscription_id: str, params: SubscriptionUpdateParams) -> None:
        # The parameters state the result, so a repeated request is harmless; the same request may be needed
        # again after its opposite, so each has a key of its own.
        await self._stripe.update("subscription", subscription_id, params, f"update-{uuid.uuid4().hex}")

    async def _update_metadata(self, subscription_id: str, price: Price) -> None:
        """Stripe accepts no metadata together with a change that may wait for its payment. The metadata only
        matters while the price is not in the catalog, so a failure here does no harm.
        """
        try:
            await self._update(subscription_id, {"metadata": {"price_alias": price.alias, "item": price.of}})
        except PaymentError as error:
            _log.warning("metadata of the subscription not updated", error=error.code)


def _explained(error: PaymentError) -> PaymentError:
    """A declined card is not an error of Stripe's: `payment_failed`, with the reason for the buyer."""
    if error.code != "stripe_error" or error.details.get("http_status") != 402:
        return error
    code, decline_code = error.details.get("stripe_code"), error.details.get("decline_code")
    why = failure(str(code) if code else None, str(decline_code) if decline_code else None)
    return PaymentError("payment_failed", **{**error.details, "reason": why.message})
