"""The price at Stripe that a price of the catalog stands for, and whether it is what the shop shows."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from stripe_payments.errors import PaymentError
from stripe_payments.log import Log
from stripe_payments.settings import Price, Settings
from stripe_payments.stripe_api import MAX_LOOKUP_KEYS, StripeAPI, is_missing
from stripe_payments.sync.raw_fields import expanded, integer

Raw = Mapping[str, Any]

_log = Log("prices")

CACHE_TTL: Final = 600.0
"""Cache TTL of a verified price id, in seconds."""


@dataclass(frozen=True, slots=True)
class Difference:
    """`field`: amount (minor units), currency, interval (None stands for "paid once") or tax_behavior."""

    field: str
    configured: str | int | None
    at_stripe: str | int | None


def differences(price: Price, raw: Raw) -> tuple[Difference, ...]:
    """The fields in which the price at Stripe differs from the configured one."""
    at_stripe: dict[str, Any] = {
        # with `transform_quantity` it is the amount of several units
        "amount": None if raw.get("transform_quantity") else raw.get("unit_amount"),
        "currency": raw.get("currency"),
        "interval": _interval(raw),
    }
    configured: dict[str, Any] = {
        "amount": price.amount,
        "currency": price.currency,
        "interval": price.interval,
    }
    if price.tax_behavior is not None:
        at_stripe["tax_behavior"] = raw.get("tax_behavior")
        configured["tax_behavior"] = price.tax_behavior
    return tuple(
        Difference(name, configured[name], at_stripe[name])
        for name in configured
        if configured[name] != at_stripe[name]
    )


def _interval(raw: Raw) -> str | None:
    """`month`, or `3 month`, `metered month`, which cannot be configured; None if paid once."""
    recurring = raw.get("recurring")
    if not isinstance(recurring, Mapping):
        return None
    count, usage = recurring.get("interval_count", 1), recurring.get("usage_type", "licensed")
    parts = [str(count)] if count not in (1, None) else []
    parts += [str(usage)] if usage not in ("licensed", None) else []
    return " ".join([*parts, str(recurring.get("interval"))])


def _amounts(raw: Raw) -> dict[str, int]:
    """What a price at Stripe costs by currency: its own, and those of `currency_options`, where expanded."""
    options: dict[str, Any] = {**(expanded(raw.get("currency_options")) or {}), str(raw.get("currency")): raw}
    found = {currency: integer((expanded(one) or {}).get("unit_amount")) for currency, one in options.items()}
    return {currency: amount for currency, amount in found.items() if amount is not None}


def is_active(raw: Raw) -> bool:
    """Whether the price can be bought: neither it nor its product is archived."""
    return bool(raw.get("active")) and is_sold(raw)


def is_sold(raw: Raw) -> bool:
    """Whether the price's product, where it is expanded, is neither archived nor deleted."""
    product = raw.get("product")
    if not isinstance(product, Mapping):
        return True
    return bool(product.get("active", True)) and not product.get("deleted")


@dataclass(frozen=True, slots=True)
class _Verified:
    """`amounts` by currency; `at`: monotonic seconds."""

    id: str
    amounts: Mapping[str, int]
    at: float


class PriceIds:
    """The id at Stripe of each price of the catalog, verified and cached.

    Only a price that charges what the shop shows is sold: same amount, currency, interval and tax behavior,
    not archived.
    That is the price with the configured `price_id` if it matches; else the one whose lookup key is the alias
    (another router of the account may have replaced the price).
    """

    def __init__(
        self,
        stripe: StripeAPI,
        settings: Callable[[], Settings],
    ) -> None:
        self._stripe = stripe
        self._settings = settings
        self._cache: dict[Price, _Verified] = {}

    async def id_of(self, price: Price) -> str:
        """Stripe's id; raises `price_unavailable` if no price there is what the shop shows."""
        return (await self._verified(price)).id

    async def amounts(self, price: Price) -> Mapping[str, int]:
        """What it costs by currency, in minor units: a subscription keeps its currency, whatever a price's
        own one is. Raises as `id_of`.
        """
        return (await self._verified(price)).amounts

    async def named_currency(self, price: Price) -> str | None:
        """What a Checkout session must name to cost what the shop shows: the page would show the price in the
        buyer's own currency where it has an amount in that. None if it has no other. Raises as `id_of`.

        https://docs.stripe.com/payments/checkout/localize-prices/manual-currency-prices
        """
        return price.currency if len(await self.amounts(price)) > 1 else None

    async def _verified(self, price: Price) -> _Verified:
        if (cached := self._cached(price)) is not None:
            return cached
        self._cache.pop(price, None)
        if price.price_id is not None:
            self._verify(price, await self._retrieve(price.price_id))
        if price not in self._cache:
            await self._look_up(price)
        if price not in self._cache:
            raise PaymentError("price_unavailable", price_id=price.alias)
        return self._cache[price]

    def invalidate(self, alias: str | None = None) -> None:
        """Clear the cache after new keys, or of one price that Stripe no longer accepts."""
        self._cache = {
            price: entry for price, entry in self._cache.items() if alias is not None and price.alias != alias
        }

    def _cached(self, price: Price) -> _Verified | None:
        entry = self._cache.get(price)
        return entry if entry is not None and time.monotonic() - entry.at < CACHE_TTL else None

    async def _retrieve(self, price_id: str) -> Raw | None:
        try:
            return await self._stripe.get("price", price_id, expand=["product", "currency_options"])
        except PaymentError as error:
            if not is_missing(error):
                raise
            return None

    async def _look_up(self, wanted: Price) -> None:
        """One request for all prices that are looked up by key, as far as Stripe's limit allows."""
        prices = self._settings().prices
        others = [
            alias for alias, price in prices.items() if price.price_id is None and alias != wanted.alias
        ]
        lookup_keys = [wanted.alias, *others][:MAX_LOOKUP_KEYS]
        expand = ["data.product", "data.currency_options"]
        page = await self._stripe.list(
            "price", {"lookup_keys": lookup_keys, "active": True, "limit": 100, "expand": expand}
        )
        for found in page.data:
            alias = found.get("lookup_key")
            price = wanted if alias == wanted.alias else prices.get(str(alias))
            if price is not None:
                self._verify(price, found)

    def _verify(self, price: Price, found: Raw | None) -> None:
        """Cache the price at Stripe if it can be sold as `price`."""
        if found is None:
            return
        different = differences(price, found)
        if different or not is_active(found):
            _log.warning(
                "price at Stripe is not sold: it differs from the configuration",
                price=price.alias,
                id=found["id"],
                active=is_active(found),
                differs=", ".join(f"{one.field} {one.configured} / {one.at_stripe}" for one in different),
            )
            return
        self._cache[price] = _Verified(str(found["id"]), _amounts(found), time.monotonic())
