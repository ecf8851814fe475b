"""A rolling upgrade: processes of the version before and of this one on one database, while routers buy.

The version before is that of the commit before the newest migration, taken from git's history. Its instance
and its worker go on after this version's `migrate`; then this version's are started, and the others end.
"""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import tarfile
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from io import BytesIO
from pathlib import Path
from typing import Any, Final

import httpx

from campaigns.report import Report
from campaigns.runner import Part, Say, Scratch
from payments_hub.database import schema_revisions
from payments_hub.statements import rotate_keys
from simulator.postgres import PostgreSQL, program
from simulator.stripe_cloud import StripeCloud
from tests.hub.vendor import CATALOG, KEY, Caller, free_port, register

__all__ = ["NAME", "part"]

NAME: Final = "rolling-upgrade"
_WHAT: Final = "instance and worker of the version before, and of this one, on one database while routers buy"
_REPOSITORY: Final = Path(__file__).resolve().parents[2]
_MIGRATIONS: Final = "hub/payments_hub/migrations/versions"
_PREMIUM: Final = {"backups", "updates"}
_RUNS: Final = 3
_PATIENCE_S: Final = 180.0
"""A process takes half a minute to start on a machine with other work to do."""


def part() -> Part:
    async def run(report: Report, scratch: Scratch, _say: Say) -> None:
        tally = report.tally(NAME, f"{_WHAT}; the one before is {_before()[:7]}")
        for number in range(_RUNS):
            folder = scratch.own.resolve() / str(number)
            folder.mkdir()
            try:
                await _upgrade(folder)
            except AssertionError as error:
                tally.count(str(error))
            else:
                tally.count(None)

    return Part(NAME, run, _WHAT, _missing)


def _missing() -> str | None:
    try:
        program("initdb")
        _before()
    except (FileNotFoundError, subprocess.CalledProcessError):
        return "PostgreSQL and git's history are needed"
    return None


def _git(*words: str) -> bytes:
    return subprocess.run(["git", *words], cwd=_REPOSITORY, capture_output=True, check=True).stdout


def _before() -> str:
    """The commit before the newest migration came."""
    came = _git("log", "-1", "--diff-filter=A", "--format=%H", "--", _MIGRATIONS).decode().strip()
    return _git("rev-parse", "--verify", f"{came}^").decode().strip()


@dataclass
class _Version:
    """The code in a folder, and its processes by name."""

    code: Path
    environment: dict[str, str]
    log: Path
    running: dict[str, asyncio.subprocess.Process] = field(default_factory=dict)

    async def command(self, *words: str) -> asyncio.subprocess.Process:
        path = os.pathsep.join(str(self.code / part) for part in ("hub", "daemon"))
        environment = os.environ | self.environment | {"PYTHONPATH": path}
        with self.log.open("ab") as sink:
            return await asyncio.create_subprocess_exec(
                sys.executable, "-m", "payments_hub", *words, env=environment, stdout=sink, stderr=sink
            )

    async def succeed(self, *words: str) -> None:
        code = await (await self.command(*words)).wait()
        assert code == 0, f"{' '.join(words)}: {self.log.read_text()[-300:]}"

    async def serve(self, cloud: StripeCloud, http: httpx.AsyncClient) -> str:
        """Start an instance to which Stripe delivers, and return its address when it is ready."""
        address = f"http://127.0.0.1:{(port := free_port())}"
        self.environment["STRIPE_WEBHOOK_SECRET"] = await register(cloud, f"{address}/stripe/webhook")
        self.running["serve"] = await self.command("serve", "--port", str(port))

        async def ready() -> bool:
            try:
                return (await http.get(f"{address}/readyz")).status_code == 200
            except httpx.TransportError:
                return False

        await _until(ready, f"ready: {self.log.name}")
        return address

    async def work(self) -> None:
        self.running["work"] = await self.command("work")

    async def end(self, name: str) -> None:
        """As systemd ends it."""
        process = self.running.pop(name)
        process.send_signal(signal.SIGTERM)
        await process.wait()

    async def kill_all(self) -> None:
        for process in self.running.values():
            process.kill()
            await process.wait()


@dataclass
class _Buyers:
    """Routers, and what each of them has to show at every instance: the plan that it bought."""

    cloud: StripeCloud
    http: httpx.AsyncClient
    routers: list[Caller] = field(default_factory=list)

    async def buy(self, address: str) -> None:
        """Enrol a router and buy a plan, at that instance."""
        async with httpx.AsyncClient(base_url=address) as http:
            router = Caller(http)
            reply = await router.enroll()
            assert reply.status_code == 201, f"enrolling: {reply.text}"
            self.cloud.pay(await router.checkout("premium_monthly"))
        self.routers.append(router)

    async def have_it_at(self, *addresses: str) -> None:
        for address in addresses:
            for router in self.routers:

                async def has_it(at: str = address, secret: str = router.secret) -> bool:
                    headers = {"authorization": f"Bearer {secret}"}
                    reply = await self.http.get(f"{at}/v1/state", headers=headers, timeout=30)
                    assert reply.status_code == 200, f"{reply.status_code} {reply.text[:200]}"
                    body: dict[str, Any] = reply.json()
                    return {name for name, held in body["features"].items() if held["unlocked"]} == _PREMIUM

                number = self.routers.index(router) + 1
                what = f"what router {number} of {len(self.routers)} bought is unlocked at {address}"
                await _until(has_it, what)


async def _until(holds: Callable[[], Awaitable[bool]], what: str) -> None:
    deadline = time.monotonic() + _PATIENCE_S
    while not await holds():
        assert time.monotonic() < deadline, f"not within {_PATIENCE_S:.0f} s: {what}"
        await asyncio.sleep(0.1)


@asynccontextmanager
async def _postgres() -> AsyncIterator[PostgreSQL]:
    server = await asyncio.to_thread(PostgreSQL, {"fsync": "off"})
    try:
        await asyncio.to_thread(server.start)
        yield server
    finally:
        await asyncio.to_thread(server.remove)


async def _upgrade(folder: Path) -> None:
    """Raises AssertionError where something is not served or not unlocked."""
    code = folder / "before"
    with tarfile.open(fileobj=BytesIO(_git("archive", _before(), "hub", "daemon"))) as archive:
        archive.extractall(code, filter="data")
    rotate_keys(folder / "signing-keys.json")
    catalog = folder / "catalog.toml"
    catalog.write_text(CATALOG)
    async with AsyncExitStack() as stack:
        cloud = await stack.enter_async_context(StripeCloud())
        server = await stack.enter_async_context(_postgres())
        http = await stack.enter_async_context(httpx.AsyncClient())
        environment = {
            "DATABASE_URL": server.url(await asyncio.to_thread(server.create_database), "hub"),
            "HUB_URL": "https://hub.example.org",
            "HUB_OPEN_ENROLLMENT": "1",
            "HUB_STRIPE_LIMIT": "2000",
            "HUB_SIGNING_KEY_FILE": str(folder / "signing-keys.json"),
            "STRIPE_SECRET_KEY": KEY,
            "STRIPE_API_BASE": cloud.url,
        }
        before = _Version(code, dict(environment), folder / "before.log")
        after = _Version(_REPOSITORY, dict(environment), folder / "after.log")
        for version in (before, after):
            stack.push_async_callback(version.kill_all)
        buyers = _Buyers(cloud, http)
        await before.succeed("migrate")
        held, newest = await asyncio.to_thread(schema_revisions, environment["DATABASE_URL"])
        assert held != newest, "the version before has an older schema"
        await before.succeed("catalog", "apply", str(catalog))
        old = await before.serve(cloud, http)
        await before.work()
        await buyers.buy(old)
        await buyers.have_it_at(old)

        await after.succeed("migrate")
        await buyers.buy(old)  # the version before, on the schema of this one
        await buyers.have_it_at(old)
        new = await after.serve(cloud, http)
        await buyers.buy(new)  # the worker before does what this version's instance accepted
        await buyers.have_it_at(old, new)
        await after.work()
        for address in (old, new):
            await buyers.buy(address)
        await buyers.have_it_at(old, new)
        await before.end("work")
        await before.end("serve")
        await buyers.buy(new)
        await buyers.have_it_at(new)
