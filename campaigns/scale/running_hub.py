"""Two instances and a worker as processes, on a PostgreSQL that writes to disk, and a simulated Stripe that
counts the requests of each second.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import sys
import time
from collections import deque
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import aiohttp

from campaigns.bench.processes import cpu_seconds
from campaigns.scale.generated_fleet import GeneratedFleet
from payments_hub.config import Config
from payments_hub.database import migrate
from payments_hub.hub import Hub
from payments_hub.statements import rotate_keys
from simulator.postgres import PostgreSQL
from simulator.stripe_cloud import StripeCloud
from simulator.stripe_cloud.request_log import LoggedRequest, RequestLog
from tests.hub.vendor import KEY, Caller, apply_catalog, free_port

__all__ = ["INSTANCES", "LIMIT", "SECRET", "RunningHub", "most_in_a_second"]

SECRET = "whsec_of_the_scale_run"
LIMIT = 80
"""Requests to Stripe in a second: what HUB_STRIPE_LIMIT is with a live key."""
_START_S = 120.0
INSTANCES = ("instance-0", "instance-1")


class _Arrivals(RequestLog):
    """`moments`: monotonic seconds at which requests arrived."""

    def __init__(self) -> None:
        super().__init__()
        self.moments: list[float] = []

    def add(self, entry: LoggedRequest) -> None:
        self.moments.append(time.monotonic())
        super().add(entry)


def most_in_a_second(moments: Iterable[float]) -> int:
    """Of any one second, wherever it begins."""
    window: deque[float] = deque()
    most = 0
    for moment in moments:
        window.append(moment)
        while window[0] <= moment - 1.0:
            window.popleft()
        most = max(most, len(window))
    return most


@dataclass
class RunningHub:
    """Use `open`."""

    cloud: StripeCloud
    postgres: PostgreSQL
    fleet: GeneratedFleet
    config: Config
    folder: Path
    sample: str = ""
    ports: dict[str, int] = field(default_factory=dict)
    processes: dict[str, asyncio.subprocess.Process] = field(default_factory=dict)
    _arrivals: _Arrivals = field(default_factory=_Arrivals)

    @classmethod
    @asynccontextmanager
    async def open(cls, folder: Path, routers: int) -> AsyncIterator[RunningHub]:
        cloud = StripeCloud()
        arrivals = cloud.api.log = _Arrivals()
        postgres = await asyncio.to_thread(PostgreSQL, {"shared_buffers": "1GB"}, on_disk=True)
        try:
            await asyncio.to_thread(postgres.start)
            name = await asyncio.to_thread(postgres.create_database)
            own = postgres.url(name, "hub")
            await asyncio.to_thread(migrate, own)
            keys = folder / "signing-keys.json"
            rotate_keys(keys)
            async with cloud:
                config = Config(
                    own,
                    "https://hub.example.org",
                    KEY,
                    SECRET,
                    keys,
                    open_enrollment=True,
                    stripe_limit=LIMIT,
                    api_base=cloud.url,
                )
                fleet = GeneratedFleet(postgres.url(name), routers)
                hub = cls(cloud, postgres, fleet, config, folder, _arrivals=arrivals)
                async with Hub.open(config) as opened:
                    await apply_catalog(opened)
                try:
                    for process in (*INSTANCES, "worker"):
                        await hub.start(process)
                    await hub.ready()
                    yield hub
                finally:
                    await hub._end()
        finally:
            await asyncio.to_thread(postgres.remove)

    def url(self, instance: str = INSTANCES[0]) -> str:
        return f"http://127.0.0.1:{self.ports[instance]}"

    @property
    def arrivals(self) -> list[float]:
        """When requests arrived at Stripe, in monotonic seconds."""
        return self._arrivals.moments

    async def start(self, name: str) -> None:
        if name == "worker":
            words = ["work"]
        else:
            words = ["serve", "--port", str(self.ports.setdefault(name, free_port()))]
        self.processes[name] = await self.command(*words, log=f"{name}.log")

    async def command(self, *words: str, log: str) -> asyncio.subprocess.Process:
        """`payments-hub WORDS`."""
        config = self.config
        environment = os.environ | {
            "DATABASE_URL": config.database_url,
            "STRIPE_API_BASE": str(config.api_base),
            "HUB_URL": config.hub_url,
            "HUB_OPEN_ENROLLMENT": "1",
            "HUB_STRIPE_LIMIT": str(config.stripe_limit),
            "STRIPE_SECRET_KEY": config.stripe_secret_key,
            "STRIPE_WEBHOOK_SECRET": config.webhook_secret,
            "HUB_SIGNING_KEY_FILE": str(config.signing_key_file),
            "PYTHONPATH": os.pathsep.join(sys.path),
        }
        with (self.folder / log).open("ab") as sink:
            return await asyncio.create_subprocess_exec(
                sys.executable, "-m", "payments_hub", *words, env=environment, stdout=sink, stderr=sink
            )

    async def kill(self, name: str) -> None:
        """kill -9."""
        self.processes[name].kill()
        await self.processes[name].wait()

    async def ready(self, *names: str) -> None:
        deadline = time.monotonic() + _START_S
        async with aiohttp.ClientSession() as http:
            for name in names or INSTANCES:
                while True:
                    with contextlib.suppress(aiohttp.ClientError):
                        async with http.get(f"{self.url(name)}/readyz") as response:
                            if response.status == 200:
                                break
                    assert time.monotonic() < deadline, f"{name} is not ready"
                    await asyncio.sleep(0.1)

    async def buy(self, router: Caller) -> None:
        """A plan, paid; its events are delivered by no one."""
        self.cloud.pay(await router.checkout("premium_monthly"))

    def cpu(self, *names: str) -> float:
        """Seconds of these processes, and of PostgreSQL."""
        return sum(cpu_seconds(self.processes[name].pid) for name in names) + cpu_seconds(self.postgres.pid)

    async def _end(self) -> None:
        for process in self.processes.values():
            if process.returncode is None:
                process.send_signal(signal.SIGKILL)
            await process.wait()
