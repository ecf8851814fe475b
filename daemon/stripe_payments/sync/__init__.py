"""How the state of Stripe becomes the state of the router: `sync(object id)` and what calls it."""

from stripe_payments.sync.inbox_worker import InboxWorker
from stripe_payments.sync.poller import Poller
from stripe_payments.sync.reconciler import (
    META_LAST_CONTACT,
    META_REBUILDING,
    Reconciler,
    SyncOutcome,
)

__all__ = [
    "META_LAST_CONTACT",
    "META_REBUILDING",
    "InboxWorker",
    "Poller",
    "Reconciler",
    "SyncOutcome",
]
