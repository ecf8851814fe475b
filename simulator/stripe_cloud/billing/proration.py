"""What a change in the middle of a period costs: credit for the unused time, the price of the remaining time.

Computed to the second, as Stripe does (https://docs.stripe.com/billing/subscriptions/prorations), so that a
preview with the same `proration_date` gives the amount that is charged.
"""

from __future__ import annotations

import itertools
from datetime import UTC, datetime

from .. import discounts
from ..account import Account
from ..api_errors import Json
from ..objects import billing as objects
from ..objects import catalog
from . import invoicing


def share(amount: int, start: int, end: int, moment: int) -> int:
    """The part of `amount` that falls on the time from `moment` to `end`, rounded half to even."""
    moment = min(max(moment, start), end)
    return round(amount * (end - moment) / (end - start)) if end > start else 0


def change_lines(
    account: Account, sub: Json, before: Json | None, after: Json | None, moment: int
) -> list[Json]:
    """Proration lines for an item that changes, begins (`before` None) or ends (`after` None) at `moment`.

    Amounts are net of discounts (`proration_discounts` of the billing mode is "included").
    """
    lines = []
    day = datetime.fromtimestamp(moment, UTC).strftime("%d %b %Y")
    for item, words in ((before, "Unused time on"), (after, "Remaining time on")):
        if item is None:
            continue
        priced = {**item, "price": catalog.priced_in(account, item["price"], sub["currency"])}
        end = item["current_period_end"]
        credited = None
        if item is after:
            amount = share(_net(account, sub, priced), item["current_period_start"], end, moment)
        elif sub["billing_mode"]["type"] == "flexible":
            amount, credited = _credit(account, sub, item, moment)
        else:
            amount = -share(_net(account, sub, priced), item["current_period_start"], end, moment)
        name = account.get("product", item["price"]["product"])["name"]
        line = objects.line(
            account,
            priced,
            amount,
            f"{words} {name} after {day}",
            currency=sub["currency"],
            start=moment,
            end=end,
            proration=True,
            metadata=dict(sub["metadata"]),
        )
        if credited is not None:
            line["parent"]["subscription_item_details"]["proration_details"]["credited_items"] = credited
        lines.append(line)
    return lines


def _net(account: Account, sub: Json, item: Json) -> int:
    """What the item costs for a period now; a coupon for one invoice is left to the next one."""
    if sub["status"] == "trialing":
        return 0
    net = int(item["price"]["unit_amount"] * item["quantity"])
    for discount_id in sub["discounts"]:
        discount = account.get("discount", discount_id)
        coupon = account.get("coupon", discount["source"]["coupon"])
        over = discount["end"] is not None and discount["end"] <= account.now()
        if coupon["duration"] != "once" and not over:
            net -= discounts.amount_off(coupon, net, sub["currency"])
    return net


def _credit(account: Account, sub: Json, item: Json, moment: int) -> tuple[int, Json | None]:
    """What is given back of what the item's current period was debited with, and which lines those were.

    https://docs.stripe.com/billing/subscriptions/prorations#credit-prorations
    """
    waiting = account.behind(sub["id"]).get("pending_lines", [])
    invoices = (
        invoice
        for invoice in account.newest_first("invoice")
        if invoicing.subscription_of(invoice) == sub["id"] and invoice["status"] != "void"
    )
    debits = ((one, one["lines"]["data"]) for one in invoices)
    for invoice, lines in itertools.chain([(None, waiting)], debits):
        for line in reversed(lines):
            mine = line["parent"]["subscription_item_details"]["subscription_item"] == item["id"]
            if mine and line["amount"] >= 0 and line["period"]["end"] == item["current_period_end"]:
                net = line["amount"] - sum(entry["amount"] for entry in line["discount_amounts"])
                amount = -share(net, line["period"]["start"], line["period"]["end"], moment)
                named = invoice and {"invoice": invoice["id"], "invoice_line_items": [line["id"]]}
                return amount, named
    return 0, None
