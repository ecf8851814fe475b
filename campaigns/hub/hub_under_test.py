"""A hub as it runs at a vendor: two instances, a worker and PostgreSQL, each a process of its own, and a
simulated Stripe; between each pair a link that can be cut.
"""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from typing import Any, Final

import psycopg
from psycopg.conninfo import conninfo_to_dict

from campaigns.hub.links import Cut, Link
from payments_hub.config import Config
from payments_hub.database import migrate
from payments_hub.hub import Hub
from payments_hub.statements import rotate_keys
from simulator.postgres import PostgreSQL
from simulator.stripe_cloud import StripeCloud
from tests.hub.vendor import KEY, apply_catalog, free_port, register

__all__ = ["Disturbance", "HubUnderTest"]

_INSTANCES: Final = ("instance-0", "instance-1")
_PROCESSES: Final = (*_INSTANCES, "worker")
_DAEMON: Final = "the router's daemon"
_LONGEST_CUT_S: Final = 2.0


@dataclass(frozen=True)
class Disturbance:
    """What is done, and how long after the start of a run it begins."""

    name: str
    after: float
    do: Callable[[], Awaitable[None]]


@dataclass
class HubUnderTest:
    """Use `open`."""

    cloud: StripeCloud
    postgres: PostgreSQL
    database: str
    """As its superuser sees it, past row-level security."""
    links: dict[str, Link]
    commands: dict[str, tuple[list[str], dict[str, str]]]
    log: Path
    running: dict[str, asyncio.subprocess.Process] = field(default_factory=dict)

    @classmethod
    @asynccontextmanager
    async def open(cls, folder: Path) -> AsyncIterator[HubUnderTest]:
        async with AsyncExitStack() as stack:
            cloud = await stack.enter_async_context(StripeCloud())
            port = free_port()
            postgres = PostgreSQL({"listen_addresses": "127.0.0.1", "port": str(port)})
            stack.callback(postgres.remove)
            await asyncio.to_thread(postgres.start)
            name = await asyncio.to_thread(lambda: postgres.create_database())
            own = f"postgresql://hub@127.0.0.1:{port}/{name}"
            await asyncio.to_thread(migrate, own)
            ports = {instance: free_port() for instance in _INSTANCES}
            links = _links(ports, port, int(cloud.url.rpartition(":")[2]))
            for link in links.values():
                await link.start()
                stack.push_async_callback(link.stop)
            keys = folder / "signing-keys.json"
            rotate_keys(keys)
            hook = f"http://127.0.0.1:{links['stripe-hub'].port}/stripe/webhook"
            config = Config(
                database_url=own,
                hub_url="https://hub.example.org",
                stripe_secret_key=KEY,
                webhook_secret=await register(cloud, hook),
                signing_key_file=keys,
                stripe_limit=1000,
                api_base=cloud.url,
            )
            async with Hub.open(config) as hub:
                await apply_catalog(hub)
            commands = {process: _command(process, config, links, ports) for process in _PROCESSES}
            made = cls(cloud, postgres, postgres.url(name), links, commands, folder / "hub.log")
            stack.push_async_callback(made._end)
            for process in _PROCESSES:
                await made.start(process)
            yield made

    @property
    def front_doors(self) -> list[str]:
        """Where routers reach the instances."""
        return [f"http://127.0.0.1:{self.links[f'router-{name}'].port}" for name in _INSTANCES]

    @property
    def daemon_door(self) -> str:
        """Where the router's daemon reaches them, as through a load balancer."""
        return f"http://127.0.0.1:{self.links['daemon-hub'].port}"

    async def start(self, name: str) -> None:
        words, env = self.commands[name]
        with self.log.open("ab") as log:
            self.running[name] = await asyncio.create_subprocess_exec(
                sys.executable, *words, env=env, stdout=log, stderr=log
            )

    async def kill(self, name: str) -> None:
        """kill -9, and the start that systemd makes of it."""
        process = self.running[name]
        if process.returncode is None:
            process.kill()
        await process.wait()
        await self.start(name)

    async def crash_postgres(self, *, crash: bool) -> None:
        await asyncio.to_thread(self.postgres.stop, crash=crash)
        await asyncio.to_thread(self.postgres.start)

    def disturbances(
        self, chance: Random, count: int, within: float, kill_daemon: Callable[[], Awaitable[None]]
    ) -> list[Disturbance]:
        """So many by chance, in the order of their beginning. `kill_daemon`: the router's."""
        moments = sorted(chance.uniform(0, within) for _ in range(count))
        return [self._disturbance(chance, after, kill_daemon) for after in moments]

    def _disturbance(
        self, chance: Random, after: float, kill_daemon: Callable[[], Awaitable[None]]
    ) -> Disturbance:
        kind = chance.choice(("kill", "kill", "postgres", "cut", "cut"))
        if kind == "kill":
            process = chance.choice((*_PROCESSES, _DAEMON))
            if process == _DAEMON:
                return Disturbance(f"kill -9 of {_DAEMON}", after, kill_daemon)
            return Disturbance(f"kill -9 of {process}", after, lambda: self.kill(process))
        if kind == "postgres":
            crash = chance.random() < 0.5
            name = "kill -9 of PostgreSQL" if crash else "restart of PostgreSQL"
            return Disturbance(name, after, lambda: self.crash_postgres(crash=crash))
        link = self.links[chance.choice(sorted(self.links))]
        how: Cut = chance.choice(("reset", "silence"))
        seconds = chance.uniform(0.2, _LONGEST_CUT_S)
        return Disturbance(f"{how} of {link.name} for {seconds:.1f} s", after, lambda: link.cut(how, seconds))

    def rows(self, query: str, *values: object) -> list[tuple[Any, ...]]:
        with psycopg.connect(self.database) as connection:
            return connection.execute(query.encode(), values).fetchall()

    def ended(self) -> list[str]:
        """Processes that ended by themselves."""
        return [name for name, process in self.running.items() if process.returncode is not None]

    async def _end(self) -> None:
        for process in self.running.values():
            if process.returncode is None:
                process.kill()
            await process.wait()


def _links(ports: dict[str, int], database: int, stripe: int) -> dict[str, Link]:
    made = [Link(f"router-{name}", [port]) for name, port in ports.items()]
    made += [Link(name, list(ports.values())) for name in ("stripe-hub", "daemon-hub")]
    for name in _PROCESSES:
        made += [Link(f"{name}-database", [database]), Link(f"{name}-stripe", [stripe])]
    return {link.name: link for link in made}


def _command(
    name: str, config: Config, links: dict[str, Link], ports: dict[str, int]
) -> tuple[list[str], dict[str, str]]:
    database = conninfo_to_dict(config.database_url)["dbname"]
    env = os.environ | {
        "DATABASE_URL": f"postgresql://hub@127.0.0.1:{links[f'{name}-database'].port}/{database}",
        "STRIPE_API_BASE": f"http://127.0.0.1:{links[f'{name}-stripe'].port}",
        "HUB_URL": config.hub_url,
        "HUB_OPEN_ENROLLMENT": "1",
        "HUB_STRIPE_LIMIT": str(config.stripe_limit),
        "STRIPE_SECRET_KEY": config.stripe_secret_key,
        "STRIPE_WEBHOOK_SECRET": config.webhook_secret,
        "HUB_SIGNING_KEY_FILE": str(config.signing_key_file),
        "PYTHONPATH": os.pathsep.join(sys.path),
    }
    port = ports.get(name)
    words = ["work"] if port is None else ["serve", "--port", str(port)]
    return ["-m", "payments_hub", *words], env
