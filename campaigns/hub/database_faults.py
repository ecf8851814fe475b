"""What PostgreSQL may do to a hub in operation: be away, fail over to its standby, lock a table, have no
connection or no space left. Stripe delivers meanwhile, and a router polls.

Held against each: an event that was answered with 200 is in the database, an event that was not is delivered
again and taken, and within ten seconds of the end of the fault routers and deliveries are served.
"""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import subprocess
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Final

import httpx
import psycopg

from campaigns.report import Goal, Report, Row
from campaigns.runner import Part, Say, Scratch
from payments_hub.database import migrate
from simulator.postgres import PostgreSQL, program
from stripe_payments.stripe_api.webhook_delivery import sign
from tests.hub.vendor import Caller, Vendor, free_port

__all__ = ["NAMES", "parts"]

_BACK_WITHIN_S: Final = 10.0
_LONG_S: Final = 2.0
"""A shorter fault is of the short form, which says nothing of speed: it runs beside other tests."""
_PATIENCE_S: Final = 60.0
_SENDERS: Final = 4
_HOT: Final = ("routers", "accounts", "credentials", "inbox", "objects")
_PREMIUM: Final = {"backups", "updates"}


@dataclass
class Traffic:
    """Deliveries and polls until `stop`. `accepted`: events that were answered with 200; `refused`: those
    that Stripe has to deliver again; `odd`: answers that are neither.
    """

    vendor: Vendor
    router: Caller
    accepted: set[str] = field(default_factory=set)
    refused: dict[str, dict[str, Any]] = field(default_factory=dict)
    odd: list[str] = field(default_factory=list)
    polled_at: float = 0.0
    accepted_at: float = 0.0
    _running: list[asyncio.Task[None]] = field(default_factory=list)
    _number: int = 0

    @asynccontextmanager
    async def flows(self) -> AsyncIterator[Traffic]:
        """While the block runs, and until what was refused is delivered again."""
        async with httpx.AsyncClient(base_url=self.vendor.url, timeout=_PATIENCE_S) as stripe:
            self._running = [asyncio.create_task(self._deliver_all(stripe)) for _ in range(_SENDERS)]
            self._running.append(asyncio.create_task(self._poll()))
            try:
                yield self
            finally:
                for task in self._running:
                    task.cancel()
                await asyncio.gather(*self._running, return_exceptions=True)
            until = time.monotonic() + _PATIENCE_S
            while self.refused and time.monotonic() < until:  # Stripe repeats a delivery for days
                for event in list(self.refused.values()):
                    await self._deliver(stripe, event)

    async def _deliver_all(self, stripe: httpx.AsyncClient) -> None:
        while True:
            self._number += 1
            name = f"evt_{self._number:08d}"
            charge = {"id": f"ch_{self._number:08d}", "object": "charge"}
            event = {"id": name, "object": "event", "type": "charge.refunded", "livemode": False}
            await self._deliver(stripe, event | {"data": {"object": charge}})
            await asyncio.sleep(0.02)

    async def _deliver(self, stripe: httpx.AsyncClient, event: dict[str, Any]) -> None:
        body = json.dumps(event).encode()
        hub = self.vendor.hub
        now = hub.clock.now()
        signature = f"t={now},v1={sign(body, hub.config.webhook_secret, now)}"
        name = str(event["id"])
        self.refused[name] = event
        reply = await stripe.post("/stripe/webhook", content=body, headers={"stripe-signature": signature})
        if reply.status_code == 200:
            self.accepted.add(name)
            del self.refused[name]
            self.accepted_at = time.monotonic()
        elif reply.status_code != 503:
            self.odd.append(f"a delivery was answered {reply.status_code}: {reply.text}")

    async def _poll(self) -> None:
        while True:
            reply = await self.router.request("GET", "/v1/state")
            if reply.status_code == 200:
                self.polled_at = time.monotonic()
            elif reply.status_code != 503 or "retry-after" not in reply.headers:
                self.odd.append(f"a poll was answered {reply.status_code}")
            await asyncio.sleep(0.5)

    async def back(self, since: float) -> float:
        """Seconds from `since` until a delivery is taken and a poll served again."""
        while min(self.accepted_at, self.polled_at) <= since:
            for task in self._running:
                if task.done():
                    task.result()
            if time.monotonic() - since > _PATIENCE_S:
                raise TimeoutError(f"not served again within {_PATIENCE_S:.0f} s: {self.odd[-1:]}")
            await asyncio.sleep(0.02)
        return max(self.accepted_at, self.polled_at) - since


Fault = Callable[[float], Awaitable[float]]
"""Does it for so many seconds; returns when it ended (monotonic)."""


async def _measured(
    name: str, what: str, report: Report, folder: Path, url: str, fault: Fault, seconds: float, look: str = ""
) -> None:
    """One row: seconds until the hub serves again. `look`: where the database is afterwards."""
    async with Vendor.open(url, folder, poll_after=900) as vendor:
        router = await vendor.router()
        traffic = Traffic(vendor, router)
        async with traffic.flows():
            before = time.monotonic()
            await traffic.back(before)
            ended = await fault(seconds)
            took = await traffic.back(ended)
        failures = list(dict.fromkeys(traffic.odd))
        if traffic.refused:
            failures.append(f"{len(traffic.refused)} deliveries were refused again afterwards")
        with psycopg.connect(look or url) as connection:
            stored = {row[0] for row in connection.execute("SELECT event_id FROM inbox").fetchall()}
        if lost := traffic.accepted - stored:
            failures.append(f"{len(lost)} of {len(traffic.accepted)} acknowledged events are lost")
        deadline = time.monotonic() + _PATIENCE_S
        vendor.cloud.pay(await _checkout(router, deadline))
        while not await _has_it(router):
            if time.monotonic() > deadline:
                failures.append("what is bought afterwards does not unlock")
                break
            await asyncio.sleep(0.1)
    said = f"{what}; {len(traffic.accepted)} events acknowledged"
    goal = Goal("<=", _BACK_WITHIN_S) if seconds >= _LONG_S else None
    report.add(Row(name, took, "s", goal, what=said, failures=tuple(failures)))


async def _checkout(router: Caller, deadline: float) -> str:
    """A buyer clicks again where a connection that was lost is noticed only now."""
    while True:
        try:
            return await router.checkout("premium_monthly")
        except AssertionError:
            if time.monotonic() > deadline:
                raise
            await asyncio.sleep(0.2)


async def _has_it(router: Caller) -> bool:
    try:
        return await router.unlocked() == _PREMIUM
    except AssertionError:
        return False


@asynccontextmanager
async def _server(settings: dict[str, str] | None = None) -> AsyncIterator[PostgreSQL]:
    server = await asyncio.to_thread(PostgreSQL, settings)
    try:
        await asyncio.to_thread(server.start)
        yield server
    finally:
        await asyncio.to_thread(server.remove)


async def _database(server: PostgreSQL) -> str:
    name = await asyncio.to_thread(server.create_database)
    url = server.url(name, "hub")
    await asyncio.to_thread(migrate, url)
    return url


async def _outage(name: str, what: str, seconds: float, report: Report, folder: Path) -> None:
    async with _server() as server:

        async def fault(lasts: float) -> float:
            await asyncio.to_thread(server.stop, crash=True)
            await asyncio.sleep(lasts)
            await asyncio.to_thread(server.start)
            return time.monotonic()

        await _measured(name, what, report, folder, await _database(server), fault, seconds)


async def _failover(name: str, what: str, seconds: float, report: Report, folder: Path) -> None:
    async with AsyncExitStack() as stack:
        primary = await stack.enter_async_context(_server())
        own = await _database(primary)
        standby = await asyncio.to_thread(lambda: PostgreSQL(primary=primary))
        stack.callback(standby.remove)
        await asyncio.to_thread(standby.start)
        with psycopg.connect(primary.url(), autocommit=True) as connection:
            connection.execute("ALTER SYSTEM SET synchronous_standby_names = '*'")
            connection.execute("SELECT pg_reload_conf()")
            deadline = time.monotonic() + _PATIENCE_S
            query = "SELECT 1 FROM pg_stat_replication WHERE sync_state = 'sync'"
            while connection.execute(query).fetchone() is None:
                if time.monotonic() > deadline:
                    raise TimeoutError("the standby does not follow")
                await asyncio.sleep(0.02)
        database = own.partition("?")[0].rpartition("/")[2]
        both = f"postgresql://hub@/{database}?host={primary.folder},{standby.folder}&port=5432,5432"

        async def fault(lasts: float) -> float:
            await asyncio.to_thread(primary.stop, crash=True)
            await asyncio.sleep(lasts)
            await asyncio.to_thread(standby.promote)
            return time.monotonic()

        url = f"{both}&target_session_attrs=read-write"
        await _measured(name, what, report, folder, url, fault, seconds, look=standby.url(database))


async def _lock_storm(name: str, what: str, seconds: float, report: Report, folder: Path) -> None:
    async with _server() as server:
        url = await _database(server)

        async def fault(lasts: float) -> float:
            for table in _HOT:
                async with (
                    await psycopg.AsyncConnection.connect(url) as connection,
                    connection.transaction(),
                ):
                    await connection.execute(f"LOCK TABLE {table} IN ACCESS EXCLUSIVE MODE".encode())
                    await asyncio.sleep(lasts)
            return time.monotonic()

        await _measured(name, what, report, folder, url, fault, seconds)


async def _connections(name: str, what: str, seconds: float, report: Report, folder: Path) -> None:
    """The hub's own are ended, and others take every place before it can come back."""
    async with _server({"max_connections": "12"}) as server:
        url = await _database(server)

        async def fault(lasts: float) -> float:
            taken: list[psycopg.AsyncConnection[Any]] = []
            async with await psycopg.AsyncConnection.connect(server.url(), autocommit=True) as superuser:
                until = time.monotonic() + lasts
                while time.monotonic() < until:
                    await superuser.execute(
                        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
                        " WHERE application_name = 'payments-hub'"
                    )
                    try:
                        taken.append(await psycopg.AsyncConnection.connect(url))
                    except psycopg.OperationalError:
                        await asyncio.sleep(0.05)
            for connection in taken:
                await connection.close()
            return time.monotonic()

        await _measured(name, what, report, folder, url, fault, seconds)


async def _full_disk(name: str, what: str, seconds: float, report: Report, folder: Path) -> None:
    """The hub's database is in a tablespace on a file system of its own, of 96 MiB, that is filled."""
    async with AsyncExitStack() as stack:
        server = await stack.enter_async_context(_server())
        small = server.folder / "small"
        small.mkdir()
        assert await asyncio.to_thread(_mount, small), "it could be mounted before"
        stack.callback(subprocess.run, ["umount", "-l", str(small)], check=False)
        shutil.chown(small, "nobody", "nogroup")
        with psycopg.connect(server.url(), autocommit=True) as connection:
            connection.execute(f"CREATE TABLESPACE small LOCATION '{small}'".encode())
        template = await asyncio.to_thread(server.create_database)
        with psycopg.connect(server.url(), autocommit=True) as connection:
            connection.execute(f'ALTER DATABASE "{template}" SET TABLESPACE small'.encode())
        url = server.url(template, "hub")
        await asyncio.to_thread(migrate, url)

        async def fault(lasts: float) -> float:
            await asyncio.to_thread(_fill, small / "filler")
            with psycopg.connect(url, autocommit=True) as connection:
                # until a page is full, rows still fit
                try:
                    connection.execute(
                        "INSERT INTO inbox (event_id, type, object_id, outcome) SELECT 'filler' || n,"
                        " repeat('x', 1000), 'x', 'foreign' FROM generate_series(1, 5000) n"
                    )
                except psycopg.errors.DiskFull:
                    pass
                else:
                    raise AssertionError("the disk is not full")
            await asyncio.sleep(lasts)
            (small / "filler").unlink()
            return time.monotonic()

        await _measured(name, what, report, folder, url, fault, seconds)


def _mount(folder: Path) -> bool:
    words = ["mount", "-t", "tmpfs", "-o", "size=96m", "tmpfs", str(folder)]
    return subprocess.run(words, capture_output=True, check=False).returncode == 0


def _may_mount() -> bool:
    with TemporaryDirectory() as folder:
        mounted = os.geteuid() == 0 and _mount(Path(folder))
        if mounted:
            subprocess.run(["umount", "-l", folder], check=False)
    return mounted


def _fill(file: Path) -> None:
    with file.open("wb", buffering=0) as filler:
        try:
            while True:
                filler.write(bytes(1 << 20))
        except OSError:
            return


async def _pgbouncer(name: str, what: str, seconds: float, report: Report, folder: Path) -> None:
    """It is killed and started again, as an upgrade of it does."""
    async with _server() as server:
        own = await _database(server)
        database = own.partition("?")[0].rpartition("/")[2]
        port, users = free_port(), server.folder / "users.txt"
        users.write_text('"hub" ""\n')
        settings = server.folder / "pgbouncer.ini"
        settings.write_text(
            f"[databases]\n* = host={server.folder} user=hub\n[pgbouncer]\n"
            f"listen_addr = 127.0.0.1\nlisten_port = {port}\nunix_socket_dir =\nauth_type = any\n"
            f"auth_file = {users}\npool_mode = session\ndefault_pool_size = 40\nmax_client_conn = 200\n"
        )
        for file in (users, settings):
            file.chmod(0o644)
        running: list[asyncio.subprocess.Process] = []

        async def start() -> None:
            user = {"user": "nobody", "group": "nogroup"} if os.geteuid() == 0 else {}
            running.append(
                await asyncio.create_subprocess_exec(
                    _program_of_pgbouncer(),
                    str(settings),
                    stdout=asyncio.subprocess.DEVNULL,
                    stderr=asyncio.subprocess.DEVNULL,
                    **user,  # type: ignore[arg-type]
                )
            )

        async def end() -> None:
            process = running.pop()
            process.kill()
            await process.wait()

        async def fault(lasts: float) -> float:
            await end()
            await asyncio.sleep(lasts)
            await start()
            return time.monotonic()

        await start()
        try:
            url = f"postgresql://hub@127.0.0.1:{port}/{database}"
            await _measured(name, what, report, folder, url, fault, seconds, look=own)
        finally:
            await end()


def _program_of_pgbouncer() -> str:
    found = shutil.which("pgbouncer", path=f"{os.environ.get('PATH', '')}:/usr/sbin")
    if found is None:
        raise FileNotFoundError("pgbouncer is needed: apt-get install pgbouncer")
    return found


_Run = Callable[[str, str, float, Report, Path], Awaitable[None]]

_FAULTS: Final[tuple[tuple[str, str, _Run, float, float], ...]] = (
    ("postgresql-away", "PostgreSQL is killed, and away for a while", _outage, 45.0, 0.0),
    ("failover", "the primary is killed, its synchronous standby promoted", _failover, 2.0, 0.2),
    ("lock-storm", "ACCESS EXCLUSIVE on each of the hot tables, one after the other", _lock_storm, 5.0, 0.3),
    ("no-connections", "max_connections is used up by others", _connections, 20.0, 0.3),
    ("full-disk", "the database's file system is full", _full_disk, 10.0, 0.5),
    ("pgbouncer", "behind PgBouncer in session mode, which is killed and started", _pgbouncer, 5.0, 0.3),
)
"""Name, what is done, by whom, and for how many seconds: in the long form and in the short one. 0: in the
long form alone (tests/hub/test_crashes.py kills PostgreSQL).
"""

NAMES: Final = tuple(name for name, *_others in _FAULTS)


def parts(*, short: bool) -> Iterator[Part]:
    """One for each fault."""
    for name, what, run, long_s, short_s in _FAULTS:
        if short_s or not short:
            seconds = short_s if short else long_s
            yield Part(name, _run(name, what, run, seconds), what, _missing(run))


def _run(
    name: str, what: str, run: _Run, seconds: float
) -> Callable[[Report, Scratch, Say], Awaitable[None]]:
    async def measured(report: Report, scratch: Scratch, _say: Say) -> None:
        await run(name, what, seconds, report, scratch.own)

    return measured


def _missing(run: _Run) -> Callable[[], str | None]:
    def missing() -> str | None:
        try:
            program("initdb")
            if run is _pgbouncer:
                _program_of_pgbouncer()
        except FileNotFoundError as error:
            return str(error)
        if run is _full_disk and not _may_mount():
            return "a small file system cannot be mounted here: root is needed"
        return None

    return missing
