"""This tree's daemon beside that of an earlier commit, in one run and in the same simulated world.

Both are driven by this tree's simulator: what they say on ubus, HTTP and UCI has not changed. The latency is
measured on daemons without instruments, which take turns, so that what the machine does besides falls on
both alike; jobs, statements and files are counted in another daemon each (see `instruments`).
"""

import asyncio
import json
import os
import signal
import subprocess
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from typing import Any, Final

import aiohttp

from campaigns.bench import flash, start_and_memory
from campaigns.report import Goal, NotMeasured, Row
from simulator.daemon_process import REPOSITORY
from simulator.router.uci_file import parse
from simulator.stripe_cloud.rendering import render
from simulator.stripe_cloud.webhooks import signature_header
from simulator.world import World

__all__ = ["measure"]

COMMIT: Final = "6ef6532"
BESIDE: Final = f"commit {COMMIT}"
PRICE: Final = "price_premium_onetime"
FEATURE: Final = "remote_backup_daily"
ROUNDS: Final = 3
PURCHASES: Final = 60
"""In each round, which begins with new daemons: a household's purchases of years."""
COUNTED: Final = 3
WATCH_S: Final = 0.0005
"""Between two looks at the file of features."""
BEFORE_S: Final = 0.3
"""What the order causes is over by then, and the poller has not yet looked for a payment."""
SETTLED_S: Final = 2.0
"""What a webhook causes after the feature is in UCI is over by then."""
PROCD_RELOAD_DELAY_S: Final = 1.0
"""procd.sh's. The simulator's is shorter for the tests: the reload that follows a write of the feature state,
which `COMMIT` has no trigger for, would fall into the next purchase.
"""
INSTRUMENTS: Final = Path(__file__).with_name("instruments")


def _older_daemon(folder: Path) -> Path:
    """The `daemon` folder of `COMMIT`, unpacked below `folder`."""
    folder.mkdir()
    archive = folder / "daemon.tar"
    git = ["git", "-C", str(REPOSITORY), "archive", "-o", str(archive.resolve()), COMMIT, "daemon"]
    try:
        subprocess.run(git, check=True, capture_output=True, text=True)
    except FileNotFoundError:
        raise NotMeasured("git is not installed") from None
    except subprocess.CalledProcessError as error:
        raise NotMeasured(f"git has no commit {COMMIT} here: {error.stderr.strip()}") from None
    subprocess.run(["tar", "-xf", str(archive), "-C", str(folder)], check=True)
    return folder / "daemon"


class _Buyer:
    """Buys the one-time product again and again."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._features = world.root / "etc/config/stripe-features"

    async def order(self) -> str:
        """A checkout session."""
        answer = await self._world.bus.call("stripe-payments", "create_checkout_session", {"price_id": PRICE})
        return str(answer["session_id"])

    async def deliver(self, session: str, http: aiohttp.ClientSession) -> float:
        """Deliver `checkout.session.completed` itself; seconds from its 200 to the feature in UCI."""
        account = self._world.stripe.account
        event = next(
            event
            for event in account.newest_first("event")
            if event["type"] == "checkout.session.completed" and event["data"]["object"]["id"] == session
        )
        (endpoint,) = account.newest_first("webhook_endpoint")
        body = json.dumps(render(account, event)).encode()
        secret = account.behind(endpoint["id"])["secret"]
        headers = {
            "Content-Type": "application/json",
            "Stripe-Signature": signature_header(body, secret, self._world.stripe.clock.now()),
        }
        async with http.post(endpoint["url"], data=body, headers=headers) as response:
            await response.read()
            accepted = time.perf_counter()
            if response.status != 200:
                raise RuntimeError(f"the webhook was answered {response.status}")
        await self.in_uci("1")
        return time.perf_counter() - accepted

    async def give_back(self, session: str) -> None:
        """Refund it, so that it can be bought again."""
        await self._world.bus.call("stripe-payments", "refund", {"payment_id": session})
        await self.in_uci("0")

    async def in_uci(self, unlocked: str) -> None:
        """Wait until the file of features says so."""
        async with asyncio.timeout(30):
            while self._unlocked() != unlocked:
                await asyncio.sleep(WATCH_S)

    def _unlocked(self) -> object:
        section = parse("stripe-features", self._features.read_text()).section(FEATURE)
        return section.options.get("unlocked") if section else None


@dataclass
class _Side:
    """One of the two daemons. `daemon`: its code; `older`: it is that of `COMMIT`. The figures are filled in
    as they are measured.
    """

    daemon: Path
    folder: Path
    older: bool = False
    latencies: list[float] = field(default_factory=list)
    counts: dict[str, Any] = field(default_factory=dict)

    def world(self, name: str, *, counted: bool = False) -> World:
        if not counted:
            return self.open_world(state=self.folder / name)
        environment = {"PYTHONPATH": f"{INSTRUMENTS}:{self.daemon}", "BENCH_COUNTS": str(self._counts_file)}
        return self.open_world(state=self.folder / name, environment=environment)

    def open_world(self, **options: Any) -> World:
        world = World(
            **{"environment": {"PYTHONPATH": str(self.daemon)}, "seller_socket": not self.older, **options}
        )
        world.router.service.reload_delay_s = PROCD_RELOAD_DELAY_S
        return world

    @property
    def _counts_file(self) -> Path:
        return (self.folder / "counts.json").resolve()

    async def count(self) -> None:
        """One purchase from the payment on, with all webhooks of it, after some that are not counted. The
        files are those that each purchase enters until the feature is in UCI: what a timer does meanwhile is
        not on the path.
        """
        entered: list[set[str]] = []
        async with self.world("counted", counted=True) as world:
            buyer = _Buyer(world)
            for _ in range(COUNTED):
                session = await buyer.order()
                await asyncio.sleep(BEFORE_S)
                self._signal(world, signal.SIGUSR1)
                await world.pay(session)
                await buyer.in_uci("1")
                self._signal(world, signal.SIGUSR2)
                await asyncio.sleep(SETTLED_S)
                self._signal(world, signal.SIGUSR2)
                await world.wait_until(self._is_counted)
                self.counts = json.loads(self._counts_file.read_text())
                self._counts_file.unlink()
                entered.append(set(self.counts["files"]))
                await buyer.give_back(session)
                await asyncio.sleep(SETTLED_S)
        self.counts["files"] = sorted(set.intersection(*entered))

    def _signal(self, world: World, number: signal.Signals) -> None:
        os.kill(world.daemon.pid or 0, number)

    async def _is_counted(self) -> bool:
        return self._counts_file.exists()


async def _latencies(sides: tuple[_Side, _Side], name: str) -> None:
    """Of one round; `name`: of its folders."""
    async with AsyncExitStack() as stack:
        http = await stack.enter_async_context(aiohttp.ClientSession())
        worlds = [await stack.enter_async_context(side.world(name)) for side in sides]
        for world in worlds:
            world.stripe.faults.configure({"webhooks": "drop"})
        for turn in range(PURCHASES + 1):
            for side, world in zip(sides, worlds, strict=True):
                buyer = _Buyer(world)
                session = await buyer.order()
                await world.pay(session)
                latency = await buyer.deliver(session, http)
                await buyer.give_back(session)
                if turn:  # the first one imports the SDK
                    side.latencies.append(latency * 1000)


def _p99(values: list[float]) -> float:
    return sorted(values)[int(len(values) * 0.99)]


def _both(
    what: str, unit: str, values: tuple[float, float], goal: Goal | None = None, remark: str = ""
) -> Row:
    """`values`: ours, then the older one's."""
    return Row(f"{what}, beside {BESIDE}", values[0], unit, goal, values[1], BESIDE, remark)


async def _counts(sides: tuple[_Side, _Side]) -> AsyncIterator[Row]:
    for side in sides:
        await side.count()
    ours, older = (side.counts for side in sides)

    def row(what: str, key: str, goal: Goal | None = None) -> Row:
        return _both(what, "", (ours[key], older[key]), goal)

    yield row("ledger operations, from payment to delivery", "jobs", Goal("<=", 0.6, of_baseline=True))
    yield row("SQL statements for them", "statements")
    yield row("stays in modules of sync meanwhile", "stays")
    yield row("returns to modules of sync meanwhile", "returns")
    files = (float(len(ours["files"])), float(len(older["files"])))
    yield _both("project files entered, from payment to feature in UCI", "", files, Goal("<=", 40))


async def measure(folder: Path) -> AsyncIterator[Row]:
    """Needs four minutes."""
    older = await asyncio.to_thread(_older_daemon, folder / "older")
    sides = (_Side(REPOSITORY / "daemon", folder / "ours"), _Side(older, folder / "theirs", older=True))
    for side in sides:
        side.folder.mkdir()
    figures = {
        "webhook accepted to feature in UCI": _timings(sides),
        "ledger operations and files of a purchase": _counts(sides),
        "start and memory": _start_and_memory(sides),
        "flash, written for a purchase": _flash(sides),
    }
    for what, rows in figures.items():
        async for row in timeouts_as_row(f"{what}, beside {BESIDE}", rows):
            yield row


async def timeouts_as_row(what: str, rows: AsyncIterator[Row]) -> AsyncIterator[Row]:
    """The rows; one that was not ready in time becomes a row that says so, and ends them."""
    try:
        async for row in rows:
            yield row
    except TimeoutError:
        yield Row(what, reason="the machine is too busy: the simulated router did not answer in time")


async def _timings(sides: tuple[_Side, _Side]) -> AsyncIterator[Row]:
    for number in range(ROUNDS):
        await _latencies(sides, f"latency-{number}")
    ours, theirs = (side.latencies for side in sides)
    faster = Goal("<=", 0.7, of_baseline=True)
    yield _both("webhook accepted to feature in UCI, median", "ms", (median(ours), median(theirs)), faster)
    yield _both("webhook accepted to feature in UCI, p99", "ms", (_p99(ours), _p99(theirs)), faster)


async def _start_and_memory(sides: tuple[_Side, _Side]) -> AsyncIterator[Row]:
    starts: list[float] = []
    idle: list[float] = []
    used: list[float] = []
    for side in sides:
        starts.append(min(await start_and_memory.starts(side.folder / "starts", side.open_world)))
        idle.append(await start_and_memory.memory_idle(side.folder / "idle", side.open_world))
        used.append(await start_and_memory.memory_used(side.folder / "used", side.open_world))
    yield _both("start to registered", "s", (starts[0], starts[1]), Goal("<=", 0.3))
    yield _both("memory, idle", "MiB", (idle[0], idle[1]), Goal("<=", 32))
    yield _both("memory, after the first Stripe call", "MiB", (used[0], used[1]), Goal("<=", 50))


async def _flash(sides: tuple[_Side, _Side]) -> AsyncIterator[Row]:
    written = [await flash.purchase_kib(side.folder / "flash", side.open_world) for side in sides]
    less = Goal("<=", 0.6, of_baseline=True)
    yield _both("flash, written for a purchase", "KiB", (written[0], written[1]), less)
