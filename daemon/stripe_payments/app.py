"""The daemon as a whole: builds every part once, in the order of their dependencies, starts and stops them.

Start: the two ubus objects are published first, within 0.3 s; then the rest is imported, the state directory
opened and the settings loaded from rpcd, retried for as long as that takes. Calls that arrive earlier wait at
the gate (`startup_gate`). A ledger that turns out to be corrupt later ends all of that, and the daemon
restarts in place with a new ledger; so does another value of the option `hub`, with the same ledger. Stop: no
new calls, the workers end, the ledger closes, within two seconds.

What `App` imports at the top is loaded before the daemon is on the bus; SQLite, the payment rules and the
HTTP API are imported afterwards, the Stripe SDK with the first request to Stripe.
"""

from __future__ import annotations

import asyncio
import os
import signal
import time
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Final

from stripe_payments import __version__
from stripe_payments.backoff import Backoff
from stripe_payments.bus_api import api
from stripe_payments.bus_method import Dispatcher, Mode
from stripe_payments.bus_object import BusObject
from stripe_payments.diagnostics import Diagnostics
from stripe_payments.errors import PaymentError
from stripe_payments.log import Log
from stripe_payments.shared_tasks import first_of
from stripe_payments.single_instance import AlreadyRunningError, StateDirectory
from stripe_payments.startup_gate import Parts, StartupGate
from stripe_payments.supervisor import Supervisor
from ubus_py import STRING, TABLE, Call, Client, Encodable, Method, Object

if TYPE_CHECKING:
    from stripe_payments.clock import TrustedClock
    from stripe_payments.diagnostics.probes import Situation
    from stripe_payments.http_api.routing import HttpApp
    from stripe_payments.hub_client import HubParts
    from stripe_payments.identity import IdentityStore
    from stripe_payments.keys import KeyStore
    from stripe_payments.ledger import Retention, SQLiteLedger
    from stripe_payments.seller_socket import SellerSocket
    from stripe_payments.settings import SellerContact
    from stripe_payments.settings.loader import SettingsLoader
    from stripe_payments.stripe_api import StripeAPI
    from stripe_payments.sync import Reconciler
    from stripe_payments.unlocks import Unlocks

_log = Log("service")

HTTP_OBJECT: Final = "stripe-payments.http"
_HTTP_REQUEST: Final = {"method": STRING, "path": STRING, "query": STRING, "headers": TABLE, "body": STRING}

_FIRST_RETRY_S: Final = 1.0
_LONGEST_RETRY_S: Final = 10.0
"""A storage that has room, or is writable, again is noticed within 15 s."""
_BUS_FIRST_S: Final = 1.0
"""How long the rest of the start waits for ubusd."""
_BETWEEN_LEDGERS_S: Final = 60.0
"""A corrupt ledger is replaced at most once per minute: each time everything is fetched from Stripe."""
_WORKERS_PATIENCE_S: Final = 0.8
_LEDGER_PATIENCE_S: Final = 0.8


@dataclass(frozen=True, slots=True)
class Stored:
    """What is stored outside of the ledger."""

    settings: SettingsLoader
    keys: KeyStore
    identity: IdentityStore


class App:
    """`run` returns after `stop` (SIGTERM, SIGINT); `reload` (SIGHUP, SIGURG) loads the settings again."""

    def __init__(
        self,
        bus_path: str,
        state_dir: Path,
        *,
        environ: Mapping[str, str] = os.environ,
        sign_of_life: Path | None = None,
        private: Path | None = None,
    ) -> None:
        """`private`: a directory that only root and this user may enter, for the seller's commands."""
        self._sign_of_life = sign_of_life
        self._state = StateDirectory(state_dir)
        self._bus = Client(bus_path)
        self._environ = environ
        self._api_base = environ.get("STRIPE_API_BASE") or None
        runtime = environ.get("TMPDIR")  # the init script's: in memory, so that a reboot empties it
        self._runtime = Path(runtime) if runtime else None
        self._stopping = asyncio.Event()
        self._reload_requested = asyncio.Event()
        self.gate = StartupGate()
        self._bus_api = Dispatcher(api, self.gate, Diagnostics(self.situation))
        self._bus_object = BusObject(self._bus, self._bus_api)
        self._private = private
        self._seller_socket: SellerSocket | None = None
        self._http_api: HttpApp | None = None
        self._stored: Stored | None = None
        # what depends on the ledger, and so is built again for a new one
        self._ledger: SQLiteLedger | None = None
        self._stripe: StripeAPI | None = None
        self._unlocks: Unlocks | None = None
        self._parts: Parts | None = None
        self._hub: HubParts | None = None
        self._mode_changed = asyncio.Event()
        self._workers = Supervisor()
        self._replaced_at = -_BETWEEN_LEDGERS_S

    def stop(self) -> None:
        self._stopping.set()

    def reload(self) -> None:
        self._reload_requested.set()

    async def run(self, *, signals: bool = False) -> None:
        """Raises `AlreadyRunningError` where another daemon holds the state directory."""
        watchdog = None
        if signals:
            self._handle_signals()
            watchdog = asyncio.create_task(self._keep_watchdog())
        try:
            self._state.hold()
        except OSError as error:
            self._refuse_storage(error)
        _log.info("starting", version=__version__)
        await self._bus_object.publish(self._mode_at_start())
        await self._bus.publish(self._http_object())
        self._bus.on_connection(self._connection_changed)
        if self._private is not None:
            from stripe_payments.seller_socket import SellerSocket

            self._seller_socket = SellerSocket(self._bus_api, self._private / "seller.sock")
            await self._seller_socket.open()
        starting = asyncio.create_task(self._start())
        stopping = asyncio.create_task(self._stopping.wait())
        try:
            # A start that fails for good ends the daemon; otherwise it goes on waiting for a corrupt ledger.
            await asyncio.wait({starting, stopping}, return_when=asyncio.FIRST_COMPLETED)
            if not self._stopping.is_set():
                starting.result()
        finally:
            tasks = [task for task in (starting, stopping, watchdog) if task is not None]
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            await self._shut_down()

    def situation(self) -> Situation:
        """What the checks examine, also before the start has succeeded. Raises PaymentError `starting`."""
        from stripe_payments.diagnostics.probes import Situation

        parts, stored, hub = self._parts, self._stored, self._hub
        if stored is None:
            raise PaymentError("starting")
        return Situation(
            settings=stored.settings.current,
            keys=stored.keys,
            identity=stored.identity,
            state_dir=self._state.path,
            bus=self._bus,
            api_base=self._api_base,
            refused_webhooks=self._http_api.refused_webhooks if self._http_api is not None else None,
            ledger=self._ledger,
            state=parts.reconciler.state if parts is not None else None,
            clock=parts.clock if parts is not None else hub.clock if hub is not None else None,
            last_sync=parts.reconciler.last_sync if parts is not None else None,
            unseen_s=parts.reconciler.unseen_s if parts is not None else lambda _: 0,
            lacks_search=parts is not None and parts.stripe.lacks_search,
            unlocks_trouble=self._unlocks.last_error if self._unlocks is not None else None,
            refusal=self.gate.refusal,
            hub=hub,
        )

    def _mode_at_start(self) -> Mode:
        """By the marks of the init script: the settings themselves are loaded later, from rpcd."""
        if self._private is None or not (self._private / "managed").exists():
            return "direct"
        return "hub" if (self._private / "hub").exists() else "managed"

    # -- on the bus -------------------------------------------------------------------------------

    def _http_object(self) -> Object:
        """`raw_text`: a webhook signature is verified over the very bytes that were received."""

        async def request(call: Call) -> Mapping[str, Encodable]:
            if self._http_api is None:
                from stripe_payments.http_api.routing import HttpApp

                self._http_api = HttpApp(self.gate, self._bus)
            return await self._http_api.request(call)

        return Object(
            HTTP_OBJECT, [Method("request", request, _HTTP_REQUEST, check_types=False)], raw_text=True
        )

    def _connection_changed(self, connected: bool) -> None:
        if connected and self._unlocks is not None:
            self._unlocks.wake()

    def _handle_signals(self) -> None:
        loop = asyncio.get_running_loop()
        loop.add_signal_handler(signal.SIGTERM, self.stop)
        loop.add_signal_handler(signal.SIGINT, self.stop)
        for reload in (signal.SIGHUP, signal.SIGURG):
            loop.add_signal_handler(reload, self.reload)

    async def _keep_watchdog(self) -> None:
        from stripe_payments.watchdog import Watchdog

        await Watchdog(self._sign_of_life).keep(lambda: self.gate.now is not None)

    # -- start ------------------------------------------------------------------------------------

    async def _start(self) -> None:
        """Start, and restart in place whenever the ledger is found to be corrupt. Ends by being cancelled."""
        connecting = asyncio.create_task(self._connect())
        try:
            await asyncio.wait({connecting}, timeout=_BUS_FIRST_S)
            stored = self._stored = self._load_stored()
            ledger = await self._open_with_retries(stored, None)
            await connecting
            while True:
                await first_of(ledger.corrupted, self._mode_changed)
                if ledger.corrupted.is_set():
                    ledger = await self._replace_ledger(stored, str(ledger.corruption))
                else:
                    ledger = await self._change_mode(stored)
        finally:
            connecting.cancel()

    async def _connect(self) -> None:
        await self._bus.start()
        _log.info("connected to ubus")

    def _load_stored(self) -> Stored:
        from stripe_payments.identity import IdentityStore
        from stripe_payments.keys import KeyStore
        from stripe_payments.settings.loader import SettingsLoader

        folder = self._state.path
        return Stored(
            SettingsLoader(self._bus, folder), KeyStore(folder, self._environ), IdentityStore(folder)
        )

    async def _replace_ledger(self, stored: Stored, corruption: str) -> SQLiteLedger:
        """A restart in place: nothing in memory that came from the corrupt ledger survives."""
        self.gate.reset()
        await self._stop_work()
        await self._close_storage()
        pause = self._replaced_at + _BETWEEN_LEDGERS_S - time.monotonic()
        if pause > 0:  # the flash itself is failing
            self.gate.refuse(PaymentError("ledger_unavailable", reason=corruption))
            await asyncio.sleep(pause)
            self.gate.reset()
        self._replaced_at = time.monotonic()
        return await self._open_with_retries(stored, corruption)

    async def _change_mode(self, stored: Stored) -> SQLiteLedger:
        """A restart in place with another set of parts."""
        self.gate.reset()
        await self._stop_work()
        await self._close_storage()
        return await self._open_with_retries(stored, None)

    async def _open_with_retries(self, stored: Stored, corruption: str | None) -> SQLiteLedger:
        """`corruption`: why the ledger on disk is known to be corrupt, None if it is not."""
        backoff = Backoff(_FIRST_RETRY_S, _LONGEST_RETRY_S)
        while True:
            try:
                self._state.hold()
                return await self._open(stored, corruption)
            except PaymentError as error:
                reason = error.details.get("reason")
                _log.error("start failed, retrying", code=error.code, reason=reason)
                self.gate.refuse(error)
            except AlreadyRunningError:
                raise
            except OSError as error:
                self._refuse_storage(error)
            except Exception as error:  # noqa: BLE001 - callers get an error, and the start is retried
                _log.error("start failed, retrying", exc=error)
                self.gate.refuse(PaymentError("internal_error"))
            await asyncio.sleep(backoff.next_delay())

    def _refuse_storage(self, error: OSError) -> None:
        _log.error("state directory cannot be used", path=self._state.path, reason=error.strerror)
        self.gate.refuse(PaymentError("ledger_unavailable", reason=error.strerror))

    async def _open(self, stored: Stored, corruption: str | None) -> SQLiteLedger:
        """Build the parts, open the gate, start the workers. Raises PaymentError or OSError; what was opened
        by then stays open for the next attempt.
        """
        from stripe_payments.clock import META_CLOCK_FLOOR, TrustedClock
        from stripe_payments.ledger import SQLiteLedger

        if self._ledger is None:
            self._ledger = await SQLiteLedger.open(self._state.path / "ledger.db", corrupt=corruption)
        ledger = self._ledger
        floor = await ledger.read(lambda tx: tx.meta.get(META_CLOCK_FLOOR))
        clock = TrustedClock(int(floor) if floor and floor.isdigit() else None)
        self._mode_changed.clear()
        await stored.settings.load()
        if stored.settings.current.hub is None:
            await self._open_direct(stored, ledger, clock)
        else:
            await self._open_hub(stored, ledger, clock)
        return ledger

    async def _open_direct(self, stored: Stored, ledger: SQLiteLedger, clock: TrustedClock) -> None:
        from stripe_payments.identity import META_ROUTER_ID
        from stripe_payments.ledger import Retention
        from stripe_payments.stripe_api import StripeAPI
        from stripe_payments.sync import Reconciler
        from stripe_payments.sync.mode_change import recorded_identity, settle_mode
        from stripe_payments.unlocks import Unlocks, adopt_features

        settings, keys, identity = stored.settings, stored.keys, stored.identity
        recorded = await ledger.read(recorded_identity)
        router_id = (await asyncio.to_thread(identity.load, recorded)).router_id
        await ledger.write(lambda tx: tx.meta.set(META_ROUTER_ID, router_id))
        if self._stripe is not None:  # an earlier attempt's, with that one's clock
            self._stripe.close()
        stripe = self._stripe = StripeAPI(keys.current, clock, self._api_base)
        unlocks = Unlocks(ledger, self._bus, self._runtime)
        reconciler = Reconciler(ledger, stripe, clock, settings.get, identity, unlocks.wake)
        retention = Retention(ledger, clock.now, reconciler.archive)
        # Their times are of a clock that ended with its boot.
        await ledger.write(lambda tx: tx.inbox.reset_retries())
        await adopt_features(ledger, self._bus)
        await reconciler.load()
        await settle_mode(keys.current().mode, ledger, identity, reconciler)
        await reconciler.recompute()
        self._unlocks = unlocks
        self._work(stored, ledger, stripe, clock, reconciler, unlocks, retention)
        _log.info("ready", router_id=router_id, mode=keys.current().mode)

    async def _open_hub(self, stored: Stored, ledger: SQLiteLedger, clock: TrustedClock) -> None:
        """As `_open_direct`, with the parts of hub mode: no key, and the Stripe SDK is not imported."""
        from stripe_payments.hub_client import connect_to_hub
        from stripe_payments.settings_reload import SettingsReload
        from stripe_payments.unlocks import Unlocks, adopt_features

        await adopt_features(ledger, self._bus)
        if self._hub is not None:  # an earlier attempt's
            self._hub.close()
        unlocks = Unlocks(ledger, self._bus, self._runtime)
        hub = self._hub = await connect_to_hub(
            ledger, clock, self._state.path, stored.settings.get, self._bus, unlocks.wake, self._api_base
        )
        self._unlocks = unlocks

        def on_settings() -> None:
            hub.seller.poll_soon()
            self._settings_changed(hub.url, stored.settings)

        reload = SettingsReload(
            stored.settings, hub.seller.recompute, on_settings, self._reload_requested, unlocks.compare_uci
        )
        self.gate.open(hub)
        self._workers.start("unlocks", unlocks.run)
        self._workers.start("hub", hub.seller.run)
        self._workers.start("checkouts", hub.checkout.run)
        self._workers.start("reload", reload.run)
        self._workers.start("bus object", partial(self._bus_object.follow, stored.settings.get))
        self._workers.start("retention", hub.retention.run)
        _log.info("ready", hub=hub.url, router_id=hub.seller.router_id)

    def _settings_changed(self, hub: str | None, settings: SettingsLoader) -> None:
        """`hub`: the option's value at the start."""
        self._bus_object.settings_changed()
        if settings.current.hub != hub:
            self._mode_changed.set()

    def _work(
        self,
        stored: Stored,
        ledger: SQLiteLedger,
        stripe: StripeAPI,
        clock: TrustedClock,
        reconciler: Reconciler,
        unlocks: Unlocks,
        retention: Retention,
    ) -> None:
        """Build the services, open the gate for calls, start the workers."""
        from stripe_payments import billing
        from stripe_payments.settings_reload import SettingsReload
        from stripe_payments.setup import Provisioner, WebhookSetup, store_in_uci
        from stripe_payments.sync import InboxWorker, Poller

        settings, identity, keys = stored.settings.get, stored.identity, stored.keys
        poll_wakeup = asyncio.Event()
        inbox = InboxWorker(ledger, reconciler)

        def seller() -> SellerContact:
            return settings().contact

        customers = billing.CustomerService(stripe, identity, seller)
        prices = billing.PriceIds(stripe, settings)
        return_urls = billing.ReturnUrls(self._bus, settings)
        checkout = billing.CheckoutService(
            ledger, stripe, reconciler, settings, clock, customers, prices, return_urls, poll_wakeup
        )
        poller = Poller(
            ledger,
            reconciler,
            stripe,
            settings,
            identity,
            clock,
            wakeup=poll_wakeup,
            withdraw=checkout.withdraw,
            on_poll=self.reload,  # UCI and the settings may have been edited without an event
        )

        def on_settings() -> None:
            poll_wakeup.set()
            self._settings_changed(None, stored.settings)

        reload = SettingsReload(
            stored.settings, reconciler.recompute, on_settings, self._reload_requested, unlocks.compare_uci
        )
        parts = self._parts = Parts(
            settings=settings,
            keys=keys,
            identity=identity,
            ledger=ledger,
            stripe=stripe,
            clock=clock,
            reconciler=reconciler,
            inbox=inbox,
            poller=poller,
            checkout=checkout,
            payment_status=billing.PaymentStatusService(ledger, poller, reconciler, settings),
            history=billing.History(reconciler, settings),
            refunds=billing.RefundService(ledger, stripe, reconciler),
            subscriptions=billing.SubscriptionService(stripe, reconciler, settings, clock, prices),
            portal=billing.PortalService(ledger, stripe, identity, customers, return_urls, seller),
            grants=billing.GrantService(ledger, reconciler, settings, clock),
            provisioner=Provisioner(
                stripe, settings, partial(store_in_uci, self._bus), lambda: keys.current().mode, reload.now
            ),
            webhook_setup=WebhookSetup(stripe, keys, identity, ledger),
        )
        self.gate.open(parts)
        self._workers.start("unlocks", unlocks.run)
        self._workers.start("inbox", inbox.run)
        self._workers.start("poller", poller.run)
        self._workers.start("reload", reload.run)
        self._workers.start("bus object", partial(self._bus_object.follow, settings))
        self._workers.start("checkouts", checkout.resume, once=True)
        self._workers.start("retention", retention.run)

    # -- stop -------------------------------------------------------------------------------------

    async def _shut_down(self) -> None:
        self.gate.close()
        if self._seller_socket is not None:
            self._seller_socket.close()
        await self._bus_api.close()
        await self._stop_work()
        await self._bus.close()
        await self._close_storage()
        self._state.release()
        _log.info("stopped")

    async def _stop_work(self) -> None:
        """No worker runs after this; the bus may be closed."""
        parts, self._parts, self._unlocks = self._parts, None, None
        if parts is not None:
            await parts.checkout.close()
            await parts.subscriptions.close()
        await self._workers.stop(_WORKERS_PATIENCE_S)

    async def _close_storage(self) -> None:
        stripe, self._stripe = self._stripe, None
        hub, self._hub = self._hub, None
        if hub is not None:
            hub.close()
        ledger, self._ledger = self._ledger, None
        if stripe is not None:
            stripe.close()
        if ledger is not None:
            try:
                # What was written is durable anyway: a flash that hangs must not delay the stop.
                await asyncio.wait_for(ledger.close(), _LEDGER_PATIENCE_S)
            except TimeoutError:
                _log.warning("ledger does not close in time")
