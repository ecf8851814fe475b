"""Billing periods: months of different lengths, counted from the anchor so that no day is lost forever.

A subscription that began on the 31st renews on the 28th of February and on the 31st of March again.
https://docs.stripe.com/billing/subscriptions/billing-cycle
"""

from __future__ import annotations

import calendar
from datetime import UTC, datetime, timedelta

from ..api_errors import Json

_FIXED = {"day": 86_400, "week": 7 * 86_400}


def plus(anchor: int, recurring: Json, cycles: int) -> int:
    """`anchor` (epoch seconds) plus that many periods of a price's `recurring`."""
    interval, count = recurring["interval"], int(recurring["interval_count"]) * cycles
    if interval in _FIXED:
        return anchor + _FIXED[interval] * count
    months = count * (12 if interval == "year" else 1)
    return _plus_months(anchor, months)


def next_end(anchor: int, recurring: Json, after: int) -> int:
    """The first period boundary of the anchor's cycle that lies strictly after `after`."""
    cycles = 1
    while (end := plus(anchor, recurring, cycles)) <= after:
        cycles += 1
    return end


def _plus_months(moment: int, months: int) -> int:
    start = datetime.fromtimestamp(moment, UTC)
    index = start.year * 12 + start.month - 1 + months
    year, month = divmod(index, 12)
    day = min(start.day, calendar.monthrange(year, month + 1)[1])
    return int((start.replace(year=year, month=month + 1, day=1) + timedelta(days=day - 1)).timestamp())
