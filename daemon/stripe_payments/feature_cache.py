"""The features as the ledger holds them, in memory: `features` and `has` wait for neither flash nor
network.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Final

from stripe_payments.errors import PaymentError
from stripe_payments.log import Log

if TYPE_CHECKING:
    from stripe_payments.entitlements import Entitlement
    from stripe_payments.ledger import Ledger

_log = Log("features")

_FIRST_DELAY_S: Final = 0.2
_LONGEST_DELAY_S: Final = 10.0


class FeatureCache:
    """`changed()` after a commit that may have touched them; `then` is called once they have been read
    again, so that whoever hears of an unlock and asks back gets the new answer.
    """

    def __init__(self, ledger: Ledger, then: Callable[[], None]) -> None:
        self._ledger = ledger
        self._then = then
        self._stale = asyncio.Event()
        self.current: Mapping[str, Entitlement] = {}

    def changed(self) -> None:
        self._stale.set()

    async def refresh(self) -> None:
        self.current = await self._ledger.read(lambda tx: tx.features.all())

    async def run(self) -> None:
        """Until cancelled. While the ledger cannot be read, what it said last stays in force."""
        delay = _FIRST_DELAY_S
        while True:
            await self._stale.wait()
            self._stale.clear()
            try:
                await self.refresh()
            except PaymentError as error:
                _log.warning("the features cannot be read; trying on", reason=error)
                self._stale.set()
                await asyncio.sleep(delay)
                delay = min(delay * 2, _LONGEST_DELAY_S)
                continue
            delay = _FIRST_DELAY_S
            self._then()
