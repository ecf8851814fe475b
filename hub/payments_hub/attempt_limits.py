"""How often something may be attempted, at all instances together: logins to the console by operator's name
and by address, enrolments by address.
"""

from __future__ import annotations

import math
from ipaddress import IPv6Address, ip_network
from typing import Final, Literal

from payments_hub.codes import digest
from payments_hub.database import Database

__all__ = ["AttemptLimits", "household"]

_BURST: Final = 10
_BUCKET_BYTES: Final = 3
_FULL_AFTER_H: Final = 1
"""More than it takes to fill a bucket: then its row says nothing."""
_REFILL_S: Final = {"login_attempts": 30.0, "enrollment_attempts": 60.0}
"""Seconds until one more attempt is allowed, by table."""

_LEFT: Final = (
    "least(%(burst)s, a.tokens + extract(epoch FROM clock_timestamp() - a.counted_at) / %(refill)s)"
)


class AttemptLimits:
    """A token bucket for each name and each address, in a table of PostgreSQL."""

    def __init__(
        self, database: Database, table: Literal["login_attempts", "enrollment_attempts"] = "login_attempts"
    ) -> None:
        self._database = database
        self._table = table

    async def take(self, kind: Literal["name", "address"], text: str) -> int:
        """Take an attempt: 0, or the seconds until the next one where none is left."""
        refill = _REFILL_S[self._table]
        values = {"kind": kind, "bucket": digest(text)[:_BUCKET_BYTES], "burst": _BURST, "refill": refill}
        async with self._database.requests.connection() as connection:
            cursor = await connection.execute(
                f"INSERT INTO {self._table} AS a (kind, bucket, tokens, counted_at)"
                " VALUES (%(kind)s, %(bucket)s, %(burst)s - 1, clock_timestamp())"
                f" ON CONFLICT (kind, bucket) DO UPDATE SET tokens = {_LEFT} - 1,"
                f" counted_at = clock_timestamp() WHERE {_LEFT} >= 1 RETURNING 1",
                values,
            )
            if await cursor.fetchone() is not None:
                return 0
            cursor = await connection.execute(
                f"SELECT {_LEFT} FROM {self._table} a WHERE kind = %(kind)s AND bucket = %(bucket)s", values
            )
            row = await cursor.fetchone()
        left = float(row[0]) if row is not None else 1.0
        return max(1, math.ceil((1 - left) * refill))

    async def prune(self) -> int:
        """Delete the rows of buckets that are full again; their number."""
        async with self._database.requests.connection() as connection:
            cursor = await connection.execute(
                f"DELETE FROM {self._table} WHERE counted_at < now() - make_interval(hours => %s)",
                (_FULL_AFTER_H,),
            )
            return cursor.rowcount


def household(address: str) -> str:
    """What counts as one address: of IPv6 the network of 64 bits, of which a caller has all addresses."""
    try:
        network = ip_network(address)
    except ValueError:
        return address
    if isinstance(network.network_address, IPv6Address):
        return str(ip_network(f"{address}/64", strict=False))
    return address
