"""The events of Stripe that have an effect here: one table.

None of them carries state. Each names an object that has changed, which is then fetched and applied by
`sync`; so old payload shapes, other API versions, duplicates and any order make no difference. What is not
in the table is answered 200, logged, and has no effect. `entitlements.*` is left out on purpose: what a
price unlocks is decided by this router's own catalog. Stripe's list:
https://docs.stripe.com/api/events/types
"""

from dataclasses import dataclass
from typing import Final

from stripe_payments.i18n import Text, _

__all__ = ["EVENTS", "EVENT_TYPES", "Event"]


@dataclass(frozen=True, slots=True)
class Event:
    """`kind`: of the named object; `leads_to`: what is fetched for it; `meaning`: what has happened."""

    type: str
    kind: str
    leads_to: str
    meaning: Text


_SESSION: Final = "checkout.session"
_OF_PAYMENT: Final = "checkout.session | invoice"

EVENTS: Final = (
    Event(
        "charge.dispute.closed",
        "dispute",
        _OF_PAYMENT,
        _("dispute won or lost"),
    ),
    Event(
        "charge.dispute.created",
        "dispute",
        _OF_PAYMENT,
        _("dispute opened by the buyer's bank"),
    ),
    Event(
        "charge.dispute.updated",
        "dispute",
        _OF_PAYMENT,
        _("dispute under appeal, or won after it was lost"),
    ),
    Event(
        "charge.refunded",
        "charge",
        _OF_PAYMENT,
        _("payment refunded, fully or partially"),
    ),
    Event(
        "checkout.session.async_payment_failed",
        _SESSION,
        _SESSION,
        _("bank debit failed"),
    ),
    Event(
        "checkout.session.async_payment_succeeded",
        _SESSION,
        _SESSION,
        _("bank debit completed"),
    ),
    Event(
        "checkout.session.completed",
        _SESSION,
        _SESSION,
        _("Checkout completed; a bank debit may still be processing"),
    ),
    Event(
        "checkout.session.expired",
        _SESSION,
        _SESSION,
        _("Checkout expired unpaid"),
    ),
    Event(
        "customer.subscription.created",
        "subscription",
        "subscription",
        _("subscription created"),
    ),
    Event(
        "customer.subscription.deleted",
        "subscription",
        "subscription",
        _("subscription ended"),
    ),
    Event(
        "customer.subscription.paused",
        "subscription",
        "subscription",
        _("subscription paused"),
    ),
    Event(
        "customer.subscription.resumed",
        "subscription",
        "subscription",
        _("subscription resumed"),
    ),
    Event(
        "customer.subscription.trial_will_end",
        "subscription",
        "subscription",
        _("trial ends in three days"),
    ),
    Event(
        "customer.subscription.updated",
        "subscription",
        "subscription",
        _("renewed, plan changed, canceled, past due, recovered"),
    ),
    Event(
        "invoice.paid",
        "invoice",
        "invoice | subscription",
        _("invoice paid"),
    ),
    Event(
        "invoice.payment_action_required",
        "invoice",
        "invoice | subscription",
        _("renewal needs confirmation by the buyer (3-D Secure)"),
    ),
    Event(
        "invoice.payment_failed",
        "invoice",
        "invoice | subscription",
        _("renewal failed"),
    ),
    Event(
        "payment_intent.payment_failed",
        "payment_intent",
        _OF_PAYMENT,
        _("payment declined"),
    ),
    Event(
        "payment_intent.succeeded",
        "payment_intent",
        _OF_PAYMENT,
        _("payment succeeded"),
    ),
)

EVENT_TYPES: Final = frozenset(event.type for event in EVENTS)
