"""Changed settings apply in the running daemon."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final

from stripe_payments.log import Log

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping

    from stripe_payments.settings.loader import SettingsLoader
    from ubus_py import Value

_log = Log("service")

RELOAD_PATIENCE_S: Final = 5.0
"""How long a caller that waits for changed settings waits for rpcd."""


class SettingsReload:
    """Loads changed settings into the running daemon; everything that depends on them follows.

    `recompute` projects again what the settings decide. `requested` is set to have all that done, however
    long it takes. `on_change` is called when changed settings apply. `compare_uci` has the feature state in
    UCI, as it was read together with the settings, repaired if another program changed it.
    """

    def __init__(
        self,
        settings: SettingsLoader,
        recompute: Callable[[], Awaitable[tuple[str, ...]]],
        on_change: Callable[[], None],
        requested: asyncio.Event,
        compare_uci: Callable[[Mapping[str, Value] | None], None],
    ) -> None:
        self._settings = settings
        self._recompute = recompute
        self._on_change = on_change
        self._requested = requested
        self._compare_uci = compare_uci
        self._applied = settings.current

    async def run(self) -> None:
        """Until cancelled. Raises PaymentError where the ledger cannot be written, and is then run again."""
        while True:
            await self._requested.wait()
            self._requested.clear()
            try:
                await self._apply()
            except BaseException:
                self._requested.set()
                raise

    async def now(self) -> None:
        """Return when the settings are applied; or after a while, where rpcd is away: they follow later."""
        try:
            async with asyncio.timeout(RELOAD_PATIENCE_S):
                await self._apply()
        except TimeoutError:
            self._requested.set()

    async def _apply(self) -> None:
        self._compare_uci(await self._settings.load())
        settings = self._settings.current
        if settings == self._applied:
            return
        changed = await self._recompute()
        self._applied = settings
        self._on_change()
        _log.info("settings reloaded", changed_features=",".join(changed))
