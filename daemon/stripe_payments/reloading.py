"""Settings that changed under the running daemon: read again, and all that rests on them follows."""

from __future__ import annotations

import asyncio
from typing import Final

from stripe_payments.log import Log
from stripe_payments.settings.loader import Configuration
from stripe_payments.sync import Reconciler

_log = Log("service")

PATIENCE_S: Final = 5.0
"""How long somebody who is waiting for an answer waits for rpcd."""


class Reloading:
    """`asked` is set by whoever wants the settings read again; that is done, however long it takes.

    Made while `reconciler` follows what `configuration` has.
    """

    def __init__(
        self,
        configuration: Configuration,
        reconciler: Reconciler,
        poll_wakeup: asyncio.Event,
        asked: asyncio.Event,
    ) -> None:
        self._configuration = configuration
        self._reconciler = reconciler
        self._poll_wakeup = poll_wakeup
        self._asked = asked
        self._followed = configuration.current

    async def run(self) -> None:
        """Until cancelled. Raises PaymentError where the ledger cannot be written, and is then run again."""
        while True:
            await self._asked.wait()
            self._asked.clear()
            try:
                await self._follow()
            except BaseException:
                self._asked.set()
                raise

    async def now(self) -> None:
        """Returns when they are in force; or after a while, where rpcd is away: then they follow later."""
        try:
            async with asyncio.timeout(PATIENCE_S):
                await self._follow()
        except TimeoutError:
            self._asked.set()

    async def _follow(self) -> None:
        await self._configuration.load()
        settings = self._configuration.current
        if settings == self._followed:
            return
        changed = await self._reconciler.recompute()
        self._followed = settings
        self._poll_wakeup.set()
        _log.info("the settings were read again", changed_features=",".join(changed))
