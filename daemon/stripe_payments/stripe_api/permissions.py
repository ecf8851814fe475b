"""What a restricted key must be allowed at Stripe, under the names that the Dashboard shows.

Stripe's refusals name a permission as `rak_webhook_write`; the page where a key is edited calls it "Webhook
Endpoints: Write". Source: https://docs.stripe.com/keys/restricted-api-keys and the answers of the API itself.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final, Literal

_NAMED = re.compile(r"\brak_([a-z_]+)_(read|write)\b")


@dataclass(frozen=True, slots=True)
class Permission:
    """`resource`: as the Dashboard writes it; `access`: the least that is needed (write includes read);
    `rak`: the resource in Stripe's refusals; `probe`: a list to see whether reading is allowed; `setup_only`:
    needed to set the account up and by nothing afterwards (reading stays useful).
    """

    resource: str
    access: Literal["read", "write"]
    rak: str
    probe: str
    setup_only: bool = False


PERMISSIONS: Final = (
    Permission("Customers", "write", "customer", "/v1/customers"),
    Permission("Checkout Sessions", "write", "checkout_session", "/v1/checkout/sessions"),
    Permission("Subscriptions", "write", "subscription", "/v1/subscriptions"),
    Permission("Invoices", "write", "invoice", "/v1/invoices"),
    Permission("PaymentIntents", "read", "payment_intent", "/v1/payment_intents"),
    Permission("Charges and Refunds", "write", "charge", "/v1/charges"),
    Permission("Disputes", "read", "dispute", "/v1/disputes"),
    Permission("Customer portal", "write", "customer_portal", "/v1/billing_portal/configurations"),
    Permission("Products", "write", "product", "/v1/products", setup_only=True),
    Permission("Prices", "write", "plan", "/v1/prices", setup_only=True),
    Permission("Webhook Endpoints", "write", "webhook", "/v1/webhook_endpoints", setup_only=True),
)


def missing_permission(refusal: str) -> str | None:
    """The permission that a refusal of Stripe's asks for: `Webhook Endpoints: Write (rak_webhook_write)`;
    None where it names none.
    """
    named = _NAMED.search(refusal)
    if named is None:
        return None
    known = next((one.resource for one in PERMISSIONS if one.rak == named[1]), None)
    return f"{known}: {named[2].capitalize()} ({named[0]})" if known else named[0]
