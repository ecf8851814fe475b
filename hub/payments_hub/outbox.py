"""The outbox of all accounts: what changed, in order. A router is shown the newest payments and subscriptions
of its account in each state; what it has seen long ago is deleted.
"""

from __future__ import annotations

from typing import Final

from payments_hub.database import Database

__all__ = ["SHOWN", "Outbox"]

SHOWN: Final = 20
"""Newest payments and subscriptions of an account in a state: a router has polled before there are more."""
_KEPT_DAYS: Final = 90
_BATCH: Final = 10_000
_BATCHES: Final = 20
"""Rows that one run reads at most; the next one goes on where it ended."""


class Outbox:
    def __init__(self, database: Database) -> None:
        self._database = database

    async def prune(self) -> int:
        """Delete what is old, and no state shows any more: a router that was away for months still gets the
        newest of its account. Return how many rows were deleted.
        """
        deleted = 0
        for _ in range(_BATCHES):
            more, found = await self._prune_batch()
            deleted += found
            if not more:
                break
        return deleted

    async def _prune_batch(self) -> tuple[bool, int]:
        """Whether old rows follow, and how many were deleted. One worker at a time."""
        async with self._database.requests.connection() as connection, connection.transaction():
            lock = await connection.execute(
                "SELECT pg_try_advisory_xact_lock(hashtextextended('outbox', 0)),"
                " set_config('hub.account', '*', true)"
            )
            row = await lock.fetchone()
            if row is None or not row[0]:
                return False, 0
            cursor = await connection.execute(
                "WITH next AS (SELECT number, account, kind, created_at FROM outbox WHERE number >"
                " coalesce((SELECT value::bigint FROM cursors WHERE name = 'outbox'), 0)"
                " ORDER BY number LIMIT %(batch)s), old AS MATERIALIZED (SELECT * FROM next"
                " WHERE created_at < now() - make_interval(days => %(days)s)),"
                " gone AS (DELETE FROM outbox WHERE number IN (SELECT number FROM old WHERE kind = 'feature'"
                " OR (SELECT count(*) FROM (SELECT FROM outbox newer WHERE newer.account = old.account"
                " AND newer.number > old.number AND newer.kind <> 'feature' LIMIT %(shown)s) n) = %(shown)s)"
                " RETURNING 1)"
                " SELECT (SELECT count(*) FROM gone), (SELECT count(*) FROM old),"
                " (SELECT max(number) FROM old)",
                {"days": _KEPT_DAYS, "batch": _BATCH, "shown": SHOWN},
            )
            row = await cursor.fetchone()
            assert row is not None, "an aggregate has a row"
            deleted, read, last = row
            more = read == _BATCH
            await connection.execute(
                "INSERT INTO cursors (name, value) VALUES ('outbox', %s)"
                " ON CONFLICT (name) DO UPDATE SET value = excluded.value",
                (str(last if more else 0),),
            )
        return more, deleted
