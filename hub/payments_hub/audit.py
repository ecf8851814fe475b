"""The audit log: who did what, to what, when, with what outcome. Append-only; a trigger enforces it.

An action is recorded before it begins and again when it ends, so that one which was interrupted is there too.
Entries hold ids and no personal data: erasing a router leaves them as they are.
"""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, Final

import psycopg
from psycopg_pool import PoolTimeout

from payments_hub.database import Database
from stripe_payments.log import Log

__all__ = ["DONE", "latest", "record", "recorded"]

_log = Log("audit")

DONE: Final = "done"
"""The outcome of what succeeded; others are codes of errors."""


async def record(
    database: Database, actor: str, action: str, subject: str = "", *, outcome: str = DONE, **detail: object
) -> None:
    """Record what has happened already."""
    await _insert(database, actor, action, subject, detail, None, outcome)


@asynccontextmanager
async def recorded(
    database: Database, actor: str, action: str, subject: str = "", **detail: object
) -> AsyncIterator[dict[str, object]]:
    """Record an action before and after it: `detail` are its arguments, the outcome is `DONE` or an error's
    code. What the action adds to the dictionary becomes part of the detail.

    An action that cannot be recorded is not begun. One that succeeded and whose end cannot be recorded has
    still succeeded.
    """
    begun = await _insert(database, actor, action, subject, detail, None, None)
    outcome, result = "interrupted", dict[str, object]()
    try:
        yield result
        outcome = DONE
    except Exception as error:
        outcome = str(getattr(error, "code", type(error).__name__))
        raise
    finally:
        try:
            await _insert(database, actor, action, subject, result, begun, outcome)
        except (psycopg.Error, PoolTimeout) as error:
            _log.error(
                "an outcome is not recorded", entry=begun, outcome=outcome, reason=type(error).__name__
            )


async def latest(
    database: Database, limit: int = 100, before: int | None = None, subject: str | None = None
) -> list[dict[str, Any]]:
    """Actions, the newest first: {number, at, actor, action, subject, detail, outcome}. `outcome` is None for
    one that runs, or was interrupted by a crash; `before`: the number of the page before's last entry.
    """
    async with database.requests.connection() as connection:
        cursor = await connection.execute(
            "SELECT b.number, b.at, b.actor, b.action, b.subject,"
            " b.detail || coalesce(e.detail, '{}'), coalesce(e.outcome, b.outcome)"
            " FROM audit b LEFT JOIN audit e ON e.begun = b.number WHERE b.begun IS NULL"
            " AND (%(before)s::bigint IS NULL OR b.number < %(before)s)"
            " AND (%(subject)s::text IS NULL OR b.subject = %(subject)s)"
            " ORDER BY b.number DESC LIMIT %(limit)s",
            {"before": before, "subject": subject, "limit": limit},
        )
        names = ("number", "at", "actor", "action", "subject", "detail", "outcome")
        rows = [dict(zip(names, row, strict=True)) for row in await cursor.fetchall()]
    return [{**row, "at": row["at"].isoformat(timespec="seconds")} for row in rows]


async def _insert(
    database: Database,
    actor: str,
    action: str,
    subject: str,
    detail: dict[str, object],
    begun: int | None,
    outcome: str | None,
) -> int:
    given = {name: value for name, value in detail.items() if value not in (None, "")}
    async with database.requests.connection() as connection:
        cursor = await connection.execute(
            "INSERT INTO audit (actor, action, subject, detail, begun, outcome)"
            " VALUES (%s, %s, %s, %s, %s, %s) RETURNING number",
            (actor, action, subject, json.dumps(given), begun, outcome),
        )
        row = await cursor.fetchone()
    assert row is not None
    return int(row[0])
