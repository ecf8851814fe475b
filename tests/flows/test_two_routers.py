"""Two routers of one operator, on one Stripe account: neither ever sees what the other buys."""

from pathlib import Path
from typing import Any

from simulator.world import World
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


async def test_each_with_its_own_endpoint_and_its_own_purchases(tmp_path: Path) -> None:
    async with (
        World(state=tmp_path / "one") as first,
        World(state=tmp_path / "two", stripe=first.stripe) as second,
    ):
        one, two = Subscriber(first), Subscriber(second)
        endpoints = (await first.account.request("GET", "webhook_endpoints"))["data"]
        assert {endpoint["url"].rsplit("/api", 1)[0] for endpoint in endpoints} == {
            first.front.url,
            second.front.url,
        }
        nothing = await everything(two)

        session_id = await one.buy()
        await one.agreed(PREMIUM, "paid")
        # Stripe delivers to every endpoint of the account; the second router answered, and still knows
        # nothing.
        await first.wait_until(lambda: _delivered(first, len(endpoints)))
        assert await everything(two) == nothing
        for method, arguments in (
            ("payment_status", {"payment_id": session_id}),
            ("refund", {"payment_id": session_id}),
        ):
            assert await two.refusal(method, **arguments) == "payment_not_found"

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
        assert (await one.call("status"))["customer"] != (await two.call("status"))["customer"]
        assert first.stripe.drift == []


async def _delivered(world: World, endpoints: int) -> bool:
    """Every endpoint received a completed session, and answered 200."""
    deliveries = world.stripe.deliveries()
    reported = [
        one
        for one in deliveries
        if one["type"] == "checkout.session.completed" and one["state"] == "delivered"
    ]
    return len(reported) >= endpoints


async def test_a_foreign_id_is_refused_with_words(tmp_path: Path) -> None:
    async with (
        World(state=tmp_path / "one") as first,
        World(state=tmp_path / "two", stripe=first.stripe) as second,
    ):
        one, two = Subscriber(first), Subscriber(second)
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
