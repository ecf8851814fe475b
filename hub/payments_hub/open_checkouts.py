"""While a buyer may be paying, Stripe's events are listed more often than the sweep does: a delivery that is
lost does not keep the buyer waiting for minutes.

One request for the whole Stripe account, however many pay, by one of the workers: reading each session would
cost as many requests as there are open pages. The longer the newest Checkout is open, the less often: a
Checkout costs 96 requests at most, where Stripe allows 500 for each payment.
https://docs.stripe.com/rate-limits#api-read-request-allocations
"""

from __future__ import annotations

from typing import Any, Final

from payments_hub.budget import Priority, priority
from payments_hub.database import Database
from payments_hub.inbox import Inbox
from payments_hub.metrics import MISSED_EVENTS
from stripe_payments.clock import TrustedClock
from stripe_payments.log import Log
from stripe_payments.stripe_api import StripeAPI
from stripe_payments.stripe_api.webhook_delivery import Hint, hint_in
from stripe_payments.sync.events import EVENTS

__all__ = ["FOLLOW_EVERY_S", "OpenCheckouts", "list_events", "pause_at"]

_log = Log("checkouts")

FOLLOW_EVERY_S: Final = 5.0
_PAUSES: Final = ((120, 5), (600, 15), (1800, 30))
"""Up to which age of the newest open Checkout, and the seconds between two looks."""
_BEHIND_S: Final = 5
"""Seconds that an event is left to its delivery."""
_OVERLAP_S: Final = 30
"""Seconds before the last look that are read again: an event may be listed later than it was created."""
_TYPES: Final = sorted(name for name, kind in EVENTS.items() if kind == "checkout.session")


def pause_at(age: int) -> int | None:
    """Seconds between two looks when the newest open Checkout is so old; None: the sweep is enough."""
    return next((pause for limit, pause in _PAUSES if age < limit), None)


class OpenCheckouts:
    def __init__(self, database: Database, inbox: Inbox, stripe: StripeAPI, clock: TrustedClock) -> None:
        self._database = database
        self._inbox = inbox
        self._stripe = stripe
        self._clock = clock

    async def follow(self) -> int:
        """Look if a Checkout is open and a look is due; accept the events that no delivery brought, and
        return their number. What a worker that ends now had looked at is looked at again by the next one.
        """
        now = self._clock.now()
        pause = await self._due(now) if now is not None else None
        if now is None or pause is None:
            return 0
        with priority(Priority.SYNC):
            found = await list_events(self._stripe, now - pause - _OVERLAP_S, now - _BEHIND_S, _TYPES)
        fresh = await self._inbox.accept_all(found) if found else set()
        if fresh:
            _log.info("events of open checkouts that were not delivered", count=len(fresh))
            MISSED_EVENTS.inc(len(fresh))
        return len(fresh)

    async def _due(self, now: int) -> int | None:
        """Claim the look that is due: the pause since the one before. None if none is."""
        async with self._database.requests.connection() as connection, connection.transaction():
            await connection.execute("SELECT set_config('hub.account', '*', true)")
            cursor = await connection.execute("SELECT max(created_at) FROM checkouts WHERE state = 'open'")
            row = await cursor.fetchone()
            pause = pause_at(now - row[0]) if row is not None and row[0] is not None else None
            if pause is None:
                return None
            cursor = await connection.execute(
                "INSERT INTO cursors AS c (name, value) VALUES ('checkouts', %(now)s)"
                " ON CONFLICT (name) DO UPDATE SET value = excluded.value"
                " WHERE c.value::bigint NOT BETWEEN %(now)s::bigint - %(pause)s + 1 AND %(now)s::bigint"
                " RETURNING 1",
                {"now": str(now), "pause": pause},
            )
            return pause if await cursor.fetchone() is not None else None


async def list_events(stripe: StripeAPI, since: int, until: int, types: list[str]) -> list[Hint]:
    """What the events of these types say, the oldest first; Stripe keeps thirty days of them."""
    wanted: dict[str, Any] = {"created": {"gte": since, "lte": until}, "types": types, "limit": 100}
    found: list[Hint] = []
    while True:
        page = await stripe.list("event", wanted)
        found += [hint for event in page.data if (hint := hint_in(event)) is not None]
        if not page.has_more or not page.data:
            return found[::-1]
        wanted["starting_after"] = str(page.data[-1]["id"])
