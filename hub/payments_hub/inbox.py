"""The queue of webhook events of all accounts: accepted once, worked off at least once.

An event is durable before its 200 and names an object to fetch; where its payload may serve instead
(`payloads`), that is stored until the event is worked off. Nothing marks an event as being worked on:
who works on it holds the account's lock, and the event ends in the transaction of its effect. So nothing
can be left in between.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Final

from payments_hub.batching import BatchedQuery
from payments_hub.database import Async, Database
from stripe_payments.log import Log
from stripe_payments.stripe_api.webhook_delivery import Hint

__all__ = ["ACCEPTED", "DOUBTED", "Inbox", "Payload", "Waiting"]

_log = Log("inbox")

ACCEPTED: Final = "inbox"
"""The channel that is notified of an accepted event."""

DOUBTED: Final = "walk"
"""The type of what is no event of Stripe's: an object of which the nightly walk saw another state."""
_ERROR_CHARS: Final = 200
_KEPT_DAYS: Final = 30
"""Stripe repeats a delivery for three days, and lists events for thirty."""


_STORE: Final = f"""
WITH fresh AS (
    INSERT INTO inbox (event_id, type, object_id, owner, customer, created, api_version, payload)
    SELECT * FROM unnest(%b::text[], %b::text[], %b::text[], %b::text[], %b::text[], %b::bigint[], %b::text[],
        %b::text[])
    ON CONFLICT (event_id) DO NOTHING RETURNING event_id
), notified AS (
    SELECT pg_notify('{ACCEPTED}', '') WHERE EXISTS (SELECT FROM fresh)
)
SELECT event_id FROM fresh, notified
"""
"""One statement is one transaction and one round trip; the notification is for all of its rows."""


_CLAIM: Final = """
SELECT * FROM (
    SELECT object_id, array_agg(event_id ORDER BY received_at, event_id), min(type), max(owner) AS owner,
        max(customer) AS customer, max(attempts), bool_and(payload IS NOT NULL)
    FROM inbox WHERE outcome IS NULL AND next_attempt <= now()
    GROUP BY object_id ORDER BY bool_and(type = %s), min(received_at)
) due
WHERE pg_try_advisory_lock(hashtextextended(coalesce(customer, object_id), 1)) LIMIT %s
"""
"""The locks are taken row by row, until there are enough; the objects of a customer go to one worker."""


@dataclass(frozen=True, slots=True)
class Payload:
    """What an event says: the JSON text of its object as of a second, in the words of an API version."""

    created: int
    api_version: str
    text: str


@dataclass(frozen=True, slots=True)
class Waiting:
    """The events of one object that are due. `owner`, `customer`: what the payloads said, if anything;
    `has_payloads`: each of them has one.
    """

    object_id: str
    event_ids: tuple[str, ...]
    type: str
    owner: str | None
    customer: str | None
    attempts: int
    has_payloads: bool = False


class Inbox:
    def __init__(self, database: Database) -> None:
        self._database = database
        self._storing: BatchedQuery[tuple[Hint, Payload | None], bool] = BatchedQuery(self._accept)

    async def accept(self, hint: Hint, payload: Payload | None = None) -> bool:
        """Store an event, due at once; False for a duplicate. Events that arrive while others are being
        stored share the next transaction. `payload`: where it may serve instead of fetching the object.
        """
        return await self._storing.get((hint, payload))

    async def _accept(self, events: Sequence[tuple[Hint, Payload | None]]) -> list[bool]:
        """Whether each is new; of two of one id the first."""
        fresh = await self._store(events)
        _log.info("events accepted", count=len(fresh), duplicates=len(events) - len(fresh))
        found = []
        for hint, _payload in events:
            found.append(hint.event_id in fresh)
            fresh.discard(hint.event_id)
        return found

    async def accept_all(self, hints: Iterable[Hint]) -> set[str]:
        """Store events in one transaction, with one notification; the ids of those that are new."""
        return await self._store([(hint, None) for hint in hints])

    async def _store(self, events: Iterable[tuple[Hint, Payload | None]]) -> set[str]:
        # in one order: two that store the same ones do not deadlock
        ordered = sorted(events, key=lambda event: event[0].event_id)
        hints = [hint for hint, _payload in ordered]
        payloads = [payload for _hint, payload in ordered]
        columns = [
            [hint.event_id for hint in hints],
            [hint.type for hint in hints],
            [hint.object_id for hint in hints],
            [hint.owner for hint in hints],
            [hint.customer for hint in hints],
            [payload and payload.created for payload in payloads],
            [payload and payload.api_version for payload in payloads],
            [payload and payload.text for payload in payloads],
        ]
        async with self._database.requests.connection() as connection:
            cursor = await connection.execute(_STORE, columns)
            return {row[0] for row in await cursor.fetchall()}

    @asynccontextmanager
    async def claim(self, limit: int) -> AsyncIterator[list[Waiting]]:
        """What is due and no other worker has claimed: events before what the nightly walk doubts, the
        longest waiting object first. Claimed while the block lasts; a worker that dies claims nothing.
        """
        async with self._database.requests.connection() as connection:
            try:
                # in no transaction: an open one would hold up a migration, and that everything else
                cursor = await connection.execute(_CLAIM, (DOUBTED, limit))
                rows = await cursor.fetchall()
                yield [Waiting(object_id, tuple(events), *rest) for object_id, events, *rest in rows]
            finally:
                await _unlock(connection)

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
            "UPDATE inbox SET outcome = %s, error = NULL, payload = NULL WHERE event_id = ANY(%s)",
            outcome,
            list(events),
        )

    async def postpone(
        self, events: Sequence[str], seconds: float, error: str, *, failed: bool = True
    ) -> None:
        """Due again after so many seconds; `failed`: an attempt, each of which doubles the next delay."""
        await self._execute(
            "UPDATE inbox SET attempts = attempts + %s, error = %s,"
            " next_attempt = now() + make_interval(secs => %s)"
            " WHERE event_id = ANY(%s) AND outcome IS NULL",
            int(failed),
            error[:_ERROR_CHARS],
            seconds,
            list(events),
        )

    async def prune(self) -> int:
        """Delete finished events that Stripe no longer sends again; their number."""
        return await self._execute(
            "DELETE FROM inbox WHERE outcome IS NOT NULL AND received_at < now() - make_interval(days => %s)",
            _KEPT_DAYS,
        )

    async def _execute(self, statement: str, *values: object) -> int:
        async with self._database.requests.connection() as connection:
            return (await connection.execute(statement, values)).rowcount


async def _unlock(connection: Async) -> None:
    """End all claims: with the connection, if it comes to that."""
    try:
        await connection.execute("SELECT pg_advisory_unlock_all()")
    except BaseException:
        await connection.close()
        raise
