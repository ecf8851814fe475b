"""Connections to PostgreSQL, and its migrations.

Two pools: `requests` for coroutines, which look up credentials and versions; `accounts` for the payment
rules, which run in threads and hold an account's connection while they wait for Stripe.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Final, TypeAlias

import psycopg
from alembic import command
from alembic.config import Config as AlembicConfig
from psycopg_pool import AsyncConnectionPool, ConnectionPool
from sqlalchemy.engine import make_url

__all__ = ["Async", "Database", "Row", "migrate"]

Row: TypeAlias = tuple[Any, ...]
Async: TypeAlias = psycopg.AsyncConnection[Row]

_REQUESTS: Final = 4
_ACCOUNTS: Final = 16
"""Connections: how many routers' requests, or the worker's objects, wait for Stripe at the same time."""
_PATIENCE_S: Final = 10.0


class Database:
    """Open pools; `open` makes them."""

    def __init__(self, requests: AsyncConnectionPool[Async], accounts: ConnectionPool[Any], url: str) -> None:
        self.requests = requests
        self.accounts = accounts
        self.url = url

    @classmethod
    @asynccontextmanager
    async def open(cls, url: str) -> AsyncIterator[Database]:
        """Connect in the background: a PostgreSQL that is away fails requests, and not the start."""
        settings = {"autocommit": True, "application_name": "payments-hub"}
        requests: AsyncConnectionPool[Async] = AsyncConnectionPool(
            url, min_size=1, max_size=_REQUESTS, kwargs=settings, timeout=_PATIENCE_S, open=False
        )
        accounts: ConnectionPool[Any] = ConnectionPool(
            url, min_size=1, max_size=_ACCOUNTS, kwargs=settings, timeout=_PATIENCE_S, open=False
        )
        await requests.open()
        await asyncio.to_thread(accounts.open)
        try:
            yield cls(requests, accounts, url)
        finally:
            await requests.close()
            await asyncio.to_thread(accounts.close)


def migrate(url: str) -> None:
    """Bring the schema to this version; two at the same time wait for each other. Safe while instances of the
    version before still run: a migration only adds.
    """
    settings = AlembicConfig()
    settings.set_main_option("script_location", str(Path(__file__).parent / "migrations"))
    address = make_url(url).set(drivername="postgresql+psycopg").render_as_string(hide_password=False)
    settings.attributes["url"] = address
    command.upgrade(settings, "head")
