"""The features as the ledger holds them, in memory: `features` and `has` wait for neither flash nor
network.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from stripe_payments.entitlements import Entitlement
    from stripe_payments.ledger import Ledger


class FeaturesInForce:
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
        while True:
            await self._stale.wait()
            self._stale.clear()
            await self.refresh()
            self._then()
