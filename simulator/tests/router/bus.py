"""What the router's tests ask the bus."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from simulator.router import Router
from ubus_py import Client, Status, StatusError


async def until(condition: Callable[[], Awaitable[bool]], patience_s: float = 30.0) -> None:
    """Returns when ``condition`` holds."""
    deadline = time.monotonic() + patience_s
    while not await condition():
        assert time.monotonic() < deadline, "it never came to hold"
        await asyncio.sleep(0.05)


@dataclass
class Bus:
    """A running router and a client that is root."""

    router: Router
    client: Client
    socket: Path

    @property
    def root(self) -> Path:
        return self.router.root

    async def call(self, name: str, method: str, /, **arguments: Any) -> Any:
        return await self.client.call(name, method, arguments)

    async def refused(self, name: str, method: str, /, **arguments: Any) -> Status:
        """The status of a call that must fail."""
        with pytest.raises(StatusError) as caught:
            await self.call(name, method, **arguments)
        return caught.value.status

    async def login(self, username: str = "root", password: str = "router") -> str:
        answer = await self.call("session", "login", username=username, password=password)
        return str(answer["ubus_rpc_session"])

    def config(self, name: str) -> str:
        return (self.root / "etc/config" / name).read_text()

    def write_config(self, name: str, text: str) -> None:
        (self.root / "etc/config" / name).write_text(text)
