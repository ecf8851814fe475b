"""How long `features` takes while eight checkouts wait on a Stripe that answers after two seconds."""

import asyncio
import time
from collections.abc import AsyncIterator
from pathlib import Path

from campaigns.report import Goal, NotMeasured, Row
from simulator.world import World
from ubus_py import UbusError

LATENCY_MS = 2000
CHECKOUTS = 8
ASKED = 150


async def _checkout(world: World, number: int) -> float:
    start = time.perf_counter()
    await world.bus.call(
        "stripe-payments",
        "create_checkout_session",
        {
            "price_id": PRICES[number % len(PRICES)],
            "success_url": f"http://router.lan/{number}",
            "cancel_url": "http://router.lan/",
        },
        timeout=60,
    )
    return time.perf_counter() - start


PRICES = (
    "price_premium_onetime",
    "price_premium_monthly",
    "price_premium_yearly",
    "price_base_monthly",
    "price_base_yearly",
    "price_business_monthly",
    "price_business_yearly",
)


async def measure(folder: Path) -> AsyncIterator[Row]:
    """The 99th percentile of `features`; the baseline is what the quickest checkout took."""
    async with World(state=folder / "slow") as world:
        # The SDK is imported and the customer exists: what is measured is waiting, not the first time.
        warm_up = await world.bus.call("stripe-payments", "create_checkout_session", {"price_id": PRICES[-1]})
        await world.control(f"checkout/{warm_up['session_id']}/expire", {})
        await world.bus.call("stripe-payments", "sync", {})
        await world.control("faults", {"latency_ms": LATENCY_MS})
        waiting = [asyncio.create_task(_checkout(world, number)) for number in range(CHECKOUTS)]
        await asyncio.sleep(0.2)
        delays = []
        for _ in range(ASKED):
            start = time.perf_counter()
            await world.bus.call("stripe-payments", "features", {})
            delays.append((time.perf_counter() - start) * 1000)
            await asyncio.sleep(0.005)
        still_waiting = sum(not task.done() for task in waiting)
        outcomes = await asyncio.gather(*waiting, return_exceptions=True)
    if still_waiting < CHECKOUTS - 1:
        raise NotMeasured(f"the machine is too busy: only {still_waiting} checkouts were still waiting")
    took = sorted(outcome for outcome in outcomes if isinstance(outcome, float))
    if len(took) < CHECKOUTS - 1:
        raise NotMeasured(f"checkouts failed: {[o for o in outcomes if isinstance(o, UbusError)]}")
    delays.sort()
    yield Row(
        "features while 8 checkouts wait, p99",
        delays[int(len(delays) * 0.99)],
        "ms",
        Goal("<=", 10),
        took[0] * 1000,
        "a server that serves one call at a time",
    )
    yield Row("features while 8 checkouts wait, median", delays[len(delays) // 2], "ms")
