"""The daemon's services on one router, without the bus: real ledger on disk, HTTP to a simulated Stripe."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from random import Random
from typing import Any

from stripe import StripeClient

from simulator.stripe_cloud import StripeCloud
from stripe_payments.billing import (
    CheckoutService,
    CustomerService,
    GrantService,
    History,
    PaymentStatusService,
    PortalService,
    PriceIds,
    RefundService,
    ReturnUrls,
    SubscriptionService,
)
from stripe_payments.clock import META_CLOCK_FLOOR, TrustedClock
from stripe_payments.identity import IdentityStore
from stripe_payments.keys import Keys
from stripe_payments.ledger import SQLiteLedger
from stripe_payments.settings import Sections, Settings, settings_from_uci
from stripe_payments.stripe_api import StripeAPI
from stripe_payments.sync import InboxWorker, Poller, Reconciler
from ubus_py import ConnectionLost, Table

KEY = "sk_test_51SellerSellerSeller"
PATIENCE = 30.0
"""Seconds; only ever used up by a test that fails."""

CATALOG: Sections = {
    "main": {".type": "payments", "enabled": "1"},
    "backups": {".type": "feature", "title": "Daily backups", "title_it": "Backup giornalieri"},
    "updates": {".type": "feature", "title": "Updates", "title_it": "Aggiornamenti"},
    "monitoring": {".type": "feature", "title": "Monitoring", "title_it": "Monitoraggio"},
    "premium": {".type": "plan", "title": "Premium", "feature": ["updates", "backups"]},
    "business": {".type": "plan", "title": "Business", "feature": ["updates", "backups", "monitoring"]},
    "router_os_premium": {
        ".type": "product",
        "title": "Router OS Premium",
        "title_it": "Router OS Premium per sempre",
        "feature": ["updates", "backups"],
    },
    "price_premium_onetime": {
        ".type": "price",
        "of": "router_os_premium",
        "amount": "4999",
        "currency": "eur",
        "interval": "none",
    },
    "price_premium_monthly": {
        ".type": "price",
        "of": "premium",
        "amount": "499",
        "currency": "eur",
        "interval": "month",
    },
    "price_premium_yearly": {
        ".type": "price",
        "of": "premium",
        "amount": "4999",
        "currency": "eur",
        "interval": "year",
    },
    "price_business_monthly": {
        ".type": "price",
        "of": "business",
        "amount": "1499",
        "currency": "eur",
        "interval": "month",
    },
}

ONE_TIME = "price_premium_onetime"
MONTHLY = "price_premium_monthly"
YEARLY = "price_premium_yearly"
BUSINESS = "price_business_monthly"


async def eventually(holds: Callable[[], Awaitable[Any]], what: str) -> Any:
    """Wait until `holds` returns something true, and return that."""
    deadline = time.monotonic() + PATIENCE
    while not (found := await holds()):
        assert time.monotonic() < deadline, f"not within {PATIENCE:.0f} s: {what}"
        await asyncio.sleep(0.02)
    return found


async def stock(cloud: StripeCloud, stripe: StripeAPI, settings: Settings) -> None:
    """Create the catalog's products and prices at Stripe, found by lookup_key."""
    for price in settings.prices.values():
        product = await stripe.create("product", {"name": price.of}, f"product-{price.alias}")
        params: dict[str, Any] = {
            "product": product["id"],
            "unit_amount": price.amount,
            "currency": price.currency,
            "lookup_key": price.alias,
        }
        if price.interval is not None:
            params["recurring"] = {"interval": price.interval}
        await stripe.create("price", params, f"price-{price.alias}")


async def at_dashboard(cloud: StripeCloud, path: str, **params: Any) -> Any:
    """A POST of the account's owner, for what the daemon itself never does; returns the answer."""
    client: Any = StripeClient(KEY, base_addresses={"api": cloud.url})
    return (await asyncio.to_thread(client.raw_request, "post", path, **params)).data


async def pay_a_part(cloud: StripeCloud, invoice: str, amount: int) -> str:
    """Attach a payment of the owner's to an open invoice, by a card that works from now on; its intent."""
    customer = cloud.account.get("invoice", invoice)["customer"]
    intent = await at_dashboard(
        cloud,
        "/v1/payment_intents",
        amount=amount,
        currency="eur",
        customer=customer,
        payment_method=cloud.change_card(customer, "4242424242424242")["id"],
        confirm=True,
        off_session=True,
    )
    await at_dashboard(cloud, f"/v1/invoices/{invoice}/attach_payment", payment_intent=intent["id"])
    return str(intent["id"])


class NoBus:
    """Every call raises ConnectionLost, as from `ubus_py.Client` while ubusd is away."""

    async def call(
        self,
        object: str,  # noqa: A002 - as the protocol has it
        method: str,
        args: None = None,
        *,
        timeout: float | None = 30.0,
    ) -> Table:
        raise ConnectionLost


@dataclass
class Engine:
    """One router. `settings` may be replaced; `effects` counts how often effects were announced."""

    cloud: StripeCloud
    state: Path
    settings: Settings
    ledger: SQLiteLedger
    clock: TrustedClock
    identity: IdentityStore
    stripe: StripeAPI
    reconciler: Reconciler
    inbox: InboxWorker
    poller: Poller
    poll_wakeup: asyncio.Event
    checkouts: CheckoutService
    customers: CustomerService
    prices: PriceIds
    status: PaymentStatusService
    history: History
    refunds: RefundService
    subscriptions: SubscriptionService
    portal: PortalService
    grants: GrantService
    effects: list[None] = field(default_factory=list)
    tasks: list[asyncio.Task[None]] = field(default_factory=list)

    @classmethod
    async def open(
        cls,
        cloud: StripeCloud,
        state: Path,
        *,
        key: str | None = KEY,
        settings: Settings | None = None,
        read_timeout: float = 30.0,
        network_retries: int = 0,
        rebuilding: bool = False,
    ) -> Engine:
        held = settings_from_uci(CATALOG) if settings is None else settings
        ledger = await SQLiteLedger.open(state / "ledger.db")
        floor = await ledger.read(lambda tx: tx.meta.get(META_CLOCK_FLOOR))
        clock = TrustedClock(int(floor) if floor else None)
        identity = IdentityStore(state)
        stripe = StripeAPI(
            lambda: Keys(secret_key=key),
            clock,
            cloud.url,
            read_timeout=read_timeout,
            network_retries=network_retries,
        )
        effects: list[None] = []
        box: list[Engine] = []

        def current() -> Settings:
            return box[0].settings if box else held

        reconciler = Reconciler(ledger, stripe, clock, current, identity, lambda _: effects.append(None))
        await reconciler.load()
        customers, prices = CustomerService(stripe, identity), PriceIds(stripe, current)
        return_urls = ReturnUrls(NoBus(), current)
        poll_wakeup = asyncio.Event()
        checkouts = CheckoutService(
            ledger, stripe, reconciler, current, clock, customers, prices, return_urls, poll_wakeup
        )
        poller = Poller(
            ledger,
            reconciler,
            stripe,
            current,
            identity,
            clock,
            wakeup=poll_wakeup,
            withdraw=checkouts.withdraw,
            chance=Random(7),
        )
        engine = cls(
            cloud=cloud,
            state=state,
            settings=held,
            ledger=ledger,
            clock=clock,
            identity=identity,
            stripe=stripe,
            reconciler=reconciler,
            inbox=InboxWorker(ledger, reconciler, chance=Random(7)),
            poller=poller,
            poll_wakeup=poll_wakeup,
            checkouts=checkouts,
            customers=customers,
            prices=prices,
            status=PaymentStatusService(ledger, poller, reconciler, current),
            history=History(reconciler, current),
            refunds=RefundService(ledger, stripe, reconciler),
            subscriptions=SubscriptionService(stripe, reconciler, current, clock, prices),
            portal=PortalService(ledger, stripe, identity, customers, return_urls),
            grants=GrantService(ledger, reconciler, current, clock),
            effects=effects,
        )
        box.append(engine)
        if not rebuilding:
            await reconciler.rebuilt()  # what the first poll of a new router finds out
        return engine

    def run(self, work: Awaitable[None]) -> None:
        self.tasks.append(asyncio.ensure_future(work))

    async def close(self) -> None:
        for task in self.tasks:
            task.cancel()
        await asyncio.gather(*self.tasks, return_exceptions=True)
        await self.checkouts.close()
        await self.subscriptions.close()
        self.stripe.close()
        await self.ledger.close()

    async def buy(self, price: str = ONE_TIME, card: str = "4242424242424242") -> str:
        """Open a checkout, pay it on Stripe's page and let it be noticed; returns the session's id."""
        session_id = await self.checkout(price)
        self.cloud.pay(session_id, card=card)
        await self.reconciler.sync(session_id, "test")
        return session_id

    async def subscribe(self, price: str = MONTHLY, card: str = "4242424242424242") -> str:
        """As `buy`; returns the subscription's id."""
        session_id = await self.buy(price, card)
        return str(self.cloud.account.get("checkout.session", session_id)["subscription"])

    async def checkout(self, price: str = ONE_TIME) -> str:
        created = await self.checkouts.create(price, success_url="http://192.168.1.1/payment-success")
        return created["session_id"]

    async def unlocked(self) -> set[str]:
        held = await self.ledger.read(lambda tx: tx.features.all())
        return {name for name, feature in held.items() if feature.unlocked}

    async def reason(self, feature: str) -> str:
        held = await self.ledger.read(lambda tx: tx.features.all())
        return held[feature].reason

    async def emitted(self, kind: str) -> list[dict[str, Any]]:
        """The payloads in the outbox of one kind, oldest first."""
        pending = await self.ledger.read(lambda tx: tx.outbox.pending(1000))
        return [effect.payload for effect in pending if effect.kind == kind]

    def asked(self, path: str | None = None, method: str | None = None) -> int:
        """How many requests Stripe has had (whose path begins so)."""
        return len(self.cloud.requests(method=method, path=path))

    def change(self, **settings: Any) -> None:
        self.settings = replace(self.settings, **settings)


@asynccontextmanager
async def open_engine(cloud: StripeCloud, state: Path, **options: Any) -> AsyncIterator[Engine]:
    engine = await Engine.open(cloud, state, **options)
    try:
        yield engine
    finally:
        await engine.close()


@asynccontextmanager
async def stocked_cloud() -> AsyncIterator[StripeCloud]:
    async with StripeCloud() as cloud:
        clock = TrustedClock(None)
        stripe = StripeAPI(lambda: Keys(secret_key=KEY), clock, cloud.url)
        await stock(cloud, stripe, settings_from_uci(CATALOG))
        stripe.close()
        yield cloud
