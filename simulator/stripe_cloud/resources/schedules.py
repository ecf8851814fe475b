"""/v1/subscription_schedules, as far as they make a subscription one that is managed by a schedule."""

from __future__ import annotations

from ..account import Account
from ..api_errors import Json, invalid, not_simulated
from ..billing import changes
from ..objects import schedules as objects


def create_schedule(account: Account, params: Json) -> Json:
    if "from_subscription" not in params or params.keys() - {"from_subscription", "expand"}:
        raise not_simulated("a schedule with phases of its own")
    sub = account.get("subscription", params["from_subscription"], param="from_subscription")
    if sub["schedule"] is not None:
        raise invalid(f"The subscription is already managed by the subscription schedule {sub['schedule']}.")
    schedule = account.add(objects.from_subscription(account, sub))
    with account.changing(sub, "customer.subscription.updated"):
        sub["schedule"] = schedule["id"]
    account.emit("subscription_schedule.created", schedule)
    return schedule


def release_schedule(account: Account, params: Json, schedule_id: str) -> Json:
    """The subscription stays as it is; a cancellation that the schedule has set goes unless it is kept."""
    schedule = account.get("subscription_schedule", schedule_id)
    if schedule["status"] not in {"active", "not_started"}:
        raise invalid(
            f"You cannot release a subscription schedule that is currently in the `{schedule['status']}` "
            "status."
        )
    sub = account.get("subscription", schedule["subscription"])
    with account.changing(sub, "customer.subscription.updated"):
        sub["schedule"] = None
        if not params.get("preserve_cancel_date"):
            changes.set_cancel_at(account, sub, "", at_period_end=False)
    with account.changing(schedule, None):
        schedule.update(
            status="released",
            released_at=account.now(),
            released_subscription=sub["id"],
            subscription=None,
            current_phase=None,
        )
    account.emit("subscription_schedule.released", schedule)
    return schedule
