"""/v1/subscriptions, /v1/subscription_items"""

from __future__ import annotations

from ..account import Account
from ..api_errors import Json, StripeApiError, invalid, resource_missing
from ..billing import changes, collection, subscriptions
from ..rendering import page, within

ITEM_PARAMETERS = frozenset({"id", "deleted", "price", "plan", "quantity", "metadata"})


def create_subscription(account: Account, params: Json) -> Json:
    if "customer" not in params or not params.get("items"):
        missing = "customer" if "customer" not in params else "items"
        raise invalid(f"Missing required param: {missing}.", param=missing, code="parameter_missing")
    customer = account.get("customer", params["customer"], param="customer")
    priced = []
    for index, given in enumerate(params["items"]):
        where = f"items[{index}][price]"
        if "price" not in given:
            raise invalid(f"Missing required param: {where}.", param=where, code="parameter_missing")
        price = account.get("price", given["price"], param=where)
        if price["type"] != "recurring" or not price["active"]:
            raise invalid("The price specified must be an active recurring price.", param=where)
        priced.append((price, given.get("quantity", 1), given.get("metadata", {})))
    if "default_payment_method" in params:
        account.get("payment_method", params["default_payment_method"], param="default_payment_method")
    if params.get("collection_method") == "send_invoice":
        return subscriptions.begin(account, customer["id"], priced, params)
    default = params.get("default_payment_method") or customer["invoice_settings"]["default_payment_method"]
    behaviour = params.get("payment_behavior", "allow_incomplete")
    trial = subscriptions.trial_wanted(params)
    if default is None and not trial and behaviour in {"error_if_incomplete", "allow_incomplete"}:
        raise invalid(
            "This customer has no attached payment source or default payment method. Please consider "
            "adding a default "
            "payment method.",
            code="resource_missing",
        )
    sub = subscriptions.begin(account, customer["id"], priced, params)
    invoice = account.get("invoice", sub["latest_invoice"])
    if invoice["status"] == "paid":
        subscriptions.activate(account, sub, None)
    elif behaviour != "default_incomplete":
        method = collection.payment_method_for(account, sub)
        card = collection.card_of(account, method) if method else None
        attempt = collection.collect(account, invoice, method, card, on_session=False)
        if attempt.state in {"succeeded", "processing"}:
            subscriptions.activate(account, sub, None)
        elif behaviour == "error_if_incomplete":
            subscriptions.abandon(account, sub)
            message = attempt.decline.en if attempt.decline else "Your card was declined."
            raise StripeApiError(402, message, kind="card_error", code="card_declined")
    return sub


def update_subscription(account: Account, params: Json, subscription_id: str) -> Json:
    return changes.update(account, account.get("subscription", subscription_id), params)


def cancel_subscription(account: Account, params: Json, subscription_id: str) -> Json:
    return subscriptions.cancel(account, account.get("subscription", subscription_id), params)


def pause_subscription(account: Account, params: Json, subscription_id: str) -> Json:
    sub = account.get("subscription", subscription_id)
    if sub["status"] not in {"active", "trialing", "past_due"}:
        raise invalid(f"A subscription that is {sub['status']} cannot be paused.")
    return subscriptions.pause(account, sub, "pause_requested")


def resume_subscription(account: Account, params: Json, subscription_id: str) -> Json:
    return subscriptions.resume(account, account.get("subscription", subscription_id), params)


def list_subscriptions(account: Account, params: Json) -> Json:
    status = params.get("status")
    rows = [
        row
        for row in account.newest_first("subscription")
        if _has_status(row, status)
        and params.get("customer") in {None, row["customer"]}
        and params.get("collection_method") in {None, row["collection_method"]}
        and all(
            params.get(n) in {None, *(i["price"]["id"] for i in row["items"]["data"])}
            for n in ("price", "plan")
        )
        and all(
            within(row["items"]["data"][0][name], params.get(name))
            for name in ("current_period_start", "current_period_end")
        )
    ]
    return page(account, rows, params, "/v1/subscriptions")


def list_items(account: Account, params: Json) -> Json:
    sub = account.get("subscription", params["subscription"], param="subscription")
    return page(account, sub["items"]["data"], params, "/v1/subscription_items")


def create_item(account: Account, params: Json) -> Json:
    sub = account.get("subscription", params.pop("subscription"), param="subscription")
    before = {item["id"] for item in sub["items"]["data"]}
    _change_item(account, sub, params)
    return next(item for item in sub["items"]["data"] if item["id"] not in before)


def retrieve_item(account: Account, params: Json, item_id: str) -> Json:
    return next(item for item in _owner(account, item_id)["items"]["data"] if item["id"] == item_id)


def update_item(account: Account, params: Json, item_id: str) -> Json:
    _change_item(account, _owner(account, item_id), {"id": item_id, **params})
    return retrieve_item(account, {}, item_id)


def delete_item(account: Account, params: Json, item_id: str) -> Json:
    _change_item(account, _owner(account, item_id), {"id": item_id, "deleted": True, **params})
    return {"id": item_id, "object": "subscription_item", "deleted": True}


def _change_item(account: Account, sub: Json, params: Json) -> None:
    """The same change as through the subscription, with one item."""
    item = {name: params[name] for name in ITEM_PARAMETERS & params.keys()}
    others = {name: value for name, value in params.items() if name not in {*item, "expand"}}
    changes.update(account, sub, {"items": [item], **others})


def _owner(account: Account, item_id: str) -> Json:
    for sub in account.newest_first("subscription"):
        if any(item["id"] == item_id for item in sub["items"]["data"]):
            return sub
    raise resource_missing("subscription_item", item_id)


def _has_status(row: Json, status: str | None) -> bool:
    if status is None:
        return row["status"] not in subscriptions.ENDED
    if status == "all":
        return True
    return row["status"] in subscriptions.ENDED if status == "ended" else bool(row["status"] == status)
