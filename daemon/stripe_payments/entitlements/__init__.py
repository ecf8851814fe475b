"""What has been paid for, as which feature is unlocked: pure rules, no IO and no clock. See `rules`."""

from stripe_payments.entitlements.rules import (
    LOCKED_REASONS,
    MANUAL,
    UNLOCKED_REASONS,
    Entitlement,
    ManualGrant,
    Purchase,
    Subscription,
    announced_end,
    entitlements,
    grace_end,
    period_end_of,
)

__all__ = [
    "LOCKED_REASONS",
    "MANUAL",
    "UNLOCKED_REASONS",
    "Entitlement",
    "ManualGrant",
    "Purchase",
    "Subscription",
    "announced_end",
    "entitlements",
    "grace_end",
    "period_end_of",
]
