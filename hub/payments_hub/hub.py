"""The parts of one instance or worker, built once, in the order of their dependencies."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Final

from payments_hub.accounts import Accounts
from payments_hub.budget import LIVE_LIMIT, TEST_LIMIT, StripeBudget
from payments_hub.catalog import Catalogs
from payments_hub.changes import Changes
from payments_hub.config import Config
from payments_hub.database import OPEN_AT_ONCE, Database
from payments_hub.inbox import Inbox
from payments_hub.metrics import SIGNING_KEY_CREATED, count_stripe_request
from payments_hub.routers import Routers
from payments_hub.statements import Signer
from payments_hub.worker import Worker
from stripe_payments.clock import TrustedClock
from stripe_payments.keys import Keys
from stripe_payments.stripe_api import StripeAPI

__all__ = ["Hub", "HubClock"]

_STRIPE_THREADS: Final = OPEN_AT_ONCE + 4
"""One for each account that is locked, and some for sweeps and the walk."""


class HubClock(TrustedClock):
    """The host's time until Stripe's first response, Stripe's from then on."""

    def __init__(self) -> None:
        super().__init__(None)
        self.skew: float | None = None
        """Seconds by which Stripe's last response was ahead of the host's clock; None before the first."""

    def now(self) -> int:
        now = super().now()
        return int(time.time()) if now is None else now

    def observe(self, date: int) -> bool:
        self.skew = date - time.time()
        return super().observe(date)


@dataclass(frozen=True, slots=True)
class Hub:
    config: Config
    database: Database
    stripe: StripeAPI
    clock: HubClock
    catalogs: Catalogs
    accounts: Accounts
    routers: Routers
    inbox: Inbox
    changes: Changes
    signer: Signer
    worker: Worker

    @classmethod
    @asynccontextmanager
    async def open(cls, config: Config) -> AsyncIterator[Hub]:
        """Raises OSError, ValueError where the signing key cannot be read."""
        signer = Signer.load(config.signing_key_file, config.hub_url)
        SIGNING_KEY_CREATED.set(signer.created)
        keys = Keys(secret_key=config.stripe_secret_key, webhook_secret=config.webhook_secret or None)
        clock = HubClock()
        limit = config.stripe_limit or (LIVE_LIMIT if keys.mode == "live" else TEST_LIMIT)
        async with Database.open(config.database_url) as database:
            stripe = StripeAPI(
                lambda: keys,
                clock,
                config.api_base,
                threads=_STRIPE_THREADS,
                budget=StripeBudget(database, limit),
                on_request=count_stripe_request,
            )
            try:
                catalogs = Catalogs(database, config.hub_url)
                accounts = Accounts(database, stripe, clock, catalogs)
                yield cls(
                    config=config,
                    database=database,
                    stripe=stripe,
                    clock=clock,
                    catalogs=catalogs,
                    accounts=accounts,
                    routers=Routers(database, open_enrollment=config.open_enrollment),
                    inbox=Inbox(database),
                    changes=Changes(database),
                    signer=signer,
                    worker=Worker(database, accounts, catalogs, stripe, clock, walk_hour=config.walk_hour),
                )
            finally:
                stripe.close()

    @property
    def mode(self) -> str:
        """``test`` or ``live``."""
        return Keys(secret_key=self.config.stripe_secret_key).mode
