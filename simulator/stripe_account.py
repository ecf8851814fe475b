"""Sets a Stripe account up for a router: products, prices by lookup key, the webhook endpoint.

An operator does this once for the whole fleet; here it is done over the simulator's HTTP API, with the amounts of the
router's own configuration.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import aiohttp

from stripe_payments.settings import Settings

SECRET_KEY = "sk_test_router_os_demo_4eC39HqLyjWDarjtT1zdp7dc"

# The guide's list of events, and what a real account sends besides (DESIGN.md, the HTTP part).
WEBHOOK_EVENTS = (
    "charge.dispute.closed",
    "charge.dispute.created",
    "charge.refunded",
    "checkout.session.async_payment_failed",
    "checkout.session.async_payment_succeeded",
    "checkout.session.completed",
    "checkout.session.expired",
    "customer.subscription.created",
    "customer.subscription.deleted",
    "customer.subscription.updated",
    "invoice.paid",
    "invoice.payment_failed",
    "payment_intent.payment_failed",
    "payment_intent.succeeded",
)

# The guide sells Premium's three prices as one product at Stripe, whether for ever or by the month.
_PRODUCT_AT_STRIPE = {"router_os_premium": "premium"}


@dataclass(frozen=True)
class StripeAccount:
    """A set-up account, as its operator sees it through the API."""

    url: str
    secret_key: str = SECRET_KEY

    async def request(self, method: str, path: str, **parameters: Any) -> dict[str, Any]:
        """One API request with bracket-encoded parameters; raises RuntimeError on a 4xx or 5xx."""
        form = dict(_flatten(parameters))
        reading = method == "GET"
        async with (
            aiohttp.ClientSession(headers={"Authorization": f"Bearer {self.secret_key}"}) as session,
            session.request(
                method,
                f"{self.url}/v1/{path}",
                params=form if reading else None,
                data=None if reading else form,
            ) as response,
        ):
            if response.status >= 400:
                raise RuntimeError(f"{method} {path}: {response.status} {await response.text()}")
            answer: dict[str, Any] = await response.json()
            return answer

    async def create_catalogue(self, settings: Settings) -> dict[str, str]:
        """Creates what the router sells, once. Returns {alias: price id}."""
        prices: dict[str, str] = {}
        products: dict[str, str] = {}
        for price in settings.prices.values():
            item = settings.sellable(price.of)
            if item is None:
                continue
            name = _PRODUCT_AT_STRIPE.get(item.name, item.name)
            if name not in products:
                shown = settings.sellable(name) or item
                product = await self.request(
                    "POST",
                    "products",
                    name=shown.title,
                    metadata={"item": name},
                    description=shown.description,
                )
                products[name] = product["id"]
            recurring = {"recurring": {"interval": price.interval}} if price.interval else {}
            created = await self.request(
                "POST",
                "prices",
                product=products[name],
                unit_amount=price.amount,
                currency=price.currency,
                lookup_key=price.alias,
                nickname=price.alias,
                **recurring,
            )
            prices[price.alias] = created["id"]
        return prices

    async def create_webhook_endpoint(self, url: str, api_version: str) -> str:
        """Registers `url`; returns the endpoint's signing secret, which Stripe shows this once."""
        endpoint = await self.request(
            "POST", "webhook_endpoints", url=url, enabled_events=list(WEBHOOK_EVENTS), api_version=api_version
        )
        secret: str = endpoint["secret"]
        return secret


def _flatten(value: Any, name: str = "") -> list[tuple[str, str]]:
    if isinstance(value, Mapping):
        return [
            pair
            for key, inner in value.items()
            for pair in _flatten(inner, f"{name}[{key}]" if name else str(key))
        ]
    if isinstance(value, list | tuple):
        return [pair for index, inner in enumerate(value) for pair in _flatten(inner, f"{name}[{index}]")]
    if isinstance(value, bool):
        return [(name, "true" if value else "false")]
    return [(name, str(value))]
