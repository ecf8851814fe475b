"""Connections to PostgreSQL, and its migrations.

Two pools: `requests` for coroutines, which look up credentials and versions; `accounts` for the payment
rules, which run in threads and hold an account's connection while they wait for Stripe. What waits for a
lock or a connection does so in threads of its own: transactions never queue behind it.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, TypeAlias, TypeVar

import psycopg
from psycopg_pool import AsyncConnectionPool, ConnectionPool

if TYPE_CHECKING:
    from alembic.config import Config as AlembicConfig

__all__ = ["OPEN_AT_ONCE", "VIEWED_AT_ONCE", "Async", "Database", "Row", "migrate", "schema_revisions"]

_T = TypeVar("_T")

Row: TypeAlias = tuple[Any, ...]
Async: TypeAlias = psycopg.AsyncConnection[Row]

OPEN_AT_ONCE: Final = 12
"""Accounts that are locked by this process at the same time, each with a connection."""
VIEWED_AT_ONCE: Final = 4
"""Accounts that are only read, so that no router's state waits for another one's purchase."""
_REQUESTS: Final = 4
_ACCOUNTS: Final = OPEN_AT_ONCE + VIEWED_AT_ONCE
_PATIENCE_S: Final = 10.0
_RECONNECT_S: Final = 2.0
"""The pool doubles the pause between its attempts until it gives up; then the next request begins again. With
the pool's own five minutes a PostgreSQL that was away for a minute would be missed for another one.
"""
_MOST_WAITING: Final = 512
"""Requests that wait for a connection; one more is refused at once."""


class Database:
    """Open pools; `open` makes them."""

    def __init__(self, requests: AsyncConnectionPool[Async], accounts: ConnectionPool[Any], url: str) -> None:
        self.requests = requests
        self.accounts = accounts
        self.url = url
        self._threads = ThreadPoolExecutor(_ACCOUNTS, "account")

    @classmethod
    @asynccontextmanager
    async def open(cls, url: str) -> AsyncIterator[Database]:
        """Connect in the background: a PostgreSQL that is away fails requests, and not the start."""
        settings = {"autocommit": True, "application_name": "payments-hub"}
        requests: AsyncConnectionPool[Async] = AsyncConnectionPool(
            url,
            min_size=1,
            max_size=_REQUESTS,
            max_waiting=_MOST_WAITING,
            kwargs=settings,
            timeout=_PATIENCE_S,
            reconnect_timeout=_RECONNECT_S,
            open=False,
        )
        accounts: ConnectionPool[Any] = ConnectionPool(
            url,
            min_size=1,
            max_size=_ACCOUNTS,
            check=ConnectionPool.check_connection,  # a purchase does not begin on one that was lost
            kwargs=settings,
            timeout=_PATIENCE_S,
            reconnect_timeout=_RECONNECT_S,
            open=False,
        )
        await requests.open()
        await asyncio.to_thread(accounts.open)
        database = cls(requests, accounts, url)
        try:
            yield database
        finally:
            await requests.close()
            await asyncio.to_thread(accounts.close)
            await asyncio.to_thread(database._threads.shutdown)

    async def in_thread(
        self, function: Callable[..., _T], *arguments: object, undo: Callable[[_T], None] | None = None
    ) -> _T:
        """Run what may wait for a lock or a connection. A thread cannot be cancelled: one whose caller was is
        waited for, and its result given to `undo`.
        """
        loop = asyncio.get_running_loop()
        running = loop.run_in_executor(self._threads, function, *arguments)
        try:
            return await asyncio.shield(running)
        except asyncio.CancelledError:
            while not running.done():
                with suppress(asyncio.CancelledError):
                    await asyncio.wait({running})
            if undo is not None and running.exception() is None:
                undo(running.result())
            raise


def migrate(url: str) -> None:
    """Bring the schema to this version; two at the same time wait for each other. Safe while instances of the
    version before still run: a migration only adds.
    """
    # Alembic is loaded where it is used: half of a start's time, and only some commands need it.
    from alembic import command
    from sqlalchemy.engine import make_url

    settings = _migrations()
    address = make_url(url).set(drivername="postgresql+psycopg").render_as_string(hide_password=False)
    settings.attributes["url"] = address
    command.upgrade(settings, "head")


def schema_revisions(url: str) -> tuple[str | None, str]:
    """The revision of the database, None before the first migration, and the newest that this version has."""
    from alembic.script import ScriptDirectory

    with psycopg.connect(url, connect_timeout=int(_PATIENCE_S)) as connection:
        held = connection.execute("SELECT to_regclass('alembic_version')").fetchone()
        row = None
        if held is not None and held[0] is not None:
            row = connection.execute("SELECT version_num FROM alembic_version").fetchone()
    newest = ScriptDirectory.from_config(_migrations()).get_current_head()
    assert newest is not None, "there are migrations"
    return row[0] if row is not None else None, newest


def _migrations() -> AlembicConfig:
    from alembic.config import Config

    settings = Config()
    settings.set_main_option("script_location", str(Path(__file__).parent / "migrations"))
    return settings
