"""What waits to be done: webhook events (`Inbox`) and notifications of the rest of the system (`Outbox`).

Both are written with the change that they belong to, so neither is lost, and worked off at least once.
"""

import json
import sqlite3
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final, Literal

from stripe_payments.ledger.storage_errors import decoded

__all__ = ["DELIVERED", "Effect", "EffectKind", "Inbox", "InboxEvent", "LatestEvent", "Outbox"]

EffectKind = Literal["feature", "payment", "subscription"]

DELIVERED: Final = 3
"""The step from which on an effect has been delivered; it may be kept a while all the same."""

_ERROR_CHARS: Final = 200


@dataclass(frozen=True, slots=True)
class InboxEvent:
    """An event that waits: it names an object to fetch and carries no state. Times are epoch seconds, but
    `next_attempt`, which is monotonic.
    """

    event_id: str
    type: str
    object_id: str
    received_at: int
    attempts: int
    next_attempt: int
    error: str | None


@dataclass(frozen=True, slots=True)
class LatestEvent:
    """`outcome` is None while it waits; `error` is the last attempt's."""

    type: str
    received_at: int
    outcome: str | None
    error: str | None


class Inbox:
    """Rows of `InboxEvent`; an event with an outcome stays, to recognise a late duplicate, until `prune`."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection

    def accept(self, event_id: str, type: str, object_id: str, received_at: int) -> bool:  # noqa: A002
        """Store an event, due at once; False for a duplicate (Stripe delivers at least once)."""
        return (
            self._connection.execute(
                "INSERT INTO inbox (event_id, type, object_id, received_at) VALUES (?, ?, ?, ?)"
                " ON CONFLICT (event_id) DO NOTHING",
                (event_id, type, object_id, received_at),
            ).rowcount
            == 1
        )

    def due(self, now: float, limit: int) -> list[InboxEvent]:
        """Events whose next attempt has come (monotonic seconds), the longest waiting first."""
        rows = self._connection.execute(
            "SELECT event_id, type, object_id, received_at, attempts, next_attempt, error FROM inbox"
            " WHERE outcome IS NULL AND next_attempt <= ? ORDER BY next_attempt, received_at LIMIT ?",
            (int(now), limit),
        )
        return [InboxEvent(*row) for row in rows]

    def next_due(self) -> int | None:
        """When the first waiting event is due, monotonic seconds; None if none waits."""
        row = self._connection.execute("SELECT min(next_attempt) FROM inbox WHERE outcome IS NULL").fetchone()
        return None if row[0] is None else int(row[0])

    def finish(self, event_id: str, outcome: str) -> None:
        """Done: `outcome` says how (``applied``, ``foreign``, ``ignored`` …)."""
        self._connection.execute(
            "UPDATE inbox SET outcome = ?, error = NULL WHERE event_id = ?", (outcome, event_id)
        )

    def retry(self, event_id: str, next_attempt: float, error: str) -> None:
        """Failed for now: due again at `next_attempt`, monotonic seconds."""
        self._connection.execute(
            "UPDATE inbox SET attempts = attempts + 1, next_attempt = ?, error = ?"
            " WHERE event_id = ? AND outcome IS NULL",
            (int(next_attempt), error[:_ERROR_CHARS], event_id),
        )

    def reset_retries(self) -> int:
        """Make every waiting event due now (at a start: the clock that it was postponed by has ended); return
        their number.
        """
        return self._connection.execute(
            "UPDATE inbox SET next_attempt = 0 WHERE outcome IS NULL AND next_attempt <> 0"
        ).rowcount

    def pending_count(self) -> int:
        """How many events wait."""
        return int(self._connection.execute("SELECT count(*) FROM inbox WHERE outcome IS NULL").fetchone()[0])

    def latest(self) -> LatestEvent | None:
        """The event that came last, whether it still waits or not."""
        row = self._connection.execute(
            "SELECT type, received_at, outcome, error FROM inbox ORDER BY received_at DESC LIMIT 1"
        ).fetchone()
        return None if row is None else LatestEvent(*row)

    def prune(self, received_before: int) -> int:
        """Delete finished events received before a time (Stripe retries for three days); their number."""
        return self._connection.execute(
            "DELETE FROM inbox WHERE outcome IS NOT NULL AND received_at < ?", (received_before,)
        ).rowcount


@dataclass(frozen=True, slots=True)
class Effect:
    """One notification; `step` counts what of it has been delivered already."""

    id: int
    kind: EffectKind
    payload: dict[str, Any]
    step: int


class Outbox:
    """Rows of `Effect`."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection

    def add(self, kind: EffectKind, payload: Mapping[str, Any]) -> int:
        """Queue an effect; returns its number. It leaves only once the transaction is durable."""
        cursor = self._connection.execute(
            "INSERT INTO outbox (kind, payload) VALUES (?, ?)",
            (kind, json.dumps(payload, ensure_ascii=False, separators=(",", ":"))),
        )
        return int(cursor.lastrowid or 0)

    def pending(self, limit: int) -> list[Effect]:
        """The oldest effects that are neither delivered nor parked, in the order they were added."""
        return self._effects("parked = 0 AND step < ? ORDER BY id LIMIT ?", DELIVERED, limit)

    def delivered_from(self, step: int) -> list[Effect]:
        """The effects that have been delivered up to `step` at least, in the order they were added."""
        return self._effects("step >= ? ORDER BY id", step)

    def _effects(self, which: str, *values: int) -> list[Effect]:
        rows = self._connection.execute(
            f"SELECT id, kind, payload, step FROM outbox WHERE {which}",  # noqa: S608
            values,
        )
        return [Effect(number, kind, decoded(payload), step) for number, kind, payload, step in rows]

    def pending_count(self) -> int:
        """How many effects wait, parked ones included."""
        waiting = self._connection.execute("SELECT count(*) FROM outbox WHERE step < ?", (DELIVERED,))
        return int(waiting.fetchone()[0])

    def advance(self, ids: Iterable[int], step: int) -> None:
        """Record that these effects have been delivered up to `step`."""
        self._connection.executemany(
            "UPDATE outbox SET step = ? WHERE id = ?", [(step, number) for number in ids]
        )

    def done(self, effect_id: int) -> None:
        """Delivered: delete it."""
        self._connection.execute("DELETE FROM outbox WHERE id = ?", (effect_id,))

    def park(self, effect_id: int, error: str) -> None:
        """Can never be delivered as it is: it waits for the next start and holds up no others."""
        self._connection.execute(
            "UPDATE outbox SET parked = 1, error = ? WHERE id = ?", (error[:_ERROR_CHARS], effect_id)
        )

    def unpark(self) -> int:
        """Try the parked ones again (at a start: the other side may have been repaired); their number."""
        return self._connection.execute("UPDATE outbox SET parked = 0 WHERE parked = 1").rowcount
