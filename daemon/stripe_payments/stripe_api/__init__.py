"""Stripe's HTTP API as the rest of the daemon sees it: the only package that imports `stripe`.

The SDK costs about 20 MB and a quarter of a second, so it is imported by the first call, in a worker thread,
and never on the way to the bus. What comes out are plain dictionaries in the shape of the pinned API version;
what goes wrong comes out as `PaymentError`.
"""

from stripe_payments.stripe_api.client import (
    Page,
    StripeAPI,
    StripeState,
    api_base_problem,
    is_missing,
    is_transient,
    object_kind,
)
from stripe_payments.stripe_api.permissions import PERMISSIONS, Permission
from stripe_payments.stripe_api.webhook_signature import sign, verify
from stripe_payments.stripe_api.wire import Expected

__all__ = [
    "PERMISSIONS",
    "Expected",
    "Page",
    "Permission",
    "StripeAPI",
    "StripeState",
    "api_base_problem",
    "is_missing",
    "is_transient",
    "object_kind",
    "sign",
    "verify",
]
