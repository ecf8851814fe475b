"""From `paused` back to `active`: a resumption invoice that has to be paid.

https://docs.stripe.com/api/subscriptions/resume: the invoice is final at once; whether a payment is attempted
says `payment_behavior` (by default none is); without an attempt, it is void after 23 hours.
"""

from __future__ import annotations

from copy import deepcopy

from ..account import Account
from ..api_errors import Json, invalid, not_simulated
from ..clock import HOUR
from ..objects import billing as objects
from . import calendar, invoicing

LASTS = 23 * HOUR


def begin(account: Account, sub: Json, params: Json) -> Json | None:
    """The resumption invoice of a paused subscription, for a period that begins now; None where the cycle
    goes on as if there had been no pause, and nothing is due for it.
    """
    if sub["status"] != "paused":
        raise invalid(f"Only paused subscriptions can be resumed; this one is {sub['status']}.")
    if sub["collection_method"] != "charge_automatically":
        raise invalid("Only subscriptions with `collection_method=charge_automatically` can be resumed.")
    if params.get("billing_cycle_anchor", {}).get("type") == "unchanged":
        if params.get("proration_behavior") != "none":
            raise not_simulated("resuming with prorations")
        _activate(account, sub, sub)
        return None
    now, after = account.now(), deepcopy(sub)
    after["billing_cycle_anchor"] = now
    for item in after["items"]["data"]:
        item["current_period_start"] = now
        item["current_period_end"] = calendar.next_end(now, item["price"]["recurring"], now)
    invoice = invoicing.draft(
        account, sub, invoicing.cycle_lines(account, after), reason="subscription_update"
    )
    account.behind(sub["id"])["resumption"] = {"invoice": invoice["id"], "after": after}
    invoicing.finalize(account, invoice)
    account.schedule(now + LASTS, "expire_resumption", sub["id"])
    return invoice


def apply_if_paid(account: Account, sub: Json, invoice: Json) -> bool:
    """The resumption invoice was paid, or nothing was due."""
    waiting = account.behind(sub["id"]).get("resumption")
    if not waiting or waiting["invoice"] != invoice["id"] or sub["status"] != "paused":
        return False
    del account.behind(sub["id"])["resumption"]
    _activate(account, sub, waiting["after"])
    return True


def _activate(account: Account, sub: Json, after: Json) -> None:
    with account.changing(sub, None):
        sub.update(status="active", billing_cycle_anchor=after["billing_cycle_anchor"], status_details=None)
        sub["items"] = objects.items_list(sub["id"], after["items"]["data"])
    account.emit("customer.subscription.resumed", sub)


def expire(account: Account, sub: Json) -> None:
    """No payment was tried in time."""
    waiting = account.behind(sub["id"]).get("resumption")
    invoice = account.find(waiting["invoice"]) if waiting else None
    if invoice is None or invoice["attempted"] or invoice["created"] + LASTS > account.now():
        return
    del account.behind(sub["id"])["resumption"]
    if invoice["status"] == "open":
        invoicing.void(account, invoice)
