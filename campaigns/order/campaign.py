"""`make hub-order`: events of recorded lives in every order, and what the hub and its peers make of them."""

from __future__ import annotations

import argparse
import asyncio
import logging
import os
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from random import Random
from tempfile import TemporaryDirectory
from typing import Final

from campaigns.bench.installed_peers import INSTALLED, install
from campaigns.order.hub_receiver import HubReceiver
from campaigns.order.peer_receiver import PEERS, PeerReceiver
from campaigns.order.recording import record
from campaigns.order.sequences import scripts
from campaigns.order.tally import Counted
from campaigns.report import NotMeasured, Report
from campaigns.runner import Campaign, Part, Say, Scratch
from simulator.postgres import PostgreSQL, program

__all__ = ["CAMPAIGN"]

OF_A_LIFE: Final = 250
OF_A_PEERS_LIFE: Final = 100
"""Sequences."""
_SHORT_LIVES: Final = (7, 19, 25)
_FEWER: Final = {"stripe-sync-engine": 10, "dj-stripe": 100}
"""By how many times fewer sequences than the hub a peer gets, so that all take an hour or so."""
_SHARE: Final = 10
"""Lives that a process takes at a time."""


def _missing() -> str | None:
    try:
        program("initdb")
    except FileNotFoundError as error:
        return str(error)
    return None


async def _delivered(postgres: PostgreSQL, folder: Path, seeds: Sequence[int], of_a_life: int) -> Counted:
    counted = Counted()
    async with HubReceiver.open(postgres, folder) as hub:
        for seed in seeds:
            await _live(hub, seed, of_a_life, counted)
    return counted


async def _live(receiver: HubReceiver | PeerReceiver, seed: int, of_a_life: int, counted: Counted) -> None:
    recording = record(seed)
    given = list(scripts(recording, of_a_life, Random(f"orders {seed}")))
    wrong = await receiver.live(recording, given, 1)
    counted.lives += 1
    for script, one in zip(given, wrong, strict=True):
        counted.count(recording, script, one)


def _share(postgres: PostgreSQL, seeds: Sequence[int], of_a_life: int) -> Counted:
    """In a process of its own."""
    logging.disable(logging.CRITICAL)
    with TemporaryDirectory() as folder:
        return asyncio.run(_delivered(postgres, Path(folder), seeds, of_a_life))


async def _to_hub(report: Report, say: Say, seeds: Sequence[int], of_a_life: int) -> None:
    loop, counted = asyncio.get_running_loop(), Counted()
    postgres = PostgreSQL({"fsync": "off"})
    try:
        await asyncio.to_thread(postgres.start)
        with ProcessPoolExecutor(os.cpu_count(), mp_context=get_context("spawn")) as pool:
            shares = [
                loop.run_in_executor(pool, _share, postgres, seeds[first : first + _SHARE], of_a_life)
                for first in range(0, len(seeds), _SHARE)
            ]
            for share in shares:
                counted.add(await share)
                say(f"  {counted.tried['all']:,} sequences, {counted.wrong['all']} wrong")
    finally:
        await asyncio.to_thread(postgres.remove)
    report.add(*counted.rows("hub", goal=True))


def _hub(seed: int, sequences: int) -> Part:
    seeds = range(seed, seed + max(1, round(sequences / OF_A_LIFE)))

    async def run(report: Report, scratch: Scratch, say: Say) -> None:
        del scratch
        await _to_hub(report, say, seeds, OF_A_LIFE)

    return Part("hub", run, "delivered to the hub", _missing)


def _peer(name: str, seed: int, sequences: int) -> Part:
    """The same lives and orders as the hub's, as many of them as it is fast enough for."""
    lives = max(1, sequences // OF_A_PEERS_LIFE)

    async def run(report: Report, scratch: Scratch, say: Say) -> None:
        if name in (missing := await asyncio.to_thread(install, INSTALLED)):
            raise NotMeasured(missing[name])
        postgres, counted = PostgreSQL({"fsync": "off"}), Counted()
        try:
            await asyncio.to_thread(postgres.start)
            async with PeerReceiver.open(name, postgres, scratch.own.resolve()) as peer:
                for one in range(seed, seed + lives):
                    await _live(peer, one, OF_A_PEERS_LIFE, counted)
                    say(f"  {counted.tried['all']:,} sequences, {counted.wrong['all']} wrong")
        finally:
            await asyncio.to_thread(postgres.remove)
        report.add(*counted.rows(peer.name, goal=False))

    return Part(name, run, f"delivered to {name}", _missing)


def _short() -> Part:
    """Three lives, in this process: a plan whose invoices are not paid in their order, one that is changed,
    paused and canceled, in part in one second, and one that is refunded.
    """

    async def run(report: Report, scratch: Scratch, say: Say) -> None:
        del say
        postgres = PostgreSQL({"fsync": "off"})
        try:
            await asyncio.to_thread(postgres.start)
            counted = await _delivered(postgres, scratch.own, _SHORT_LIVES, 16)
        finally:
            await asyncio.to_thread(postgres.remove)
        report.add(*counted.rows("hub", goal=True))

    return Part("hub", run, "delivered to the hub", _missing)


class _Order(Campaign):
    summary = "events of recorded lives in every order, delivered to the hub and to its peers"
    silenced = logging.CRITICAL

    def names(self) -> Sequence[str]:
        return ("hub", *PEERS)

    def add_options(self, parser: argparse.ArgumentParser) -> None:
        parser.add_argument("--seed", type=int, default=1, help="of the first life (%(default)s)")
        parser.add_argument("--sequences", type=int, default=100_000, help="to the hub (%(default)s)")

    def parts(self, options: argparse.Namespace) -> Iterator[Part]:
        wanted = options.only or self.names()
        if "hub" in wanted:
            yield _hub(options.seed, options.sequences)
        for name in PEERS:
            if name in wanted:
                yield _peer(name, options.seed, max(OF_A_PEERS_LIFE, options.sequences // _FEWER[name]))

    def short_parts(self) -> Iterator[Part]:
        yield _short()


CAMPAIGN: Final = _Order()
