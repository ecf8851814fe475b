"""Keeps the ledger small over the years: once a day old events are deleted, and old objects archived.

What people read of the history, what was paid for and what is unlocked is never lost by it.
"""

import asyncio
import random
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import Final

from stripe_payments.errors import PaymentError
from stripe_payments.ledger.database import SQLiteLedger
from stripe_payments.ledger.transaction import SQLiteTransaction
from stripe_payments.log import Log

__all__ = ["Retention", "Tidied"]

_log = Log("ledger")

_DAY: Final = 86_400
EVENTS_KEPT: Final = 90 * _DAY
"""Finished webhook events, and checkouts that came to nothing."""
EVENTS_KEPT_AT_LEAST: Final = 7 * _DAY
"""Where space is short. Stripe delivers an event again for three days; later duplicates need not be known."""
RESTS_AFTER: Final = 90 * _DAY
"""An object that has not changed for so long belongs to something that has ended, or rests."""
SIZE_LIMIT: Final = 8 * 1024 * 1024
"""Bytes: an eighth of the free space on the smallest flash (128 MB SPI-NAND) of the supported boards."""

_FIRST_AFTER: Final = (300.0, 900.0)
_EVERY: Final = (0.95 * _DAY, 1.05 * _DAY)
_WITHOUT_TIME: Final = 3600.0
_COMPARE_EVERY: Final = 3600.0

Archive = Callable[[int], Awaitable[int]]
"""Archives the old ones of the objects that have not changed since a time (trusted epoch seconds); returns
how many objects are stored no longer.
"""


@dataclass(frozen=True, slots=True)
class Tidied:
    """How much was done; `archived`: objects; `size` in bytes afterwards."""

    events: int = 0
    checkouts: int = 0
    archived: int = 0
    size: int = 0


class Retention:
    """`now`: trusted epoch seconds or None; nothing is old while the time is unknown. A day is over by either
    clock: ours stands still while a device is suspended, so the trusted one is compared every `compare_every`
    seconds.
    """

    def __init__(
        self,
        ledger: SQLiteLedger,
        now: Callable[[], int | None],
        archive: Archive,
        *,
        size_limit: int = SIZE_LIMIT,
        compare_every: float = _COMPARE_EVERY,
    ) -> None:
        self._ledger = ledger
        self._now = now
        self._archive = archive
        self._size_limit = size_limit
        self._compare_every = compare_every

    async def run(self) -> None:
        """Until cancelled."""
        await self._day_passed(random.uniform(*_FIRST_AFTER))  # noqa: S311 - spreads load, keeps no secret
        while True:
            delay = random.uniform(*_EVERY)  # noqa: S311
            try:
                if await self.tidy() is None:
                    delay = _WITHOUT_TIME
            except PaymentError as error:
                _log.warning("the ledger could not be tidied", error=error.code)
            await self._day_passed(delay)

    async def _day_passed(self, delay: float) -> None:
        """After `delay` seconds, or when it is found that a day of trusted time has passed."""
        began = self._now()
        with suppress(TimeoutError):
            async with asyncio.timeout(delay):
                while began is None or (self._now() or 0) - began < _DAY:
                    await asyncio.sleep(self._compare_every)
                    began = self._now() if began is None else began

    async def tidy(self) -> Tidied | None:
        """Everything once, in small transactions; None if the time is not known."""
        now = self._now()
        if now is None:
            return None
        events, checkouts = await self._ledger.write(
            lambda tx: (tx.inbox.prune(now - EVENTS_KEPT), tx.checkouts.prune(now - EVENTS_KEPT))
        )
        # all readers are served from memory, so corruption of the file would not show before the next start
        if (found := await self._ledger.read(lambda tx: tx.damage())) is not None:
            self._ledger.mark_corrupt(found)
            raise PaymentError("ledger_unavailable", reason=found)
        archived = await self._archive(now - RESTS_AFTER)
        size = await self._shrink()
        if size > self._size_limit:
            events += await self._ledger.write(lambda tx: tx.inbox.prune(now - EVENTS_KEPT_AT_LEAST))
            size = await self._shrink()
            if size > self._size_limit:
                _log.warning("the ledger is larger than planned", size=size, planned=self._size_limit)
        if events or checkouts or archived:
            _log.info("the ledger was tidied", events=events, archived=archived, size=size)
        return Tidied(events, checkouts, archived, size)

    async def _shrink(self) -> int:
        def shrink(tx: SQLiteTransaction) -> int:
            tx.give_back()
            return tx.size()

        return await self._ledger.write(shrink)
