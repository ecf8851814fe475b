"""The change of plan that a subscription schedule has planned. The seller makes it in Stripe.
https://docs.stripe.com/billing/subscriptions/subscription-schedules
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final

from stripe_payments.errors import PaymentError
from stripe_payments.log import Log
from stripe_payments.rfc3339 import format_time
from stripe_payments.settings import Settings
from stripe_payments.shared_tasks import SharedTasks
from stripe_payments.sync.raw_fields import expanded, integer, reference

if TYPE_CHECKING:
    from stripe_payments.stripe_api import StripeAPI

Raw = Mapping[str, Any]

_log = Log("planned_changes")

_FRESH_FOR: Final = 300.0
"""Seconds for which a schedule is not fetched again."""


class PlannedChanges:
    def __init__(self, stripe: StripeAPI) -> None:
        self._stripe = stripe
        self._schedules: SharedTasks[str, Raw] = SharedTasks(_FRESH_FOR)

    async def of(self, subscription: Raw, settings: Settings, locale: str | None) -> dict[str, Any] | None:
        """Return {date, price, title, amount, currency, interval} of the next phase, None without one.

        amount: of all its items, in minor units, without discounts. `subscription`: it at Stripe. Where
        Stripe cannot be reached or the key lacks the permission, there is none.
        """
        schedule_id = reference(subscription.get("schedule"))
        if schedule_id is None:
            return None
        try:
            schedule = await self._schedules.run(schedule_id, lambda: self._fetch(schedule_id))
        except PaymentError as error:
            _log.info("schedule not fetched", schedule=schedule_id, error=error.code)
            return None
        return _next_phase(schedule, settings, locale)

    async def _fetch(self, schedule_id: str) -> Raw:
        return await self._stripe.get("subscription_schedule", schedule_id)

    async def close(self) -> None:
        await self._schedules.close()


def _next_phase(schedule: Raw, settings: Settings, locale: str | None) -> dict[str, Any] | None:
    current = expanded(schedule.get("current_phase")) or {}
    end, phases = integer(current.get("end_date")), schedule.get("phases")
    found = [one for one in phases if isinstance(one, Mapping)] if isinstance(phases, list) else []
    phase = next((one for one in found if end is not None and one.get("start_date") == end), None)
    items = [item for item in (phase or {}).get("items") or [] if isinstance(item, Mapping)]
    prices = [expanded(item.get("price")) or {} for item in items]
    if phase is None or not prices:
        return None
    sold = [
        settings.price(reference(item.get("price")) or "")
        or settings.price(str(price.get("lookup_key") or ""))
        for item, price in zip(items, prices, strict=True)
    ]
    plans = [settings.sellable(price.of) for price in sold if price is not None]
    titles = dict.fromkeys(plan.title_in(locale) for plan in plans if plan is not None)
    first = next((price for price in sold if price is not None), None)
    amounts = [
        (integer(price.get("unit_amount")) or 0) * (integer(item.get("quantity")) or 1)
        for item, price in zip(items, prices, strict=True)
    ]
    return {
        "date": format_time(end) if end is not None else None,
        "price": first.alias if first is not None else reference(items[0].get("price")) or "",
        "title": " + ".join(titles) or None,
        "amount": sum(amounts),
        "currency": prices[0].get("currency") or "",
        "interval": (expanded(prices[0].get("recurring")) or {}).get("interval"),
    }
