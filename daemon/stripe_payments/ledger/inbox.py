"""Webhook events: accepted once, then worked off until each has an outcome."""

import sqlite3
from dataclasses import dataclass
from typing import Final

__all__ = ["Inbox", "InboxEvent"]

_ERROR_CHARS: Final = 200


@dataclass(frozen=True, slots=True)
class InboxEvent:
    """An event that waits: it names an object to look at and carries no state. Times are epoch seconds."""

    event_id: str
    type: str
    object_id: str
    received_at: int
    attempts: int
    next_attempt: int
    error: str | None


@dataclass(frozen=True, slots=True)
class LatestEvent:
    """`outcome` is None while it waits; `error` is what the last attempt failed at."""

    type: str
    received_at: int
    outcome: str | None
    error: str | None


class Inbox:
    """Rows of `InboxEvent`; an event with an outcome stays, to know a late duplicate by, until `prune`."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection

    def accept(self, event_id: str, type: str, object_id: str, received_at: int) -> bool:  # noqa: A002
        """Store an event, due at once; False if it is known already (Stripe delivers at least once)."""
        return (
            self._connection.execute(
                "INSERT INTO inbox (event_id, type, object_id, received_at) VALUES (?, ?, ?, ?)"
                " ON CONFLICT (event_id) DO NOTHING",
                (event_id, type, object_id, received_at),
            ).rowcount
            == 1
        )

    def due(self, now: float, limit: int) -> list[InboxEvent]:
        """Events whose next attempt has come, the longest waiting first."""
        rows = self._connection.execute(
            "SELECT event_id, type, object_id, received_at, attempts, next_attempt, error FROM inbox"
            " WHERE outcome IS NULL AND next_attempt <= ? ORDER BY next_attempt, received_at LIMIT ?",
            (int(now), limit),
        )
        return [InboxEvent(*row) for row in rows]

    def next_due(self) -> int | None:
        """When the first waiting event is due; None if none waits."""
        row = self._connection.execute("SELECT min(next_attempt) FROM inbox WHERE outcome IS NULL").fetchone()
        return None if row[0] is None else int(row[0])

    def finish(self, event_id: str, outcome: str) -> None:
        """Done: `outcome` says how (``applied``, ``foreign``, ``ignored`` …)."""
        self._connection.execute(
            "UPDATE inbox SET outcome = ?, error = NULL WHERE event_id = ?", (outcome, event_id)
        )

    def retry(self, event_id: str, next_attempt: float, error: str) -> None:
        """Failed for now: try again at `next_attempt`, by the same clock that `due` is asked with."""
        self._connection.execute(
            "UPDATE inbox SET attempts = attempts + 1, next_attempt = ?, error = ?"
            " WHERE event_id = ? AND outcome IS NULL",
            (int(next_attempt), error[:_ERROR_CHARS], event_id),
        )

    def rearm(self) -> int:
        """Make every waiting event due now (at a start: the clock that put it off may be gone)."""
        return self._connection.execute(
            "UPDATE inbox SET next_attempt = 0 WHERE outcome IS NULL AND next_attempt <> 0"
        ).rowcount

    def pending_count(self) -> int:
        """How many events wait."""
        return int(self._connection.execute("SELECT count(*) FROM inbox WHERE outcome IS NULL").fetchone()[0])

    def latest(self) -> LatestEvent | None:
        """The event that came last, worked off or not."""
        row = self._connection.execute(
            "SELECT type, received_at, outcome, error FROM inbox ORDER BY received_at DESC LIMIT 1"
        ).fetchone()
        return None if row is None else LatestEvent(*row)

    def prune(self, received_before: int) -> int:
        """Forget finished events received before a time (Stripe retries for three days); their number."""
        return self._connection.execute(
            "DELETE FROM inbox WHERE outcome IS NOT NULL AND received_at < ?", (received_before,)
        ).rowcount
