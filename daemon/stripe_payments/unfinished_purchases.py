"""What `status` shows of purchases that are not finished: every browser learns of them there. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any, Literal

from stripe_payments.rfc3339 import format_time

if TYPE_CHECKING:
    from stripe_payments.ledger import Checkout
    from stripe_payments.sync.projection import State


def open_purchases(checkouts: Iterable[Checkout], now: int | None) -> list[dict[str, Any]]:
    """Those whose payment page can still be paid on, oldest first; `now`: trusted epoch seconds or None."""
    return [
        purchase(one.session_id, one.price_alias, "open", one.created_at, one.url)
        for one in checkouts
        if one.session_id is not None
        and one.url is not None
        and (now is None or one.expires_at is None or now < one.expires_at)
    ]


def processing_purchases(state: State) -> list[dict[str, Any]]:
    """Those whose bank debit is processing: one-time payments, and the first one of a plan."""
    return [
        purchase(paid.id, _price_of(state, paid.id), "processing", paid.created)
        for paid in state.payments.values()
        if paid.status == "pending" and paid.id.startswith("cs_")
    ]


def _price_of(state: State, session_id: str) -> str:
    bought = state.purchases.get(session_id)
    session = state.objects.get(session_id, {})
    alias = bought.price_alias if bought is not None else (session.get("metadata") or {}).get("price_alias")
    return str(alias or "")


def purchase(
    session_id: str, price: str, state: Literal["open", "processing"], created: int, url: str | None = None
) -> dict[str, Any]:
    """{payment_id (cs_…), price (its alias), state, url (null once it cannot be paid), created}."""
    return {
        "payment_id": session_id,
        "price": price,
        "state": state,
        "url": url,
        "created": format_time(created),
    }
