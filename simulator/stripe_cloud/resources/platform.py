"""/v1/account, /v1/balance, /v1/events, /v1/webhook_endpoints"""

from __future__ import annotations

from fnmatch import fnmatchcase

from .. import checkout_creation
from ..account import Account, merge_metadata
from ..api_errors import Json, invalid, resource_missing
from ..objects import platform as objects
from ..rendering import page

MAX_ENDPOINTS = 16
"""https://docs.stripe.com/webhooks#register-webhook"""


def retrieve_account(account: Account, params: Json, account_id: str | None = None) -> Json:
    if account_id not in {None, account.ACCOUNT_ID}:
        raise resource_missing("account", str(account_id))
    return objects.account_object(account)


def retrieve_balance(account: Account, params: Json) -> Json:
    pending: dict[str, int] = {}
    for movement in account.newest_first("balance_transaction"):
        pending[movement["currency"]] = pending.get(movement["currency"], 0) + movement["net"]
    return objects.balance(account, pending)


def list_events(account: Account, params: Json) -> Json:
    if "type" in params and "types" in params:
        raise invalid("You may only specify one of these parameters: type, types.")
    wanted = params.get("types") or ([params["type"]] if "type" in params else ["*"])
    if len(wanted) > 20:
        raise invalid("The types array can have at most 20 values.", param="types")
    rows = [
        row for row in account.newest_first("event") if any(fnmatchcase(row["type"], kind) for kind in wanted)
    ]
    if "delivery_success" in params:
        rows = [row for row in rows if (row["pending_webhooks"] == 0) == params["delivery_success"]]
    return page(account, rows, params, "/v1/events")


def create_webhook_endpoint(account: Account, params: Json) -> Json:
    _check_url(params["url"])
    if len(list(account.newest_first("webhook_endpoint"))) >= MAX_ENDPOINTS:
        raise invalid(f"You have reached the maximum of {MAX_ENDPOINTS} test webhook endpoints.")
    if not params["enabled_events"]:
        raise invalid(
            "Missing required param: enabled_events.", param="enabled_events", code="parameter_missing"
        )
    endpoint = account.add(objects.webhook_endpoint(account, params))
    secret = account.behind(endpoint["id"])["secret"] = "whsec_" + account.token(32)
    return {**endpoint, "secret": secret}


def retrieve_webhook_endpoint(account: Account, params: Json, endpoint_id: str) -> Json:
    return _endpoint(account, endpoint_id)


def update_webhook_endpoint(account: Account, params: Json, endpoint_id: str) -> Json:
    endpoint = _endpoint(account, endpoint_id)
    if "url" in params:
        _check_url(params["url"])
    with account.changing(endpoint, None):
        for name, value in params.items():
            if name == "metadata":
                endpoint["metadata"] = merge_metadata(endpoint["metadata"], value)
            elif name == "disabled":
                endpoint["status"] = "disabled" if value else "enabled"
            elif name in endpoint:
                endpoint[name] = value or None
    return endpoint


def delete_webhook_endpoint(account: Account, params: Json, endpoint_id: str) -> Json:
    return account.remove(_endpoint(account, endpoint_id))


def list_webhook_endpoints(account: Account, params: Json) -> Json:
    return page(account, account.newest_first("webhook_endpoint"), params, "/v1/webhook_endpoints")


def _endpoint(account: Account, endpoint_id: str) -> Json:
    endpoint = account.get("webhook_endpoint", endpoint_id)
    if endpoint.get("deleted"):
        raise resource_missing("webhook_endpoint", endpoint_id)
    return endpoint


def _check_url(url: str) -> None:
    if not checkout_creation.is_url(url):
        raise invalid(
            "Invalid URL: An explicit scheme (such as https) must be provided.",
            param="url",
            code="url_invalid",
        )
