"""The price of a change of plan: what was previewed is what is charged.

Stripe computes proration to the second, so a change is made as of the time of its preview (`proration_date`).
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from stripe_payments.billing.upcoming import is_proration, payable, price_of_line
from stripe_payments.entitlements import Subscription, period_end_of
from stripe_payments.rfc3339 import format_time
from stripe_payments.settings import Price
from stripe_payments.sync.raw_fields import expanded, integer, reference
from stripe_payments.sync.stripe_objects import parse_subscription

if TYPE_CHECKING:
    from stripe_payments.clock import TrustedClock

Raw = Mapping[str, Any]

SHOWN_FOR: Final = 900.0
"""Seconds in which another preview shows the same amount."""
CHARGED_FOR: Final = SHOWN_FOR + 300.0
"""Seconds in which a change is charged as previewed: a dialog opened at the last moment keeps its amount."""


@dataclass(frozen=True, slots=True)
class _Quote:
    proration_date: int
    made_at: float


class PlanQuotes:
    """The proration dates of the previewed changes, by subscription and alias of the new price."""

    def __init__(self, clock: TrustedClock, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._monotonic = monotonic
        self._quotes: dict[tuple[str, str], _Quote] = {}

    def proration_date(self, row: Subscription, raw: Raw, price: Price, valid_for: float) -> int | None:
        """That of a quote which is at most `valid_for` seconds old and in the current period; else of a new
        quote. None while the time is unknown: Stripe then uses its own. `raw`: the subscription at Stripe.
        """
        key, start = (row.id, price.alias), parse_subscription(raw).period_start
        quote = self._quotes.get(key)
        if (
            quote is not None
            and self._monotonic() - quote.made_at < valid_for
            and (start is None or quote.proration_date >= start)
        ):
            return quote.proration_date
        now = self._clock.now()
        if now is None:
            return None
        date = max(now, start or now)
        if row.current_period_end is not None:
            date = min(date, row.current_period_end - 1)
        made_at = self._monotonic()
        self._quotes = {
            one: held for one, held in self._quotes.items() if made_at - held.made_at < CHARGED_FOR
        }
        self._quotes[key] = _Quote(date, made_at)
        return date

    def discard(self, row: Subscription, price: Price) -> None:
        self._quotes.pop((row.id, price.alias), None)


def preview_view(
    invoice: Raw,
    renewal: Raw | None,
    row: Subscription,
    price: Price,
    stripe_price: str,
    proration_date: int | None,
    list_price: int,
    draft: int = 0,
) -> dict[str, Any]:
    """The reply of `preview_change`, from Stripe's previews of the invoice of the change and of a renewal
    after it; without the latter, the next payment is `list_price` (of the quantity, in the subscription's
    currency, minor units). `draft`: what the last renewal's invoice will take before that, as long as it is
    not final.
    """
    lines = invoice.get("lines")
    rows = list(lines.get("data", [])) if isinstance(lines, Mapping) else []
    total = integer(invoice.get("total")) or 0
    due = integer(invoice.get("amount_due")) or 0
    balance = (integer(invoice.get("starting_balance")) or 0) + total - due
    ends = [
        integer((line.get("period") or {}).get("end"))
        for line in rows
        if price_of_line(line) == stripe_price and _amount(line) >= 0
    ]
    next_date = max((end for end in ends if end is not None), default=row.current_period_end)
    if row.status == "trialing":
        # nothing is invoiced before the trial ends: Stripe previews the invoice of that time
        rows, total, due, next_date = [], 0, 0, period_end_of(row)
        balance = integer(invoice.get("starting_balance")) or 0
    if balance < 0:
        balance = min(0, balance + draft)
    taxes = sum(_amount(tax) for tax in invoice.get("total_taxes") or [])
    currency = invoice.get("currency") or price.currency
    renewal_amount = list_price if renewal is None else _total_after(renewal, next_date)
    return {
        "subscription": row.id,
        "price": price.alias,
        "plan": price.of,
        "amount_due": due,
        "currency": currency,
        "proration": sum(_amount(line) for line in rows if is_proration(line)),
        "credit": max(0, -total),
        "tax": taxes if rows else 0,
        "proration_date": format_time(proration_date) if proration_date is not None else None,
        "lines": [{"description": line.get("description") or "", "amount": _amount(line)} for line in rows],
        "next_payment": {
            "date": format_time(next_date) if next_date is not None else None,
            "amount": payable(renewal_amount, balance, currency),
            "source": "list_price" if renewal is None else "preview",
        },
        "renewal_amount": renewal_amount,
    }


def _total_after(renewal: Raw, moment: int | None) -> int:
    """The total of a previewed renewal without the discounts that have ended by the next payment: Stripe
    previews that of a new interval as of now. With exclusive tax in proportion, to the cent.
    """
    total = integer(renewal.get("total")) or 0
    discounts = [expanded(one) or {} for one in renewal.get("discounts") or []]
    ended = {
        one.get("id")
        for one in discounts
        if moment is not None and (end := integer(one.get("end"))) is not None and end <= moment
    }
    back = sum(
        _amount(entry)
        for entry in renewal.get("total_discount_amounts") or []
        if reference(entry.get("discount")) in ended
    )
    net = total - sum(
        _amount(tax) for tax in renewal.get("total_taxes") or [] if tax.get("tax_behavior") == "exclusive"
    )
    return total + (round(back * total / net) if net else back)


def _amount(line: Raw) -> int:
    return integer(line.get("amount")) or 0
