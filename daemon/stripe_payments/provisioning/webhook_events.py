"""The events that Stripe shall send us: every change that a payment or subscription of ours can go through.

An event only says which object to look at, so the list need not be complete for the result to be right; it
decides how soon something is noticed. `entitlements.*` is left out: what a price unlocks is decided here.
Stripe's list: https://docs.stripe.com/api/events/types
"""

from typing import Final

WEBHOOK_EVENTS: Final = (
    "charge.dispute.closed",
    "charge.dispute.created",
    "charge.refunded",
    "checkout.session.async_payment_failed",
    "checkout.session.async_payment_succeeded",
    "checkout.session.completed",
    "checkout.session.expired",
    "customer.subscription.created",
    "customer.subscription.deleted",
    "customer.subscription.paused",
    "customer.subscription.resumed",
    "customer.subscription.trial_will_end",
    "customer.subscription.updated",
    "invoice.paid",
    "invoice.payment_action_required",
    "invoice.payment_failed",
    "payment_intent.payment_failed",
    "payment_intent.succeeded",
)
