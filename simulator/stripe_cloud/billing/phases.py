"""The phases of a subscription schedule: at the end of one, the subscription gets the items of the next.
https://docs.stripe.com/billing/subscriptions/subscription-schedules
"""

from __future__ import annotations

from ..account import Account
from ..api_errors import Json
from ..objects import catalog


def next_phase(account: Account, sub: Json, moment: int) -> Json | None:
    """The phase that has begun by a moment, and changes the subscription's items."""
    schedule = account.find(sub["schedule"])
    if schedule is None or schedule["current_phase"]["end_date"] > moment:
        return None
    start = schedule["current_phase"]["end_date"]
    return next((phase for phase in schedule["phases"] if phase["start_date"] == start), None)


def apply(account: Account, sub: Json, phase: Json) -> None:
    """To the subscription or a copy. Items that were added since the schedule was made stay."""
    for item, planned in zip(sub["items"]["data"], phase["items"], strict=False):
        price = account.get("price", planned["price"])
        item.update(price=price, plan=catalog.plan(price), quantity=planned["quantity"])


def enter_next(account: Account, sub: Json) -> None:
    """A period of the subscription has ended, and the schedule's phase may have ended with it."""
    schedule = account.find(sub["schedule"])
    if schedule is None or schedule["current_phase"]["end_date"] > account.now():
        return
    phase = next_phase(account, sub, account.now())
    if phase is None or _interval(account, phase) != sub["items"]["data"][0]["price"]["recurring"]:
        release(account, sub, schedule)
        return
    with account.changing(schedule, "subscription_schedule.updated"):
        schedule["current_phase"] = {"start_date": phase["start_date"], "end_date": phase["end_date"]}
    with account.changing(sub, None):
        apply(account, sub, phase)


def _interval(account: Account, phase: Json) -> Json:
    recurring: Json = account.get("price", phase["items"][0]["price"])["recurring"]
    return recurring


def release(account: Account, sub: Json, schedule: Json) -> None:
    """The subscription goes on as it is, without the schedule."""
    with account.changing(sub, "customer.subscription.updated"):
        sub["schedule"] = None
    with account.changing(schedule, None):
        schedule.update(
            status="released",
            released_at=account.now(),
            released_subscription=sub["id"],
            subscription=None,
            current_phase=None,
        )
    account.emit("subscription_schedule.released", schedule)
