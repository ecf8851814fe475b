"""How many logins may fail, by operator's name and by address, at all instances of the console together."""

from __future__ import annotations

import math
from typing import Final, Literal

from payments_hub.database import Database
from payments_hub.routers import digest

__all__ = ["LoginLimits"]

_BURST: Final = 10
_REFILL_S: Final = 30.0
"""Seconds until one more attempt is allowed."""
_BUCKET_BYTES: Final = 3
_FULL_AFTER_H: Final = 1
"""More than it takes to fill a bucket: then its row says nothing."""

_LEFT: Final = (
    "least(%(burst)s, a.tokens + extract(epoch FROM clock_timestamp() - a.counted_at) / %(refill)s)"
)


class LoginLimits:
    """A token bucket for each name and each address, in PostgreSQL."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def take(self, kind: Literal["name", "address"], text: str) -> int:
        """Take an attempt: 0, or the seconds until the next one where none is left."""
        values = {
            "kind": kind,
            "bucket": digest(text)[:_BUCKET_BYTES],
            "burst": _BURST,
            "refill": _REFILL_S,
        }
        async with self._database.requests.connection() as connection:
            cursor = await connection.execute(
                "INSERT INTO login_attempts AS a (kind, bucket, tokens, counted_at)"
                " VALUES (%(kind)s, %(bucket)s, %(burst)s - 1, clock_timestamp())"
                f" ON CONFLICT (kind, bucket) DO UPDATE SET tokens = {_LEFT} - 1,"
                f" counted_at = clock_timestamp() WHERE {_LEFT} >= 1 RETURNING 1",
                values,
            )
            if await cursor.fetchone() is not None:
                return 0
            cursor = await connection.execute(
                f"SELECT {_LEFT} FROM login_attempts a WHERE kind = %(kind)s AND bucket = %(bucket)s", values
            )
            row = await cursor.fetchone()
        left = float(row[0]) if row is not None else 1.0
        return max(1, math.ceil((1 - left) * _REFILL_S))

    async def prune(self) -> int:
        """Delete the rows of buckets that are full again; their number."""
        async with self._database.requests.connection() as connection:
            cursor = await connection.execute(
                "DELETE FROM login_attempts WHERE counted_at < now() - make_interval(hours => %s)",
                (_FULL_AFTER_H,),
            )
            return cursor.rowcount
