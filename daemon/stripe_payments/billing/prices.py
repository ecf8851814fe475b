"""The price at Stripe that an alias of the catalog stands for."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Final

from stripe_payments.errors import PaymentError
from stripe_payments.log import Log
from stripe_payments.settings import Price, Settings
from stripe_payments.stripe_api import MAX_LOOKUP_KEYS, StripeAPI

_log = Log("prices")

CACHE_TTL: Final = 600.0
"""Cache TTL of a price id, in seconds."""


class PriceIds:
    """A price's own price_id where it is configured; else the id of the active price at Stripe whose
    lookup_key is the alias, cached.
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
        self._cache: dict[str, tuple[str, float]] = {}

    async def id_of(self, price: Price) -> str:
        """Stripe's id; raises `price_unavailable` if there is none."""
        if price.price_id is not None:
            return price.price_id
        cached = self._cache.get(price.alias)
        if cached is not None and self._monotonic() - cached[1] < CACHE_TTL:
            return cached[0]
        await self._look_up(price)
        if price.alias not in self._cache:
            raise PaymentError("price_unavailable", price_id=price.alias)
        return self._cache[price.alias][0]

    def invalidate(self, alias: str | None = None) -> None:
        """Clear the cache after new keys, or of one price that Stripe no longer accepts."""
        if alias is None:
            self._cache.clear()
        else:
            self._cache.pop(alias, None)

    async def _look_up(self, wanted: Price) -> None:
        """One request for all prices without an id, as far as Stripe's limit allows."""
        prices = self._settings().prices
        others = [
            alias for alias, price in prices.items() if price.price_id is None and alias != wanted.alias
        ]
        lookup_keys = [wanted.alias, *others][:MAX_LOOKUP_KEYS]
        page = await self._stripe.list("price", {"lookup_keys": lookup_keys, "active": True, "limit": 100})
        now = self._monotonic()
        self._cache.pop(wanted.alias, None)
        for found in page.data:
            alias = found.get("lookup_key")
            price = prices.get(alias) if isinstance(alias, str) else None
            if price is None:
                continue
            recurring = found.get("recurring") or {}
            if recurring.get("interval") != price.interval:
                # a plan charged once, or a product charged every month, is worse than no sale
                _log.warning("price at Stripe has another interval", price=alias, id=found["id"])
                continue
            warn_if_different(price, found.get("unit_amount"), found.get("currency"))
            self._cache[price.alias] = (str(found["id"]), now)


def warn_if_different(price: Price, amount: object, currency: object) -> None:
    """Checkout shows the buyer what Stripe charges; the shop shows what the configuration says."""
    if (amount, currency) != (price.amount, price.currency):
        _log.warning(
            "price at Stripe differs from the configuration",
            price=price.alias,
            configured=f"{price.amount} {price.currency}",
            at_stripe=f"{amount} {currency}",
        )
