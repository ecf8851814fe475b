"""The stream to ubusd, with a peer that reads slowly, late, or not at all."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from ubus_py import ConnectionLost
from ubus_py.stream import Stream

SOON = 30.0
PIECES = [bytes([number]) * 300_000 for number in range(8)]
"""More than any socket buffer holds."""


class Owner:
    """A socket, what it received, and how it ended; and its peer."""

    def __init__(self) -> None:
        self.received = b""
        self.ends: list[BaseException | None] = []
        self.fault: Exception | None = None
        self.peer = socket.socket()
        self.stream = Stream(self.take, self.ends.append)

    def take(self, data: memoryview) -> None:
        if self.fault is not None:
            raise self.fault
        self.received += data

    async def peer_reads(self, number: int) -> bytes:
        """Read at the peer up to so many bytes, or to the end."""
        read = b""
        async with asyncio.timeout(SOON):
            while len(read) < number:
                if not (some := await asyncio.get_running_loop().sock_recv(self.peer, 50_000)):
                    break
                read += some
        return read

    async def ended(self) -> BaseException | None:
        await asyncio.wait_for(self.stream.closed.wait(), SOON)
        (end,) = self.ends
        return end


@asynccontextmanager
async def connected(folder: Path) -> AsyncIterator[Owner]:
    owner = Owner()
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(folder / "peer.sock"))
        listener.listen()
        listener.setblocking(False)
        await owner.stream.connect(str(folder / "peer.sock"))
        owner.peer.close()
        owner.peer, _ = await asyncio.get_running_loop().sock_accept(listener)
    owner.peer.setblocking(False)
    try:
        yield owner
    finally:
        owner.stream.abort()
        await owner.stream.closed.wait()
        owner.peer.close()


async def test_what_the_socket_does_not_take_at_once_follows_in_order(folder: Path) -> None:
    async with connected(folder) as owner:
        for piece in PIECES:
            owner.stream.write(piece)
        draining = asyncio.create_task(owner.stream.drain())
        await asyncio.sleep(0)
        assert not draining.done()
        assert await owner.peer_reads(len(b"".join(PIECES))) == b"".join(PIECES)
        await asyncio.wait_for(draining, SOON)
        owner.stream.write(b"more")
        assert await owner.peer_reads(4) == b"more"


async def test_closing_sends_what_was_written(folder: Path) -> None:
    async with connected(folder) as owner:
        for piece in PIECES:
            owner.stream.write(piece)
        owner.stream.close()
        owner.stream.close()
        assert not owner.stream.send(b"late")
        with pytest.raises(ConnectionLost):
            owner.stream.write(b"late")
        assert await owner.peer_reads(1 << 30) == b"".join(PIECES)
        assert await owner.ended() is None


async def test_aborting_does_not_wait(folder: Path) -> None:
    async with connected(folder) as owner:
        for piece in PIECES:
            owner.stream.write(piece)
        draining = asyncio.create_task(owner.stream.drain())
        await asyncio.sleep(0)
        owner.stream.abort()
        owner.stream.abort()
        assert await owner.ended() is None
        await asyncio.wait_for(draining, SOON)
        with pytest.raises(ConnectionLost):
            owner.stream.write(b"late")


async def test_the_peer_closes(folder: Path) -> None:
    async with connected(folder) as owner:
        await asyncio.get_running_loop().sock_sendall(owner.peer, b"last bytes")
        owner.peer.close()
        assert await owner.ended() is None
        assert owner.received == b"last bytes"
        assert not owner.stream.send(b"late")


async def test_the_peer_closes_while_data_waits_to_be_sent(folder: Path) -> None:
    async with connected(folder) as owner:
        for piece in PIECES:
            owner.stream.write(piece)
        owner.stream.close()  # reads no more: only writing can find out
        owner.peer.close()
        assert isinstance(await owner.ended(), OSError)


async def test_an_exception_of_the_owner_ends_the_connection(folder: Path) -> None:
    """The bytes received are lost with it, so nothing that follows would be understood."""
    reported: list[dict[str, object]] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: reported.append(context))
    async with connected(folder) as owner:
        owner.fault = ZeroDivisionError()
        await asyncio.get_running_loop().sock_sendall(owner.peer, b"x")
        assert await owner.ended() is owner.fault
    assert [context["exception"] for context in reported] == [owner.fault]


async def test_connecting_to_nothing(folder: Path) -> None:
    owner = Owner()
    with pytest.raises(ConnectionLost):
        await owner.stream.connect(str(folder / "none.sock"))
    with pytest.raises(ConnectionLost):
        await owner.stream.connect("x" * 200)
    with pytest.raises(ConnectionLost):
        owner.stream.write(b"x")
    owner.stream.abort()
    owner.peer.close()
