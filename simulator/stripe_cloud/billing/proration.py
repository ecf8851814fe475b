"""What a change in the middle of a period costs: credit for the unused time, the price of the remaining time.

Computed to the second, as Stripe does (https://docs.stripe.com/billing/subscriptions/prorations), so that a
preview with the same `proration_date` gives the amount that is charged.
"""

from __future__ import annotations

from datetime import UTC, datetime

from ..account import Account
from ..api_errors import Json
from ..objects import billing as objects
from ..objects.catalog import unit_amounts


def share(amount: int, start: int, end: int, moment: int) -> int:
    """The part of `amount` that falls on the time from `moment` to `end`, rounded half to even."""
    moment = min(max(moment, start), end)
    return round(amount * (end - moment) / (end - start)) if end > start else 0


def change_lines(
    account: Account, sub: Json, before: Json | None, after: Json | None, moment: int
) -> list[Json]:
    """Proration lines for an item that changes, begins (`before` None) or ends (`after` None) at `moment`."""
    lines = []
    free = sub["status"] == "trialing"
    day = datetime.fromtimestamp(moment, UTC).strftime("%d %b %Y")
    for item, sign, words in ((before, -1, "Unused time on"), (after, 1, "Remaining time on")):
        if item is None:
            continue
        start, end = item["current_period_start"], item["current_period_end"]
        whole = 0 if free else unit_amounts(account, item["price"])[sub["currency"]] * item["quantity"]
        name = account.get("product", item["price"]["product"])["name"]
        lines.append(
            objects.line(
                account,
                item,
                sign * share(whole, start, end, moment),
                f"{words} {name} after {day}",
                currency=sub["currency"],
                start=moment,
                end=end,
                proration=True,
                metadata=dict(sub["metadata"]),
            )
        )
    return lines
