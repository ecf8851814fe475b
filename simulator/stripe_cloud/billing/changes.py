"""Changing a subscription: plan, quantity, cycle, cancellation, pause; and the preview of what a change
costs.

`work_out` computes a change without doing it; the update and the preview both use it, so that they cannot
disagree. https://docs.stripe.com/billing/subscriptions/change
"""

from __future__ import annotations

from copy import deepcopy
from dataclasses import dataclass, field
from typing import Any

from ..account import Account, merge_metadata
from ..api_errors import Json, StripeApiError, invalid
from ..cards import TestCard
from ..objects import billing as objects
from ..objects import catalog
from ..paying import Attempt
from ..simulated import check_billable
from . import calendar, collection, invoicing, pending_updates, phases, subscriptions
from .proration import change_lines


@dataclass
class Change:
    """`after`: the subscription as it would be; `lines`: what it costs; `at_once`: billed now in any case."""

    after: Json
    lines: list[Json] = field(default_factory=list)
    at_once: bool = False


def work_out(account: Account, sub: Json, params: Json) -> Change:
    """The effect of `items`, `trial_end`, `billing_cycle_anchor` and the proration parameters."""
    moment = params.get("proration_date") or account.now()
    change = Change(deepcopy(sub))
    _apply_trial_end(account, change, params)
    old = {item["id"]: item for item in sub["items"]["data"]}
    new = _changed_items(account, change.after, params.get("items", []))
    intervals = {
        (i["price"]["recurring"]["interval"], i["price"]["recurring"]["interval_count"]) for i in new
    }
    if len(intervals) != 1:
        raise invalid("All prices of a subscription must have the same interval.", param="items")
    previous = next(iter(old.values()))["price"]["recurring"]
    restarted = intervals != {(previous["interval"], previous["interval_count"])}
    restarted |= params.get("billing_cycle_anchor", {}).get("type") == "now"
    trialing = change.after["status"] == "trialing"
    prorate = params.get("proration_behavior", "create_prorations") != "none"
    if (restarted or change.at_once) and not trialing:
        _restart(account, sub, change, new, moment, prorate=prorate)
    elif prorate and not trialing:
        for item in new:
            before = old.get(item["id"])
            if before is None or _differs(before, item):
                change.lines += change_lines(account, sub, before, item, moment)
        for gone in old.keys() - {item["id"] for item in new}:
            change.lines += change_lines(account, sub, old[gone], None, moment)
    change.after["items"] = objects.items_list(sub["id"], new)
    return change


def update(account: Account, sub: Json, params: Json) -> Json:
    """`POST /v1/subscriptions/ID`."""
    if sub["status"] in subscriptions.ENDED and params.keys() - {
        "metadata",
        "cancellation_details",
        "expand",
    }:
        raise invalid("A canceled subscription can only update its cancellation_details and metadata.")
    behaviour = params.get("payment_behavior", "allow_incomplete")
    if sub["collection_method"] == "send_invoice" and "payment_behavior" in params:
        raise invalid(
            "`payment_behavior` can only be used with `collection_method=charge_automatically`.",
            param="payment_behavior",
        )
    if behaviour == "pending_if_incomplete" and (extra := params.keys() - pending_updates.ALLOWED):
        raise invalid(
            f"When `payment_behavior` is `pending_if_incomplete`, `{min(extra)}` cannot be passed.",
            param=min(extra),
        )
    if behaviour == "pending_if_incomplete" and not pending_updates.is_supported(account, sub):
        raise invalid(
            "`payment_behavior=pending_if_incomplete` does not support the subscription's payment method.",
            param="payment_behavior",
        )
    if sub["schedule"] is not None and params.keys() & {"cancel_at", "cancel_at_period_end"}:
        raise invalid(
            f"The subscription is managed by the subscription schedule `{sub['schedule']}`, and updating any "
            "cancelation behavior directly is not allowed. Please update the schedule instead."
        )
    if sub["pending_update"] is not None and "items" in params:
        raise invalid("This subscription has a pending update already; it must be paid or expire first.")
    change = work_out(account, sub, params)
    billed_now = bool(change.lines) and (
        change.at_once or params.get("proration_behavior") == "always_invoice"
    )
    if billed_now and behaviour == "pending_if_incomplete":
        return _update_if_paid(account, sub, change, params)
    if billed_now and behaviour == "error_if_incomplete":
        _refuse_unless_payable(account, sub)
    with account.changing(sub, "customer.subscription.updated"):
        pending_updates.take_over(sub, change.after)
        _apply_fields(account, sub, params)
    if billed_now:
        _bill(account, sub, change)
    elif change.lines:
        account.behind(sub["id"]).setdefault("pending_lines", []).extend(change.lines)
    subscriptions.schedule_next(account, sub)
    return sub


def preview(account: Account, params: Json) -> Json:
    """`POST /v1/invoices/create_preview`: an invoice that is not stored, with an id that cannot be
    retrieved.
    """
    details = params.get("subscription_details", {})
    recurring = params.get("preview_mode") == "recurring"
    if recurring:  # what a renewal costs: no prorations, neither of this change nor of former ones
        details = {**details, "proration_behavior": "none"}
    if "subscription" in params:
        sub = deepcopy(account.get("subscription", params["subscription"], param="subscription"))
    elif "customer" in params and details.get("items"):
        return _as_preview(account, _preview_of_new(account, params, details))
    else:
        raise invalid("You must pass a subscription, or a customer with items.", code="parameter_missing")
    if "discounts" in params:
        _replace_discounts(account, sub, params["discounts"])
    if details.get("cancel_now"):
        lines = [
            line
            for item in sub["items"]["data"]
            for line in change_lines(account, sub, item, None, details.get("proration_date") or account.now())
        ]
        return _as_preview(account, _draft(account, sub, lines, "upcoming"), details.get("proration_date"))
    change = work_out(account, sub, details)
    waiting = [] if recurring else deepcopy(account.behind(sub["id"]).get("pending_lines", []))
    if change.lines and (change.at_once or details.get("proration_behavior") == "always_invoice"):
        invoice = _draft(account, change.after, waiting + change.lines, "subscription_update")
        return _as_preview(account, invoice, details.get("proration_date"))
    ending = sub["cancel_at"] is not None and details.get("cancel_at_period_end") is not False
    if sub["status"] in subscriptions.ENDED or (ending and details.get("cancel_at") != ""):
        raise StripeApiError(404, "No upcoming invoices for this subscription.", code="invoice_upcoming_none")
    upcoming = change.after
    if phase := phases.next_phase(account, upcoming, upcoming["items"]["data"][0]["current_period_end"]):
        phases.apply(account, upcoming, phase)
    for item in upcoming["items"]["data"]:
        start = item["current_period_end"]
        item["current_period_start"] = start
        item["current_period_end"] = calendar.next_end(
            upcoming["billing_cycle_anchor"], item["price"]["recurring"], start
        )
    begins = min(item["current_period_start"] for item in upcoming["items"]["data"])
    ends = {name: account.get("discount", name)["end"] for name in upcoming["discounts"]}
    upcoming["discounts"] = [name for name, end in ends.items() if end is None or end > begins]
    lines = invoicing.cycle_lines(account, upcoming) + waiting + change.lines
    return _as_preview(account, _draft(account, upcoming, lines, "upcoming"), details.get("proration_date"))


def expire_pending_update(account: Account, sub: Json) -> None:
    pending_updates.expire(account, sub)


# -- items and cycle


def _changed_items(account: Account, sub: Json, given_items: list[Json]) -> list[Json]:
    items: list[Json] = sub["items"]["data"]
    for index, given in enumerate(given_items):
        where = f"items[{index}]"
        price = _price(account, given, where)
        if price is not None:
            catalog.priced_in(account, price, sub["currency"])
        if "id" in given:
            item = next((item for item in items if item["id"] == given["id"]), None)
            if item is None:
                raise invalid(
                    f"No such subscription item: '{given['id']}'",
                    param=f"{where}[id]",
                    code="resource_missing",
                )
            if given.get("deleted"):
                items.remove(item)
                continue
            if price is not None:
                item.update(price=price, plan=catalog.plan(price))
            item["quantity"] = given.get("quantity", item["quantity"])
            if "metadata" in given:
                item["metadata"] = merge_metadata(item["metadata"], given["metadata"])
        elif price is not None:
            start, end = items[0]["current_period_start"], items[0]["current_period_end"]
            items.append(
                objects.subscription_item(
                    account,
                    sub["id"],
                    price,
                    given.get("quantity", 1),
                    start=start,
                    end=end,
                    metadata=given.get("metadata") or {},
                )
            )
        else:
            raise invalid(
                f"Missing required param: {where}[price].", param=f"{where}[price]", code="parameter_missing"
            )
    if not items:
        raise invalid("A subscription must have at least one active price.", param="items")
    return items


def _price(account: Account, given: Json, where: str) -> Json | None:
    price_id = given.get("price") or given.get("plan")
    if price_id is None:
        return None
    price = account.get("price", price_id, param=f"{where}[price]")
    if price["type"] != "recurring":
        raise invalid(
            "The price specified is set to `type=one_time` but this field only accepts prices with "
            "`type=recurring`.",
            param=f"{where}[price]",
        )
    if not price["active"]:
        raise invalid(
            "The price specified is inactive. This field only accepts active prices.", param=f"{where}[price]"
        )
    check_billable(price)
    return price


def _differs(before: Json, after: Json) -> bool:
    return bool(before["price"]["id"] != after["price"]["id"] or before["quantity"] != after["quantity"])


def _restart(
    account: Account, sub: Json, change: Change, items: list[Json], moment: int, *, prorate: bool
) -> None:
    """Another interval, or the cycle anchored again: the old period is credited, a whole new one is billed
    at once.
    """
    if prorate and sub["status"] != "trialing":
        for item in sub["items"]["data"]:
            change.lines += change_lines(account, sub, item, None, moment)
    for item in items:
        item["current_period_start"] = moment
        item["current_period_end"] = calendar.next_end(moment, item["price"]["recurring"], moment)
    change.after["billing_cycle_anchor"] = moment
    change.after["items"] = objects.items_list(sub["id"], items)
    change.lines += invoicing.cycle_lines(account, change.after)
    change.at_once = True


def _apply_trial_end(account: Account, change: Change, params: Json) -> None:
    if "trial_end" not in params:
        return
    wanted, now = params["trial_end"], account.now()
    if wanted == "now":
        if change.after["status"] == "trialing":
            change.after.update(status="active", trial_end=now)
            change.at_once = True
        return
    if wanted <= now:
        raise invalid(
            "Invalid timestamp: must be an integer Unix timestamp in the future.", param="trial_end"
        )
    change.after.update(status="trialing", trial_end=wanted, billing_cycle_anchor=wanted)
    change.after["trial_start"] = change.after["trial_start"] or now
    for item in change.after["items"]["data"]:
        item["current_period_end"] = wanted


# -- money


def _bill(account: Account, sub: Json, change: Change) -> None:
    lines = account.behind(sub["id"]).pop("pending_lines", []) + change.lines
    invoice = invoicing.draft(account, sub, lines, reason="subscription_update")
    invoicing.finalize(account, invoice)
    if invoice["status"] == "open" and sub["collection_method"] == "send_invoice":
        account.schedule(invoice["due_date"], "invoice_due", invoice["id"])
    elif invoice["status"] == "open":
        collection.charge_automatically(account, invoice, sub)


def _update_if_paid(account: Account, sub: Json, change: Change, params: Json) -> Json:
    lines = account.behind(sub["id"]).pop("pending_lines", []) + change.lines
    invoice = invoicing.draft(account, sub, lines, reason="subscription_update")
    invoicing.finalize(account, invoice)
    if invoice["status"] == "open":
        method = collection.payment_method_for(account, sub)
        card: TestCard | None = collection.card_of(account, method) if method else None
        attempt: Attempt = collection.collect(account, invoice, method, card, on_session=False)
        if attempt.state not in {"succeeded", "processing"}:
            pending_updates.hold(account, sub, change.after, invoice)
            return sub
    with account.changing(sub, "customer.subscription.updated"):
        pending_updates.take_over(sub, change.after)
        if "discounts" in params:
            _replace_discounts(account, sub, params["discounts"])
    subscriptions.schedule_next(account, sub)
    return sub


def _refuse_unless_payable(account: Account, sub: Json) -> None:
    method = collection.payment_method_for(account, sub)
    card = collection.card_of(account, method) if method else None
    decline = (card.later_decline or card.decline) if card else None
    if card is None or decline is not None or card.challenge == "always":
        message = (
            decline.en if decline else "This payment needs a payment method that works without the customer."
        )
        raise StripeApiError(
            402, message, kind="card_error", code=decline.code if decline else "card_declined"
        )


# -- everything else


def _apply_fields(account: Account, sub: Json, params: Json) -> None:
    if "cancel_at" in params and "cancel_at_period_end" in params:
        raise invalid("You may only specify one of these parameters: cancel_at, cancel_at_period_end.")
    for name, value in params.items():
        if name == "metadata":
            sub["metadata"] = merge_metadata(sub["metadata"], value)
        elif name == "cancel_at_period_end":
            set_cancel_at(account, sub, "min_period_end" if value else "", at_period_end=value)
        elif name == "cancel_at":
            set_cancel_at(account, sub, value, at_period_end=False)
        elif name == "pause_collection":
            sub["pause_collection"] = (
                value and {"behavior": value["behavior"], "resumes_at": value.get("resumes_at")}
            ) or None
        elif name == "default_payment_method":
            sub[name] = account.get("payment_method", value, param=name)["id"]
        elif name == "discounts":
            _replace_discounts(account, sub, value)
        elif name == "cancellation_details":
            sub[name].update({key: inner or None for key, inner in value.items() if key in sub[name]})
        elif name == "trial_settings":
            sub[name]["end_behavior"].update(value["end_behavior"])
        elif name == "collection_method":
            if value == "send_invoice" and not params.get("days_until_due"):
                raise invalid(
                    "If you set collection_method to send_invoice, you must also set days_until_due.",
                    param="days_until_due",
                )
            sub[name] = value
        elif name in {"description", "days_until_due"}:
            sub[name] = value or None


def set_cancel_at(account: Account, sub: Json, value: Any, *, at_period_end: bool) -> None:
    ends = [item["current_period_end"] for item in sub["items"]["data"]]
    if value == "":
        sub.update(cancel_at=None, cancel_at_period_end=False, canceled_at=None)
        sub["cancellation_details"]["reason"] = None
        return
    moment = {"min_period_end": min(ends), "max_period_end": max(ends), "max_billed_until": max(ends)}.get(
        value, value
    )
    if moment <= account.now():
        raise invalid("Invalid timestamp: `cancel_at` must be in the future.", param="cancel_at")
    sub.update(cancel_at=moment, cancel_at_period_end=at_period_end, canceled_at=account.now())
    sub["cancellation_details"]["reason"] = "cancellation_requested"


def _replace_discounts(account: Account, sub: Json, given: Any) -> None:
    kept = [entry["discount"] for entry in given or [] if "discount" in entry]
    sub["discounts"] = kept
    for index, entry in enumerate(given or []):
        if "discount" not in entry:
            subscriptions.add_discount(account, sub, entry, f"discounts[{index}]")


# -- previews


def _draft(account: Account, sub: Json, lines: list[Json], reason: str) -> Json:
    return invoicing.draft(account, sub, lines, reason=reason, preview=True)


def _preview_of_new(account: Account, params: Json, details: Json) -> Json:
    now = account.now()
    sub = objects.subscription(account, params["customer"], details, currency="")
    account.get("customer", params["customer"], param="customer")
    items = []
    for index, given in enumerate(details["items"]):
        price = _price(account, given, f"subscription_details[items][{index}]")
        if price is None:
            raise invalid("Missing required param: price.", code="parameter_missing")
        end = calendar.next_end(now, price["recurring"], now)
        items.append(
            objects.subscription_item(
                account, sub["id"], price, given.get("quantity", 1), start=now, end=end, metadata={}
            )
        )
    sub["items"] = objects.items_list(sub["id"], items)
    sub["currency"] = params.get("currency") or items[0]["price"]["currency"]
    free = details.get("trial_end") not in {None, "now"}
    return _draft(account, sub, invoicing.cycle_lines(account, sub, free=free), "upcoming")


def _as_preview(account: Account, invoice: Json, proration_date: int | None = None) -> Json:
    invoice["id"] = account.new_id("upcoming_in_1")
    invoice["lines"]["url"] = f"/v1/invoices/{invoice['id']}/lines"
    for line in invoice["lines"]["data"]:
        line["invoice"] = invoice["id"]
    if proration_date is not None:
        invoice["parent"]["subscription_details"]["subscription_proration_date"] = proration_date
    return invoice
