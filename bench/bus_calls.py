"""What a call of a method served by ubus_py costs, one after the other and fifty in flight.

The bus daemon is the real `ubusd` where OPENWRT_STAGING names one, else the simulator's; server and bus
run as processes of their own.
"""

import asyncio
import os
import time
from pathlib import Path

from bench.processes import appears, python, running
from bench.report import Measurement
from bench.served_method import ARGUMENTS, METHOD, OBJECT
from ubus_py import Client

SEQUENTIAL_CALLS = 1500
PIPELINED_CALLS = 6000
IN_FLIGHT = 50
ROUNDS = 3


def _bus_command(socket: Path, acl: Path) -> tuple[tuple[str, ...], str]:
    staging = os.environ.get("OPENWRT_STAGING")
    if staging:
        return (f"{staging}/sbin/ubusd", "-s", str(socket), "-A", str(acl)), "real ubusd"
    return python("simulator.ubus_broker", "-s", str(socket), "-A", str(acl)), "simulated ubusd"


async def _one_after_the_other(client: Client) -> float:
    start = time.perf_counter()
    for _ in range(SEQUENTIAL_CALLS):
        await client.call(OBJECT, METHOD, ARGUMENTS)
    return (time.perf_counter() - start) / SEQUENTIAL_CALLS * 1e6


async def _many_in_flight(client: Client) -> float:
    async def caller() -> None:
        for _ in range(PIPELINED_CALLS // IN_FLIGHT):
            await client.call(OBJECT, METHOD, ARGUMENTS)

    start = time.perf_counter()
    await asyncio.gather(*(caller() for _ in range(IN_FLIGHT)))
    return PIPELINED_CALLS / (time.perf_counter() - start)


async def _measure(bus: Path, folder: Path, *options: str) -> tuple[float, float]:
    """(µs per call one after the other, calls per second with fifty in flight)."""
    server = python("bench.served_method", "--bus", str(bus), *options)
    async with running(*server, log=folder / "server.log"), Client(str(bus)) as client:
        async with asyncio.timeout(15):
            while not await client.lookup(OBJECT):
                await asyncio.sleep(0.02)
        await client.call(OBJECT, METHOD, ARGUMENTS)
        return await _one_after_the_other(client), await _many_in_flight(client)


async def measure(folder: Path) -> list[Measurement]:
    """Alternates between ubus_py and the bare server; the best round of each counts: noise only adds."""
    bus = folder / "bus.sock"
    acl = folder / "acl.d"
    acl.mkdir()
    command, what = _bus_command(bus, acl)
    ours: list[tuple[float, float]] = []
    bare: list[tuple[float, float]] = []
    async with running(*command, log=folder / "bus.log"):
        await appears(bus)
        for _ in range(ROUNDS):
            bare.append(await _measure(bus, folder, "--bare"))
            ours.append(await _measure(bus, folder))
    slow, slow_bare = min(m[0] for m in ours), min(m[0] for m in bare)
    fast, fast_bare = max(m[1] for m in ours), max(m[1] for m in bare)
    baseline = f"bare blocking server on the {what}"
    return [
        Measurement("ubus call, sequential", slow, "µs/call", None, slow_bare, baseline),
        Measurement("ubus calls, sequential", 1e6 / slow, "calls/s", None, 1e6 / slow_bare, baseline),
        Measurement("ubus call, 50 in flight", 1e6 / fast, "µs/call", None, 1e6 / fast_bare, baseline),
        Measurement("ubus calls, 50 in flight", fast, "calls/s", None, fast_bare, baseline),
    ]
