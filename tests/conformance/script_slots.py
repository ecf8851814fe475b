"""What slow clients of the gateway do to LuCI on the same web server, which runs three scripts at once."""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from tests.conformance.exchange import hang_up

HEAD = b"POST /api/payments/webhook HTTP/1.1\r\nHost: x\r\nContent-Length: 600\r\n"
BODY = HEAD + b'\r\n{"half":'
CHUNKS = b"POST /api/payments/webhook HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nabcde\r\n"
EXACT_PIECE = HEAD.replace(b"600", b"6000") + b"\r\n" + b"x" * 1024
"""As much as the gateway reads at once."""

PAGE = "/cgi-bin/luci/"
WITHOUT_SLOT = ("/luci-static/resources/luci.js", "/ubus")
AT_ONCE_S = 1.0
SLACK_S = 2.0


@asynccontextmanager
async def slow_clients(host: str, port: int, *beginnings: bytes) -> AsyncIterator[list[asyncio.StreamReader]]:
    """Clients that begin a request and send no more."""
    clients = [await asyncio.open_connection(host, port) for _ in beginnings]
    for (_, writer), beginning in zip(clients, beginnings, strict=True):
        writer.write(beginning)
        await writer.drain()
    try:
        yield [reader for reader, _ in clients]
    finally:
        for _, writer in clients:
            await hang_up(writer)


async def three_slow_clients_hold_luci_as_long_as_their_bodies_may_take(
    host: str, port: int, body_s: float
) -> None:
    """`body_s`: how long the gateway waits for a body, in seconds. Pages wait, what needs no script does not;
    then the slow clients get uhttpd's own answer, and the page comes.
    """
    began = time.monotonic()
    async with slow_clients(host, port, BODY, CHUNKS, EXACT_PIECE) as readers:
        page = asyncio.create_task(_status(host, port, PAGE))
        for path in WITHOUT_SLOT:
            asked = time.monotonic()
            await _status(host, port, path)
            assert time.monotonic() - asked < min(AT_ONCE_S, body_s), path
        assert not page.done()
        answers = await asyncio.gather(*(asyncio.wait_for(reader.readline(), 30) for reader in readers))
        assert await page == 403  # the login form
    assert body_s <= time.monotonic() - began < body_s + SLACK_S
    assert answers == [b"HTTP/1.1 502 Bad Gateway\r\n"] * 3


async def _status(host: str, port: int, path: str) -> int:
    """The status of a GET."""
    reader, writer = await asyncio.open_connection(host, port)
    writer.write(f"GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n".encode())
    line = await asyncio.wait_for(reader.readline(), 30)
    await hang_up(writer)
    return int(line.split()[1])
