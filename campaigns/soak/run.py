"""The traffic against a whole simulated router, and what is measured of its daemon meanwhile."""

from __future__ import annotations

import asyncio
import contextlib
import shutil
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from campaigns.soak import samples
from campaigns.soak.busy_subscriber import BusySubscriber
from campaigns.soak.luci import Luci
from campaigns.soak.samples import Sample
from simulator.stripe_cloud import StripeCloud
from simulator.world import World
from stripe_payments.clock import TrustedClock
from stripe_payments.identity import IdentityStore
from stripe_payments.keys import Keys
from stripe_payments.ledger import SQLiteLedger
from stripe_payments.ledger.retention import Retention, Tidied
from stripe_payments.settings import Settings
from stripe_payments.stripe_api import StripeAPI
from stripe_payments.sync import Reconciler
from ubus_py import ConnectionLost, StatusError

EVERY_S: Final = 1.0
"""Between two samples."""

REST_S: Final = 1.0
"""No request is made for so long before what the daemon holds at rest is counted."""
PATIENCE_S: Final = 30.0
"""What still waits then is counted as left."""

AT_ONCE: Final = 16
"""Calls that wait for Stripe at the same time: afterwards every thread that there may be is there."""

ONE_HEAP: Final = {"GLIBC_TUNABLES": "glibc.malloc.arena_max=1:glibc.malloc.tcache_count=0"}
"""For the daemon: one heap without caches of free memory, as with musl on a router. glibc gives each thread a
heap and a cache of its own, and no other thread reuses what is free there: 3.0 MiB in the 2nd month and 5.4
in the 14th, in one heap 0.6 and 1.1.
"""

LATER: Final = 120 * 86_400
"""Seconds after which a ledger is tidied that was left alone: its events and objects are old by then."""


@dataclass(frozen=True)
class Rest:
    """What the daemon holds while idle."""

    month: int
    descriptors: Counter[str]
    threads: int
    resident: int
    ledger: int
    checkouts: int
    events: int
    effects: int


@dataclass
class Soaked:
    """samples: of all the time; rests: after each month. Of both, those from `warm_samples` and `warm_rests`
    on count.
    """

    samples: list[Sample] = field(default_factory=list)
    rests: list[Rest] = field(default_factory=list)
    warm_samples: int = 0
    warm_rests: int = 0
    done: Counter[str] = field(default_factory=Counter)
    done_when_warm: Counter[str] = field(default_factory=Counter)
    requests: Counter[str] = field(default_factory=Counter)
    seconds: float = 0.0
    ledger_bytes: int = 0
    tidied: Tidied | None = None
    cramped: Tidied | None = None
    drift: list[object] = field(default_factory=list)


Enough = Callable[[int, float], bool]
"""Whether it is, after so many months and seconds."""


class Soak:
    """`folder`: for all files of the simulated router, on the disk that is to be used."""

    def __init__(self, folder: Path, say: Callable[[str], object] = lambda said: None) -> None:
        self._folder = folder
        self._say = say
        self._began = 0.0

    async def run(self, warm: Enough, enough: Enough) -> Soaked:
        """Months until it is `warm`, one more in which everything happens at once, months until it is
        `enough`.
        """
        soaked = Soaked()
        async with (
            StripeCloud() as stripe,
            World(state=self._folder, stripe=stripe, environment=ONE_HEAP) as world,
        ):
            subscriber, luci = BusySubscriber(world), Luci(world)
            self._began = time.monotonic()
            watching = [asyncio.create_task(luci.run()), asyncio.create_task(self._sample(world, soaked))]
            try:
                while not warm(subscriber.months, self._passed):
                    await self._month(world, subscriber, luci, soaked)
                await _everything_at_once(world)
                await self._month(world, subscriber, luci, soaked)
                soaked.warm_samples, soaked.warm_rests = len(soaked.samples), len(soaked.rests) - 1
                soaked.done_when_warm = subscriber.done.copy()
                while not enough(subscriber.months, self._passed):
                    await self._month(world, subscriber, luci, soaked)
                for task in watching:
                    if task.done():
                        task.result()  # who was to watch has to have watched to the end
            finally:
                for task in watching:
                    task.cancel()
                await asyncio.gather(*watching, return_exceptions=True)
            soaked.done, soaked.requests, soaked.seconds = subscriber.done, luci.done, self._passed
            soaked.drift = list(stripe.drift)
            await world.daemon.stop()
            soaked.ledger_bytes = samples.ledger_files(world)
            state = world.root / "etc/stripe-payments"
            soaked.tidied, soaked.cramped = await _tidy(
                state, self._folder / "tidied", stripe.clock.now() + LATER
            )
        return soaked

    @property
    def _passed(self) -> float:
        return time.monotonic() - self._began

    async def _month(self, world: World, subscriber: BusySubscriber, luci: Luci, soaked: Soaked) -> None:
        await subscriber.month()
        await luci.pause()
        soaked.rests.append(await _at_rest(world, subscriber.months))
        luci.go_on()
        self._say(_summary(soaked.rests[-1], self._passed))

    async def _sample(self, world: World, soaked: Soaked) -> None:
        while True:
            with contextlib.suppress(StatusError, ConnectionLost):  # ubusd restarts now and then
                soaked.samples.append(await samples.take(world, self._passed))
            await asyncio.sleep(EVERY_S)


async def _everything_at_once(world: World) -> None:
    calls = [world.bus.call("stripe-payments", "check", {}) for _ in range(AT_ONCE)]
    calls += [world.bus.call("stripe-payments", "sync", {}) for _ in range(AT_ONCE)]
    await asyncio.gather(*calls, return_exceptions=True)


async def _at_rest(world: World, month: int) -> Rest:
    pid = world.daemon.pid
    if pid is None:
        raise RuntimeError(f"the daemon ended in month {month}:\n{world.daemon.log_text()[-4000:]}")

    deadline = time.monotonic() + PATIENCE_S
    while True:  # an event that arrives in the rest is given its time: what waits at the end has been stuck
        sample = await samples.take(world, 0.0)
        if sample.is_idle:
            await asyncio.sleep(REST_S)
            sample = await samples.take(world, 0.0)
        if sample.is_idle or time.monotonic() >= deadline:
            break
        await asyncio.sleep(0.2)
    return Rest(
        month,
        samples.descriptors(pid),
        sample.threads,
        sample.resident,
        sample.ledger,
        sample.checkouts,
        sample.events,
        sample.effects,
    )


async def _tidy(state: Path, copy: Path, now: int) -> tuple[Tidied | None, Tidied | None]:
    """Run the product's own retention on a copy: as it will be in four months, and as it would be if half
    of that were all the space there is.
    """
    shutil.copytree(state, copy)
    ledger = await SQLiteLedger.open(copy / "ledger.db")
    clock = TrustedClock(now)
    stripe = StripeAPI(Keys, clock)  # never called
    reconciler = Reconciler(ledger, stripe, clock, Settings, IdentityStore(copy), lambda _: None)
    try:
        await reconciler.load()
        tidied = await Retention(ledger, lambda: now, reconciler.archive).tidy()
        space = tidied.size // 2 if tidied is not None else 0
        return tidied, await Retention(ledger, lambda: now, reconciler.archive, size_limit=space).tidy()
    finally:
        stripe.close()
        await ledger.close()


def _summary(rest: Rest, seconds: float) -> str:
    descriptors, kib = sum(rest.descriptors.values()), rest.ledger / 1024
    return (
        f"{seconds:6.0f} s  month {rest.month:4}  {rest.resident / 2**20:6.2f} MiB  {descriptors} descriptors"
        f"  {rest.threads} threads  ledger {kib:,.0f} KiB"
    )
