"""What restricted keys must be allowed at Stripe, under the names that the Dashboard shows: the *set-up key*,
with which an operator prepares the account, and the *router key* of each router that others use.

Stripe's refusals name a permission as `rak_webhook_write` or, newer (code `more_permissions_required`),
`'webhook_write'`; the page where a key is edited calls it "Webhook Endpoints: Write". Source:
https://docs.stripe.com/keys/restricted-api-keys and responses of the API itself.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final, Literal

_NAMED = re.compile(r"\b(?:rak_|(?<='))([a-z_]+)_(read|write)\b")


@dataclass(frozen=True, slots=True)
class Permission:
    """`resource`: as the Dashboard writes it; `access`: of the set-up key (write includes read); `rak`: the
    resource in Stripe's refusals; `kind`: a resource whose list shows whether reading is allowed;
    `setup_only`: needed only to set the account up (reading stays useful); `seller_only`: writing is the
    seller's, who can also do it in the Dashboard.
    """

    resource: str
    access: Literal["read", "write"]
    rak: str
    kind: str
    setup_only: bool = False
    seller_only: bool = False

    @property
    def router_access(self) -> Literal["read", "write"]:
        """What the router key needs of it."""
        return "read" if self.setup_only or self.seller_only else self.access


PERMISSIONS: Final = (
    Permission("Customers", "write", "customer", "customer"),
    Permission("Checkout Sessions", "write", "checkout_session", "checkout.session"),
    Permission("Subscriptions", "write", "subscription", "subscription"),
    Permission("Invoices", "write", "invoice", "invoice"),
    Permission("PaymentIntents", "read", "payment_intent", "payment_intent"),
    Permission("Charges and Refunds", "write", "charge", "charge", seller_only=True),
    Permission("Disputes", "read", "dispute", "dispute"),
    Permission("Customer portal", "write", "customer_portal", "billing_portal.configuration"),
    Permission("Products", "write", "product", "product", setup_only=True),
    Permission("Prices", "write", "plan", "price", setup_only=True),
    Permission("Webhook Endpoints", "write", "webhook", "webhook_endpoint", setup_only=True),
)


def missing_permission(refusal: str) -> str | None:
    """The permission that a refusal of Stripe's names: `Webhook Endpoints: Write (rak_webhook_write)`; None
    where it names none.
    """
    named = _NAMED.search(refusal)
    if named is None:
        return None
    known = next((one.resource for one in PERMISSIONS if one.rak == named[1]), None)
    name = named[0]
    return f"{known}: {named[2].capitalize()} ({name})" if known else name
