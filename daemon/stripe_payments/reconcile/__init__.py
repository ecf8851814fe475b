"""How the state of Stripe becomes the state of the router: `sync(object id)` and what calls it."""

from .inbox import InboxWorker
from .poller import Poller
from .sync import META_CLOCK_FLOOR, META_LAST_CONTACT, META_REBUILDING, Reconciler, SyncOutcome

__all__ = [
    "META_CLOCK_FLOOR",
    "META_LAST_CONTACT",
    "META_REBUILDING",
    "InboxWorker",
    "Poller",
    "Reconciler",
    "SyncOutcome",
]
