"""The configured catalog at Stripe: which products and prices it needs there, which exist, what differs.

Every plan and product of the configuration has a product at Stripe, unless its option `stripe_product` names
another one of them, whose product it then shares, or a product at Stripe by its id (prod_…).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from stripe_payments.billing.prices import Difference, differences, is_active
from stripe_payments.currencies import decimal_amount
from stripe_payments.errors import PaymentError
from stripe_payments.i18n import Text, Title, _
from stripe_payments.settings import Price, Sellable, Settings
from stripe_payments.stripe_api import MAX_LOOKUP_KEYS, StripeAPI, is_missing

Raw = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class WantedProduct:
    """One product at Stripe. `name`: its metadata `item` there; `product_id`: where it is configured."""

    name: str
    product_id: str | None
    title: str
    description: str
    prices: tuple[Price, ...]


def wanted_products(settings: Settings) -> list[WantedProduct]:
    """The products with their prices, in the order of the configuration, titles in the settings' language."""
    locale = None if settings.locale == "auto" else settings.locale
    sharing: dict[str, list[Sellable]] = {}
    for sold in (*settings.plans.values(), *settings.products.values()):
        sharing.setdefault(_product_of(sold, settings), []).append(sold)
    wanted = []
    for name, members in sharing.items():
        shown = settings.sellable(name) or members[0]
        prices = tuple(price for sold in members for price in settings.prices_of(sold.name))
        if prices:
            wanted.append(
                WantedProduct(
                    name=name,
                    product_id=name if name.startswith("prod_") else None,
                    title=shown.title_in(locale),
                    description=shown.description_in(locale),
                    prices=prices,
                )
            )
    return wanted


def _product_of(sold: Sellable, settings: Settings) -> str:
    """The end of a chain of `stripe_product` options; for a circle, the first of its names."""
    seen = [sold.name]
    while (follow := settings.sellable(seen[-1])) is not None and follow.stripe_product:
        if follow.stripe_product in seen:
            return min(seen)
        seen.append(follow.stripe_product)
    return seen[-1]


def product_id_of(raw: Raw) -> str | None:
    """The id of a price's product, expanded or not."""
    product = raw.get("product")
    found = product.get("id") if isinstance(product, Mapping) else product
    return found if isinstance(found, str) else None


_INTERVALS = {
    None: _("one-time"),
    "month": _("monthly"),
    "year": _("yearly"),
}


def describe(difference: Difference, currency: str) -> Text:
    """`amount: 4.99 EUR configured, 5.99 EUR in Stripe`; `currency`: of the price at Stripe."""

    def shown(value: str | int | None) -> Text | Title:
        if difference.field == "amount":
            return _money(value, currency)
        if difference.field == "interval" and value in _INTERVALS:
            return _INTERVALS[value if value is None else str(value)]
        return Text(str(value))

    here, there = shown(difference.configured), shown(difference.at_stripe)
    name = {
        "amount": _("amount"),
        "currency": _("currency"),
        "interval": _("interval"),
        "tax_behavior": _("tax"),
    }[difference.field]
    return _("{name}: {here} configured, {there} in Stripe", name=name, here=here, there=there)


def _money(amount: str | int | None, currency: str) -> Text | Title:
    if not isinstance(amount, int):
        return _("no fixed amount")
    english = f"{decimal_amount(amount, currency)} {currency.upper()}"
    return Title(english, english.replace(".", ","))


# -- reading --------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class PriceAtStripe:
    """The prices at Stripe for one configured price, their product expanded.

    `by_key`: the one whose lookup key is the alias; `by_id`: the one whose id is configured; `other_mode`:
    the configured id belongs to test mode while the key is a live one, or the other way round.
    """

    wanted: Price
    by_key: Raw | None = None
    by_id: Raw | None = None
    other_mode: bool = False

    @property
    def chosen(self) -> Raw | None:
        """The price to sell: the one with the configured id if it matches, else the one with the lookup key
        (the new price, after another router of the fleet replaced it), else one that does not match.
        """
        for candidate in (self.by_id, self.by_key):
            if candidate is not None and is_active(candidate) and not differences(self.wanted, candidate):
                return candidate
        return self.by_key or self.by_id


async def read_prices(stripe: StripeAPI, settings: Settings) -> dict[str, PriceAtStripe]:
    """Every configured price by alias. One request for ten prices, and one for each id not among them."""
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
