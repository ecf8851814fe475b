"""The nightly walk: what deliveries and sweeps lost is found, once, wherever the walk was interrupted."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import psycopg
import pytest

from payments_hub import walk
from payments_hub.hub import Hub
from tests.hub.vendor import Vendor, request_stripe

PREMIUM = {"backups", "updates"}


@pytest.fixture
async def lost(database_url: str, tmp_path: Path) -> AsyncIterator[Vendor]:
    """Without deliveries; the worker works where a test lets it."""
    async with Vendor.open(database_url, tmp_path, webhooks=False, working=False) as vendor:
        yield vendor


async def walk_all(vendor: Vendor) -> list[str]:
    """The objects that were doubted; then the worker has fetched them."""
    await vendor.hub.worker.walk.run(pause=0)
    with psycopg.connect(vendor.hub.config.database_url) as connection:
        query = "SELECT object_id FROM inbox WHERE outcome IS NULL ORDER BY object_id"
        doubted = [row[0] for row in connection.execute(query).fetchall()]
    await vendor.hub.worker.work()
    return doubted


async def next_night(vendor: Vendor) -> None:
    vendor.cloud.advance(86_400)
    await vendor.hub.stripe.list("product", {"limit": 1})  # any response sets the clock


async def test_a_subscription_that_nobody_announced(lost: Vendor) -> None:
    router, other = await lost.router(), await lost.router()
    lost.cloud.pay(await router.checkout("premium_monthly"))
    await other.checkout("premium_monthly")
    (plan,) = [one["id"] for one in lost.cloud.state()["objects"]["subscription"]]
    assert await walk_all(lost) == [plan]
    assert (await router.unlocked(), await other.unlocked()) == (PREMIUM, set())
    assert await walk_all(lost) == [], "once a night"
    await next_night(lost)
    assert plan not in await walk_all(lost), "nothing has changed"
    await request_stripe(lost.cloud, "delete", f"subscriptions/{plan}")
    await next_night(lost)
    assert plan in await walk_all(lost)
    assert await router.unlocked() == set()


async def test_a_refund_and_an_open_checkout_that_nobody_announced(
    lost: Vendor, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(walk, "_NIGHTS", 1)
    router, other = await lost.router(), await lost.router()
    session = await router.checkout("lifetime_once")
    lost.cloud.pay(session)
    await router.call("payment_status", payment_id=session)
    paid_later = await other.checkout("lifetime_once")
    (charge,) = [one["id"] for one in lost.cloud.state()["objects"]["charge"]]
    await request_stripe(lost.cloud, "post", "refunds", charge=charge)
    lost.cloud.pay(paid_later)
    await next_night(lost)
    await next_night(lost)
    assert set(await walk_all(lost)) == {charge, paid_later}
    assert (await router.unlocked(), await other.unlocked()) == (set(), PREMIUM)


async def test_another_worker_goes_on_where_one_ended(lost: Vendor, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(walk, "_PAGE", 1)
    routers = [await lost.router() for _ in range(3)]
    for router in routers:
        lost.cloud.pay(await router.checkout("premium_monthly"))
    assert await lost.hub.worker.walk.step()
    async with Hub.open(lost.hub.config) as second:
        with psycopg.connect(lost.hub.config.database_url) as connection:
            connection.execute("SELECT pg_advisory_xact_lock(hashtextextended('walk', 0))")
            assert not await second.worker.walk.step(), "one walks at a time"
        await second.worker.walk.run(pause=0)
    assert len(lost.cloud.requests(method="GET", path="/v1/subscriptions")) == 3, "each page once"
    await lost.hub.worker.work()
    for router in routers:
        assert await router.unlocked() == PREMIUM


async def test_subscriptions_to_other_things_are_left_alone(lost: Vendor) -> None:
    """The vendor sells other things with the same Stripe account."""
    customer = (await request_stripe(lost.cloud, "post", "customers", email="x@example.org"))["id"]
    price = (await request_stripe(lost.cloud, "get", "prices", lookup_keys=["premium_monthly"]))["data"][0][
        "id"
    ]
    await request_stripe(
        lost.cloud,
        "post",
        "subscriptions",
        customer=customer,
        items=[{"price": price}],
        payment_behavior="default_incomplete",
    )
    assert await walk_all(lost) == []
