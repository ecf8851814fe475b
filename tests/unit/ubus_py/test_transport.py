"""The socket itself, with somebody at its other end who reads slowly, late, or not at all."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from ubus_py import ConnectionLost
from ubus_py.transport import Transport

SOON = 30.0
PIECES = [bytes([number]) * 300_000 for number in range(8)]
"""More than any socket buffer holds."""


class Owner:
    """A transport, what came by it, and how it ended; and the socket at the other end."""

    def __init__(self) -> None:
        self.came = b""
        self.ends: list[BaseException | None] = []
        self.peer = socket.socket()
        self.transport = Transport(self.take, self.ends.append)

    def take(self, data: bytes) -> None:
        self.came += data

    async def reads(self, number: int) -> bytes:
        """The peer reads until it has so many bytes, or nothing more comes."""
        read = b""
        async with asyncio.timeout(SOON):
            while len(read) < number:
                if not (some := await asyncio.get_running_loop().sock_recv(self.peer, 50_000)):
                    break
                read += some
        return read

    async def ended(self) -> BaseException | None:
        await asyncio.wait_for(self.transport.closed.wait(), SOON)
        (end,) = self.ends
        return end


@asynccontextmanager
async def connected(folder: Path) -> AsyncIterator[Owner]:
    owner = Owner()
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(folder / "peer.sock"))
        listener.listen()
        listener.setblocking(False)
        await owner.transport.connect(str(folder / "peer.sock"))
        owner.peer.close()
        owner.peer, _ = await asyncio.get_running_loop().sock_accept(listener)
    owner.peer.setblocking(False)
    try:
        yield owner
    finally:
        owner.transport.abort()
        await owner.transport.closed.wait()
        owner.peer.close()


async def test_what_the_socket_does_not_take_at_once_follows_in_order(folder: Path) -> None:
    async with connected(folder) as owner:
        for piece in PIECES:
            owner.transport.write(piece)
        await asyncio.sleep(0)
        assert owner.transport.congested
        waiting = asyncio.create_task(owner.transport.drain())
        assert await owner.reads(len(b"".join(PIECES))) == b"".join(PIECES)
        await asyncio.wait_for(waiting, SOON)
        assert not owner.transport.congested
        owner.transport.write(b"more")
        assert await owner.reads(4) == b"more"


async def test_closing_sends_what_was_written(folder: Path) -> None:
    async with connected(folder) as owner:
        for piece in PIECES:
            owner.transport.write(piece)
        owner.transport.close()
        owner.transport.close()
        with pytest.raises(ConnectionLost):
            owner.transport.write(b"late")
        assert await owner.reads(1 << 30) == b"".join(PIECES)
        assert await owner.ended() is None


async def test_closing_with_nothing_to_send_ends_at_once(folder: Path) -> None:
    async with connected(folder) as owner:
        owner.transport.close()
        assert await owner.ended() is None
        assert await owner.reads(1) == b""


async def test_aborting_waits_for_nobody(folder: Path) -> None:
    async with connected(folder) as owner:
        for piece in PIECES:
            owner.transport.write(piece)
        waiting = asyncio.create_task(owner.transport.drain())
        await asyncio.sleep(0)
        owner.transport.abort()
        owner.transport.abort()
        assert await owner.ended() is None
        await asyncio.wait_for(waiting, SOON)
        with pytest.raises(ConnectionLost):
            owner.transport.write(b"late")


async def test_what_waits_for_the_turn_s_end_is_not_sent_after_an_abort(folder: Path) -> None:
    async with connected(folder) as owner:
        owner.transport.write(b"sent at once")
        owner.transport.write(b"lost")
        owner.transport.abort()
        assert await owner.ended() is None
        assert await owner.reads(100) == b"sent at once"


async def test_the_peer_goes(folder: Path) -> None:
    async with connected(folder) as owner:
        await asyncio.get_running_loop().sock_sendall(owner.peer, b"last words")
        owner.peer.close()
        assert await owner.ended() is None
        assert owner.came == b"last words"
        assert not owner.transport.open


async def test_the_peer_goes_while_something_waits_to_be_sent(folder: Path) -> None:
    async with connected(folder) as owner:
        for piece in PIECES:
            owner.transport.write(piece)
        await asyncio.sleep(0)
        owner.transport.close()  # reads no more: only writing can find out
        owner.peer.close()
        assert isinstance(await owner.ended(), OSError)


async def test_writing_to_a_peer_that_has_gone(folder: Path) -> None:
    async with connected(folder) as owner:
        owner.peer.close()
        owner.transport.write(b"to nobody")
        assert not owner.transport.open
        assert isinstance(await owner.ended(), OSError)


async def test_a_fault_of_the_owner_s_ends_the_connection(folder: Path) -> None:
    """What was received is lost with it, so nothing that follows would be understood."""
    told: list[dict[str, object]] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: told.append(context))
    async with connected(folder) as owner:
        fault = ZeroDivisionError()

        def fail(data: bytes) -> None:
            raise fault

        owner.transport._on_data = fail
        await asyncio.get_running_loop().sock_sendall(owner.peer, b"x")
        assert await owner.ended() is fault
    assert [context["exception"] for context in told] == [fault]


async def test_an_answer_waits_for_nothing_and_several_leave_together(folder: Path) -> None:
    """What is written while something received is handled leaves when that is done."""
    sizes: list[int] = []
    async with connected(folder) as owner:
        write = owner.transport._write

        def counted(data: bytes | bytearray) -> int:
            sizes.append(len(data))
            return write(data)

        owner.transport._write = counted

        def answer(data: bytes) -> None:
            owner.transport.write(b"one")
            owner.transport.write(b"two")

        owner.transport._on_data = answer
        await asyncio.get_running_loop().sock_sendall(owner.peer, b"?")
        assert await owner.reads(6) == b"onetwo"
        owner.transport.write(b"first")  # of a turn of the loop: leaves at once
        owner.transport.write(b"second")
        owner.transport.write(b"third")
        assert sizes == [6, 5]
        assert await owner.reads(16) == b"firstsecondthird"
    assert sizes == [6, 5, 11]


async def test_there_is_nobody_to_connect_to(folder: Path) -> None:
    owner = Owner()
    with pytest.raises(ConnectionLost):
        await owner.transport.connect(str(folder / "none.sock"))
    with pytest.raises(ConnectionLost):
        await owner.transport.connect("x" * 200)
    with pytest.raises(ConnectionLost):
        owner.transport.write(b"x")
    owner.transport.abort()
    assert await owner.ended() is None
    owner.peer.close()


async def test_the_socket_never_blocks_and_is_not_inherited(folder: Path) -> None:
    async with connected(folder) as owner:
        assert owner.transport._socket.gettimeout() == 0
        assert not owner.transport._socket.get_inheritable()
