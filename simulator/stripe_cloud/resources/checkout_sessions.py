"""/v1/checkout/sessions"""

from __future__ import annotations

from typing import Any

from .. import checkout
from ..account import Account, merge_metadata
from ..api_errors import Json
from ..rendering import included, list_of, page
from .stored import matching

URL = "/v1/checkout/sessions"
FILTERS = ("customer", "payment_intent", "payment_link", "status", "subscription")


def update_session(account: Account, params: Json, session_id: str) -> Json:
    session = account.get("checkout.session", session_id)
    with account.changing(session, None):
        if "metadata" in params:
            session["metadata"] = merge_metadata(session["metadata"], params["metadata"])
    return session


def expire_session(account: Account, params: Json, session_id: str) -> Json:
    return checkout.expire(account, account.get("checkout.session", session_id))


def list_sessions(account: Account, params: Json) -> Json:
    email = params.get("customer_details", {}).get("email")
    rows = [
        row
        for row in matching(account, "checkout.session", params, *FILTERS)
        if email in {None, (row["customer_details"] or {}).get("email")}
    ]
    return page(account, rows, params, URL)


def list_line_items(account: Account, params: Json, session_id: str) -> Json:
    account.get("checkout.session", session_id)
    return page(account, account.behind(session_id)["items"], params, f"{URL}/{session_id}/line_items")


@included("checkout.session", "line_items")
def _line_items(account: Account, session: Json) -> Any:
    items = account.behind(session["id"])["items"]
    return list_of(items, f"{URL}/{session['id']}/line_items")
