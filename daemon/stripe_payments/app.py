"""The daemon as a whole: what is started in which order, what a signal does, and how it all ends.

Start: the two objects are on the bus first, within moments; then what does the work is loaded, the state
directory opened and the settings asked of rpcd, for as long as that takes (`wiring`). A call that comes
earlier waits at the gate (`readiness`). A ledger that turns out to be damaged later on ends all of that, and
it is done once more, with a new ledger. Stop: no new work, the workers leave, the ledger closes, within
two seconds.
"""

from __future__ import annotations

import asyncio
import os
import signal
import time
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Final

from stripe_payments import __version__
from stripe_payments.bus_api.binding import Binding
from stripe_payments.bus_api.table import METHODS, OBJECT
from stripe_payments.errors import PaymentError
from stripe_payments.http_api.gateway_object import gateway_object
from stripe_payments.log import Log
from stripe_payments.readiness import Readiness
from stripe_payments.single_instance import AlreadyRunningError, StateDirectory
from ubus_py import Client, Object

if TYPE_CHECKING:
    from stripe_payments.http_api.app import HttpApp
    from stripe_payments.wiring import Wiring

_log = Log("service")

_FIRST_RETRY_S: Final = 1.0
_LONGEST_RETRY_S: Final = 60.0
_BUS_FIRST_S: Final = 1.0
"""How long the rest of the start waits for ubusd."""
_BETWEEN_LEDGERS_S: Final = 60.0
"""A damaged ledger is replaced once in so long: each time Stripe is asked for everything."""


class Service:
    """`run` returns after `stop` (or SIGTERM, SIGINT); SIGHUP, or `reload`, reads the settings again."""

    def __init__(
        self,
        bus_path: str,
        state_dir: Path,
        *,
        environ: Mapping[str, str] = os.environ,
        sign_of_life: Path | None = None,
    ) -> None:
        self._environ = environ
        self._sign_of_life = sign_of_life
        self._state = StateDirectory(state_dir)
        self._bus = Client(bus_path)
        self.readiness = Readiness()
        self._binding = Binding(self.readiness)
        self._http: HttpApp | None = None
        self._wiring: Wiring | None = None
        self._stopping = asyncio.Event()
        self._reloading = asyncio.Event()
        self._anew_at = -_BETWEEN_LEDGERS_S

    def stop(self) -> None:
        self._stopping.set()

    def reload(self) -> None:
        self._reloading.set()

    async def run(self, *, signals: bool = False) -> None:
        """Raises `AlreadyRunningError` where another daemon holds the state directory."""
        watching = None
        if signals:
            self._listen_to_signals()
            watching = asyncio.create_task(self._watch())
        try:
            self._state.hold()
        except OSError as error:
            self._cannot_store(error)
        _log.info("starting", version=__version__)
        await self._bus.publish(Object(OBJECT, [self._binding.bind(row) for row in METHODS], raw_text=True))
        await self._bus.publish(gateway_object(self._http_face))
        booting = asyncio.create_task(self._boot())
        stopping = asyncio.create_task(self._stopping.wait())
        try:
            # A boot that fails for good ends the service; one that succeeds leaves the workers running.
            await asyncio.wait({booting, stopping}, return_when=asyncio.FIRST_COMPLETED)
            if not self._stopping.is_set():
                booting.result()
                await self._stopping.wait()
        finally:
            tasks = [task for task in (booting, stopping, watching) if task is not None]
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            await self._shut_down()

    async def _watch(self) -> None:
        from stripe_payments.watchdog import Watchdog

        await Watchdog(self._sign_of_life).keep(lambda: self.readiness.now is not None)

    def _listen_to_signals(self) -> None:
        loop = asyncio.get_running_loop()
        loop.add_signal_handler(signal.SIGTERM, self.stop)
        loop.add_signal_handler(signal.SIGINT, self.stop)
        loop.add_signal_handler(signal.SIGHUP, self.reload)

    def _http_face(self) -> HttpApp:
        if self._http is None:
            from stripe_payments.http_api.app import HttpApp

            self._http = HttpApp(self.readiness, self._bus)
        return self._http

    async def _boot(self) -> None:
        connecting = asyncio.create_task(self._connect())
        try:
            await asyncio.wait({connecting}, timeout=_BUS_FIRST_S)
            await self._open_until_it_works()
            await connecting
            while True:
                await self._begin_anew(await self._opened().ledger_is_damaged())
        finally:
            connecting.cancel()

    async def _connect(self) -> None:
        await self._bus.start()
        _log.info("on the bus")

    def _opened(self) -> Wiring:
        if self._wiring is None:
            raise RuntimeError("nothing is open")
        return self._wiring

    async def _begin_anew(self, damage: str) -> None:
        """A restart in place: nothing that is kept in memory outlives the ledger that it came from."""
        wiring = self._opened()
        self.readiness.reopen()
        await wiring.stop_working()
        await wiring.close()
        pause = self._anew_at + _BETWEEN_LEDGERS_S - time.monotonic()
        if pause > 0:  # the flash itself is failing
            self.readiness.refuse(PaymentError("ledger_unavailable", reason=damage))
            await asyncio.sleep(pause)
            self.readiness.reopen()
        self._anew_at = time.monotonic()
        await self._open_until_it_works(condemned=damage)

    async def _open_until_it_works(self, condemned: str | None = None) -> None:
        from stripe_payments.diagnostics import Diagnostics
        from stripe_payments.wiring import Wiring

        wiring = Wiring(self._bus, self._state.path, self._environ, self._reloading, condemned)
        self._wiring = wiring
        self.readiness.diagnostics = Diagnostics(lambda: wiring.situation(self.readiness.refusal))
        delay = _FIRST_RETRY_S
        while True:
            try:
                self._state.hold()
                await wiring.open(self.readiness.open)
                return
            except PaymentError as error:
                reason = error.details.get("reason")
                _log.error("payments cannot start yet", code=error.code, reason=reason)
                self.readiness.refuse(error)
            except AlreadyRunningError:
                raise
            except OSError as error:
                self._cannot_store(error)
            except Exception as error:  # noqa: BLE001 - whatever it is, callers are told and we try again
                _log.error("payments cannot start yet", exc=error)
                self.readiness.refuse(PaymentError("internal_error"))
            await asyncio.sleep(delay)
            delay = min(delay * 2, _LONGEST_RETRY_S)

    def _cannot_store(self, error: OSError) -> None:
        _log.error("the state directory cannot be used", path=self._state.path, reason=error.strerror)
        self.readiness.refuse(PaymentError("ledger_unavailable", reason=error.strerror))

    async def _shut_down(self) -> None:
        self.readiness.close()
        await self._binding.close()
        if self._wiring is not None:
            await self._wiring.stop_working()
        await self._bus.close()
        if self._wiring is not None:
            await self._wiring.close()
        self._state.release()
        _log.info("stopped")
