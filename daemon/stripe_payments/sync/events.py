"""The events of Stripe that mean something to us: one table.

None of them carries state. Each says that an object has changed, and that object is fetched and applied by
`sync`; so old payload shapes, other API versions, duplicates and any order make no difference. What is not
in the table is answered 200, logged, and has no effect. `entitlements.*` is left out on purpose: what a
price unlocks is decided by this router's own catalogue. Stripe's list:
https://docs.stripe.com/api/events/types
"""

from dataclasses import dataclass
from typing import Final

from stripe_payments.i18n import Text, _

__all__ = ["EVENTS", "EVENT_TYPES", "Event"]


@dataclass(frozen=True, slots=True)
class Event:
    """`kind`: the resource that it names; `leads_to`: what is fetched for it; `tells`: what has happened."""

    type: str
    kind: str
    leads_to: str
    tells: Text


_SESSION: Final = "checkout.session"
_OF_PAYMENT: Final = "checkout.session | invoice"

EVENTS: Final = (
    Event(
        "charge.dispute.closed",
        "dispute",
        _OF_PAYMENT,
        _("a dispute was won or lost"),
    ),
    Event(
        "charge.dispute.created",
        "dispute",
        _OF_PAYMENT,
        _("the buyer's bank disputes a payment"),
    ),
    Event(
        "charge.refunded",
        "charge",
        _OF_PAYMENT,
        _("money was given back, wholly or in part"),
    ),
    Event(
        "checkout.session.async_payment_failed",
        _SESSION,
        _SESSION,
        _("a bank debit did not succeed"),
    ),
    Event(
        "checkout.session.async_payment_succeeded",
        _SESSION,
        _SESSION,
        _("a bank debit has arrived"),
    ),
    Event(
        "checkout.session.completed",
        _SESSION,
        _SESSION,
        _("the buyer finished Stripe's page; a bank debit may still be on its way"),
    ),
    Event(
        "checkout.session.expired",
        _SESSION,
        _SESSION,
        _("nobody paid in time"),
    ),
    Event(
        "customer.subscription.created",
        "subscription",
        "subscription",
        _("a subscription began"),
    ),
    Event(
        "customer.subscription.deleted",
        "subscription",
        "subscription",
        _("a subscription ended"),
    ),
    Event(
        "customer.subscription.paused",
        "subscription",
        "subscription",
        _("a subscription was paused"),
    ),
    Event(
        "customer.subscription.resumed",
        "subscription",
        "subscription",
        _("a pause has ended"),
    ),
    Event(
        "customer.subscription.trial_will_end",
        "subscription",
        "subscription",
        _("a trial ends in three days"),
    ),
    Event(
        "customer.subscription.updated",
        "subscription",
        "subscription",
        _("renewed, changed plan, cancelled, fell behind, recovered"),
    ),
    Event(
        "invoice.paid",
        "invoice",
        "invoice | subscription",
        _("an invoice was paid"),
    ),
    Event(
        "invoice.payment_action_required",
        "invoice",
        "invoice | subscription",
        _("the bank wants the buyer to confirm a renewal (3-D Secure)"),
    ),
    Event(
        "invoice.payment_failed",
        "invoice",
        "invoice | subscription",
        _("a renewal could not be charged"),
    ),
    Event(
        "payment_intent.payment_failed",
        "payment_intent",
        _OF_PAYMENT,
        _("a payment was declined"),
    ),
    Event(
        "payment_intent.succeeded",
        "payment_intent",
        _OF_PAYMENT,
        _("a payment succeeded"),
    ),
)

EVENT_TYPES: Final = frozenset(event.type for event in EVENTS)
