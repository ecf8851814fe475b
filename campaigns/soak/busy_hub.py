"""The hub under traffic for an hour: whether its processes, PostgreSQL's connections or what waits grow.

A router enrols every second and lives one of the lives of `campaigns.hub` (buys, changes, cancels, is
refunded, rotates its credential); those that are done keep polling. Nothing is killed or cut.
"""

from __future__ import annotations

import asyncio
import time
from collections import Counter, deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from typing import Final

import httpx

from campaigns.hub.hub_under_test import HubUnderTest
from campaigns.hub.lives import LIVES, BrokenError, Life
from campaigns.report import Goal, Report, Row
from campaigns.runner import Say
from campaigns.soak.samples import descriptors, resident, threads
from campaigns.soak.trend import trend

__all__ = ["soak_hub"]

_MIB: Final = 2**20
_HOUR: Final = 3600.0
_WARM_PART: Final = 1 / 3
"""Of the time: caches fill, pools open their connections."""
_LONG_ENOUGH_S: Final = 600.0
"""Counted; less, and growth is shown and not judged."""
_SAMPLE_EVERY_S: Final = 5.0
_LIFE_EVERY_S: Final = 1.0
_AT_ONCE: Final = 12
_POLLING: Final = 200
"""Of the routers whose life is over, the newest."""
_POLL_EVERY_S: Final = 0.2
_SETTLED_S: Final = 60.0
"""No job may be stuck for longer."""


@dataclass
class _Sample:
    at: float
    """Monotonic seconds."""
    resident: dict[str, int]
    """Bytes."""
    descriptors: int
    threads: int
    connections: int
    """Of PostgreSQL's server, all clients of this database."""
    database: int
    """Bytes."""
    waiting: int
    """Events in the inbox that are due."""


@dataclass
class _Traffic:
    """`over`: the lives that ended well."""

    hub: HubUnderTest
    http: httpx.AsyncClient
    over: deque[Life] = field(default_factory=lambda: deque(maxlen=_POLLING))
    lived: Counter[str] = field(default_factory=Counter)
    polls: int = 0
    wrong: list[str] = field(default_factory=list)

    async def live(self, until: float) -> None:
        """Begin a life each second until then; returns when all have ended."""
        began, permits = time.monotonic(), asyncio.Semaphore(_AT_ONCE)
        number = 0
        async with asyncio.TaskGroup() as lives:
            while time.monotonic() < until:
                await permits.acquire()
                lives.create_task(self._live(number, permits))
                number += 1
                await asyncio.sleep(max(0.0, began + number * _LIFE_EVERY_S - time.monotonic()))

    async def _live(self, number: int, permits: asyncio.Semaphore) -> None:
        chance = Random(f"soak {number}")
        began = time.monotonic()
        life = Life(
            self.hub,
            self.http,
            chance,
            lambda: began,
            kind=chance.choice(sorted(LIVES)),
            address=f"10.{number >> 16 & 255}.{number >> 8 & 255}.{number & 255}",
        )
        try:
            await life.live()
        except BrokenError as error:
            self.wrong.append(f"router {number}: {error}")
        else:
            self.lived[life.kind] += 1
            self.over.append(life)
        finally:
            permits.release()

    async def poll(self) -> None:
        """Until cancelled: the routers whose life is over still have what they bought."""
        while True:
            for life in list(self.over):
                try:
                    found = await life.unlocked()
                except BrokenError as error:
                    self.wrong.append(f"router {life.id}: {error}")
                else:
                    if found != life.expected:
                        self.wrong.append(f"router {life.id}: {sorted(found)}, not {sorted(life.expected)}")
                self.polls += 1
                await asyncio.sleep(_POLL_EVERY_S)
            await asyncio.sleep(_POLL_EVERY_S)


def _sample(hub: HubUnderTest) -> _Sample:
    pids = {name: process.pid for name, process in hub.running.items()}
    ((connections, database, waiting),) = hub.rows(
        "SELECT (SELECT count(*) FROM pg_stat_activity WHERE datname = current_database()),"
        " pg_database_size(current_database()),"
        " (SELECT count(*) FROM inbox WHERE outcome IS NULL)"
    )
    return _Sample(
        at=time.monotonic(),
        resident={name: resident(pid) for name, pid in pids.items()},
        descriptors=sum(descriptors(pid).total() for pid in pids.values()),
        threads=sum(threads(pid) for pid in pids.values()),
        connections=connections,
        database=database,
        waiting=waiting,
    )


async def soak_hub(report: Report, folder: Path, say: Say, seconds: float) -> None:
    """Adds the rows of a run of so many seconds."""
    samples: list[_Sample] = []
    async with HubUnderTest.open(folder) as hub, httpx.AsyncClient() as http:
        traffic = _Traffic(hub, http)

        async def sample() -> None:
            while True:
                samples.append(await asyncio.to_thread(_sample, hub))
                if len(samples) % 60 == 0:
                    say(f"  {traffic.lived.total()} lives, {traffic.polls} polls, {len(traffic.wrong)} wrong")
                await asyncio.sleep(_SAMPLE_EVERY_S)

        began = time.monotonic()
        beside = [asyncio.create_task(traffic.poll()), asyncio.create_task(sample())]
        try:
            await traffic.live(began + seconds)
        finally:
            for task in beside:
                task.cancel()
            ended = await asyncio.gather(*beside, return_exceptions=True)
        for error in ended:
            if isinstance(error, Exception):
                raise error
        stuck = await _settled(hub)
        report.add(*_figures(traffic, samples, time.monotonic() - began, stuck, hub.ended()))


async def _settled(hub: HubUnderTest) -> int:
    """What still waits a minute after the last purchase."""
    deadline = time.monotonic() + _SETTLED_S
    while True:
        left = (await asyncio.to_thread(_sample, hub)).waiting
        if not left or time.monotonic() > deadline:
            return left
        await asyncio.sleep(0.2)


def _figures(
    traffic: _Traffic, samples: Sequence[_Sample], seconds: float, stuck: int, ended: Sequence[str]
) -> list[Row]:
    counted = [sample for sample in samples if sample.at >= samples[0].at + _WARM_PART * seconds]
    hours = [sample.at / _HOUR for sample in counted]
    judged = counted[-1].at - counted[0].at >= _LONG_ENOUGH_S if counted else False
    lives = traffic.lived.total()
    rows = [
        Row("hub: run for", seconds / 60, "min"),
        Row("hub: lives of routers", lives, "", Goal(">=", 1), failures=tuple(traffic.wrong[:5])),
        Row("hub: polls of those whose life was over", traffic.polls, ""),
        Row("hub: events still waiting a minute later", stuck, "", Goal("<=", 0)),
        Row("hub: processes that ended by themselves", len(ended), "", Goal("<=", 0)),
    ]
    for name in samples[0].resident:
        memory = trend(hours, [sample.resident[name] / _MIB for sample in counted])
        rows += [
            Row(f"hub: memory of {name}", samples[-1].resident[name] / _MIB, "MiB"),
            Row(f"hub: memory of {name}, slope", memory.slope, "MiB/h", what=f"± {memory.error:.1f}"),
            Row(
                f"hub: memory of {name}, grows by at least",
                memory.at_least,
                "MiB/h",
                Goal("<=", 2.0) if judged else None,
            ),
        ]
    for what, values in {
        "descriptors": [float(sample.descriptors) for sample in counted],
        "threads": [float(sample.threads) for sample in counted],
        "connections to PostgreSQL": [float(sample.connections) for sample in counted],
        "waiting events": [float(sample.waiting) for sample in counted],
    }.items():
        found = trend(hours, values)
        rows += [
            Row(f"hub: {what}, most", max(values, default=0.0), ""),
            Row(
                f"hub: {what}, grow by at least",
                found.at_least,
                "1/h",
                Goal("<=", 1.0) if judged else None,
            ),
        ]
    rows.append(
        Row("hub: database, of each life", (samples[-1].database - samples[0].database) / max(1, lives), "B")
    )
    return rows
