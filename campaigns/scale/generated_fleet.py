"""A fleet in PostgreSQL, made by the database itself: router n has secret n and account n."""

from __future__ import annotations

import base64
import hashlib
from dataclasses import dataclass
from typing import Any, Final

import psycopg

__all__ = ["GeneratedFleet"]

_SECRET: Final = "rtrim(translate(encode(sha256(('secret ' || n)::bytea), 'base64'), '+/', '-_'), '=')"
_TABLES: Final = (
    "INSERT INTO accounts (id, customer) SELECT md5('account ' || n),"
    " CASE WHEN n %% 10 < 3 THEN 'cus_' || md5('account ' || n) END FROM generate_series(1, %s) n",
    "INSERT INTO routers (id, account, board, software)"
    " SELECT md5('router ' || n), md5('account ' || n), 'bananapi,bpi-r4', '1.0'"
    " FROM generate_series(1, %s) n",
    "INSERT INTO assignments (router, account)"
    " SELECT md5('router ' || n), md5('account ' || n) FROM generate_series(1, %s) n",
    "INSERT INTO credentials (digest, router, status)"
    f" SELECT sha256({_SECRET}::bytea), md5('router ' || n), 'active' FROM generate_series(1, %s) n",
)
_BOUGHT: Final = (
    "INSERT INTO objects (account, id, fetched_at, packed)"
    " SELECT md5('account ' || n), o.id || n, o.fetched_at, o.packed"
    " FROM generate_series(1, %(routers)s) n, objects o WHERE o.account = %(sample)s AND n %% 10 < 3",
    "INSERT INTO features (account, feature, unlocked, source, plan, until, reason)"
    " SELECT md5('account ' || n), feature, unlocked, source, plan, until, reason"
    " FROM generate_series(1, %(routers)s) n, features f WHERE f.account = %(sample)s AND n %% 10 < 3",
)
"""Three of ten have bought what the sample has: as in the fleet of docs/fleet.md, 15 % with a plan, 15 %
once.
"""


@dataclass(frozen=True)
class GeneratedFleet:
    """`database`: as its superuser sees it."""

    database: str
    routers: int

    def create(self, sample: str) -> None:
        """`sample`: the account of a router that has bought something."""
        with psycopg.connect(self.database, autocommit=True) as connection:
            for statement in _TABLES:
                connection.execute(statement, (self.routers,))
            values = {"routers": self.routers, "sample": sample}
            for statement in _BOUGHT:
                connection.execute(statement, values)
            connection.execute("ANALYZE")

    def account(self, number: int) -> str:
        return hashlib.md5(f"account {number}".encode(), usedforsecurity=False).hexdigest()

    def secret(self, number: int) -> str:
        digest = hashlib.sha256(f"secret {number}".encode()).digest()
        return base64.urlsafe_b64encode(digest).rstrip(b"=").decode()

    def size(self) -> int:
        """Bytes on disk, of tables and indexes."""
        return int(self.rows("SELECT pg_database_size(current_database())")[0][0])

    def rows(self, query: str, *values: object) -> list[tuple[Any, ...]]:
        with psycopg.connect(self.database, autocommit=True) as connection:
            return connection.execute(query.encode(), values).fetchall()
