"""/v1/subscription_schedules, as far as they change the prices of a subscription at a period's end."""

from __future__ import annotations

from ..account import Account
from ..api_errors import Json, invalid, not_simulated
from ..billing import changes, phases
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


def update_schedule(account: Account, params: Json, schedule_id: str) -> Json:
    """Phases that follow the current one, each with other prices for as many items of the same interval."""
    schedule = account.get("subscription_schedule", schedule_id)
    if schedule["status"] != "active" or params.keys() - {"phases", "end_behavior", "expand"}:
        raise not_simulated("this change of a schedule")
    sub = account.get("subscription", schedule["subscription"])
    phases_given: list[Json] = params["phases"] if "phases" in params else schedule["phases"]
    current, *later = phases_given
    if current["start_date"] != schedule["current_phase"]["start_date"]:
        raise invalid("The first phase must be the current one.", param="phases")
    planned = [{**schedule["phases"][0], "end_date": current["end_date"]}]
    for index, given in enumerate(later):
        if given.keys() - {"items", "start_date", "end_date"}:
            raise not_simulated("a phase with options of its own")
        items = [_planned_item(account, sub, one, f"phases[{index + 1}][items]") for one in given["items"]]
        if len(items) != len(sub["items"]["data"]):
            raise not_simulated("a phase with another number of items")
        start = planned[-1]["end_date"]
        planned.append({**planned[0], "items": items, "start_date": start, "end_date": given["end_date"]})
    with account.changing(schedule, "subscription_schedule.updated"):
        schedule["phases"] = planned
        schedule["current_phase"]["end_date"] = planned[0]["end_date"]
        schedule["end_behavior"] = params.get("end_behavior", schedule["end_behavior"])
    if schedule["end_behavior"] == "cancel":
        with account.changing(sub, "customer.subscription.updated"):
            changes.set_cancel_at(account, sub, planned[-1]["end_date"], at_period_end=False)
    return schedule


def _planned_item(account: Account, sub: Json, given: Json, where: str) -> Json:
    price = account.get("price", given["price"], param=f"{where}[price]")
    if price["recurring"] != sub["items"]["data"][0]["price"]["recurring"]:
        raise not_simulated("a phase with another interval")
    return objects.phase_item(price["id"], given.get("quantity", 1), {})


def release_schedule(account: Account, params: Json, schedule_id: str) -> Json:
    """The subscription stays as it is; a cancellation that the schedule has set goes unless it is kept."""
    schedule = account.get("subscription_schedule", schedule_id)
    if schedule["status"] not in {"active", "not_started"}:
        raise invalid(
            f"You cannot release a subscription schedule that is currently in the `{schedule['status']}` "
            "status."
        )
    sub = account.get("subscription", schedule["subscription"])
    if not params.get("preserve_cancel_date"):
        changes.set_cancel_at(account, sub, "", at_period_end=False)
    phases.release(account, sub, schedule)
    return schedule
