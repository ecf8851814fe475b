"""`make hub-scale`: what the hub needs for a fleet, and what it does when everything comes at the same time.

The fleet is generated in PostgreSQL and polled over real sockets; a power cut of all is simulated with the
daemon's and the hub's own rules, because no machine has a million routers.
"""

from __future__ import annotations

import argparse
import asyncio
import logging
import os
import time
from collections.abc import AsyncIterator, Iterator, Sequence
from pathlib import Path
from random import Random
from statistics import mean
from typing import Final

import httpx

from campaigns.report import Goal, NotMeasured, Report, Row
from campaigns.runner import BUILD, Campaign, Part, Say, Scratch
from campaigns.scale import buyers, polling
from campaigns.scale.burst import burst
from campaigns.scale.power_cut import power_cut
from campaigns.scale.reads import reads_of_a_year
from campaigns.scale.running_hub import INSTANCES, LIMIT, RunningHub, most_in_a_second
from simulator.postgres import PostgreSQL, program
from tests.hub.vendor import Caller, eventually

__all__ = ["CAMPAIGN"]

MILLION: Final = 1_000_000
POLL_AFTER_S: Final = 900
LONG_POLLS: Final = 10_000
LONG_POLLS_MIB: Final = 200.0
BURST_CUSTOMERS: Final = 5000
BURST_S: Final = 30.0
READS_A_YEAR: Final = 60.0
POLL_S: Final = 250e-6
"""What a poll is assumed to take of an instance in the power cut, PostgreSQL's part included."""
_ENOUGH: Final = 10_000
"""Routers: for nine seconds of the polls of a million."""
_BUSY: Final = 0.75
"""Load of each core above which a latency says more of the machine than of the hub."""


def _missing() -> str | None:
    try:
        program("initdb")
    except FileNotFoundError as error:
        return str(error)
    return None


def _busy() -> str:
    """Why latencies cannot be measured now, empty if they can."""
    load, cores = os.getloadavg()[0], os.cpu_count() or 1
    return f"machine too busy: a load of {load:.0f} on {cores} cores" if load > _BUSY * cores else ""


def _timed(name: str, value: float, unit: str, goal: Goal | None, busy: str, what: str = "") -> Row:
    """A latency: without its goal where the machine had other work to do."""
    return Row(name, value, unit, None if busy else goal, what=f"{what} ({busy})" if busy else what)


# -- with sockets -------------------------------------------------------------------------------------------


async def _fleet(hub: RunningHub, say: Say) -> AsyncIterator[Row]:
    await _sample(hub)
    empty, began = hub.fleet.size(), time.monotonic()
    await asyncio.to_thread(hub.fleet.create, hub.sample)
    size, routers = hub.fleet.size(), hub.fleet.routers
    say(f"  {routers:,} routers in {time.monotonic() - began:.0f} s, {size / 2**20:,.0f} MiB")
    yield Row("database", size / 2**20, "MiB", what=f"{routers:,} routers, three of ten bought something")
    yield Row("database, of each router", (size - empty) / routers, "bytes")


async def _sample(hub: RunningHub) -> None:
    """A router that buys a plan: the others have what it has then."""
    async with httpx.AsyncClient(base_url=hub.url()) as http:
        router = Caller(http)
        reply = await router.enroll()
        assert reply.status_code == 201, reply.text
        hub.sample = str(hub.fleet.rows("SELECT account FROM routers")[0][0])
        await hub.buy(router)
        await router.call("sync")

        async def unlocked() -> bool:
            return bool(await router.unlocked())

        await eventually(unlocked, "the plan is unlocked")


async def _polls(hub: RunningHub, seconds: float, busy: str) -> AsyncIterator[Row]:
    """Of this fleet at 900 s; then as many a second as a million routers make, if this fleet is a smaller
    one that is large enough for such a sample.
    """
    intervals = {"": float(POLL_AFTER_S)}
    if _ENOUGH <= hub.fleet.routers < MILLION:
        intervals[", as many as of a million"] = POLL_AFTER_S * hub.fleet.routers / MILLION
    for whose, interval in intervals.items():
        async for row in _sampled(hub, interval, min(seconds, interval), whose, busy):
            yield row


async def _sampled(
    hub: RunningHub, interval: float, seconds: float, whose: str, busy: str
) -> AsyncIterator[Row]:
    fleet, catalog = hub.fleet, int(hub.fleet.rows("SELECT max(version) FROM catalogs")[0][0])
    due = polling.due_polls(fleet.routers, interval, seconds, Random(1))
    warm = [(at * 2 / seconds, number) for at, number in due[: max(20, len(due) // 10)]]
    await polling.poll(hub.ports[INSTANCES[0]], fleet, warm, catalog)
    before, began = hub.cpu(INSTANCES[0]), time.perf_counter()
    polled = await polling.poll(hub.ports[INSTANCES[0]], fleet, due, catalog)
    took, cpu = time.perf_counter() - began, hub.cpu(INSTANCES[0]) - before
    wrong = tuple(f"{count} polls answered {one}" for one, count in polled.statuses.items() if one != "304")
    yield Row(
        f"polls in the sample{whose}",
        len(due),
        "polls",
        what=f"{len(due) / seconds:,.0f} a second for {seconds:.0f} s",
        failures=wrong,
    )
    yield Row(f"CPU of a poll, hub and PostgreSQL{whose}", cpu / len(due) * 1e6, "µs")
    yield Row(f"cores for these polls, hub and PostgreSQL{whose}", cpu / took, "cores", Goal("<=", 1.0))
    yield Row(f"answer to a poll without news{whose}", polled.received, "bytes", Goal("<=", 300))
    yield _timed(f"polls, median{whose}", polled.percentile(0.5), "ms", None, busy)
    yield _timed(f"polls, 99 %{whose}", polled.percentile(0.99), "ms", Goal("<=", 100), busy)


async def _storm(hub: RunningHub, customers: int, busy: str, say: Say) -> AsyncIterator[Row]:
    """Of customers whose first events are all delivered after an outage, while others buy."""
    fleet = hub.fleet
    new = [number for number in range(1, fleet.routers + 1) if number % 10 >= 3][:customers]
    bodies = buyers.subscribers(hub, [fleet.account(number) for number in new])
    first = len(hub.arrivals)
    async with buyers.buying(hub, fleet.routers // 2) as buying:
        storm = await buyers.weather(hub, bodies, 3.0)
    say(f"  {storm.deliveries:,} deliveries had their effect after {storm.drained_in:.0f} s")
    accounts = [fleet.account(number) for number in new]
    query = "SELECT count(DISTINCT account) FROM features WHERE unlocked AND account = ANY(%s)"
    right = int(fleet.rows(query, accounts)[0][0])
    lost = (f"{len(new) - right} plans are not unlocked",) if right < len(new) else ()
    yield Row(
        "storm after an outage of Stripe, one instance killed in the middle",
        storm.deliveries,
        "events",
        what=f"{storm.repeated} deliveries were repeated",
        failures=lost,
    )
    yield _timed("storm: all accepted after", storm.accepted_in, "s", None, busy)
    yield _timed("storm: all had their effect after", storm.drained_in, "s", None, busy)
    yield Row(
        "storm: most requests to Stripe in a second",
        most_in_a_second(hub.arrivals[first:]),
        "requests",
        Goal("<=", LIMIT),
    )
    yield _timed("storm: buyers wait, 95 %", buying.percentile(0.95), "s", None, busy, "outage included")


async def _burst(hub: RunningHub, customers: int, busy: str, say: Say) -> AsyncIterator[Row]:
    """Of customers who have bought nothing else."""
    free = [number for number in range(hub.fleet.routers, 0, -1) if number % 10 >= 3][:customers]
    seen = await burst(hub, free)
    say(f"  {seen.events:,} events were in every router's state {seen.shown_in:.1f} s after the last 200")
    wrong = (f"{seen.wrong} states lack a change",) if seen.wrong else ()
    what = f"of {customers:,} customers, {seen.events / seen.accepted_in:,.0f} a second accepted meanwhile"
    yield Row("burst: changes of plans", seen.events, "events", what=what, failures=wrong)
    yield _timed("burst: in every router's state after", seen.shown_in, "s", Goal("<=", BURST_S), busy)
    yield Row("burst: CPU of an event, all of the hub and PostgreSQL", seen.cpu / seen.events * 1e6, "µs")
    yield Row("burst: requests to Stripe", seen.requests, "requests")


async def _backfill(hub: RunningHub, customers: int, busy: str, say: Say) -> AsyncIterator[Row]:
    """`payments-hub import` of customers of direct mode, while others buy."""
    await asyncio.to_thread(buyers.subscribers, hub, [f"{number:032x}" for number in range(1, customers + 1)])
    first, size, began = len(hub.arrivals), hub.fleet.size(), time.perf_counter()
    async with buyers.buying(hub, hub.fleet.routers // 4) as buying:
        process = await hub.command("import", "--json", log="import.log")
        code = await process.wait()
        took = time.perf_counter() - began
    log = (hub.folder / "import.log").read_text(errors="replace")
    sent = hub.arrivals[first:]
    say(f"  {customers:,} customers imported in {took:.0f} s")
    yield Row(
        "backfill",
        customers,
        "routers",
        what=f"{len(sent) / customers:.1f} requests to Stripe for each, those of buyers included",
        failures=() if code == 0 else (log[-300:],),
    )
    yield _timed("backfill: 100,000 take", took / customers * 100_000 / 3600, "hours", None, busy, "computed")
    yield Row(
        "backfill: most requests to Stripe in a second", most_in_a_second(sent), "requests", Goal("<=", LIMIT)
    )
    yield _timed("backfill: buyers wait, 95 %", buying.percentile(0.95), "s", Goal("<=", 1.0), busy)
    yield _timed("backfill: buyers wait, the longest", max(buying.latencies), "s", None, busy)
    yield Row(
        "backfill: growth of the database", (hub.fleet.size() - size) / customers, "bytes", what="of each"
    )


async def _long_polls(hub: RunningHub, count: int, wait_s: int = 25) -> AsyncIterator[Row]:
    if count > _open_files() - 500:
        raise NotMeasured(f"{count:,} connections, and ulimit -n is {_open_files():,}")
    catalog = int(hub.fleet.rows("SELECT max(version) FROM catalogs")[0][0])
    pid = hub.processes[INSTANCES[0]].pid
    before = polling.pss_mib(pid)
    most, answered = await polling.long_polls(hub.ports[INSTANCES[0]], hub.fleet, count, catalog, pid, wait_s)
    wrong = (f"{count - answered} were not answered 304",) if answered < count else ()
    goal = Goal("<=", LONG_POLLS_MIB)
    name = f"memory of an instance, {count:,} long polls waiting"
    yield Row(name, most, "MiB", goal, before, "none waiting", failures=wrong)


# -- without ------------------------------------------------------------------------------------------------


def _power_cut(routers: int, poll_s: float, pictures: Path | None = None) -> list[Row]:
    """`pictures`: a folder for them."""
    seconds = 2 * 3600.0
    seen = power_cut(routers, seconds=seconds, poll_s=poll_s)
    if pictures is not None:
        from campaigns.scale.plots import draw_power_cut  # matplotlib takes a second to load

        pictures.mkdir(exist_ok=True)
        draw_power_cut(seen, routers, pictures)
    right = sorted(seen.right)
    name = f"power cut of {routers:,}"
    lacking = (f"{routers - len(right)} have had no answer",) if len(right) < routers else ()
    return [
        Row(f"{name}: most requests in a second", max(seen.requests), "1/s", what="two instances"),
        Row(f"{name}: refused", 100 * sum(seen.refused) / sum(seen.requests), "%"),
        Row(f"{name}: 99 % have their state after", right[int(0.99 * len(right)) - 1], "s"),
        Row(f"{name}: all have it after", right[-1], "s", failures=lacking),
        Row(f"{name}: requests a second, in the last hour", mean(seen.requests[-3600:]), "1/s"),
    ]


async def _reads(
    postgres: PostgreSQL, folder: Path, *, together: bool = True, nights: int = 1
) -> AsyncIterator[Row]:
    reads = await reads_of_a_year(postgres, folder, together=together, nights=nights)
    of_pages = reads.pop("list of subscription", 0) / 100
    of_charges = reads.pop("list of charge", 0) / len(range(0, 365, nights))
    most = ", ".join(f"{count} {kind}" for kind, count in reads.most_common())
    yield Row(
        "Stripe reads of a subscription's year, "
        + ("events arrive together" if together else "each event by itself"),
        sum(reads.values()) + of_pages * nights,
        "requests",
        Goal("<=", READS_A_YEAR),
        what=f"{most}, {of_pages * nights:.1f} pages of the nightly walk; polls read nothing,"
        f" the walk {of_charges:.0f} pages of charges a night for the whole account",
    )


# -- the campaign -------------------------------------------------------------------------------------------


def _parts(routers: int, seconds: float, customers: int) -> tuple[Part, ...]:
    async def served(report: Report, scratch: Scratch, say: Say) -> None:
        busy = _busy()
        async with RunningHub.open(scratch.own.resolve(), routers) as hub:
            for rows in (
                _fleet(hub, say),
                _polls(hub, seconds, busy),
                _storm(hub, customers, busy, say),
                _backfill(hub, customers, busy, say),
            ):
                async for row in rows:
                    report.add(row)

    async def waiting(report: Report, scratch: Scratch, say: Say) -> None:
        async with RunningHub.open(scratch.own.resolve(), LONG_POLLS) as hub:
            async for _row in _fleet(hub, say):
                pass
            async for row in _long_polls(hub, LONG_POLLS):
                report.add(row)

    async def bursting(report: Report, scratch: Scratch, say: Say) -> None:
        busy = _busy()
        async with RunningHub.open(scratch.own.resolve(), 2 * BURST_CUSTOMERS) as hub:
            async for _row in _fleet(hub, say):
                pass
            async for row in _burst(hub, BURST_CUSTOMERS, busy, say):
                report.add(row)

    async def cut(report: Report, scratch: Scratch, say: Say) -> None:
        del scratch, say
        report.add(*await asyncio.to_thread(_power_cut, routers, POLL_S, BUILD))

    async def reads(report: Report, scratch: Scratch, say: Say) -> None:
        del say
        postgres = await asyncio.to_thread(PostgreSQL, {"fsync": "off"})
        try:
            await asyncio.to_thread(postgres.start)
            for together in (True, False):
                async for row in _reads(postgres, scratch.own.resolve(), together=together):
                    report.add(row)
        finally:
            await asyncio.to_thread(postgres.remove)

    return (
        Part("served", served, "the fleet, its polls, a storm with a kill, a backfill", _missing),
        Part("long-polls", waiting, "routers that wait for a change", _missing),
        Part("burst", bursting, "two changes of each of many plans at once", _missing),
        Part("power-cut", cut, "all routers start at once, simulated"),
        Part("reads", reads, "a year of one subscription", _missing),
    )


def _short() -> Part:
    """All but the backfill on one hub, with little; no latency is judged."""

    async def run(report: Report, scratch: Scratch, say: Say) -> None:
        folder = scratch.own.resolve()
        async with RunningHub.open(folder, 900) as hub:
            for rows in (
                _fleet(hub, say),
                _polls(hub, 4.0, "short"),
                _storm(hub, 8, "short", say),
                _burst(hub, 20, "short", say),
                _long_polls(hub, 100, 3),
                _reads(hub.postgres, folder, together=False, nights=73),
            ):
                async for row in rows:
                    report.add(row)
        report.add(*_power_cut(2000, POLL_S))

    return Part("all", run, "", _missing)


def _open_files() -> int:
    import resource

    return resource.getrlimit(resource.RLIMIT_NOFILE)[0]


class _Scale(Campaign):
    summary = "what the hub needs for a fleet of any size"
    silenced = logging.CRITICAL

    def names(self) -> Sequence[str]:
        return tuple(part.name for part in _parts(0, 0, 0))

    def add_options(self, parser: argparse.ArgumentParser) -> None:
        parser.add_argument("--routers", type=int, default=20_000, help="in the fleet (%(default)s)")
        parser.add_argument("--seconds", type=float, default=60.0, help="of polls (%(default)s)")
        parser.add_argument(
            "--customers", type=int, default=1000, help="in the storm and the backfill (%(default)s)"
        )

    def parts(self, options: argparse.Namespace) -> Iterator[Part]:
        for part in _parts(options.routers, options.seconds, options.customers):
            if options.only is None or part.name in options.only:
                yield part

    def short_parts(self) -> Iterator[Part]:
        yield _short()


CAMPAIGN: Final = _Scale()
