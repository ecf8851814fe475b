"""The daemon as a whole: what is started in which order, what a signal does, and how it all ends.

Start: the two objects are on the bus first, within moments; meanwhile the state directory is opened and
the settings are asked of rpcd, both for as long as it takes; then the workers run. A call that comes
earlier waits at the gate (`readiness`). Stop: no new work, the workers leave, the ledger closes, within
two seconds.
"""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from stripe_payments import __version__
from stripe_payments.bus_api.binding import Binding
from stripe_payments.bus_api.methods import METHODS
from stripe_payments.bus_api.methods import OBJECT as BUS_OBJECT
from stripe_payments.configuration import Configuration
from stripe_payments.errors import PaymentError
from stripe_payments.features_in_force import FeaturesInForce
from stripe_payments.http_api.face import HttpFace
from stripe_payments.identity import IdentityStore
from stripe_payments.journal import Journal
from stripe_payments.keys import KeyStore
from stripe_payments.ledger import Ledger
from stripe_payments.payments import CheckoutDesk, History, PaymentStatusDesk, RefundDesk
from stripe_payments.readiness import Parts, Readiness
from stripe_payments.reconcile.inbox import InboxWorker
from stripe_payments.reconcile.poller import Poller
from stripe_payments.reconcile.sync import META_CLOCK_FLOOR, Reconciler
from stripe_payments.reconcile.trusted_clock import TrustedClock
from stripe_payments.settings import Settings
from stripe_payments.single_instance import AlreadyRunningError, StateDirectory
from stripe_payments.stripe_api import StripeAPI
from stripe_payments.supervision import Supervisor
from stripe_payments.unlocks import Unlocks
from ubus_py import Client, Object

_journal = Journal("service")

_WORKERS_PATIENCE_S: Final = 0.8
_LEDGER_PATIENCE_S: Final = 0.8
_FIRST_RETRY_S: Final = 1.0
_LONGEST_RETRY_S: Final = 60.0


class Service:
    """`run` returns after `stop` (or SIGTERM, SIGINT); SIGHUP, or `reload`, reads the settings again."""

    def __init__(
        self,
        bus_path: str,
        state_dir: Path,
        *,
        environ: Mapping[str, str] = os.environ,
    ) -> None:
        self._environ = environ
        self._state = StateDirectory(state_dir)
        self._bus = Client(bus_path)
        self.readiness = Readiness()
        self._binding = Binding(self.readiness)
        self._http = HttpFace(self.readiness, self._bus)
        self._configuration = Configuration(self._bus)
        self._supervisor = Supervisor()
        self._ledger: Ledger | None = None
        self._stripe: StripeAPI | None = None
        self._checkout: CheckoutDesk | None = None
        self._stopping = asyncio.Event()
        self._reloading = asyncio.Event()

    def stop(self) -> None:
        self._stopping.set()

    def reload(self) -> None:
        self._reloading.set()

    async def run(self, *, signals: bool = False) -> None:
        """Raises `AlreadyRunningError` where another daemon holds the state directory."""
        try:
            self._state.hold()
        except OSError as error:
            self._cannot_store(error)
        if signals:
            self._listen_to_signals()
        _journal.info("starting", version=__version__)
        objects = (
            Object(BUS_OBJECT, [self._binding.bind(row) for row in METHODS], raw_text=True),
            self._http.object(),
        )
        for obj in objects:
            await self._bus.publish(obj)
        connecting = asyncio.create_task(self._connect())
        booting = asyncio.create_task(self._boot())
        stopping = asyncio.create_task(self._stopping.wait())
        try:
            # A boot that fails for good ends the service; one that succeeds leaves the workers running.
            await asyncio.wait({booting, stopping}, return_when=asyncio.FIRST_COMPLETED)
            if not self._stopping.is_set():
                booting.result()
                await self._stopping.wait()
        finally:
            for task in (connecting, booting, stopping):
                task.cancel()
            await asyncio.gather(connecting, booting, stopping, return_exceptions=True)
            await self._shut_down()

    def _listen_to_signals(self) -> None:
        loop = asyncio.get_running_loop()
        loop.add_signal_handler(signal.SIGTERM, self.stop)
        loop.add_signal_handler(signal.SIGINT, self.stop)
        loop.add_signal_handler(signal.SIGHUP, self.reload)

    async def _connect(self) -> None:
        await self._bus.start()
        _journal.info("on the bus")

    async def _boot(self) -> None:
        delay = _FIRST_RETRY_S
        while True:
            try:
                await self._open()
                return
            except PaymentError as error:
                _journal.error(
                    "payments cannot start yet", code=error.code, reason=error.details.get("reason")
                )
                self.readiness.refuse(error)
            except AlreadyRunningError:
                raise
            except OSError as error:
                self._cannot_store(error)
            except Exception as error:  # noqa: BLE001 - whatever it is, the bus gets an answer and we try again
                _journal.error("payments cannot start yet", exc=error)
                self.readiness.refuse(PaymentError("internal_error"))
            await asyncio.sleep(delay)
            delay = min(delay * 2, _LONGEST_RETRY_S)

    def _cannot_store(self, error: OSError) -> None:
        _journal.error("the state directory cannot be used", path=self._state.path, reason=error.strerror)
        self.readiness.refuse(PaymentError("ledger_unavailable", reason=error.strerror))

    async def _open(self) -> None:
        """Everything behind the faces, up to the workers. May be called again after it raised."""
        self._state.hold()
        state_dir = self._state.path
        identity, keys = IdentityStore(state_dir), KeyStore(state_dir, self._environ)
        await asyncio.to_thread(identity.load)
        if self._ledger is None:
            self._ledger = await Ledger.open(state_dir / "ledger.db")
        ledger = self._ledger
        floor = await ledger.read(lambda tx: tx.meta.get(META_CLOCK_FLOOR))
        clock = TrustedClock(int(floor) if floor and floor.isdigit() else None)
        await self._configuration.load()

        def settings() -> Settings:
            return self._configuration.current

        if self._stripe is not None:
            self._stripe.close()
        self._stripe = stripe = StripeAPI(keys.current, clock, self._environ.get("STRIPE_API_BASE") or None)
        unlocks = Unlocks(ledger, self._bus)
        in_force = FeaturesInForce(ledger, unlocks.kick)
        reconciler = Reconciler(ledger, stripe, clock, settings, identity, in_force.changed)
        await ledger.write(lambda tx: tx.inbox.rearm())  # put off by a clock that may be gone
        await unlocks.adopt()
        await reconciler.load()
        await reconciler.recompute()
        await in_force.refresh()
        inbox = InboxWorker(ledger, reconciler)
        checkout = CheckoutDesk(ledger, stripe, reconciler, settings, identity, clock)
        poller = Poller(ledger, reconciler, stripe, settings, identity, clock, withdraw=checkout.withdraw)
        checkout.tell(poller)
        self._checkout = checkout
        self.readiness.open(
            Parts(
                settings=settings,
                features=in_force,
                keys=keys,
                identity=identity,
                ledger=ledger,
                stripe=stripe,
                clock=clock,
                reconciler=reconciler,
                inbox=inbox,
                poller=poller,
                checkout=checkout,
                payment_status=PaymentStatusDesk(ledger, reconciler, settings),
                history=History(ledger, settings),
                refunds=RefundDesk(ledger, stripe, reconciler),
            )
        )
        self._bus.on_connection(lambda connected: unlocks.kick() if connected else None)
        workers = self._supervisor
        workers.start("features", in_force.run)
        workers.start("unlocks", unlocks.run)
        workers.start("inbox", inbox.run)
        workers.start("poller", poller.run)
        workers.start("reload", lambda: self._keep_reloading(reconciler, poller))
        workers.start("checkouts", checkout.resume, once=True)
        _journal.info("ready", router_id=identity.load().router_id, mode=keys.current().mode)

    async def _keep_reloading(self, reconciler: Reconciler, poller: Poller) -> None:
        while True:
            await self._reloading.wait()
            self._reloading.clear()
            if await self._configuration.load():
                changed = await reconciler.recompute()
                poller.notice()
                _journal.info("the settings were read again", changed_features=",".join(changed))

    async def _shut_down(self) -> None:
        self.readiness.close()
        await self._binding.close()
        if self._checkout is not None:
            await self._checkout.close()
        await self._supervisor.stop(_WORKERS_PATIENCE_S)
        await self._bus.close()
        if self._stripe is not None:
            self._stripe.close()
        if self._ledger is not None:
            try:
                # What is written is durable anyhow: a flash that hangs must not hold up the stop.
                await asyncio.wait_for(self._ledger.close(), _LEDGER_PATIENCE_S)
            except TimeoutError:
                _journal.warning("the ledger does not close in time")
        self._state.release()
        _journal.info("stopped")
