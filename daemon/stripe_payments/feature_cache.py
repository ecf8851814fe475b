"""A cache of the ledger's features: `features` and `has` wait for neither flash nor network."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Final

from stripe_payments.backoff import Backoff
from stripe_payments.errors import PaymentError
from stripe_payments.log import Log

if TYPE_CHECKING:
    from stripe_payments.entitlements import Entitlement
    from stripe_payments.ledger import Ledger

_log = Log("features")

_FIRST_DELAY_S: Final = 0.2
_LONGEST_DELAY_S: Final = 10.0


class FeatureCache:
    """`changed` marks the cache stale after a commit. `then` is called once it has been read again, so that
    a listener that reacts to an unlock event by calling `has` gets the new state.
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
        """Refresh until cancelled. While the ledger cannot be read, the last state is kept."""
        backoff = Backoff(_FIRST_DELAY_S, _LONGEST_DELAY_S)
        while True:
            await self._stale.wait()
            self._stale.clear()
            try:
                await self.refresh()
            except PaymentError as error:
                _log.warning("features cannot be read, retrying", reason=error)
                self._stale.set()
                await asyncio.sleep(backoff.next_delay())
                continue
            backoff.reset()
            self._then()
