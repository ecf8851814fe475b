"""Keeps UCI `stripe-features` equal to the ledger, while scripts run and events are sent.

A commit's features are written as soon as it is durable. Besides, UCI is compared with the ledger at the
start, at each poll, at each reload and every 10 seconds: no event says that an editor or `uci commit` wrote
the file, or that a parallel commit undid ours. Only what differs is written. After a failure the retry
compares.
"""

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager, suppress
from typing import Final

from stripe_payments.backoff import Backoff
from stripe_payments.entitlements import Entitlement
from stripe_payments.errors import PaymentError
from stripe_payments.ledger import SQLiteLedger
from stripe_payments.log import Log
from stripe_payments.unlocks.router_bus import RouterBus, out_of_date
from ubus_py import UbusError, Value

__all__ = ["UciWriter"]

_log = Log("unlocks")

_COMPARE_EVERY_S: Final = 10.0
_FIRST_DELAY_S: Final = 0.2
_LONGEST_DELAY_S: Final = 10.0


class UciWriter:
    """`run` works until it is cancelled."""

    def __init__(self, ledger: SQLiteLedger, router: RouterBus) -> None:
        self._ledger = ledger
        self._router = router
        self._wakeup = asyncio.Event()
        self._writing = asyncio.Lock()
        self._committed: Mapping[str, Entitlement] | None = None
        """Every feature as of the last commit, until UCI has it."""
        self._compared = asyncio.Event()
        """Set once UCI was compared: before that all features would differ from what is cached of it."""
        self._compare_at = 0.0
        """When (loop time) UCI is due to be compared."""
        self._sections: Mapping[str, Value] | None = None
        """What to compare; None: to be read."""
        self._refused: set[str] = set()
        """Features that the helper refused at the last comparison; logged once."""
        self.idle = asyncio.Event()
        """Set while UCI agrees with the ledger, as far as is known."""
        self.last_error: str | None = None
        """Why the last attempt failed; None while UCI can be written."""

    def wake(self, committed: Mapping[str, Entitlement] | None = None) -> None:
        """Write `committed`, every feature as of the last commit; end the backoff after a failure."""
        if committed is not None:
            self._committed = committed
        self.idle.clear()
        self._wakeup.set()

    def compare(self, sections: Mapping[str, Value] | None) -> None:
        """Compare UCI with the ledger now: another program may have written it. `sections`: as read just now,
        None to have them read.
        """
        self._sections = sections
        self._compare_at = 0.0
        self.wake()

    @asynccontextmanager
    async def exclusive(self) -> AsyncIterator[None]:
        """No other write of UCI meanwhile: what is read from the ledger within it may be written, and UCI
        never goes back in time. Waits for the first comparison.
        """
        await self._compared.wait()
        async with self._writing:
            yield

    async def run(self) -> None:
        backoff = Backoff(_FIRST_DELAY_S, _LONGEST_DELAY_S)
        while True:
            self._wakeup.clear()
            try:
                async with self._writing:
                    await self._write()
            except (UbusError, PaymentError) as error:
                self._compare_at, self._sections = 0.0, None
                if not backoff.failures:
                    _log.warning("UCI not written, retrying", reason=error)
                self.last_error = str(error)
                pause = backoff.next_delay()
            else:
                if backoff.failures:
                    _log.info("UCI written again")
                backoff.reset()
                self.last_error = None
                if not self._wakeup.is_set():
                    self.idle.set()
                pause = self._compare_at - asyncio.get_running_loop().time()
            with suppress(TimeoutError):
                async with asyncio.timeout(pause):
                    await self._wakeup.wait()

    async def _write(self) -> None:
        if self._committed is not None and self._compared.is_set():
            committed, self._committed = self._committed, None
            await self._router.store_uci(
                [held for name, held in committed.items() if name not in self._refused]
            )
        now = asyncio.get_running_loop().time()
        if now >= self._compare_at:
            self._compare_at = now + _COMPARE_EVERY_S  # before the file is read: a later request counts
            await self._resync()
            self._compared.set()

    async def _resync(self) -> None:
        """Write what differs from the ledger: the file may have been edited, removed or damaged, or a power
        cut have come between the two.
        """
        sections, self._sections = self._sections, None
        if sections is None:
            sections = await self._router.load_uci()
        features = await self._ledger.read(lambda tx: tx.features.all())
        wrong = out_of_date(features, sections, fresh=self._ledger.fresh)
        self._router.cache_uci([held for held in features.values() if held not in wrong])
        if wrong:
            refused = await self._router.store_uci(wrong)
            for name in sorted(refused - self._refused):
                _log.error("feature cannot be written to UCI", feature=name)
            self._refused = refused
            if stored := sorted({held.feature for held in wrong} - refused):
                _log.info("UCI resynced", features=",".join(stored))
