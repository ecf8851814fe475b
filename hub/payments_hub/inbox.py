"""The queue of webhook events of all accounts: accepted once, worked off at least once.

An event is durable before its 200 and names an object to fetch. Nothing marks an event as being worked on:
who works on it holds the account's lock, and the event ends in the transaction of its effect. So nothing
can be left in between.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from payments_hub.database import Database
from stripe_payments.sync.events import Hint

__all__ = ["ACCEPTED", "Inbox", "Waiting"]

ACCEPTED: Final = "inbox"
"""The channel that is notified of an accepted event."""

_ERROR_CHARS: Final = 200


@dataclass(frozen=True, slots=True)
class Waiting:
    """The events of one object that are due. `owner`, `customer`: what the payloads said, if anything."""

    object_id: str
    event_ids: tuple[str, ...]
    type: str
    owner: str | None
    customer: str | None
    attempts: int


class Inbox:
    def __init__(self, database: Database) -> None:
        self._database = database

    async def accept(self, hint: Hint) -> bool:
        """Store an event, due at once; False for a duplicate."""
        async with self._database.requests.connection() as connection, connection.transaction():
            cursor = await connection.execute(
                "INSERT INTO inbox (event_id, type, object_id, owner, customer) VALUES (%s, %s, %s, %s, %s)"
                " ON CONFLICT (event_id) DO NOTHING",
                (hint.event_id, hint.type, hint.object_id, hint.owner, hint.customer),
            )
            fresh = cursor.rowcount == 1
            if fresh:
                await connection.execute("SELECT pg_notify(%s, '')", (ACCEPTED,))
        return fresh

    async def due(self, limit: int) -> list[Waiting]:
        """What is due, the longest waiting object first."""
        async with self._database.requests.connection() as connection:
            cursor = await connection.execute(
                "SELECT object_id, array_agg(event_id ORDER BY received_at, event_id), max(type), max(owner),"
                " max(customer), max(attempts) FROM inbox WHERE outcome IS NULL AND next_attempt <= now()"
                " GROUP BY object_id ORDER BY min(received_at) LIMIT %s",
                (limit,),
            )
            return [
                Waiting(object_id, tuple(events), kind, owner, customer, attempts)
                for object_id, events, kind, owner, customer, attempts in await cursor.fetchall()
            ]

    async def still_waiting(self, events: Sequence[str]) -> list[str]:
        """Those that are not finished yet."""
        async with self._database.requests.connection() as connection:
            cursor = await connection.execute(
                "SELECT event_id FROM inbox WHERE event_id = ANY(%s) AND outcome IS NULL", (list(events),)
            )
            return [row[0] for row in await cursor.fetchall()]

    async def finish(self, events: Sequence[str], outcome: str) -> None:
        """End events that have no effect on any account."""
        await self._execute(
            "UPDATE inbox SET outcome = %s, error = NULL WHERE event_id = ANY(%s)", outcome, list(events)
        )

    async def postpone(self, events: Sequence[str], seconds: float, error: str) -> None:
        """Failed for now: due again after so many seconds."""
        await self._execute(
            "UPDATE inbox SET attempts = attempts + 1, error = %s,"
            " next_attempt = now() + make_interval(secs => %s)"
            " WHERE event_id = ANY(%s) AND outcome IS NULL",
            error[:_ERROR_CHARS],
            seconds,
            list(events),
        )

    async def prune(self, days: int) -> int:
        """Delete finished events that are older than Stripe's redelivery; their number."""
        return await self._execute(
            "DELETE FROM inbox WHERE outcome IS NOT NULL AND received_at < now() - make_interval(days => %s)",
            days,
        )

    async def _execute(self, statement: str, *values: object) -> int:
        async with self._database.requests.connection() as connection:
            return (await connection.execute(statement, values)).rowcount
