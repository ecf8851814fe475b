"""Reading the configured prices at Stripe: by their lookup key, and by the ids that the configuration
holds.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from stripe_payments.billing.prices import MAX_LOOKUP_KEYS
from stripe_payments.errors import PaymentError
from stripe_payments.settings import Price, Settings
from stripe_payments.setup.catalogue_wanted import differences, is_active
from stripe_payments.stripe_api import StripeAPI, is_missing

Raw = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class PriceAtStripe:
    """What Stripe has for one configured price, its product expanded.

    `by_key`: the price that carries the alias as its lookup key; `by_id`: the one whose id is configured;
    `other_mode`: the configured id belongs to test mode while the key is a live one, or the other way round.
    """

    wanted: Price
    by_key: Raw | None = None
    by_id: Raw | None = None
    other_mode: bool = False

    @property
    def chosen(self) -> Raw | None:
        """The price to sell: the configured one while it fits; else the one with the lookup key, which is
        where a new price is found after another router of the fleet replaced it; else whatever there is.
        """
        for candidate in (self.by_id, self.by_key):
            if candidate is not None and is_active(candidate) and not differences(self.wanted, candidate):
                return candidate
        return self.by_key or self.by_id


async def read_prices(stripe: StripeAPI, settings: Settings) -> dict[str, PriceAtStripe]:
    """Every configured price by alias. One request for ten prices, and one for each id that those do not
    show.
    """
    found: dict[str, Raw] = {}
    wanted = list(settings.prices.values())
    for start in range(0, len(wanted), MAX_LOOKUP_KEYS):
        keys = [price.alias for price in wanted[start : start + MAX_LOOKUP_KEYS]]
        page = await stripe.list("price", {"lookup_keys": keys, "limit": 100, "expand": ["data.product"]})
        found |= {str(raw["lookup_key"]): raw for raw in page.data if raw.get("lookup_key")}
    seen = {str(raw["id"]): raw for raw in found.values()}
    prices: dict[str, PriceAtStripe] = {}
    for price in wanted:
        by_id, other_mode = None, False
        if price.price_id is not None:
            by_id = seen.get(price.price_id)
            if by_id is None:
                by_id, other_mode = await _retrieve(stripe, price.price_id)
        prices[price.alias] = PriceAtStripe(price, found.get(price.alias), by_id, other_mode)
    return prices


async def _retrieve(stripe: StripeAPI, price_id: str) -> tuple[Raw | None, bool]:
    try:
        return await stripe.get("price", price_id, expand=["product"]), False
    except PaymentError as error:
        if not is_missing(error):
            raise
        return None, "similar object exists in" in str(error.details.get("reason"))
