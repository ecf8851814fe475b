"""Which price at Stripe an alias of the catalogue means."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Final

from stripe_payments.errors import PaymentError
from stripe_payments.log import Log
from stripe_payments.settings import Price, Settings
from stripe_payments.stripe_api import StripeAPI

_log = Log("prices")

REMEMBERED: Final = 600.0
"""Seconds an id that was looked up is believed."""

MAX_LOOKUP_KEYS: Final = 10
"""Stripe's limit for one request."""


class PriceDesk:
    """The price's own price_id where it is configured; else the active price at Stripe whose lookup_key is
    the alias.
    """

    def __init__(
        self,
        stripe: StripeAPI,
        settings: Callable[[], Settings],
        *,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._stripe = stripe
        self._settings = settings
        self._monotonic = monotonic
        self._found: dict[str, tuple[str, float]] = {}

    async def id_of(self, price: Price) -> str:
        """Stripe's id; raises `price_unavailable` if there is none."""
        if price.price_id is not None:
            return price.price_id
        known = self._found.get(price.alias)
        if known is not None and self._monotonic() - known[1] < REMEMBERED:
            return known[0]
        await self._look_up(price)
        if price.alias not in self._found:
            raise PaymentError("price_unavailable", price_id=price.alias)
        return self._found[price.alias][0]

    def forget(self, alias: str | None = None) -> None:
        """After new keys (all of them), or when Stripe no longer takes what was found."""
        if alias is None:
            self._found.clear()
        else:
            self._found.pop(alias, None)

    async def _look_up(self, wanted: Price) -> None:
        """One request for every price that has no id yet."""
        prices = self._settings().prices
        missing = [
            alias for alias, price in prices.items() if price.price_id is None and alias != wanted.alias
        ]
        asked = [wanted.alias, *missing][:MAX_LOOKUP_KEYS]
        page = await self._stripe.list("price", {"lookup_keys": asked, "active": True, "limit": 100})
        now = self._monotonic()
        self._found.pop(wanted.alias, None)
        for found in page.data:
            alias = found.get("lookup_key")
            price = prices.get(alias) if isinstance(alias, str) else None
            if price is None:
                continue
            recurring = found.get("recurring") or {}
            if recurring.get("interval") != price.interval:
                # selling a plan once, or a product every month, is worse than not selling it
                _log.warning("the price at Stripe is of another kind", price=alias, id=found["id"])
                continue
            if (found.get("unit_amount"), found.get("currency")) != (price.amount, price.currency):
                _log.warning(
                    "the price at Stripe differs from the configuration",
                    price=alias,
                    configured=f"{price.amount} {price.currency}",
                    at_stripe=f"{found.get('unit_amount')} {found.get('currency')}",
                )
            self._found[price.alias] = (str(found["id"]), now)
