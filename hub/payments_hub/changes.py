"""Who waits for a change of an account: long polls of its routers, at whichever instance.

One connection listens for PostgreSQL's notifications. They are hints: now and then one query looks at the
versions of all accounts that are waited for, because a notification is lost with its connection.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Final

import psycopg
from psycopg_pool import PoolTimeout

from payments_hub.account_ledger import CHANGED
from payments_hub.background import run_all
from payments_hub.batching import BatchedQuery
from payments_hub.database import Database
from stripe_payments.backoff import Backoff
from stripe_payments.log import Log

__all__ = ["Changes", "listen"]

_log = Log("changes")

_LOOK_EVERY_S: Final = 5.0
_LOOKED_AT: Final = 1000
"""Accounts in one query."""
_WAITERS: Final = 4
"""Of one account: its router waits once, or twice after a lost connection."""


class Changes:
    def __init__(self, database: Database) -> None:
        self._database = database
        self._waiting: dict[str, dict[asyncio.Future[None], int]] = {}
        """By account: who waits for another version than which."""
        self._versions: BatchedQuery[str, int] = BatchedQuery(self._read_versions)

    async def run(self) -> None:
        """Until cancelled."""
        await run_all(listen(self._database, CHANGED, self._changed), self._look())

    async def wait(self, account: str, version: int, seconds: float) -> None:
        """Return when the account's version is another one, or after so many seconds; at once where several
        wait already.
        """
        waiting = self._waiting.setdefault(account, {})
        if len(waiting) >= _WAITERS:
            return
        loop = asyncio.get_running_loop()
        changed = loop.create_future()
        waiting[changed] = version
        ends = loop.call_later(seconds, _end, changed)
        try:
            if await self._versions.get(account) == version:
                await changed
        finally:
            ends.cancel()
            del waiting[changed]
            if not waiting and self._waiting.get(account) is waiting:
                del self._waiting[account]

    def _changed(self, accounts: str) -> None:
        for account in accounts.split(","):
            for changed in self._waiting.get(account, ()):
                _end(changed)

    async def _look(self) -> None:
        while True:
            await asyncio.sleep(_LOOK_EVERY_S)
            accounts = list(self._waiting)
            for start in range(0, len(accounts), _LOOKED_AT):
                some = accounts[start : start + _LOOKED_AT]
                with suppress(psycopg.Error, PoolTimeout):
                    for account, version in zip(some, await self._read_versions(some), strict=True):
                        for changed, known in self._waiting.get(account, {}).items():
                            if version != known:
                                _end(changed)

    async def _read_versions(self, accounts: Sequence[str]) -> list[int]:
        async with self._database.requests.connection() as connection:
            cursor = await connection.execute(
                "SELECT id, version FROM accounts WHERE id = ANY(%s)", (list(accounts),)
            )
            found = {str(row[0]): int(row[1]) for row in await cursor.fetchall()}
        return [found.get(account, 0) for account in accounts]


def _end(changed: asyncio.Future[None]) -> None:
    if not changed.done():
        changed.set_result(None)


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
