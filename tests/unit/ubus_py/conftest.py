"""A bus to test on: the simulator's broker on a real unix socket."""

from __future__ import annotations

import contextlib
import shutil
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from pathlib import Path

import pytest

from simulator.ubus_broker import UbusBroker
from ubus_py import Connection

Connect = Callable[[], Awaitable[Connection]]


@pytest.fixture
def folder() -> Iterator[Path]:
    """A short path: a unix socket's may have 107 bytes only."""
    path = Path(tempfile.mkdtemp(prefix="ubus-py-"))
    (path / "acl.d").mkdir()
    yield path
    shutil.rmtree(path)


@pytest.fixture
async def broker(folder: Path) -> AsyncIterator[UbusBroker]:
    broker = UbusBroker(folder / "ubus.sock", folder / "acl.d")
    await broker.start()
    yield broker
    await broker.stop()


@pytest.fixture
async def connect(broker: UbusBroker) -> AsyncIterator[Connect]:
    """Opens another connection to the broker."""
    async with contextlib.AsyncExitStack() as stack:

        async def open_one() -> Connection:
            return await stack.enter_async_context(await Connection.open(str(broker.socket_path)))

        yield open_one
