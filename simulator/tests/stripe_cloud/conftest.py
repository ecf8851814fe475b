"""A running simulator and the real SDK talking to it over a real socket."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from typing import Any, TypeVar

import pytest
import stripe

from simulator.stripe_cloud import StripeCloud

T = TypeVar("T")
KEY = "sk_test_51RouterOSunitTests"


class Shop:
    """The SDK, called off the event loop, and the things most tests need."""

    def __init__(self, cloud: StripeCloud) -> None:
        self.cloud = cloud
        self.client = self.with_key(KEY)

    def with_key(self, key: str, **options: Any) -> stripe.StripeClient:
        options.setdefault("max_network_retries", 0)
        return stripe.StripeClient(key, base_addresses={"api": self.cloud.url}, **options)

    async def call(self, function: Callable[..., T], *args: Any, **kwargs: Any) -> T:
        """Run an SDK method in a thread: it blocks."""
        return await asyncio.to_thread(function, *args, **kwargs)

    async def refused(self, function: Callable[..., Any], *args: Any) -> stripe.StripeError:
        """The error an SDK call ends with."""
        with pytest.raises(stripe.StripeError) as caught:
            await self.call(function, *args)
        return caught.value

    async def price(self, amount: int = 4999, **params: Any) -> str:
        product = await self.call(
            self.client.v1.products.create, {"name": params.pop("name", "Router OS Premium")}
        )
        created = await self.call(
            self.client.v1.prices.create,
            {"product": product.id, "unit_amount": amount, "currency": "eur", **params},
        )
        return created.id

    async def monthly(self, amount: int = 499, interval: str = "month") -> str:
        return await self.price(amount, recurring={"interval": interval})

    async def customer(self, **params: Any) -> str:
        return (await self.call(self.client.v1.customers.create, {"email": "owner@example.com", **params})).id

    async def session(self, price: str, **params: Any) -> stripe.checkout.Session:
        return await self.call(
            self.client.v1.checkout.sessions.create,
            {
                "mode": "payment",
                "line_items": [{"price": price, "quantity": 1}],
                "success_url": "http://router.lan/payment-success?session_id={CHECKOUT_SESSION_ID}",
                "cancel_url": "http://router.lan/payment-cancel",
                **params,
            },
        )

    async def subscribe(self, price: str | None = None, card: str = "4242424242424242", **data: Any) -> str:
        """A paid subscription through Checkout; returns its id."""
        session = await self.session(
            price or await self.monthly(),
            mode="subscription",
            customer=await self.customer(),
            subscription_data=data,
        )
        assert self.cloud.pay(session.id, card=card)["status"] in {"paid", "processing"}
        return str(self.cloud.account.get("checkout.session", session.id)["subscription"])

    def event_types(self) -> list[str]:
        """Oldest first."""
        return [event["type"] for event in self.cloud.account.newest_first("event")][::-1]


@pytest.fixture
async def shop() -> AsyncIterator[Shop]:
    cloud = StripeCloud(validate_answers=True)
    await cloud.start()
    try:
        yield Shop(cloud)
        assert cloud.drift == [], "answers differ from the SDK's resource types"
    finally:
        await cloud.stop()


async def until(condition: Callable[[], Any], seconds: float = 20.0) -> None:
    """Wait for a condition, generously: the machine may be busy."""
    deadline = asyncio.get_running_loop().time() + seconds
    while not condition():
        assert asyncio.get_running_loop().time() < deadline, "the condition never came true"
        await asyncio.sleep(0.02)
