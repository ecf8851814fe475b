"""The events that Stripe shall send us: those of the table in `reconcile.events`, and no others.

An event only says which object to look at, so the list need not be complete for the result to be right; it
decides how soon something is noticed.
"""

from typing import Final

from stripe_payments.sync.events import EVENTS

WEBHOOK_EVENTS: Final = tuple(event.type for event in EVENTS)
