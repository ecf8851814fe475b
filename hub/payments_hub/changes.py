"""Who waits for a change of an account: long polls of its routers, at whichever instance.

One connection listens for PostgreSQL's notifications. They are hints: a waiter looks at the version by
itself as well, because a notification is lost with its connection.
"""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from typing import Final

import psycopg

from payments_hub.account_ledger import CHANGED
from payments_hub.database import Database
from stripe_payments.backoff import Backoff
from stripe_payments.log import Log

__all__ = ["Changes", "listen"]

_log = Log("changes")

_LOOK_EVERY_S: Final = 5.0
_WAITERS: Final = 4
"""Of one account: its router waits once, or twice after a lost connection."""


class Changes:
    def __init__(self, database: Database) -> None:
        self._database = database
        self._waiting: defaultdict[str, set[asyncio.Event]] = defaultdict(set)

    async def run(self) -> None:
        """Until cancelled."""
        await listen(self._database, CHANGED, self._changed)

    async def wait(self, account: str, version: int, seconds: float) -> None:
        """Return when the account's version is another one, or after so many seconds; at once where several
        wait already.
        """
        if len(self._waiting.get(account, ())) >= _WAITERS:
            return
        async with self._event(account) as changed:
            deadline = asyncio.get_running_loop().time() + seconds
            while (left := deadline - asyncio.get_running_loop().time()) > 0:
                if await self._version(account) != version:
                    return
                with suppress(TimeoutError):
                    async with asyncio.timeout(min(left, _LOOK_EVERY_S)):
                        await changed.wait()
                changed.clear()

    @asynccontextmanager
    async def _event(self, account: str) -> AsyncIterator[asyncio.Event]:
        event = asyncio.Event()
        self._waiting[account].add(event)
        try:
            yield event
        finally:
            self._waiting[account].discard(event)
            if not self._waiting[account]:
                del self._waiting[account]

    def _changed(self, account: str) -> None:
        for event in self._waiting.get(account, ()):
            event.set()

    async def _version(self, account: str) -> int:
        async with self._database.requests.connection() as connection:
            cursor = await connection.execute("SELECT version FROM accounts WHERE id = %s", (account,))
            row = await cursor.fetchone()
        return int(row[0]) if row is not None else 0


async def listen(database: Database, channel: str, on_notify: Callable[[str], None]) -> None:
    """Call back with the payload of every notification, until cancelled; reconnects."""
    backoff = Backoff(0.5, 30.0)
    while True:
        try:
            async with await psycopg.AsyncConnection.connect(database.url, autocommit=True) as connection:
                await connection.execute(f"LISTEN {channel}")
                backoff = Backoff(0.5, 30.0)
                async for notify in connection.notifies():
                    on_notify(notify.payload)
        except psycopg.Error as error:
            _log.warning("not listening", channel=channel, reason=type(error).__name__)
        await asyncio.sleep(backoff.next_delay())
