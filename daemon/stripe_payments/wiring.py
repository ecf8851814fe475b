"""Which part gets which: everything behind the faces, from the state directory to the workers.

Imported after the daemon is on the bus: this is where SQLite and the rules of payments are loaded.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final

from stripe_payments.billing import (
    CheckoutService,
    GrantService,
    History,
    PaymentStatusService,
    PortalService,
    RefundService,
    SubscriptionService,
)
from stripe_payments.billing.return_urls import LanAddress
from stripe_payments.clock import TrustedClock
from stripe_payments.diagnostics import Situation
from stripe_payments.errors import PaymentError
from stripe_payments.feature_cache import FeatureCache
from stripe_payments.identity import META_ROUTER_ID, Identity, IdentityStore
from stripe_payments.keys import KeyStore
from stripe_payments.ledger import Ledger, LedgerCare, Transaction
from stripe_payments.log import Log
from stripe_payments.readiness import Parts
from stripe_payments.refused_webhooks import RefusedWebhooks
from stripe_payments.reloading import Reloading
from stripe_payments.settings import Settings
from stripe_payments.settings.loader import Configuration
from stripe_payments.setup import Provisioner, WebhookSetup
from stripe_payments.stripe_api import StripeAPI
from stripe_payments.supervisor import Supervisor
from stripe_payments.sync import META_CLOCK_FLOOR, InboxWorker, Poller, Reconciler
from stripe_payments.sync.mode_change import settle_mode
from stripe_payments.unlocks import Unlocks
from ubus_py import Client

_log = Log("service")

_WORKERS_PATIENCE_S: Final = 0.8
_LEDGER_PATIENCE_S: Final = 0.8


class Wiring:
    """`open` may be called again after it raised; `close` ends whatever was opened.

    `reloading` is set by whoever wants the settings read again. `condemned`: how the ledger was found to be
    damaged; it is begun anew then.
    """

    def __init__(
        self,
        bus: Client,
        state_dir: Path,
        environ: Mapping[str, str],
        reloading: asyncio.Event,
        condemned: str | None = None,
    ) -> None:
        self._bus = bus
        self._state_dir = state_dir
        self._environ = environ
        self._reloading = reloading
        self._condemned = condemned
        self._configuration = Configuration(bus)
        self._keys = KeyStore(state_dir, environ)
        self._identity = IdentityStore(state_dir)
        self._api_base = environ.get("STRIPE_API_BASE") or None
        self._refused_webhooks = RefusedWebhooks()
        self._clock: TrustedClock | None = None
        self._reconciler: Reconciler | None = None
        self._unlocks: Unlocks | None = None
        self._supervisor = Supervisor()
        self._ledger: Ledger | None = None
        self._stripe: StripeAPI | None = None
        self._checkout: CheckoutService | None = None
        self._subscriptions: SubscriptionService | None = None

    async def open(self, ready: Callable[[Parts], None]) -> None:
        """Open everything, tell `ready`, start the workers. Raises PaymentError or OSError."""
        identity, keys = self._identity, self._keys
        if self._ledger is None:
            self._ledger = await Ledger.open(self._state_dir / "ledger.db", condemned=self._condemned)
        ledger = self._ledger
        remembered = await ledger.read(_remembered_identity)
        router_id = (await asyncio.to_thread(identity.load, remembered)).router_id
        await ledger.write(lambda tx: tx.meta.set(META_ROUTER_ID, router_id))
        floor = await ledger.read(lambda tx: tx.meta.get(META_CLOCK_FLOOR))
        clock = TrustedClock(int(floor) if floor and floor.isdigit() else None)
        await self._configuration.load()

        def settings() -> Settings:
            return self._configuration.current

        if self._stripe is None:
            self._stripe = StripeAPI(keys.current, clock, self._api_base)
        stripe = self._stripe
        runtime = self._environ.get("TMPDIR")  # the init script's: in memory, so that a reboot empties it
        unlocks = Unlocks(ledger, self._bus, Path(runtime) if runtime else None)
        features = FeatureCache(ledger, unlocks.kick)
        reconciler = Reconciler(ledger, stripe, clock, settings, identity, features.changed)
        await ledger.write(lambda tx: tx.inbox.rearm())  # put off by a clock that may be gone
        await unlocks.adopt()
        await reconciler.load()
        await settle_mode(keys.current().mode, ledger, identity, reconciler)
        await reconciler.recompute()
        await features.refresh()
        inbox = InboxWorker(ledger, reconciler)
        lan = LanAddress(self._bus)
        poll_wakeup = asyncio.Event()
        checkout = CheckoutService(ledger, stripe, reconciler, settings, identity, clock, lan, poll_wakeup)
        poller = Poller(
            ledger,
            reconciler,
            stripe,
            settings,
            identity,
            clock,
            wakeup=poll_wakeup,
            withdraw=checkout.withdraw,
        )
        reloading = Reloading(self._configuration, reconciler, poll_wakeup, self._reloading)
        subscriptions = SubscriptionService(ledger, stripe, reconciler, settings, clock, checkout.prices)
        self._subscriptions = subscriptions
        self._checkout, self._clock = checkout, clock
        self._reconciler, self._unlocks = reconciler, unlocks
        ready(
            Parts(
                settings=settings,
                features=features,
                keys=keys,
                identity=identity,
                ledger=ledger,
                stripe=stripe,
                clock=clock,
                reconciler=reconciler,
                inbox=inbox,
                poller=poller,
                checkout=checkout,
                payment_status=PaymentStatusService(ledger, poller, identity, settings),
                history=History(ledger, settings),
                refunds=RefundService(ledger, stripe, reconciler),
                subscriptions=subscriptions,
                portal=PortalService(ledger, stripe, settings, identity, checkout.customers, lan),
                grants=GrantService(ledger, reconciler, settings, clock),
                provisioner=Provisioner(
                    stripe, settings, self._bus, lambda: keys.current().mode, reloading.now
                ),
                webhook_setup=WebhookSetup(stripe, keys, identity, ledger),
                refused_webhooks=self._refused_webhooks,
            )
        )
        self._bus.on_connection(lambda connected: unlocks.kick() if connected else None)
        workers = self._supervisor
        workers.start("features", features.run)
        workers.start("unlocks", unlocks.run)
        workers.start("inbox", inbox.run)
        workers.start("poller", poller.run)
        workers.start("reload", reloading.run)
        workers.start("checkouts", checkout.resume, once=True)
        workers.start("ledger care", LedgerCare(ledger, clock.now).run)
        _log.info("ready", router_id=identity.load().router_id, mode=keys.current().mode)

    async def ledger_is_damaged(self) -> str:
        """Waits, once `open` has succeeded, until the ledger turns out to be damaged; gives how."""
        if self._ledger is None:
            raise RuntimeError("nothing is open")
        await self._ledger.damaged.wait()
        return str(self._ledger.damage)

    def situation(self, refusal: PaymentError | None) -> Situation:
        """What diagnostics look at; also while `open` has not succeeded."""
        return Situation(
            settings=self._configuration.current,
            keys=self._keys,
            identity=self._identity,
            state_dir=self._state_dir,
            bus=self._bus,
            api_base=self._api_base,
            refused_webhooks=self._refused_webhooks,
            ledger=self._ledger,
            clock=self._clock,
            last_sync=self._reconciler.last_sync if self._reconciler is not None else None,
            unlocks_trouble=self._unlocks.trouble if self._unlocks is not None else None,
            refusal=refusal,
        )

    async def stop_working(self) -> None:
        """No worker runs after this; the bus can be left."""
        if self._checkout is not None:
            await self._checkout.close()
        if self._subscriptions is not None:
            await self._subscriptions.close()
        await self._supervisor.stop(_WORKERS_PATIENCE_S)

    async def close(self) -> None:
        if self._stripe is not None:
            self._stripe.close()
        if self._ledger is not None:
            try:
                # What is written is durable anyhow: a flash that hangs must not hold up the stop.
                await asyncio.wait_for(self._ledger.close(), _LEDGER_PATIENCE_S)
            except TimeoutError:
                _log.warning("the ledger does not close in time")


def _remembered_identity(tx: Transaction) -> Identity | None:
    """The router's id, and the customer of what it bought last."""
    router_id = tx.meta.get(META_ROUTER_ID)
    if router_id is None:
        return None
    customer = next((one.get("customer") for one in tx.objects.newest("checkout.session", 1)), None)
    return Identity(router_id, customer if isinstance(customer, str) else None)
