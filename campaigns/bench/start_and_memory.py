"""How long until the daemon is on the bus; the memory it holds before and after its first Stripe call."""

import asyncio
import sys
import time
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import TypeAlias

from campaigns.bench.processes import resident_mib
from campaigns.report import Goal, Row
from simulator.world import World
from ubus_py import Event

OpenWorld: TypeAlias = Callable[..., World]

STARTS = 5
SETTLE_S = 3.0


async def _start_until_registered(world: World) -> float:
    registered = asyncio.Event()

    def added(event: Event) -> None:
        if event.data.get("path") == "stripe-payments":
            registered.set()

    listening = world.bus.listen("ubus.object.add", added)
    try:
        await asyncio.sleep(0.1)
        start = time.perf_counter()
        await world.daemon.start()
        async with asyncio.timeout(20):
            await registered.wait()
        return time.perf_counter() - start
    finally:
        listening.close()


async def _import_of_the_sdk() -> float:
    start = time.perf_counter()
    process = await asyncio.create_subprocess_exec(sys.executable, "-c", "import stripe")
    await process.wait()
    return time.perf_counter() - start


async def measure(folder: Path) -> AsyncIterator[Row]:
    """The best of a few starts counts."""
    measured = await starts(folder / "starts")
    imports = [await _import_of_the_sdk() for _ in range(STARTS)]
    sdk = "importing the Stripe SDK alone"
    yield Row("start to registered", min(measured), "s", Goal("<=", 0.3), min(imports), sdk)
    async for row in measure_memory(folder):
        yield row


async def measure_memory(folder: Path) -> AsyncIterator[Row]:
    """The kernel's VmRSS."""
    yield Row("memory, idle", await memory_idle(folder / "idle"), "MiB", Goal("<=", 32))
    used = await memory_used(folder / "used")
    yield Row("memory, after the first Stripe call", used, "MiB", Goal("<=", 50))


async def starts(folder: Path, open_world: OpenWorld = World) -> list[float]:
    """Seconds of each of a few starts. `open_world`: for a daemon from elsewhere."""
    measured = []
    async with open_world(state=folder, configured=False) as world:
        for _ in range(STARTS):
            await world.daemon.stop()
            measured.append(await _start_until_registered(world))
    return measured


async def memory_idle(folder: Path, open_world: OpenWorld = World) -> float:
    """MiB, of a daemon that has not called Stripe."""
    async with open_world(state=folder, configured=False) as world:
        await asyncio.sleep(SETTLE_S)
        return resident_mib(world.daemon.pid or 0)


async def memory_used(folder: Path, open_world: OpenWorld = World) -> float:
    """MiB, after a checkout session has been created."""
    async with open_world(state=folder) as world:
        await world.bus.call(
            "stripe-payments",
            "create_checkout_session",
            {
                "price_id": "price_premium_onetime",
                "success_url": "http://router.lan/",
                "cancel_url": "http://router.lan/",
            },
        )
        await asyncio.sleep(SETTLE_S)
        return resident_mib(world.daemon.pid or 0)
