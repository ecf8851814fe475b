"""The daemon's own reconciler, poller and subscription service over a real ledger; only the network is not
there.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Any, Final, cast

from stripe_payments.billing import PriceIds, SubscriptionService
from stripe_payments.clock import TrustedClock
from stripe_payments.identity import Identity
from stripe_payments.ledger import SQLiteLedger
from stripe_payments.settings import Settings
from stripe_payments.sync import Poller, Reconciler
from tests.histories.answers import Stripe
from tests.histories.life import ROUTER, Life
from tests.histories.observer import decisions
from tests.histories.reference import Decision

IN_MEMORY: Final = "/dev/shm" if Path("/dev/shm").is_dir() else None
"""Where a sync to disk costs nothing: thousands of transactions are written here."""


class _Identity:
    """As `IdentityStore`, for a router that is a customer."""

    def __init__(self, customer: str) -> None:
        self._identity = Identity(router_id=ROUTER, customer=customer)

    def load(self) -> Identity:
        return self._identity

    def set_customer(self, customer: str | None) -> None:
        raise AssertionError(f"the customer does not change to {customer}")


@dataclass
class Router:
    """What it knows of a life comes through `stripe`."""

    ledger: SQLiteLedger
    stripe: Stripe
    reconciler: Reconciler
    poller: Poller
    subscriptions: SubscriptionService

    @classmethod
    async def open(cls, folder: Path, life: Life) -> Router:
        ledger = await SQLiteLedger.open(folder / "ledger.db")
        clock = TrustedClock(None, monotonic=lambda: 0.0)
        stripe = Stripe(life, clock)
        held = life.settings()

        def current() -> Settings:
            return held

        api, identity = cast("Any", stripe), cast("Any", _Identity(life.customer))
        reconciler = Reconciler(ledger, api, clock, current, identity, lambda _: None)
        await reconciler.rebuilt()
        poller = Poller(ledger, reconciler, api, current, identity, clock, chance=Random(1))
        subscriptions = SubscriptionService(api, reconciler, current, clock, PriceIds(api, current))
        return cls(ledger, stripe, reconciler, poller, subscriptions)

    async def close(self) -> None:
        await self.subscriptions.close()
        await self.ledger.close()

    async def ask_late(self, object_id: str) -> tuple[asyncio.Event, asyncio.Task[Any]]:
        """A sync whose first response has left Stripe, and arrives when the event is set."""
        self.stripe.held = []
        sync = asyncio.create_task(self.reconciler.sync(object_id, "event"))
        while not self.stripe.held:
            await asyncio.sleep(0)
        (answer,), self.stripe.held = self.stripe.held, None
        return answer, sync

    async def features(self) -> dict[str, Decision]:
        await self.stripe.time_passes()
        await self.reconciler.recompute()
        return decisions(self.reconciler.state)
