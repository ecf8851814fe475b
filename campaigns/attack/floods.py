"""Many requests, slow requests and huge ones on the public side; meanwhile the bus answers, nothing wears the
flash, and no request to Stripe.

Behind it the daemon as a process of its own. With OPENWRT_STAGING the web server is real uhttpd with the
ucode gateway, else the simulator's.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import re
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

import aiohttp

from campaigns.attack.cases import Cases
from campaigns.attack.complaints import listening
from simulator.world import World
from stripe_payments.stripe_api import sign
from tests.interop.world import OpenWrtWorld, skip_reason
from ubus_py import UbusError

__all__ = ["floods", "real_floods"]

WEBHOOK = "/api/payments/webhook"
AT_ONCE = 32
GROWTH_MIB = 24
"""Resident memory that a flood may cost the daemon: what the pages' templates and a thousand addresses
need.
"""
PATIENCE_S = 120.0


@dataclass(frozen=True)
class _State:
    """What a flood must not change."""

    ledger: tuple[int, int]
    written: int
    asked: int
    unlocked: frozenset[str]


class _Watched:
    """A world under a flood."""

    def __init__(self, world: World) -> None:
        self.world = world
        self._pid = _process(world)
        self._resident = self._memory()
        self.answered = 0
        self.worst_s = 0.0

    def _memory(self) -> float:
        status = Path(f"/proc/{self._pid}/status").read_text()
        return next(int(line.split()[1]) / 1024 for line in status.splitlines() if line.startswith("VmRSS"))

    async def state(self) -> _State:
        features = await self.world.bus.call("stripe-payments", "features", {})
        held = features["features"]
        assert isinstance(held, dict)
        ledger = (self.world.root / "etc/stripe-payments/ledger.db").stat()
        io = Path(f"/proc/{self._pid}/io").read_text().splitlines()
        return _State(
            (ledger.st_mtime_ns, ledger.st_size),
            next(int(line.split()[1]) for line in io if line.startswith("write_bytes")),
            sum(_NAMED.search(str(row["path"])) is not None for row in self.world.stripe.requests()),
            frozenset(name for name, one in held.items() if isinstance(one, dict) and one["unlocked"]),
        )

    def grown(self) -> str | None:
        grown = self._memory() - self._resident
        return f"its memory grew by {grown:.0f} MiB" if grown > GROWTH_MIB else None

    @contextlib.asynccontextmanager
    async def asking(self) -> AsyncIterator[None]:
        """A bus client keeps polling the features."""
        over = asyncio.Event()

        async def ask() -> None:
            while not over.is_set():
                began = time.monotonic()
                await self.world.bus.call("stripe-payments", "features", {}, timeout=PATIENCE_S)
                self.answered += 1
                self.worst_s = max(self.worst_s, time.monotonic() - began)
                await asyncio.sleep(0.02)

        asking = asyncio.create_task(ask())
        try:
            yield
        finally:
            over.set()
            await asking


def _process(world: World) -> int:
    """The daemon's process as this machine numbers it."""
    if isinstance(world, OpenWrtWorld):
        for status in Path("/proc").glob("[0-9]*/cmdline"):
            with contextlib.suppress(OSError):
                if b"stripe_payments\0--state" in status.read_bytes():
                    return int(status.parent.name)
        raise RuntimeError("the daemon's process is not there")
    assert world.daemon.pid is not None
    return world.daemon.pid


async def _settled(world: World) -> None:
    """Returns when the daemon has stored what it found out after its start."""
    await world.bus.call("stripe-payments", "sync", {}, timeout=PATIENCE_S)
    ledger = world.root / "etc/stripe-payments/ledger.db"
    since, seen = time.monotonic(), 0
    while time.monotonic() - since < 1:
        if (written := ledger.stat().st_mtime_ns) != seen:
            since, seen = time.monotonic(), written
        await asyncio.sleep(0.05)


_NAMED = re.compile(r"/(?:ch_flood|cs_test_)")
"""What the floods name; about other things the daemon asks Stripe by itself."""


Flood = Callable[["_Target"], Awaitable[str | None]]


@dataclass(frozen=True)
class _Target:
    url: str
    secret: str
    count: int

    async def post(self, http: aiohttp.ClientSession, path: str, body: bytes, headers: dict[str, str]) -> int:
        async with http.post(self.url + path, data=body, headers=headers) as response:
            await response.read()
            return response.status

    async def many(self, one: Callable[[aiohttp.ClientSession, int], Awaitable[int]]) -> set[int]:
        """The statuses of `count` requests, `AT_ONCE` at a time."""
        numbers = iter(range(self.count))
        statuses: set[int] = set()
        connector = aiohttp.TCPConnector(limit=AT_ONCE)
        async with aiohttp.ClientSession(connector=connector, cookie_jar=aiohttp.DummyCookieJar()) as http:

            async def work() -> None:
                for number in numbers:
                    statuses.add(await one(http, number))

            await asyncio.gather(*(work() for _ in range(AT_ONCE)))
        return statuses


def _wrong(statuses: set[int], right: set[int]) -> str | None:
    return (
        None if statuses <= right and statuses else f"answered {sorted(statuses)} instead of {sorted(right)}"
    )


def _event(number: int) -> bytes:
    subject = {"id": f"ch_flood{number}", "object": "charge"}
    reported = {
        "id": f"evt_flood{number}",
        "type": "charge.refunded",
        "livemode": False,
        "data": {"object": subject},
    }
    return json.dumps(reported).encode()


async def _forged(target: _Target) -> str | None:
    async def one(http: aiohttp.ClientSession, number: int) -> int:
        now = int(time.time())
        body = _event(number)
        signature = f"t={now},v1={sign(body, 'whsec_guess', now)}"
        return await target.post(http, WEBHOOK, body, {"Stripe-Signature": signature})

    return _wrong(await target.many(one), {400, 429})


async def _replayed(target: _Target) -> str | None:
    """One genuine delivery of another mode, over and over: as an eavesdropper would."""
    body = _event(0).replace(b'"livemode": false', b'"livemode": true')

    async def one(http: aiohttp.ClientSession, number: int) -> int:
        del number
        now = int(time.time())
        return await target.post(
            http, WEBHOOK, body, {"Stripe-Signature": f"t={now},v1={sign(body, target.secret, now)}"}
        )

    return _wrong(await target.many(one), {200})


async def _large(target: _Target) -> str | None:
    async def one(http: aiohttp.ClientSession, number: int) -> int:
        size = 512 * 1024 if number % 2 else 600 * 1024
        return await target.post(http, WEBHOOK, b"x" * size, {"Stripe-Signature": "t=1,v1=00"})

    few = _Target(target.url, target.secret, max(20, target.count // 10))
    return _wrong(await few.many(one), {400, 413, 429})


async def _unknown_ids(target: _Target) -> str | None:
    async def one(http: aiohttp.ClientSession, number: int) -> int:
        paths = (
            f"/api/payments/status/cs_test_{number:x}",
            f"/payment-success?session_id=cs_test_{number:x}",
        )
        async with http.get(target.url + paths[number % 2]) as response:
            await response.read()
            return response.status

    return _wrong(await target.many(one), {404, 429})


async def _huge_headers(target: _Target) -> str | None:
    async def one(http: aiohttp.ClientSession, number: int) -> int:
        headers = {f"X-{index}": "x" * 900 for index in range(number % 40)}
        headers["Cookie"] = "a=b; " * (number % 1500)
        with contextlib.suppress(aiohttp.ClientError):
            async with http.get(f"{target.url}/api/payments/health", headers=headers) as response:
                await response.read()
                return response.status
        return 400  # hung up on

    return _wrong(await target.many(one), {200, 400, 413, 431})


async def _slow(target: _Target) -> str | None:
    """Connections that send half a request, byte by byte, or nothing: all held open while others are
    answered.
    """
    address = urlsplit(target.url)
    halves = (
        b"",
        b"GET /api/payments/health HTTP/1.1\r\nHost: x\r\nX: ",
        b"POST /api/payments/webhook HTTP/1.1\r\nHost: x\r\nContent-Length: 100000\r\n\r\n{",
        b"POST /api/payments/webhook HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n5\r\n{",
    )
    held = []
    try:
        for number in range(min(64, target.count)):
            _, writer = await asyncio.open_connection(address.hostname, address.port)
            writer.write(halves[number % len(halves)])
            held.append(writer)
        for _ in range(8):
            for writer in held:
                with contextlib.suppress(ConnectionError):
                    writer.write(b"a")
            await asyncio.sleep(0.1)
        return None
    finally:
        for writer in held:
            writer.close()


FLOODS: dict[str, Flood] = {
    "forged webhooks": _forged,
    "a webhook of the other mode, again and again": _replayed,
    "bodies at the cap and over it": _large,
    "unknown ids": _unknown_ids,
    "huge headers": _huge_headers,
    "connections that never finish": _slow,
}


async def floods(cases: Cases) -> None:
    """Against the simulator's web server."""
    async with World(state=cases.folder) as world:
        await _withstand(world, cases)


async def real_floods(cases: Cases) -> None:
    """Against uhttpd."""
    if reason := skip_reason():
        raise RuntimeError(reason)
    import os

    async with OpenWrtWorld(Path(os.environ["OPENWRT_STAGING"])) as world:
        await _withstand(world, cases)


async def _withstand(world: World, cases: Cases) -> None:
    with listening():  # what the simulator's web server says of connections that broke
        await _withstand_all(world, cases)


async def _withstand_all(world: World, cases: Cases) -> None:
    await _settled(world)
    kept = json.loads((world.root / "etc/stripe-payments/secrets.json").read_text())
    target = _Target(world.front.url, kept["webhook_secret"], cases.count)
    watched = _Watched(world)
    for name, flood in FLOODS.items():
        before = await watched.state()
        answered = watched.answered
        problem = None
        try:
            async with watched.asking():
                problem = await flood(target)
                if name == "connections that never finish":
                    problem = problem or await _still_sells(world)
        except (UbusError, TimeoutError) as error:
            problem = f"the bus was not answered: {error!r}"
        cases.note(problem, name)
        cases.note(None if watched.answered > answered else "no bus client was answered", f"{name}: the bus")
        after = await watched.state()
        if name != "connections that never finish":
            same = (after.ledger, after.asked, after.unlocked) == (
                before.ledger,
                before.asked,
                before.unlocked,
            )
            cases.note(None if same else f"{before} became {after}", f"{name}: ledger, Stripe, features")
            wrote = after.written - before.written
            cases.note(f"{wrote} bytes were written" if wrote > _LOG_BYTES else None, f"{name}: the flash")
        cases.note(watched.grown(), f"{name}: memory")
    cases.notes.append(f"the slowest answer on the bus meanwhile: {watched.worst_s * 1000:.0f} ms")


_LOG_BYTES = 512 * 1024
"""The simulated router's log is a file of the daemon's own; on a router it is memory."""


async def _still_sells(world: World) -> str | None:
    """A purchase is noticed although the web server is busy: polling needs no inbound connection."""
    reply = await world.bus.call(
        "stripe-payments",
        "create_checkout_session",
        {"price_id": "price_premium_onetime", "success_url": world.front.url, "cancel_url": world.front.url},
    )
    await world.pay(str(reply["session_id"]))
    await world.wait_until(lambda: world.unlocked("remote_backup_daily"), patience_s=PATIENCE_S)
    return None
