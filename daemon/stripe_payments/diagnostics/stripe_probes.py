"""What the checks of direct mode share in addition: a few responses of Stripe, requested once per run.

A run has its own Stripe client, with short timeouts and without retries.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from stripe_payments.clock import TrustedClock
from stripe_payments.diagnostics.probes import CONNECT_S, READ_S, Once, Probes, Situation
from stripe_payments.errors import PaymentError
from stripe_payments.setup.catalog_at_stripe import read_prices
from stripe_payments.setup.webhook_endpoint import read_endpoints
from stripe_payments.stripe_api import PERMISSIONS, Permission, StripeAPI

if TYPE_CHECKING:
    from stripe_payments.setup.catalog_at_stripe import PriceAtStripe


class StripeProbes(Probes):
    def __init__(self, situation: Situation) -> None:
        super().__init__(situation)
        # A clock of its own gets the time from Stripe too, so that a run is useful before the first poll.
        self.clock = situation.clock if situation.clock is not None else TrustedClock(None)
        self.stripe = StripeAPI(
            situation.keys.current,
            self.clock,
            situation.api_base,
            connect_timeout=CONNECT_S,
            read_timeout=READ_S,
            network_retries=0,
        )
        self.prices: Once[dict[str, PriceAtStripe]] = Once(
            lambda: read_prices(self.stripe, situation.settings)
        )
        self.endpoints: Once[list[dict[str, Any]]] = Once(lambda: read_endpoints(self.stripe))
        self.any_request = Once(self._cheapest_request)

    def close(self) -> None:
        for once in (self.prices, self.endpoints, self.any_request):
            once.cancel()
        super().close()
        self.stripe.close(timeout=0)

    async def ca_bundle(self) -> str:
        """The Stripe SDK's own."""
        return await self.stripe.ca_bundle()

    async def missing_permissions(self) -> list[Permission]:
        """Return the permissions whose resource the key may not even list."""

        async def refused(permission: Permission) -> bool:
            try:
                await self.stripe.list(permission.kind, {"limit": 1, "expand": []})
            except PaymentError as error:
                if error.code != "stripe_key_permission":
                    raise
                return True
            return False

        denied = await asyncio.gather(*(refused(permission) for permission in PERMISSIONS))
        return [permission for permission, is_denied in zip(PERMISSIONS, denied, strict=True) if is_denied]

    async def _cheapest_request(self) -> None:
        """Send a request that other checks need as well; raises Stripe's error."""
        if self.situation.settings.prices:
            await self.prices()
        else:
            await self.stripe.list("price", {"limit": 1})
