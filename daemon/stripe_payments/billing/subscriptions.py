"""What a person does with a subscription that runs: change its plan, cancel it, take that back.

Every verb looks at Stripe first, changes there, and then has the change come in by `sync` as any other: what
is answered is what the ledger says afterwards. Asking twice for the same does it once.
"""

from __future__ import annotations

import asyncio
import time
import uuid
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from stripe_payments.billing.declines import failure
from stripe_payments.billing.prices import PriceIds
from stripe_payments.billing.shared_tasks import SharedTasks
from stripe_payments.billing.subscription_view import list_subscriptions, price_of, show_subscription
from stripe_payments.entitlements import Subscription, announced_end, period_end_of
from stripe_payments.errors import PaymentError
from stripe_payments.i18n import _
from stripe_payments.log import Log
from stripe_payments.rfc3339 import format_time
from stripe_payments.settings import Price, Settings
from stripe_payments.stripe_api import StripeAPI, is_transient, object_kind
from stripe_payments.sync import projection as derive

if TYPE_CHECKING:
    from stripe_payments.clock import TrustedClock
    from stripe_payments.ledger import Ledger
    from stripe_payments.stripe_api.parameters import InvoiceCreatePreviewParams, SubscriptionUpdateParams
    from stripe_payments.sync.reconciler import Reconciler

_log = Log("subscriptions")

QUOTE_LASTS: Final = 900.0
"""Seconds in which a previewed amount is the one that is charged: proration is computed to the second, so the
change is made as of the moment of the preview.
"""
QUOTE_HONOURED: Final = QUOTE_LASTS + 300.0
"""A dialogue that was opened at the last moment still gets its price."""

ENDED: Final = frozenset({"canceled", "incomplete_expired"})

_ENDED: Final = _("it has ended; buy the plan anew")
_OWES: Final = _("a payment is due: pay it in the customer portal first")
_PAUSED: Final = _("it is paused; resume it first")
_ENDING: Final = _("it is going to end; resume it first, or what is paid now would end with it")
_INCOMPLETE: Final = _("its first payment has not succeeded")
_SAME_PRICE: Final = _("it is at this price already")
_NO_PLAN: Final = _("what is bought once cannot follow on a plan")
_OTHER_CURRENCY: Final = _("a subscription keeps its currency")
_NOT_ONE: Final = _("it was changed at Stripe to have several items; change it there")
_WAITS: Final = _("a change of plan waits for its payment; pay it, or wait until it expires")

_WHY_NOT: Final = {
    "past_due": _OWES,
    "unpaid": _OWES,
    "paused": _PAUSED,
    "incomplete": _INCOMPLETE,
    "canceled": _ENDED,
    "incomplete_expired": _ENDED,
}


@dataclass(frozen=True, slots=True)
class _Held:
    """A subscription of ours as Stripe has it at this moment."""

    row: Subscription
    raw: Mapping[str, Any]

    @property
    def items(self) -> list[Mapping[str, Any]]:
        found = self.raw.get("items")
        return list(found.get("data", [])) if isinstance(found, Mapping) else []


@dataclass(frozen=True, slots=True)
class _Quote:
    proration_date: int
    made_at: float


class SubscriptionService:
    def __init__(
        self,
        ledger: Ledger,
        stripe: StripeAPI,
        reconciler: Reconciler,
        settings: Callable[[], Settings],
        clock: TrustedClock,
        prices: PriceIds,
        *,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._ledger = ledger
        self._stripe = stripe
        self._reconciler = reconciler
        self._settings = settings
        self._clock = clock
        self._prices = prices
        self._monotonic = monotonic
        self._quotes: dict[tuple[str, str], _Quote] = {}
        self._changes: SharedTasks[tuple[str, ...], str] = SharedTasks()
        self._one_at_a_time = asyncio.Lock()

    async def list(self, locale: str | None = None) -> list[dict[str, Any]]:
        """All of this router's, from the ledger; see `subscription_view` for the shape."""
        settings = self._settings()
        return await self._ledger.read(lambda tx: list_subscriptions(tx, settings, locale))

    async def preview_change(self, subscription_id: str, price_id: str) -> dict[str, Any]:
        """What changing to a price of the catalogue costs: {subscription, price, plan, amount_due, currency,
        proration, credit, tax, proration_date, lines[] {description, amount}, next_payment {date, amount}}.

        Amounts in minor units: amount_due is charged at once; proration is the net of what is left of the old
        price and of the new one for the rest of the period; credit is kept at Stripe for the next invoices.
        `change_plan` charges exactly this within the next quarter of an hour. Raises
        subscription_not_found, unknown_price, price_unavailable, not_changeable, and what Stripe may answer.
        """
        held, price = await self._changeable(subscription_id, price_id)
        stripe_price = await self._prices.id_of(price)
        date = self._quoted(held, price, QUOTE_LASTS) or self._quote(held, price)
        params: InvoiceCreatePreviewParams = {
            "subscription": held.row.id,
            "subscription_details": {
                "items": [{"id": held.items[0]["id"], "price": stripe_price, "quantity": 1}],
                "proration_behavior": "always_invoice",
            },
        }
        if date is not None:
            params["subscription_details"]["proration_date"] = date
        try:
            invoice = await self._stripe.preview_invoice(params, f"preview-{uuid.uuid4().hex}")
        except PaymentError as error:
            raise _explained(error) from error
        return self._as_preview(invoice, held, price, date)

    async def change_plan(
        self, subscription_id: str, price_id: str, locale: str | None = None
    ) -> dict[str, Any]:
        """Change to a price of the catalogue, now, with the amount that was previewed; gives the
        subscription.

        If the payment does not succeed (declined, or the bank asks for 3-D Secure), the old plan stays and
        `pending_change` names the invoice whose payment completes the change. Raises as `preview_change`.
        """

        async def change() -> str:
            held, price = await self._changeable(subscription_id, price_id)
            stripe_price = await self._prices.id_of(price)
            date = self._quoted(held, price, QUOTE_HONOURED) or self._quote(held, price)
            params: SubscriptionUpdateParams = {
                "items": [{"id": held.items[0]["id"], "price": stripe_price, "quantity": 1}],
                "proration_behavior": "always_invoice",
                "payment_behavior": "pending_if_incomplete",
            }
            if date is not None:
                params["proration_date"] = date
            # as of the same second from the same price to the same price is the same change
            key = f"change-{held.row.id}-{held.row.price_id}-{stripe_price}-{date or uuid.uuid4().hex}"
            answer = await self._stripe.update("subscription", held.row.id, params, key)
            self._quotes.pop((held.row.id, price.alias), None)
            pending = bool(answer.get("pending_update"))
            _log.info("plan changed", subscription=held.row.id, price=price.alias, pending=pending)
            if not pending:
                await self._mark(held, price)
            return held.row.id

        return await self._once(("change", subscription_id, price_id), change, locale)

    async def cancel(
        self, subscription_id: str, *, at_period_end: bool = True, locale: str | None = None
    ) -> dict[str, Any]:
        """End it with the period that is paid, or at once (nothing is paid back); gives the subscription.

        One that has ended, or will end anyway by then, stays as it is.
        """

        async def cancel() -> str:
            held = await self._own(subscription_id)
            row = held.row
            if row.status in ENDED:
                return row.id
            if not at_period_end or row.status == "incomplete":
                await self._stripe.delete("subscription", row.id)
                _log.info("subscription ended", subscription=row.id)
                return row.id
            end, period_end = announced_end(row), period_end_of(row)
            if end is None or (period_end is not None and end > period_end):
                await self._update(row.id, {"cancel_at_period_end": True})
                _log.info("subscription will end with its period", subscription=row.id)
            return row.id

        return await self._once(("cancel", subscription_id, str(at_period_end)), cancel, locale)

    async def resume(self, subscription_id: str, locale: str | None = None) -> dict[str, Any]:
        """Take a cancellation back that has not come into effect yet, or end a pause; gives the subscription.

        One that runs and renews stays as it is. Raises not_changeable for one that has ended, and
        payment_failed where going on has to be paid and cannot be.
        """

        async def resume() -> str:
            held = await self._own(subscription_id)
            row = held.row
            if row.status in ENDED:
                raise PaymentError("not_changeable", reason=_ENDED)
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

    # -- how ---------------------------------------------------------------------------------------

    async def _once(
        self, what: tuple[str, ...], work: Callable[[], Awaitable[str]], locale: str | None
    ) -> dict[str, Any]:
        """A second click joins the change in progress; changes are made one at a time."""
        subscription_id = await self._changes.run(what, lambda: self._do(work))
        settings = self._settings()
        shown = await self._ledger.read(lambda tx: show_subscription(tx, subscription_id, settings, locale))
        if shown is None:
            raise PaymentError("subscription_not_found", subscription=subscription_id)
        return shown

    async def _do(self, work: Callable[[], Awaitable[str]]) -> str:
        async with self._one_at_a_time:
            try:
                subscription_id = await work()
            except PaymentError as error:
                raise _explained(error) from error
            try:
                await self._reconciler.sync(subscription_id, "changed here")
            except PaymentError as error:
                if not is_transient(error):
                    raise
                _log.warning("the change is left to the poller", error=error.code)
            return subscription_id

    async def close(self) -> None:
        await self._changes.close()

    async def _own(self, subscription_id: str) -> _Held:
        """As Stripe has it now; only one of ours."""
        if object_kind(subscription_id) != "subscription":
            raise PaymentError("invalid_argument", argument="subscription")
        outcome = await self._reconciler.sync(subscription_id, "to be changed")
        if not outcome.ours:
            raise PaymentError("subscription_not_found", subscription=subscription_id)
        row, raw = await self._ledger.read(
            lambda tx: (tx.subscriptions.get(subscription_id), tx.objects.get(subscription_id))
        )
        if row is None or raw is None:
            raise PaymentError("subscription_not_found", subscription=subscription_id)
        return _Held(row, raw)

    async def _changeable(self, subscription_id: str, price_id: str) -> tuple[_Held, Price]:
        settings = self._settings()
        if not settings.enabled:
            raise PaymentError("disabled")
        price = settings.price(price_id)
        if price is None:
            raise PaymentError("unknown_price", price_id=price_id)
        held = await self._own(subscription_id)
        reason = _WHY_NOT.get(held.row.status)
        if reason is None and held.row.paused_collection:
            reason = _PAUSED
        if reason is None and announced_end(held.row) is not None:
            reason = _ENDING
        if reason is None and held.raw.get("pending_update"):
            reason = _WAITS
        if reason is None and (len(held.items) != 1 or held.items[0].get("quantity", 1) != 1):
            reason = _NOT_ONE
        if reason is None and price.interval is None:
            reason = _NO_PLAN
        if reason is None and price in (price_of(held.row, settings),):
            reason = _SAME_PRICE
        if reason is None and held.raw.get("currency") not in (None, price.currency):
            reason = _OTHER_CURRENCY
        if reason is not None:
            raise PaymentError("not_changeable", reason=reason)
        return held, price

    async def _update(self, subscription_id: str, params: SubscriptionUpdateParams) -> None:
        # these say how it is to be, not what is to change: doing it again does no more, and the same words
        # may be wanted again after their opposite, so every request has a key of its own
        await self._stripe.update("subscription", subscription_id, params, f"update-{uuid.uuid4().hex}")

    async def _mark(self, held: _Held, price: Price) -> None:
        """The marks on the subscription follow its plan; Stripe takes no metadata along with a change that
        may wait for its payment. They are a second source only, so it does not matter if this fails.
        """
        try:
            await self._update(held.row.id, {"metadata": {"price_alias": price.alias, "item": price.of}})
        except PaymentError as error:
            _log.warning("the subscription's marks are those of its old plan", error=error.code)

    # -- quotes ------------------------------------------------------------------------------------

    def _quoted(self, held: _Held, price: Price, lasts: float) -> int | None:
        quote = self._quotes.get((held.row.id, price.alias))
        start = derive.period_start(held.raw)
        if quote is None or self._monotonic() - quote.made_at >= lasts:
            return None
        return quote.proration_date if start is None or quote.proration_date >= start else None

    def _quote(self, held: _Held, price: Price) -> int | None:
        """As of now, within the current period; None while time is unknown (Stripe takes its own)."""
        now = self._clock.now()
        if now is None:
            return None
        start, end = derive.period_start(held.raw), held.row.current_period_end
        date = max(now, start or now)
        if end is not None:
            date = min(date, end - 1)
        self._quotes[held.row.id, price.alias] = _Quote(date, self._monotonic())
        return date

    def _as_preview(
        self, invoice: Mapping[str, Any], held: _Held, price: Price, date: int | None
    ) -> dict[str, Any]:
        lines = invoice.get("lines")
        rows = list(lines.get("data", [])) if isinstance(lines, Mapping) else []
        total = derive.integer(invoice.get("total")) or 0
        due = derive.integer(invoice.get("amount_due")) or 0
        ends = [derive.integer((row.get("period") or {}).get("end")) for row in rows]
        next_date = max((end for end in ends if end is not None), default=held.row.current_period_end)
        if held.row.status == "trialing":
            # nothing is invoiced before the trial ends: what Stripe previews is the invoice that comes then
            rows, total, due, next_date = [], 0, 0, period_end_of(held.row)
        taxes = sum(_amount(tax) for tax in invoice.get("total_taxes") or [])
        return {
            "subscription": held.row.id,
            "price": price.alias,
            "plan": price.of,
            "amount_due": due,
            "currency": invoice.get("currency") or price.currency,
            "proration": sum(_amount(row) for row in rows if _is_proration(row)),
            "credit": max(0, -total),
            "tax": taxes if rows else 0,
            "proration_date": format_time(date) if date is not None else None,
            "lines": [{"description": row.get("description") or "", "amount": _amount(row)} for row in rows],
            "next_payment": {
                "date": format_time(next_date) if next_date is not None else None,
                "amount": price.amount,
            },
        }


def _amount(row: Mapping[str, Any]) -> int:
    return derive.integer(row.get("amount")) or 0


def _is_proration(line: Mapping[str, Any]) -> bool:
    parent = line.get("parent")
    details = parent.get("subscription_item_details") if isinstance(parent, Mapping) else None
    if isinstance(details, Mapping):
        return bool(details.get("proration"))
    return bool(line.get("proration"))  # before 2025-03-31


def _explained(error: PaymentError) -> PaymentError:
    """A card that was refused is no fault of Stripe's: say why, in words for the person."""
    if error.code != "stripe_error" or error.details.get("http_status") != 402:
        return error
    code, decline_code = error.details.get("stripe_code"), error.details.get("decline_code")
    why = failure(str(code) if code else None, str(decline_code) if decline_code else None)
    return PaymentError("payment_failed", **{**error.details, "reason": why.message})
