"""A simulated router in hub mode, with the vendor's hub in this process and the vendor's Stripe account.

Stripe delivers to the hub, or no delivery arrives there and its sweep of events has to find everything. The
router's process has neither the Stripe SDK nor `requests`: both fail to import.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from pathlib import Path
from typing import Any, Final

import psycopg
from psycopg_pool import PoolTimeout

from payments_hub.background import run_all
from payments_hub.errors import HubError
from simulator.hub_processes import CATALOG
from simulator.stripe_cloud import StripeCloud
from simulator.world import World
from stripe_payments.errors import PaymentError
from tests.daemon_starts import path_without_sdk
from tests.hub.vendor import Vendor

__all__ = ["HubModeRouter"]

POLL_AFTER_S: Final = 1
"""The shortest pause between two polls that a router makes."""
MINUTE_S: Final = 0.2
"""What the worker does once a minute is done so often here."""


class HubModeRouter(World):
    """`webhooks`: whether Stripe delivers to the hub. `beside`: a router of the same vendor, which runs
    already; the other arguments are its own then. `vendor` is there from `start` on.
    """

    vendor: Vendor

    def __init__(
        self, *, state: Path, database_url: str, webhooks: bool, beside: HubModeRouter | None = None
    ) -> None:
        super().__init__(
            state=state,
            stripe=beside.stripe if beside is not None else StripeCloud(validate_answers=True),
            hub=("", ""),
            environment={"PYTHONPATH": path_without_sdk()},
        )
        self._folder = state
        self._database_url = database_url
        self._delivered = webhooks
        self._beside = beside
        self._opened = AsyncExitStack()

    async def start_surroundings(self) -> None:
        if self._beside is not None:
            self.vendor = self._beside.vendor
        else:
            self.vendor = await self._opened.enter_async_context(
                Vendor.open(
                    self._database_url,
                    self._folder,
                    cloud=self.stripe,
                    webhooks=self._delivered,
                    catalog=CATALOG.read_text(),
                    working=False,
                    poll_after=POLL_AFTER_S,
                )
            )
            await self._opened.enter_async_context(self._working())
        self._hub = (self.vendor.url, await self.vendor.hub.routers.new_enrollment_code())
        await super().start_surroundings()

    async def start(self) -> None:
        """Returns when the router is enrolled and sells."""
        await super().start()
        await self.wait_until(self._sells)

    async def stop(self) -> None:
        await super().stop()
        await self._opened.aclose()

    async def control(self, path: str, body: dict[str, Any]) -> dict[str, Any]:
        """As on every simulated router. Where Stripe's clock is moved, the one of the hub's machine is."""
        answer = await super().control(path, body)
        if path == "clock/advance":
            self.vendor.hub.clock.observe(self.stripe.clock.now())
        return answer

    async def router_id(self) -> str:
        """The hub's name of this router."""
        status: Any = await self.bus.call("stripe-payments", "status", {})
        return str(status["router_id"])

    @asynccontextmanager
    async def _working(self) -> AsyncIterator[None]:
        """The hub's worker."""
        working = asyncio.create_task(run_all(self.vendor.hub.worker.run(), self._minutes()))
        try:
            yield
        finally:
            working.cancel()
            await asyncio.gather(working, return_exceptions=True)

    async def _minutes(self) -> None:
        """What the worker does each minute. Events are not left to a delivery that does not come."""
        worker = self.vendor.hub.worker
        while True:
            with suppress(PaymentError, HubError, psycopg.Error, PoolTimeout):  # the worker logs them
                await worker.recompute_due()
                if not self._delivered or self.stripe.faults.webhooks == "drop":
                    await worker.sweep(behind=0)
            await asyncio.sleep(MINUTE_S)
