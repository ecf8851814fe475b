"""What `status` shows of purchases that are not finished: every browser learns of them there. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any, Literal

from stripe_payments.rfc3339 import format_time

if TYPE_CHECKING:
    from stripe_payments.ledger import Checkout


def open_purchases(checkouts: Iterable[Checkout], now: int | None) -> list[dict[str, Any]]:
    """Those whose payment page can still be paid on, oldest first; `now`: trusted epoch seconds or None."""
    return [
        purchase(one.session_id, one.price_alias, "open", one.created_at, one.url)
        for one in checkouts
        if one.session_id is not None
        and one.url is not None
        and (now is None or one.expires_at is None or now < one.expires_at)
    ]


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
