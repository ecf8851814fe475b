"""Two routers of one seller, on one Stripe account: neither ever sees what the other buys."""

from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest

from simulator.world import World
from tests.flows.sellers import RefusedError
from tests.flows.subscriber import BUSINESS, PREMIUM, Subscriber
from ubus_py import StatusError

NOTHING: frozenset[str] = frozenset()


async def everything(subscriber: Subscriber) -> dict[str, Any]:
    """All that a router says of its purchases."""
    await subscriber.call("sync")
    return {
        "transactions": (await subscriber.call("transactions"))["transactions"],
        "subscriptions": (await subscriber.call("subscriptions"))["subscriptions"],
        "features": (await subscriber.call("features"))["features"],
        "events": [event.name for event in subscriber.events],
    }


Routers = tuple[Subscriber, Subscriber]


@pytest.fixture
async def routers(
    world: World, second_router: Callable[[World], World]
) -> AsyncIterator[tuple[Subscriber, Subscriber]]:
    async with second_router(world) as second:
        yield Subscriber(world), Subscriber(second)


async def test_each_has_its_own_purchases(routers: Routers) -> None:
    one, two = routers
    endpoints = (await one.world.account.request("GET", "webhook_endpoints"))["data"]
    nothing = await everything(two)

    session_id = await one.buy()
    await one.agreed(PREMIUM, "paid")
    # Stripe delivers to every endpoint of the account; the second router answered, and still knows nothing.
    await one.world.wait_until(lambda: _delivered(one.world, len(endpoints)))
    assert await everything(two) == nothing
    assert await two.refusal("payment_status", payment_id=session_id) == "payment_not_found"
    with pytest.raises(RefusedError, match="payment_not_found"):
        await two.seller.refund(session_id)

    await two.buy("price_business_monthly")
    await two.agreed(BUSINESS, "active")
    subscription = (await two.subscription())["id"]
    before = await everything(one)
    assert before["subscriptions"] == []
    assert await one.refusal("cancel_subscription", subscription=subscription) == "subscription_not_found"
    await two.call("cancel_subscription", subscription=subscription, at_period_end=False)
    await two.agreed(NOTHING, "canceled")
    assert await everything(one) == before
    await one.agreed(PREMIUM, "paid")
    assert await one.seller.customer() != await two.seller.customer()


@pytest.mark.direct_only("in hub mode Stripe delivers to the hub alone")
async def test_each_has_its_own_endpoint(routers: Routers) -> None:
    one, two = routers
    endpoints = (await one.world.account.request("GET", "webhook_endpoints"))["data"]
    assert {endpoint["url"].rsplit("/api", 1)[0] for endpoint in endpoints} == {
        one.world.front.url,
        two.world.front.url,
    }


async def _delivered(world: World, endpoints: int) -> bool:
    """Every endpoint received a completed session, and answered 200."""
    deliveries = world.stripe.deliveries()
    reported = [
        one
        for one in deliveries
        if one["type"] == "checkout.session.completed" and one["state"] == "delivered"
    ]
    return len(reported) >= endpoints


async def test_a_foreign_id_is_refused_with_words(routers: Routers) -> None:
    one, two = routers
    await one.buy("price_premium_monthly")
    await one.agreed(PREMIUM, "active")
    subscription = (await one.subscription())["id"]
    try:
        await two.call("change_plan", subscription=subscription, price_id="price_business_monthly")
    except StatusError as error:
        body: Any = error.data
        assert body["error"]["code"] == "subscription_not_found"
        assert subscription in body["error"]["message"]
    else:
        raise AssertionError("another router's subscription was changed")
