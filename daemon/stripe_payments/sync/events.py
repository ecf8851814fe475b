"""The events of Stripe that have an effect here: one table.

None of them carries state. Each names an object that has changed, which is then fetched and applied by
`sync`; so old payload shapes, other API versions, duplicates and any order make no difference. What is not
in the table is answered 200, logged, and has no effect. `entitlements.*` is left out on purpose: what a
price unlocks is decided by this router's own catalog. Stripe's list:
https://docs.stripe.com/api/events/types
"""

from collections.abc import Mapping
from typing import Final

__all__ = ["EVENTS", "EVENT_TYPES"]

EVENTS: Final[Mapping[str, str]] = {
    "charge.dispute.closed": "dispute",
    "charge.dispute.created": "dispute",
    "charge.dispute.updated": "dispute",
    "charge.refunded": "charge",
    "checkout.session.async_payment_failed": "checkout.session",
    "checkout.session.async_payment_succeeded": "checkout.session",
    "checkout.session.completed": "checkout.session",
    "checkout.session.expired": "checkout.session",
    "customer.subscription.created": "subscription",
    "customer.subscription.deleted": "subscription",
    "customer.subscription.paused": "subscription",
    "customer.subscription.resumed": "subscription",
    "customer.subscription.trial_will_end": "subscription",
    "customer.subscription.updated": "subscription",
    "invoice.paid": "invoice",
    "invoice.payment_action_required": "invoice",
    "invoice.payment_failed": "invoice",
    "payment_intent.payment_failed": "payment_intent",
    "payment_intent.succeeded": "payment_intent",
}
"""The kind of the object that an event names, by the event's type. docs/events.md says what each means, and
what is fetched for it.
"""

EVENT_TYPES: Final = frozenset(EVENTS)
