"""A router on a bus of its own, over a folder made for the test."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from simulator.router import Router, prepare_root
from simulator.tests.router.bus import Bus
from simulator.ubus_broker import UbusBroker
from ubus_py import Client


@pytest.fixture
def folder() -> Iterator[Path]:
    """A short path: a socket's may have 107 bytes only."""
    path = Path(tempfile.mkdtemp(prefix="router-"))
    yield path
    shutil.rmtree(path)


@pytest.fixture
def root(folder: Path) -> Path:
    """What stands for the router's /."""
    root = folder / "root"
    prepare_root(root)
    return root


@pytest.fixture
async def bus(folder: Path, root: Path) -> AsyncIterator[Bus]:
    broker = UbusBroker(folder / "ubus.sock", root / "usr/share/acl.d")
    router = Router(broker.socket_path, root)
    client = Client(str(broker.socket_path))
    await broker.start()
    await router.start()
    await client.start()
    yield Bus(router, client, broker.socket_path)
    await client.close()
    await router.stop()
    await broker.stop()
