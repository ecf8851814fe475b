"""What keeps the ledger small over the years: once a day old events go, and beyond a size the oldest objects.

The history that people read (transactions), what was bought and what is unlocked are never touched.
"""

import asyncio
import random
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Final

from stripe_payments.errors import PaymentError
from stripe_payments.ledger.database import Ledger
from stripe_payments.ledger.opening import CHECKED_WHOLE
from stripe_payments.ledger.schema import BOUGHT
from stripe_payments.ledger.transaction import WALKS, Transaction, Walk
from stripe_payments.log import Log

__all__ = ["LedgerCare", "Tidied"]

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
KEPT_OF_A_TYPE: Final = 100
"""Newest objects of each type that stay whatever the size: all that polling looks at, and more."""

_ROWS_AT_ONCE: Final = 500
"""A moment of the ledger's thread: others get their turn in between."""

_FIRST_AFTER: Final = (300.0, 900.0)
_EVERY: Final = (0.95 * _DAY, 1.05 * _DAY)
_WITHOUT_TIME: Final = 3600.0


@dataclass(frozen=True, slots=True)
class Tidied:
    """How much was done; `size` in bytes afterwards."""

    events: int = 0
    checkouts: int = 0
    dropped: int = 0
    size: int = 0


class LedgerCare:
    """`now`: trusted epoch seconds or None; nothing is old while the time is unknown."""

    def __init__(
        self, ledger: Ledger, now: Callable[[], int | None], *, size_limit: int = SIZE_LIMIT
    ) -> None:
        self._ledger = ledger
        self._now = now
        self._size_limit = size_limit

    async def run(self) -> None:
        """Until cancelled."""
        await asyncio.sleep(random.uniform(*_FIRST_AFTER))  # noqa: S311 - spreads load, keeps no secret
        while True:
            delay = random.uniform(*_EVERY)  # noqa: S311
            try:
                if await self.tidy() is None:
                    delay = _WITHOUT_TIME
            except PaymentError as error:
                _log.warning("the ledger could not be tidied", error=error.code)
            await asyncio.sleep(delay)

    async def tidy(self) -> Tidied | None:
        """Once through everything, in small transactions; None if the time is not known."""
        now = self._now()
        if now is None:
            return None
        events, checkouts = await self._ledger.write(
            lambda tx: (tx.inbox.prune(now - EVENTS_KEPT), tx.checkouts.prune(now - EVENTS_KEPT))
        )
        dropped = 0
        size = await self._shrink()
        if size > self._size_limit:
            events += await self._ledger.write(lambda tx: tx.inbox.prune(now - EVENTS_KEPT_AT_LEAST))
            while count := await self._ledger.write(
                lambda tx: tx.objects.drop_oldest(now - RESTS_AFTER, KEPT_OF_A_TYPE)
            ):
                dropped += count
            size = await self._shrink()
            if size > self._size_limit:
                _log.warning("the ledger is larger than planned", size=size, planned=self._size_limit)
        if size > CHECKED_WHOLE:
            await self.read_through()
        if events or checkouts or dropped:
            _log.info("the ledger was tidied", events=events, dropped=dropped, size=size)
        return Tidied(events, checkouts, dropped, size)

    async def read_through(self) -> None:
        """What the start leaves out of a large file: damage is found before somebody needs that page."""
        for table in BOUGHT:
            if (found := await self._ledger.read(partial(Transaction.damage, table=table))) is not None:
                self._ledger.mark_corrupt(found)
                raise PaymentError("ledger_unavailable", reason=found)
        for walk in WALKS:
            after: tuple[object, ...] | None = ()
            while after is not None:
                after = await self._ledger.read(_piece(walk, after))

    async def _shrink(self) -> int:
        def shrink(tx: Transaction) -> int:
            tx.give_back()
            return tx.size()

        return await self._ledger.write(shrink)


def _piece(walk: Walk, after: tuple[object, ...]) -> Callable[[Transaction], tuple[object, ...] | None]:
    return lambda tx: tx.read_through(walk, after, _ROWS_AT_ONCE)
