"""A running broker, and clients that are cleaned up."""

from __future__ import annotations

import contextlib
import shutil
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from pathlib import Path

import pytest

from simulator.tests.ubus_broker.people import People
from simulator.tests.ubus_broker.raw_client import RawClient
from simulator.ubus_broker import UbusBroker

Connect = Callable[[], Awaitable[RawClient]]


@pytest.fixture
def folder() -> Iterator[Path]:
    """A short path: a socket's may have 107 bytes only. Readable by other users, unlike pytest's own."""
    path = Path(tempfile.mkdtemp(prefix="ubus-"))
    path.chmod(0o755)
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
    """Connects another client, as root."""
    async with contextlib.AsyncExitStack() as stack:

        async def open_client() -> RawClient:
            client = await RawClient.connect(broker.socket_path)
            stack.push_async_callback(_close, client)
            return client

        yield open_client


async def _close(client: RawClient) -> None:
    with contextlib.suppress(ConnectionError):
        await client.close()


@pytest.fixture
def people() -> People:
    return People()
