"""What a call of a method served by ubus_py costs, one after the other and fifty in flight.

Beside it, in the same run and called by the same client: the C binding (python3-ubus) where
UBUS_BINDING_PYTHON names a Python that has it, and a bare blocking server, the floor of what Python and the
bus cost. The bus daemon is the real `ubusd` where OPENWRT_STAGING names one, else the simulator's; servers
and bus run as processes of their own.

The servers take short turns, in an order that goes round, so that what the machine does besides falls on all
of them alike; a median turn counts.
"""

import asyncio
import os
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median

from campaigns.bench.processes import appears, python, running
from campaigns.bench.served_method import ARGUMENTS, METHOD
from campaigns.report import Goal, Row
from ubus_py import Client

SEQUENTIAL_CALLS = 50
PIPELINED_CALLS = 250
IN_FLIGHT = 50
TURNS = 160
C_BINDING = Path(__file__).with_name("c_binding.py")


@dataclass
class _Server:
    """One way of serving the method, and what each turn measured of it."""

    object: str
    command: tuple[str, ...]
    sequential: list[float] = field(default_factory=list)
    """µs a call."""
    pipelined: list[float] = field(default_factory=list)
    """µs a call."""

    @property
    def cost(self) -> float:
        return median(self.sequential)

    @property
    def cost_of_many(self) -> float:
        return median(self.pipelined)

    async def turn(self, client: Client) -> None:
        self.sequential.append(await _one_after_the_other(client, self.object))
        self.pipelined.append(await _many_in_flight(client, self.object))


def _bus_command(socket: Path, acl: Path) -> tuple[tuple[str, ...], str]:
    staging = os.environ.get("OPENWRT_STAGING")
    if staging:
        return (f"{staging}/sbin/ubusd", "-s", str(socket), "-A", str(acl)), "real ubusd"
    return python("simulator.ubus_broker", "-s", str(socket), "-A", str(acl)), "simulated ubusd"


def _servers(bus: Path) -> dict[str, _Server]:
    def ours(name: str, *options: str) -> _Server:
        named = f"bench.{name}"
        return _Server(
            named, python("campaigns.bench.served_method", "--bus", str(bus), "--object", named, *options)
        )

    served = {
        "coroutine": ours("coroutine"),
        "function": ours("function", "--plain"),
        "bare": ours("bare", "--bare"),
    }
    binding = os.environ.get("UBUS_BINDING_PYTHON")
    if binding:
        named = ("--object", "bench.binding", "--method", METHOD)
        served["binding"] = _Server("bench.binding", (binding, str(C_BINDING), "--bus", str(bus), *named))
    return served


async def _one_after_the_other(client: Client, name: str) -> float:
    start = time.perf_counter()
    for _ in range(SEQUENTIAL_CALLS):
        await client.call(name, METHOD, ARGUMENTS)
    return (time.perf_counter() - start) / SEQUENTIAL_CALLS * 1e6


async def _many_in_flight(client: Client, name: str) -> float:
    async def caller() -> None:
        for _ in range(PIPELINED_CALLS // IN_FLIGHT):
            await client.call(name, METHOD, ARGUMENTS)

    start = time.perf_counter()
    await asyncio.gather(*(caller() for _ in range(IN_FLIGHT)))
    return (time.perf_counter() - start) / PIPELINED_CALLS * 1e6


async def _measure(bus: Path, folder: Path, served: Sequence[_Server]) -> None:
    async with AsyncExitStack() as processes, Client(str(bus)) as client:
        for server in served:
            await processes.enter_async_context(running(*server.command, log=folder / f"{server.object}.log"))
        async with asyncio.timeout(15):
            for server in served:
                while not await client.lookup(server.object):
                    await asyncio.sleep(0.02)
                await client.call(server.object, METHOD, ARGUMENTS)
        for turn in range(TURNS):
            first = turn % len(served)
            for server in (*served[first:], *served[:first]):
                await server.turn(client)


def _beside(served: dict[str, _Server], other: _Server, what: str, goal: Goal | None) -> list[Row]:
    """Each way of ours beside another."""
    measurements = []
    for name in ("coroutine", "function"):
        own, title = served[name], f"ubus call, {name} handler, beside the {what}"
        measurements += [
            Row(f"{title}: one at a time", own.cost, "µs/call", goal, other.cost, what),
            Row(f"{title}: 50 in flight", own.cost_of_many, "µs/call", None, other.cost_of_many, what),
        ]
    return measurements


async def measure(folder: Path) -> AsyncIterator[Row]:
    """Needs a minute."""
    bus = folder / "bus.sock"
    acl = folder / "acl.d"
    acl.mkdir()
    command, what = _bus_command(bus, acl)
    served = _servers(bus)
    async with running(*command, log=folder / "bus.log"):
        await appears(bus)
        await _measure(bus, folder, tuple(served.values()))
    ours = served["coroutine"]
    rate = 1e6 / ours.cost_of_many
    yield Row("ubus calls, one at a time", 1e6 / ours.cost, "calls/s")
    yield Row(f"ubus calls, 50 in flight, {what}", rate, "calls/s")
    for row in _beside(served, served["bare"], "bare server", None):
        yield row
    if "binding" in served:
        binding = served["binding"]
        for row in _beside(served, binding, "C binding", Goal("<=", 1.15, of_baseline=True)):
            yield row
        alone, one_at_a_time = 1e6 / binding.cost, "C binding, one at a time"
        yield Row("ubus calls, 50 in flight", rate, "calls/s", Goal(">=", 4, True), alone, one_at_a_time)
    else:
        missing = "UBUS_BINDING_PYTHON names no Python with the C binding (python3-ubus)"
        yield Row("ubus call beside the C binding", reason=missing)
