"""A vendor's hub as it runs in production: `payments-hub` processes on a PostgreSQL of their own.

Two instances and a worker, set up by the commands that the operator types, and in front of the instances a
load balancer that forwards connections.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import random
import shutil
import signal
import socket
import sys
import tempfile
import time
from collections.abc import Iterable, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self

from simulator.postgres import PostgreSQL
from simulator.stripe_account import StripeAccount
from stripe_payments.sync.events import EVENT_TYPES
from tools.msgfmt import compile_hub_catalog

__all__ = ["CATALOG", "HubProcesses"]

REPOSITORY: Final = Path(__file__).resolve().parent.parent
CATALOG: Final = REPOSITORY / "docs/examples/catalog.toml"
INSTANCES: Final = 2
OPERATOR: Final = "demo"
POLL_AFTER_S: Final = 5
_PATIENCE_S: Final = 60.0
_STOP_S: Final = 10.0
_END: Final = "\x1e"
_RUN_COMMANDS: Final = f"""
import json, sys
from payments_hub.__main__ import app
for words in json.loads(sys.argv[1]):
    if code := app(words, standalone_mode=False):
        sys.exit(code)
    print({_END!r}, end="", flush=True)
"""


class LoadBalancer:
    """Forwards each connection to the next instance that takes it."""

    def __init__(self, instances: Iterable[int]) -> None:
        self._ports = list(instances)
        self._server: asyncio.Server | None = None
        self._connections: set[asyncio.Task[None]] = set()

    async def start(self, host: str, port: int) -> str:
        """The address."""
        self._server = await asyncio.start_server(self._accept, host, port)
        return f"http://{host}:{self._server.sockets[0].getsockname()[1]}"

    async def stop(self) -> None:
        if self._server is not None:
            self._server.close()
        for connection in self._connections:
            connection.cancel()
        await asyncio.gather(*self._connections, return_exceptions=True)

    def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        connection = asyncio.create_task(self._forward(reader, writer))
        self._connections.add(connection)
        connection.add_done_callback(self._connections.discard)

    async def _forward(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._ports.append(self._ports.pop(0))
        with contextlib.closing(writer):
            for port in list(self._ports):
                with contextlib.suppress(OSError):
                    to_reader, to_writer = await asyncio.open_connection("127.0.0.1", port)
                    break
            else:
                return
            with contextlib.closing(to_writer), contextlib.suppress(OSError):
                await asyncio.gather(_copy(reader, to_writer), _copy(to_reader, writer))


async def _copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while data := await reader.read(65_536):
        writer.write(data)
        await writer.drain()
    if writer.can_write_eof():
        writer.write_eof()


class HubProcesses:
    """Use as `async with HubProcesses(stripe_url) as hub`.

    `url` is where routers reach the hub, `console` where operators do; `database` is PostgreSQL's URL.
    `processes` are the instances and the worker, by name (``serve-1``, ``serve-2``, ``work``); `folder`
    has their logs.
    """

    def __init__(
        self,
        stripe_url: str,
        routers: Sequence[str] = (),
        *,
        host: str = "127.0.0.1",
        port: int = 0,
        console_host: str = "127.0.0.1",
        console_port: int = 0,
    ) -> None:
        """`routers`: notes of the routers that are to enrol; `codes` has a code for each."""
        self.folder = Path(tempfile.mkdtemp(prefix="payments-hub-"))
        self.processes: dict[str, asyncio.subprocess.Process] = {}
        self.url = ""
        self.console = ""
        self.database = ""
        self.password = ""
        self.codes: list[str] = []
        self._routers = routers
        self._stripe_url = stripe_url
        self._host = host
        self._port = port
        self._console_host = console_host
        self._console_port = console_port
        self._ports = _free_ports(INSTANCES + 1)
        self._balancer = LoadBalancer(self._ports[:INSTANCES])
        self._postgres: PostgreSQL | None = None
        self._environment: dict[str, str] = {}

    async def __aenter__(self) -> Self:
        try:
            await self._start()
        except BaseException:
            await self.stop()
            raise
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.stop()

    @property
    def instances(self) -> list[str]:
        """The instances' own addresses, past the load balancer."""
        return [f"http://127.0.0.1:{port}" for port in self._ports[:INSTANCES]]

    @property
    def postgres_pid(self) -> int:
        """Of PostgreSQL's first process; the others are its children."""
        assert self._postgres is not None, "it runs"
        return self._postgres.pid

    async def _start(self) -> None:
        """Returns when every instance is ready: it has its database and its catalog."""
        compile_hub_catalog()
        account = StripeAccount(self._stripe_url)
        self.url = await self._balancer.start(self._host, self._port)
        self._environment = {
            "HUB_URL": self.url,
            "HUB_SIGNING_KEY_FILE": str(self.folder / "signing-keys.json"),
            "HUB_POLL_AFTER": str(POLL_AFTER_S),
            "STRIPE_API_BASE": self._stripe_url,
            "STRIPE_SECRET_KEY": account.secret_key,
        }
        endpoint, _postgres = await asyncio.gather(
            account.request(
                "POST",
                "webhook_endpoints",
                url=f"{self.url}/stripe/webhook",
                enabled_events=sorted(EVENT_TYPES),
            ),
            asyncio.to_thread(self._start_postgres),
        )
        self._environment |= {"STRIPE_WEBHOOK_SECRET": endpoint["secret"], "DATABASE_URL": self.database}
        _migrated, _key, _applied, operator, *codes = await self.commands(
            ("migrate",),
            ("keys", "rotate"),
            ("catalog", "apply", str(CATALOG)),
            ("operators", "create", OPERATOR, "--role", "admin", "--generate", "--json"),
            *[("codes", "create", "--note", note) for note in self._routers],
        )
        self.password = json.loads(operator)["password"]
        self.codes = [code.strip() for code in codes]
        console_port = self._console_port or self._ports[INSTANCES]
        self.console = f"http://{self._host}:{console_port}/console"
        console = ("--console-host", self._console_host, "--console-port", str(console_port))
        for number, port in enumerate(self._ports[:INSTANCES], 1):
            beside = console if number == 1 else ()
            await self._spawn(f"serve-{number}", "serve", "--port", str(port), *beside)
        await self._spawn("work", "work")
        await asyncio.gather(*[self._ready(port) for port in self._ports[:INSTANCES]])

    def _start_postgres(self) -> None:
        self._postgres = PostgreSQL({"fsync": "off"})
        self._postgres.start()
        self.database = self._postgres.url(self._postgres.create_database(), "hub")

    async def commands(self, *commands: tuple[str, ...]) -> list[str]:
        """`payments-hub WORDS` for each, as the operator types them; their standard outputs. One process for
        all: most of the time of a command is its start. Raises RuntimeError.
        """
        streams = {"stdout": asyncio.subprocess.PIPE, "stderr": asyncio.subprocess.PIPE}
        process = await self._run("-c", _RUN_COMMANDS, json.dumps(commands), **streams)
        try:
            out, error = await process.communicate()
        except asyncio.CancelledError:
            process.kill()
            await process.wait()
            raise
        if process.returncode:
            raise RuntimeError(f"payments-hub: {out.decode()}{error.decode()}")
        return out.decode().split(_END)[:-1]

    async def stop(self) -> None:
        """End everything that was started, and delete its files."""
        for process in self.processes.values():
            if process.returncode is None:
                process.send_signal(signal.SIGTERM)
        await asyncio.gather(*[_ended(process) for process in self.processes.values()])
        await self._balancer.stop()
        if self._postgres is not None:
            await asyncio.to_thread(self._postgres.remove)
        shutil.rmtree(self.folder, ignore_errors=True)

    async def _spawn(self, name: str, *words: str) -> None:
        with (self.folder / f"{name}.log").open("ab") as log:
            self.processes[name] = await self._run("-m", "payments_hub", *words, stdout=log, stderr=log)

    async def _run(self, *arguments: str, **streams: Any) -> asyncio.subprocess.Process:
        inherited = {
            name: value
            for name, value in os.environ.items()
            if not name.startswith(("STRIPE_", "HUB_", "DATABASE_", "PG", "COV_", "PYTHONPATH"))
        }
        return await asyncio.create_subprocess_exec(
            sys.executable,
            *arguments,
            stdin=asyncio.subprocess.DEVNULL,
            env={
                **inherited,
                "PYTHONPATH": os.pathsep.join([str(REPOSITORY / "hub"), str(REPOSITORY / "daemon")]),
                "PYTHONUNBUFFERED": "1",
                **self._environment,
            },
            start_new_session=True,  # a Ctrl-C in the terminal is this process's to handle
            **streams,
        )

    async def _ready(self, port: int) -> None:
        """Wait for `/readyz` of an instance."""
        deadline = time.monotonic() + _PATIENCE_S
        while not await _answers(port):
            for name, process in self.processes.items():
                if process.returncode is not None or time.monotonic() > deadline:
                    log = (self.folder / f"{name}.log").read_text(errors="replace")
                    raise RuntimeError(f"the hub is not ready; the log of {name}:\n{log[-2000:]}")
            await asyncio.sleep(0.05)


async def _answers(port: int) -> bool:
    try:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        with contextlib.closing(writer):
            writer.write(b"GET /readyz HTTP/1.1\r\nHost: hub\r\nConnection: close\r\n\r\n")
            return b" 200 " in await reader.readline()
    except ConnectionError:
        return False


async def _ended(process: asyncio.subprocess.Process) -> None:
    try:
        await asyncio.wait_for(process.wait(), _STOP_S)
    except TimeoutError:
        process.kill()
        await process.wait()


def _free_ports(count: int) -> list[int]:
    """Ports that are free now: below those that the kernel hands out, so that no other program gets one of
    them before the hub does (ip_local_port_range begins at 32768).
    """
    found: list[int] = []
    while len(found) < count:
        port = random.randrange(20_000, 32_000)
        with contextlib.suppress(OSError), socket.socket() as probe:
            probe.bind(("127.0.0.1", port))
            found.append(port)
    return found
