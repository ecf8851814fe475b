"""What a call of a method served by ubus_py costs, one after the other and fifty in flight.

Beside it, in the same run and called by the same client: the C binding (python3-ubus) where
UBUS_BINDING_PYTHON names a Python that has it, and a bare blocking server, the floor of what Python and the
bus cost. The bus daemon is the real `ubusd` where OPENWRT_STAGING names one, else the simulator's; server
and bus run as processes of their own.
"""

import asyncio
import os
import time
from dataclasses import dataclass, field
from pathlib import Path

from bench.processes import appears, python, running
from bench.report import Goal, Measurement
from bench.served_method import ARGUMENTS, METHOD, OBJECT
from ubus_py import Client

SEQUENTIAL_CALLS = 1500
PIPELINED_CALLS = 6000
IN_FLIGHT = 50
ROUNDS = 5
C_BINDING = Path(__file__).with_name("c_binding.py")


@dataclass
class _Server:
    """One way of serving the method, and what each round measured of it."""

    command: tuple[str, ...]
    sequential: list[float] = field(default_factory=list)
    """µs a call."""
    pipelined: list[float] = field(default_factory=list)
    """Calls a second."""

    @property
    def cost(self) -> float:
        return min(self.sequential)

    @property
    def rate(self) -> float:
        return max(self.pipelined)


def _bus_command(socket: Path, acl: Path) -> tuple[tuple[str, ...], str]:
    staging = os.environ.get("OPENWRT_STAGING")
    if staging:
        return (f"{staging}/sbin/ubusd", "-s", str(socket), "-A", str(acl)), "real ubusd"
    return python("simulator.ubus_broker", "-s", str(socket), "-A", str(acl)), "simulated ubusd"


def _servers(bus: Path) -> dict[str, _Server]:
    served = {
        "coroutine": _Server(python("bench.served_method", "--bus", str(bus))),
        "function": _Server(python("bench.served_method", "--bus", str(bus), "--plain")),
        "bare": _Server(python("bench.served_method", "--bus", str(bus), "--bare")),
    }
    binding = os.environ.get("UBUS_BINDING_PYTHON")
    if binding:
        named = ("--object", OBJECT, "--method", METHOD)
        served["binding"] = _Server((binding, str(C_BINDING), "--bus", str(bus), *named))
    return served


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


async def _measure(bus: Path, folder: Path, server: _Server) -> None:
    async with running(*server.command, log=folder / "server.log"), Client(str(bus)) as client:
        async with asyncio.timeout(15):
            while not await client.lookup(OBJECT):
                await asyncio.sleep(0.02)
        await client.call(OBJECT, METHOD, ARGUMENTS)
        server.sequential.append(await _one_after_the_other(client))
        server.pipelined.append(await _many_in_flight(client))


def _beside(served: dict[str, _Server], other: _Server, what: str, goal: Goal | None) -> list[Measurement]:
    """Each way of ours beside another."""
    measurements = []
    for name in ("coroutine", "function"):
        own, title = served[name], f"ubus call, {name} handler, beside the {what}"
        measurements += [
            Measurement(f"{title}: one at a time", own.cost, "µs/call", goal, other.cost, what),
            Measurement(f"{title}: 50 in flight", 1e6 / own.rate, "µs/call", None, 1e6 / other.rate, what),
        ]
    return measurements


async def measure(folder: Path) -> list[Measurement]:
    """Alternates between the servers; the best round of each counts: noise only adds."""
    bus = folder / "bus.sock"
    acl = folder / "acl.d"
    acl.mkdir()
    command, what = _bus_command(bus, acl)
    served = _servers(bus)
    async with running(*command, log=folder / "bus.log"):
        await appears(bus)
        for _ in range(ROUNDS):
            for server in served.values():
                await _measure(bus, folder, server)
    ours = served["coroutine"]
    measurements = [
        Measurement("ubus calls, one at a time", 1e6 / ours.cost, "calls/s"),
        Measurement(f"ubus calls, 50 in flight, {what}", ours.rate, "calls/s"),
        *_beside(served, served["bare"], "bare server", None),
    ]
    if "binding" in served:
        binding = served["binding"]
        measurements += _beside(served, binding, "C binding", Goal("<=", 1.15, of_baseline=True))
        alone, one_at_a_time = 1e6 / binding.cost, "C binding, one at a time"
        measurements.append(
            Measurement(
                "ubus calls, 50 in flight", ours.rate, "calls/s", Goal(">=", 4, True), alone, one_at_a_time
            )
        )
    return measurements
