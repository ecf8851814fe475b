"""Stripe's HTTP API as the rest of the daemon sees it: the only package that imports `stripe`.

The SDK costs about 20 MB and a quarter of a second, so the first call imports it, in a worker thread. Results
are plain dictionaries in the shape of the pinned API version; failures are `PaymentError`.
"""

from stripe_payments.stripe_api.client import (
    IDEMPOTENCY_KEY_TTL,
    MAX_LOOKUP_KEYS,
    Page,
    RequestBudget,
    StripeAPI,
    StripeState,
    api_base_problem,
)
from stripe_payments.stripe_api.failures import is_missing, is_replayed, is_transient
from stripe_payments.stripe_api.permissions import PERMISSIONS, Permission
from stripe_payments.stripe_api.resources import object_kind
from stripe_payments.stripe_api.webhook_delivery import sign, verify

__all__ = [
    "IDEMPOTENCY_KEY_TTL",
    "MAX_LOOKUP_KEYS",
    "PERMISSIONS",
    "Page",
    "Permission",
    "RequestBudget",
    "StripeAPI",
    "StripeState",
    "api_base_problem",
    "is_missing",
    "is_replayed",
    "is_transient",
    "object_kind",
    "sign",
    "verify",
]
