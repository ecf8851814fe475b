"""Publishes the ubus object `stripe-payments` with the methods of the mode that the settings say.

With `managed` on, and in hub mode, the seller's methods are not registered at all: ubusd lets root call
whatever is published, and rpcd every login with `list write '*'`. ubus cannot change a published object, so
another of the same name replaces it.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final

from stripe_payments.log import Log
from ubus_py import ConnectionLost

if TYPE_CHECKING:
    from collections.abc import Callable

    from stripe_payments.bus_method import Dispatcher, Mode
    from stripe_payments.settings import Settings
    from ubus_py import Client

_log = Log("bus")

_PATIENCE_S: Final = 30.0
"""How long a replacement waits for running calls; each ends within `CALL_TIMEOUT_S`."""


class BusObject:
    """`publish` once, then `follow` for as long as there are settings; `settings_changed` wakes it."""

    def __init__(self, bus: Client, dispatcher: Dispatcher) -> None:
        self._bus = bus
        self._dispatcher = dispatcher
        self._mode: Mode = "direct"
        self._object = dispatcher.object()
        self._changed = asyncio.Event()

    async def publish(self, mode: Mode) -> None:
        """`mode`: as far as is known before the settings are loaded."""
        self._mode = mode
        self._object = self._dispatcher.object(self._mode)
        await self._bus.publish(self._object)

    def settings_changed(self) -> None:
        self._changed.set()

    async def follow(self, settings: Callable[[], Settings]) -> None:
        """Until cancelled."""
        while True:
            self._changed.clear()
            mode = _mode(settings())
            if mode != self._mode:
                await self._replace(mode)
            else:
                await self._changed.wait()

    async def _replace(self, mode: Mode) -> None:
        """Once no call runs: ubusd discards the answers of an object that is gone. The dispatcher refuses the
        seller's methods in the meantime. The response to a lookup comes after every call that ubusd had
        forwarded before it; what is left unanswered is a call in the moment between it and the replacement.
        """
        before, after = self._object, self._dispatcher.object(mode)
        try:
            async with asyncio.timeout(_PATIENCE_S):
                await self._bus.lookup(before.name)
                while before.calls:
                    await asyncio.wait(tuple(before.calls))
                    await self._bus.lookup(before.name)
        except ConnectionLost:
            pass  # the next connection publishes the new one
        except TimeoutError:
            _log.warning("bus object replaced while calls run", calls=len(before.calls))
        self._object, self._mode = after, mode
        await self._bus.replace(before, after)
        _log.info("bus object replaced", mode=mode)


def _mode(settings: Settings) -> Mode:
    if settings.hub is not None:
        return "hub"
    return "managed" if settings.managed else "direct"
