"""Which of Stripe's resources an id names, where it is fetched, and what is fetched along with it.

The prefix of an id is documented only by example, but it is stable enough that Stripe's own tools rely on it.
Expansions keep the number of requests down (two a polling round): one GET of a Checkout session answers for
its payment, its charge, its refunds and its subscription. Stripe expands four levels at most, the `data` of a
list being one of them. An object is expanded alike wherever it occurs: the ledger writes only what differs.
"""

from __future__ import annotations

import re
from typing import Final

_ID = re.compile(r"(?P<prefix>[a-z]+)_[A-Za-z0-9_]{1,250}")

_KINDS: Final = {
    "cs": "checkout.session",
    "pi": "payment_intent",
    "ch": "charge",
    "py": "charge",  # of a payment method that is no card
    "re": "refund",
    "pyr": "refund",
    "dp": "dispute",
    "du": "dispute",
    "in": "invoice",
    "sub": "subscription",
    "cus": "customer",
    "price": "price",
    "prod": "product",
}

PATHS: Final = {
    "checkout.session": "/v1/checkout/sessions",
    "payment_intent": "/v1/payment_intents",
    "charge": "/v1/charges",
    "refund": "/v1/refunds",
    "dispute": "/v1/disputes",
    "invoice": "/v1/invoices",
    "subscription": "/v1/subscriptions",
    "customer": "/v1/customers",
    "price": "/v1/prices",
    "product": "/v1/products",
}

EXPAND: Final[dict[str, tuple[str, ...]]] = {
    "checkout.session": (
        "line_items",
        "payment_intent.latest_charge.refunds",
        "subscription.latest_invoice.payments",
        "invoice.payments",
    ),
    "payment_intent": ("latest_charge.refunds",),
    "charge": ("refunds",),
    "subscription": ("latest_invoice.payments",),
    "invoice": ("payments",),
}


def object_kind(object_id: str) -> str | None:
    """The resource that an id belongs to ("checkout.session"), or None if it is none that we know."""
    match = _ID.fullmatch(object_id)
    return _KINDS.get(match["prefix"]) if match else None


def expand(kind: str, *, in_list: bool = False) -> list[str]:
    """The `expand` parameter for one object, or for the objects of a list."""
    return [f"data.{path}" if in_list else path for path in EXPAND.get(kind, ())]
