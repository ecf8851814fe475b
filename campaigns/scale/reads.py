"""What one subscription reads of Stripe in a year: its events, and every night's walk. Polls read nothing."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any, cast

from payments_hub.accounts import Accounts
from payments_hub.config import Config
from payments_hub.database import migrate
from payments_hub.hub import Hub, HubClock
from payments_hub.statements import rotate_keys
from payments_hub.worker import Worker
from simulator.postgres import PostgreSQL
from stripe_payments.stripe_api import Page
from stripe_payments.stripe_api.webhook_delivery import Hint, hint_in
from stripe_payments.sync.events import EVENT_TYPES
from tests.histories.answers import Stripe
from tests.histories.life import DAY, GOOD, ROUTER, Life

__all__ = ["reads_of_a_year"]


class _Counted(Stripe):
    """`reads`: requests so far, by what for."""

    def __init__(self, life: Life, clock: HubClock) -> None:
        super().__init__(life, clock)
        self.reads: Counter[str] = Counter()

    async def retrieve(self, object_id: str) -> dict[str, Any] | None:
        self.reads[object_id.partition("_")[0]] += 1
        return await super().retrieve(object_id)

    async def list(self, kind: str, params: Mapping[str, Any]) -> Page:
        self.reads[f"list of {kind}"] += 1
        return await super().list(kind, params)


class _Clock(HubClock):
    """The simulated Stripe's."""

    life: Life

    def now(self) -> int:
        return self.life.now


class _Catalogs:
    def __init__(self, life: Life) -> None:
        self._settings = life.settings()

    async def current(self) -> None:
        """In force already."""

    def settings(self) -> object:
        return self._settings


async def reads_of_a_year(
    postgres: PostgreSQL, folder: Path, *, days: int = 365, together: bool = True, nights: int = 1
) -> Counter[str]:
    """A monthly plan, bought by card and renewed each month; every event is delivered. The list of
    subscriptions has a hundred of them on a page, so its part of a page counts. `together`: the events of one
    day are accepted before the worker works, else each is worked off before the next one is accepted;
    `nights`: the walk comes every so many.
    """
    name = await asyncio.to_thread(postgres.create_database)
    url = postgres.url(name, "hub")
    await asyncio.to_thread(migrate, url)
    keys = folder / "signing-keys.json"
    rotate_keys(keys)
    life = Life(1)
    clock = _Clock()
    clock.life = life
    stripe = _Counted(life, clock)
    hints: list[Hint] = []

    def keep(event: dict[str, Any]) -> None:
        hint = hint_in(event)
        if hint is not None and hint.type in EVENT_TYPES:
            hints.append(hint)

    life.account.on_event.append(keep)
    config = Config(url, "https://hub.example.org", "sk_test_of_the_scale_run", "whsec_unused", keys)
    async with Hub.open(config) as hub:
        catalogs = cast(Any, _Catalogs(life))
        accounts = Accounts(hub.database, cast(Any, stripe), clock, catalogs)
        worker = Worker(hub.database, accounts, catalogs, cast(Any, stripe), clock)
        async with hub.database.requests.connection() as connection:
            await connection.execute(
                "INSERT INTO accounts (id, customer) VALUES (%s, %s)", (ROUTER, life.customer)
            )
        life.pay(life.checkout("small_m", "subscription"), GOOD)
        for day in range(days):
            life.cloud.advance(DAY)
            delivered, hints[:] = list(hints), []
            for some in [delivered] if together else [[hint] for hint in delivered]:
                if some:
                    await hub.inbox.accept_all(some)
                    await worker.work()
            if day % nights == 0:
                await worker.walk.run(0)
                await worker.work()
    return stripe.reads
