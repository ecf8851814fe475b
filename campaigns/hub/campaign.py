"""`make hub-faults`: processes killed and networks cut at random moments while routers buy."""

from __future__ import annotations

import argparse
import asyncio
import time
from collections.abc import Iterator, Sequence
from contextlib import AsyncExitStack
from pathlib import Path
from random import Random
from tempfile import TemporaryDirectory
from typing import Final

import httpx

from campaigns.hub import database_faults, rolling_upgrade
from campaigns.hub.daemon_life import DaemonLife
from campaigns.hub.hub_under_test import Disturbance, HubUnderTest
from campaigns.hub.invariants import check
from campaigns.hub.lives import LIVES, BrokenError, Life
from campaigns.report import Report, Tally
from campaigns.runner import Campaign, Part, Say, Scratch
from simulator.postgres import program

__all__ = ["CAMPAIGN"]

_NAME: Final = "kills-and-cuts"
_WHAT: Final = (
    "kill -9 and restarts of instances, worker, PostgreSQL and a router's daemon, and cut links, "
    "while routers buy"
)
_ROUTERS: Final = 4
_WITHIN_S: Final = 4.0
"""In which the disturbances of a run begin."""


def _missing() -> str | None:
    try:
        program("initdb")
    except FileNotFoundError as error:
        return str(error)
    return None


async def _run(hub: HubUnderTest, seed: int, disturbances: int, routers: int) -> str | None:
    """One run: what went wrong, None if nothing did."""
    chance = Random(f"hub {seed}")
    calm = [float("inf")]
    async with httpx.AsyncClient() as http, AsyncExitStack() as stack:
        folder = stack.enter_context(TemporaryDirectory(prefix="router-"))
        daemon = DaemonLife(
            hub,
            http,
            Random(f"hub {seed} daemon"),
            lambda: calm[0],
            address=f"127.1.{seed >> 8 & 255}.{seed & 255}",
            folder=Path(folder),
        )
        stack.push_async_callback(daemon.end)
        planned = hub.disturbances(chance, disturbances, _WITHIN_S, daemon.kill)
        lives: list[Life] = [
            Life(
                hub,
                http,
                Random(f"hub {seed} {number}"),
                lambda: calm[0],
                kind=chance.choice(sorted(LIVES)),
                address=f"10.{seed >> 8 & 255}.{seed & 255}.{number}",
            )
            for number in range(routers)
        ]
        lives.append(daemon)
        disturbing = asyncio.create_task(_disturb(planned))
        disturbing.add_done_callback(lambda _task: calm.__setitem__(0, time.monotonic()))
        found = await asyncio.gather(*[life.live() for life in lives], disturbing, return_exceptions=True)
        if not any(isinstance(one, Exception) for one in found):
            found += await asyncio.gather(check(hub, lives), return_exceptions=True)
    if ended := hub.ended():
        found.append(BrokenError(f"ended by themselves: {ended}"))
    wrong = [f"{type(one).__name__} {one}" for one in found if isinstance(one, BaseException)]
    if not wrong:
        return None
    done = ", ".join(f"{one.after:.1f} s: {one.name}" for one in planned)
    return f"{'; '.join(wrong)} ({done}; again: python -m campaigns hub --seed {seed} --runs 1)"


async def _disturb(planned: Sequence[Disturbance]) -> None:
    began = time.monotonic()
    for one in planned:
        await asyncio.sleep(max(0.0, began + one.after - time.monotonic()))
        await one.do()


async def _runs(
    tally: Tally, folder: Path, seeds: Sequence[int], disturbances: int, routers: int, say: Say
) -> None:
    async with HubUnderTest.open(folder) as hub:
        for number, seed in enumerate(seeds, 1):
            failure = await _run(hub, seed, disturbances, routers)
            tally.count(failure)
            if failure is not None:
                say(f"  seed {seed}: {failure}")
            if number % 10 == 0:
                say(f"  {number} of {len(seeds)}, {tally.held} held")


def _part(seeds: Sequence[int], disturbances: int, routers: int = _ROUTERS) -> Part:
    async def run(report: Report, scratch: Scratch, say: Say) -> None:
        await _runs(report.tally(_NAME, _WHAT), scratch.own.resolve(), seeds, disturbances, routers, say)

    return Part(_NAME, run, _WHAT, _missing)


class _HubCampaign(Campaign):
    summary = "processes of the hub killed, networks cut, PostgreSQL away, locked, full, failing over"

    def names(self) -> Sequence[str]:
        return (_NAME, *database_faults.NAMES, rolling_upgrade.NAME)

    def add_options(self, parser: argparse.ArgumentParser) -> None:
        parser.add_argument("--seed", type=int, default=1, help="of the first run (%(default)s)")
        parser.add_argument(
            "--runs", type=int, default=100, help="how many, each with the next seed (%(default)s)"
        )
        parser.add_argument("--disturbances", type=int, default=3, help="in each run (%(default)s)")

    def parts(self, options: argparse.Namespace) -> Iterator[Part]:
        chosen = options.only or self.names()
        if _NAME in chosen:
            yield _part(range(options.seed, options.seed + options.runs), options.disturbances)
        yield from (part for part in database_faults.parts(short=False) if part.name in chosen)
        if rolling_upgrade.NAME in chosen:
            yield rolling_upgrade.part()

    def short_parts(self) -> Iterator[Part]:
        yield _part([1], 1, 2)
        yield from database_faults.parts(short=True)


CAMPAIGN: Final = _HubCampaign()
