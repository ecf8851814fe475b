"""Change the plan of a subscription, cancel it, resume it.

Every change is made to the subscription as Stripe has it now, and enters the ledger by `sync` like any other;
the reply is the ledger's state afterwards. The same request twice at the same time makes one change.
"""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from itertools import count
from typing import TYPE_CHECKING, Any, Final

from stripe_payments.billing.declines import failure
from stripe_payments.billing.eligibility import (
    ChangeProblem,
    change_problem,
    plan_item,
    price_of_item,
)
from stripe_payments.billing.paused import PausedSubscriptions
from stripe_payments.billing.plan_quotes import CHARGED_FOR, SHOWN_FOR, PlanQuotes, preview_view
from stripe_payments.billing.planned_changes import PlannedChanges
from stripe_payments.billing.prices import PriceIds
from stripe_payments.billing.subscription_view import (
    in_own_currency,
    list_subscriptions,
    show_subscription,
)
from stripe_payments.billing.upcoming import UpcomingPayments
from stripe_payments.entitlements import Subscription, announced_end, period_end_of
from stripe_payments.errors import PaymentError
from stripe_payments.i18n import Text, _
from stripe_payments.log import Log
from stripe_payments.settings import Price, Settings
from stripe_payments.shared_tasks import SharedTasks
from stripe_payments.stripe_api import StripeAPI, is_replayed, is_transient, object_kind
from stripe_payments.sync.raw_fields import expanded, integer, reference

if TYPE_CHECKING:
    from stripe_payments.clock import TrustedClock
    from stripe_payments.stripe_api.parameters import (
        InvoiceCreatePreviewParams,
        InvoiceCreatePreviewParamsSubscriptionDetails,
        SubscriptionUpdateParams,
    )
    from stripe_payments.sync.reconciler import Reconciler

_log = Log("subscriptions")

ENDED: Final = frozenset({"canceled", "incomplete_expired"})


_REASONS: Final[Mapping[ChangeProblem, Text]] = {
    "ended": _("it has ended; subscribe again"),
    "payment_due": _("an invoice is unpaid; pay it first under Invoices and payment methods"),
    "paused": _("it is paused; resume it first"),
    "incomplete": _("its first payment has not succeeded yet"),
    "pending_change": _("a plan change is waiting for payment; pay it, or wait until it expires"),
    "processing": _("a payment for it is still being processed; change it when that has arrived"),
    "failed": _("its last payment failed; cancel it and subscribe again"),
    "scheduled": _("a later change of it is already planned in Stripe; only the seller can alter that"),
    "several_items": _("it has several plans in Stripe; change it there"),
    "one_time": _("a one-time purchase cannot replace a plan"),
    "same_price": _("it already has this price"),
    "other_currency": _("its currency cannot change"),
}


_DEBITS: Final = frozenset(
    {"acss_debit", "au_becs_debit", "bacs_debit", "nz_bank_account", "sepa_debit", "us_bank_account"}
)
"""https://docs.stripe.com/payments/bank-debits"""


@dataclass(frozen=True, slots=True)
class _Current:
    """A subscription of this router as Stripe has it now. `item`: the one that is its plan."""

    row: Subscription
    raw: Mapping[str, Any]
    item: Mapping[str, Any]

    @property
    def quantity(self) -> int:
        return integer(self.item.get("quantity")) or 1


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
        self._paused = PausedSubscriptions(stripe, reconciler)
        self._upcoming = UpcomingPayments(stripe)
        self._planned = PlannedChanges(stripe)
        self._changes: SharedTasks[tuple[str, ...], str] = SharedTasks()
        self._one_at_a_time = asyncio.Lock()

    async def list(self, locale: str | None = None, *, preview: bool = False) -> list[dict[str, Any]]:
        """All of this router's subscriptions; see `subscription_view` for the shape. `preview`: next_payment
        is Stripe's preview, where it can be had, and planned_change is fetched.
        """
        state = self._reconciler.state
        views = list_subscriptions(state, self._settings(), locale)
        if preview:
            rows = [state.subscriptions[view["id"]] for view in views]
            found = await asyncio.gather(*(self._upcoming.previewed(state, row) for row in rows))
            for view, payment in zip(views, found, strict=True):
                view["next_payment"] = payment.view() if payment is not None else None
                raw = state.objects[view["id"]]
                view["planned_change"] = await self._planned.of(raw, self._settings(), locale)
            settings = self._settings()
            views = [await in_own_currency(view, state, settings, self._prices) for view in views]
        return views

    async def preview_change(self, subscription_id: str, price_id: str) -> dict[str, Any]:
        """Return what a change to a price of the catalog costs: {subscription, price, plan, amount_due,
        currency, proration, credit, tax, proration_date, lines[] {description, amount}, next_payment {date,
        amount, source}, renewal_amount, pays_by_debit, waits_for_debit}.

        Amounts in minor units: amount_due is charged at once; proration is the new price for the rest of the
        period less the unused part of the old one; credit stays at Stripe for the next invoices; next_payment
        is the first renewal, discounts, tax and credit included, renewal_amount one without the credit;
        source: preview, or list_price where Stripe previewed no renewal. pays_by_debit: amount_due is debited
        from a bank account, which takes days; waits_for_debit: what is new in the plan unlocks after that.
        `change_plan` charges exactly this within the next quarter of an hour. Raises
        subscription_not_found, unknown_price, price_unavailable, not_changeable, and Stripe's errors.
        """
        current, price, unit_amount = await self._changeable(subscription_id, price_id)
        row, stripe_price = current.row, await self._prices.id_of(price)
        date = self._quotes.proration_date(row, current.raw, price, SHOWN_FOR)
        details: InvoiceCreatePreviewParamsSubscriptionDetails = {
            "items": [{"id": current.item["id"], "price": stripe_price, "quantity": current.quantity}],
            "proration_behavior": "always_invoice",
        }
        if date is not None:
            details["proration_date"] = date
        if row.cancel_at_period_end:
            details["cancel_at_period_end"] = False
        elif row.cancel_at is not None:
            details["cancel_at"] = ""
        params: InvoiceCreatePreviewParams = {"subscription": row.id, "subscription_details": details}
        try:
            invoice = await self._stripe.preview_invoice(params, f"preview-{uuid.uuid4().hex}")
        except PaymentError as error:
            raise _explained(error) from error
        renewal = await self._renewal(row, {**details, "proration_behavior": "none"})
        view = preview_view(
            invoice,
            renewal,
            row,
            price,
            stripe_price,
            date,
            unit_amount * current.quantity,
            self._draft(current.raw),
        )
        debit = self._pays_by_debit(row.id)
        waits = debit and view["amount_due"] > 0 and not self._settings().trust_pending_debits
        return {**view, "pays_by_debit": debit, "waits_for_debit": waits}

    def _draft(self, raw: Mapping[str, Any]) -> int:
        """The total of the subscription's latest invoice while that is a draft: for an hour after a renewal.
        https://docs.stripe.com/billing/invoices/subscription#sub-invoice-lifecycle
        """
        latest = self._reconciler.state.objects.get(reference(raw.get("latest_invoice")) or "", {})
        return (integer(latest.get("total")) or 0) if latest.get("status") == "draft" else 0

    def _pays_by_debit(self, subscription_id: str) -> bool:
        """Whether its last known payment was a debit of a bank account."""
        state = self._reconciler.state
        for invoice in state.parsed.invoices_of.get(subscription_id, ()):
            for charge in state.parsed.charges_of_invoice[invoice.id]:
                details = expanded(state.objects[charge.id].get("payment_method_details")) or {}
                return details.get("type") in _DEBITS
        return False

    async def _renewal(
        self, row: Subscription, details: InvoiceCreatePreviewParamsSubscriptionDetails
    ) -> dict[str, Any] | None:
        """Stripe's preview of an ordinary renewal after a change; None without one."""
        details.pop("proration_date", None)
        params: InvoiceCreatePreviewParams = {
            "subscription": row.id,
            "subscription_details": details,
            "preview_mode": "recurring",
            "expand": ["discounts"],
        }
        try:
            return await self._stripe.preview_invoice(params, f"preview-{uuid.uuid4().hex}")
        except PaymentError as error:
            _log.warning("renewal not previewed", subscription=row.id, error=error.code)
            return None

    async def change_plan(
        self, subscription_id: str, price_id: str, locale: str | None = None
    ) -> dict[str, Any]:
        """Change to a price of the catalog now, for the previewed amount, and return the subscription. One
        that was to end renews again: the new plan was not bought to end with the old one.

        If the payment fails (declined, or the bank requires 3-D Secure), the old plan stays and
        `pending_change` names the invoice whose payment completes the change. Raises as `preview_change`.
        """
        attempts = count()

        async def change() -> str:
            attempt = next(attempts)
            if attempt and await self._is_changed(subscription_id, price_id):
                return subscription_id
            current, price, _unit_amount = await self._changeable(subscription_id, price_id)
            row, stripe_price = current.row, await self._prices.id_of(price)
            date = self._quotes.proration_date(row, current.raw, price, CHARGED_FOR)
            params: SubscriptionUpdateParams = {
                "items": [{"id": current.item["id"], "price": stripe_price, "quantity": current.quantity}],
                "proration_behavior": "always_invoice",
                "payment_behavior": "pending_if_incomplete",
            }
            if date is not None:
                params["proration_date"] = date
            # a change between the same prices as of the same second is the same change
            key = f"change-{row.id}-{row.price_id}-{stripe_price}-{date or uuid.uuid4().hex}"
            if attempt:
                key = f"{key}-{uuid.uuid4().hex}"
            changed, by_debit = await self._change(row.id, params, key)
            self._quotes.discard(row, price)
            pending = bool(changed.get("pending_update"))
            _log.info("plan changed", subscription=row.id, price=price.alias, pending=pending)
            if not pending:
                await self._after_change(row, price, paid=not by_debit)
            return row.id

        return await self._once(("change", subscription_id, price_id), change, locale)

    async def cancel(
        self, subscription_id: str, *, at_period_end: bool = True, locale: str | None = None
    ) -> dict[str, Any]:
        """Cancel at the end of the paid period, or at once (without a refund), and return the subscription.

        One that has ended, or will have ended by then, stays as it is.
        """

        async def cancel() -> str:
            current = await self._fetch(subscription_id)
            row = current.row
            if row.status in ENDED:
                return row.id
            if not at_period_end or row.status == "incomplete":
                await self._stripe.delete("subscription", row.id)
                _log.info("subscription ended", subscription=row.id)
                return row.id
            end, period_end = announced_end(row), period_end_of(row)
            if end is None or (period_end is not None and end > period_end):
                await self._release(current.raw)
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
            current = await self._fetch(subscription_id)
            row = current.row
            if row.status in ENDED:
                raise PaymentError("not_changeable", reason=_REASONS["ended"])
            if (end := _without_end(row)) is not None:
                if current.raw.get("schedule"):
                    raise PaymentError("not_changeable", reason=_REASONS["scheduled"])
                await self._update(row.id, end)
            if row.paused_collection:
                await self._update(row.id, {"pause_collection": ""})
            if row.status == "paused":
                await self._paused.resume(row.id)
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
        return await in_own_currency(shown, self._reconciler.state, settings, self._prices)

    async def _make(self, change: Callable[[], Awaitable[str]]) -> str:
        async with self._one_at_a_time:
            try:
                subscription_id = await self._begin_again_if_replayed(change)
            except PaymentError as error:
                raise _explained(error) from error
            try:
                await self._reconciler.sync(subscription_id, "changed here")
            except PaymentError as error:
                if not is_transient(error):
                    raise
                _log.warning("change not synced, left to the poller", error=error.code)
            return subscription_id

    async def _begin_again_if_replayed(self, change: Callable[[], Awaitable[str]]) -> str:
        try:
            return await change()
        except PaymentError as error:
            if not is_replayed(error):
                raise
        # For a day its key would fail, and what the failed request did is unknown. A change begins with the
        # subscription as it is at Stripe, and its requests have other keys the second time.
        return await change()

    async def close(self) -> None:
        await self._changes.close()
        await self._upcoming.close()
        await self._planned.close()

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
        raw = state.objects[subscription_id]
        return _Current(row, raw, plan_item(raw, self._settings()) or {})

    async def _changeable(self, subscription_id: str, price_id: str) -> tuple[_Current, Price, int]:
        """The subscription, the price, and what that costs in the subscription's currency; minor units."""
        settings = self._settings()
        if not settings.enabled:
            raise PaymentError("disabled")
        price = settings.price(price_id)
        if price is None:
            raise PaymentError("unknown_price", price_id=price_id)
        current = await self._fetch(subscription_id)
        currency = str(current.raw.get("currency") or price.currency)
        amounts: Mapping[str, int] = {price.currency: price.amount}
        if currency not in amounts and price.interval is not None:
            amounts = await self._prices.amounts(price)
        problem = change_problem(current.row, current.raw, price, settings, amounts.keys())
        latest = self._reconciler.state.invoices.get(reference(current.raw.get("latest_invoice")) or "")
        if problem is None and latest is not None and latest.outcome == "pending":
            problem = "processing"  # of a renewal
        if problem is not None:
            raise PaymentError("not_changeable", reason=_REASONS[problem])
        return current, price, amounts[currency]

    async def _update(self, subscription_id: str, params: SubscriptionUpdateParams) -> None:
        # The parameters state the result, so a repeated request is harmless; the same request may be needed
        # again after its opposite, so each has a key of its own.
        await self._stripe.update("subscription", subscription_id, params, f"update-{uuid.uuid4().hex}")

    async def _change(
        self, subscription_id: str, params: SubscriptionUpdateParams, key: str
    ) -> tuple[Mapping[str, Any], bool]:
        """Return the subscription, and whether a bank debit pays for the change. Such a payment cannot be
        waited for: Stripe makes the change at once.
        https://docs.stripe.com/billing/subscriptions/pending-updates-reference
        """
        try:
            return await self._stripe.update("subscription", subscription_id, params, key), False
        except PaymentError as error:
            if error.details.get("param") != "payment_behavior":
                raise
        allowed: SubscriptionUpdateParams = {**params, "payment_behavior": "allow_incomplete"}
        return await self._stripe.update("subscription", subscription_id, allowed, f"{key}-debit"), True

    async def _is_changed(self, subscription_id: str, price_id: str) -> bool:
        """Whether the plan has been changed, or waits for the payment of the change."""
        current, settings = await self._fetch(subscription_id), self._settings()
        wanted = settings.price(price_id)
        return bool(current.raw.get("pending_update")) or (
            wanted is not None and price_of_item(current.item, settings) == wanted
        )

    async def _after_change(self, row: Subscription, price: Price, *, paid: bool) -> None:
        """Stripe accepts neither together with a change that may wait for its payment. The metadata only
        matters while the price is not in the catalog, so that a failure does no harm; until a bank debit has
        paid for the change, it names the plan before.
        """
        if (end := _without_end(row)) is not None:
            await self._update(row.id, end)
        if not paid:
            return
        try:
            await self._update(row.id, {"metadata": {"price_alias": price.alias, "item": price.of}})
        except PaymentError as error:
            _log.warning("metadata of the subscription not updated", error=error.code)

    async def _release(self, raw: Mapping[str, Any]) -> None:
        """While a schedule manages a subscription, Stripe lets only the schedule end it. To cancel is the
        buyer's right, whatever the seller had planned.
        """
        schedule = reference(raw.get("schedule"))
        if schedule is not None:
            key = f"release-{uuid.uuid4().hex}"
            await self._stripe.update("subscription_schedule", schedule, {}, key, action="release")
            _log.info("schedule released", subscription=raw.get("id"), schedule=schedule)


def _without_end(row: Subscription) -> SubscriptionUpdateParams | None:
    """The parameters that take back an announced end; None where there is none. Stripe takes one of the two
    at a time; setting one resets the other.
    """
    if row.cancel_at_period_end:
        return {"cancel_at_period_end": False}
    return {"cancel_at": ""} if row.cancel_at is not None else None


def _explained(error: PaymentError) -> PaymentError:
    """A declined card is not an error of Stripe's: `payment_failed`, with the reason for the buyer. What
    Stripe refuses, it refuses the next time too: `not_changeable`, with Stripe's reason.
    """
    if error.code != "stripe_error" or is_transient(error):
        return error
    if error.details.get("http_status") == 400:
        return PaymentError("not_changeable", **error.details)
    if error.details.get("http_status") != 402:
        return error
    code, decline_code = error.details.get("stripe_code"), error.details.get("decline_code")
    why = failure(str(code) if code else None, str(decline_code) if decline_code else None)
    return PaymentError("payment_failed", **{**error.details, "reason": why.message})
