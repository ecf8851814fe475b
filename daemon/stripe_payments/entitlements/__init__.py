"""What has been paid for, as which feature is unlocked: pure rules, no IO and no clock. See `rules`."""

from stripe_payments.entitlements.rules import (
    MANUAL,
    Entitlement,
    ManualGrant,
    Purchase,
    Subscription,
    entitlements,
)

__all__ = ["MANUAL", "Entitlement", "ManualGrant", "Purchase", "Subscription", "entitlements"]
