"""The parts of one instance or worker, built once, in the order of their dependencies."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

from payments_hub.accounts import Accounts
from payments_hub.catalog import Catalogs
from payments_hub.changes import Changes
from payments_hub.config import Config
from payments_hub.database import Database
from payments_hub.inbox import Inbox
from payments_hub.routers import Routers
from payments_hub.statements import Signer
from payments_hub.worker import Worker
from stripe_payments.clock import TrustedClock
from stripe_payments.keys import Keys
from stripe_payments.stripe_api import StripeAPI

__all__ = ["Hub"]


@dataclass(frozen=True, slots=True)
class Hub:
    """`clock`: the host's time at the start, corrected by every response of Stripe."""

    config: Config
    database: Database
    stripe: StripeAPI
    clock: TrustedClock
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
        keys = Keys(secret_key=config.stripe_secret_key, webhook_secret=config.webhook_secret or None)
        clock = TrustedClock(None)
        clock.observe(int(time.time()))
        stripe = StripeAPI(lambda: keys, clock, config.api_base)
        try:
            async with Database.open(config.database_url) as database:
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
                    worker=Worker(database, accounts, catalogs, stripe, clock),
                )
        finally:
            stripe.close()

    @property
    def mode(self) -> str:
        """``test`` or ``live``."""
        return Keys(secret_key=self.config.stripe_secret_key).mode
