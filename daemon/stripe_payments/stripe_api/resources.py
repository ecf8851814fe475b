"""The Stripe resources that the daemon uses: their paths, the prefixes of their ids, what is expanded.

The prefix of an id is documented only by example, but it is stable enough that Stripe's own tools rely on it.
Expansions keep the number of requests down (two per polling round): one GET of a Checkout session includes
its payment, its charge, its refunds and its subscription. Stripe expands four levels at most, the `data` of a
list being one of them. An object is expanded in the same way wherever it occurs, so that the ledger writes
only what changed.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

_ID = re.compile(r"(?P<prefix>sub_sched|[a-z]+)_[A-Za-z0-9_]{1,250}")


@dataclass(frozen=True, slots=True)
class Resource:
    """path: below https://api.stripe.com; prefixes: of the ids that may be passed to `StripeAPI.retrieve`;
    expand: requested with every GET and list; required: what the response to its creation has to contain.
    """

    path: str
    prefixes: tuple[str, ...] = ()
    expand: tuple[str, ...] = ()
    required: tuple[str, ...] = ()


RESOURCES: Final[Mapping[str, Resource]] = {
    "checkout.session": Resource(
        "/v1/checkout/sessions",
        prefixes=("cs",),
        expand=(
            "line_items",
            "payment_intent.latest_charge.refunds",
            "subscription.latest_invoice.payments",
            "invoice.payments",
        ),
        required=("url",),
    ),
    "payment_intent": Resource("/v1/payment_intents", prefixes=("pi",), expand=("latest_charge.refunds",)),
    # py_ and pyr_: of a payment method that is not a card
    "charge": Resource("/v1/charges", prefixes=("ch", "py"), expand=("refunds",)),
    "refund": Resource("/v1/refunds", prefixes=("re", "pyr")),
    "dispute": Resource("/v1/disputes", prefixes=("dp", "du")),
    "invoice": Resource("/v1/invoices", prefixes=("in",), expand=("payments",)),
    "credit_note": Resource("/v1/credit_notes"),
    "invoice_payment": Resource("/v1/invoice_payments"),
    "subscription": Resource("/v1/subscriptions", prefixes=("sub",), expand=("latest_invoice.payments",)),
    "subscription_schedule": Resource(
        "/v1/subscription_schedules", prefixes=("sub_sched",), expand=("phases.items.price",)
    ),
    "customer": Resource("/v1/customers", prefixes=("cus",)),
    "product": Resource("/v1/products", prefixes=("prod",)),
    "price": Resource("/v1/prices", prefixes=("price",)),
    "billing_portal.configuration": Resource("/v1/billing_portal/configurations"),
    "billing_portal.session": Resource("/v1/billing_portal/sessions"),
    "event": Resource("/v1/events"),
    "webhook_endpoint": Resource("/v1/webhook_endpoints", required=("secret",)),
}
"""By the object's own `object`."""

_KINDS: Final = {prefix: kind for kind, resource in RESOURCES.items() for prefix in resource.prefixes}


def object_kind(object_id: str) -> str | None:
    """The resource that an id belongs to ("checkout.session"), or None if it is not one of the table's."""
    match = _ID.fullmatch(object_id)
    return _KINDS.get(match["prefix"]) if match else None
