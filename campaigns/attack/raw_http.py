"""HTTP by hand: bytes to the router's web server and what comes back, byte for byte."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from dataclasses import dataclass
from urllib.parse import urlsplit

from simulator.browser_front import BrowserFront
from tests.unit.stripe_payments.harness import Harness

__all__ = ["RawAnswer", "front_of", "send"]

PATIENCE_S = 30.0


@dataclass(frozen=True)
class RawAnswer:
    """`headers`: names lower-cased, in the order in which they came."""

    status: int
    headers: list[tuple[str, str]]
    body: bytes

    def header(self, name: str) -> list[str]:
        return [value for held, value in self.headers if held == name]


@contextlib.asynccontextmanager
async def front_of(harness: Harness) -> AsyncIterator[str]:
    """A web server in front of a harness; yields its address."""
    front = BrowserFront(harness.bus_path, harness.root, None)
    await front.start("127.0.0.1", 0)
    try:
        yield front.url
    finally:
        await front.stop()


async def send(
    url: str, method: str, target: str, headers: list[tuple[str, str]], body: bytes = b""
) -> RawAnswer | None:
    """One request, written as it is given; None where the server hung up without an answer."""
    address = urlsplit(url)
    reader, writer = await asyncio.open_connection(address.hostname, address.port)
    try:
        lines = [f"{method} {target} HTTP/1.1", *(f"{name}: {value}" for name, value in headers)]
        lines += [f"Content-Length: {len(body)}", "Connection: close"]
        head = "\r\n".join([*lines, "", ""]).encode("utf-8", "surrogateescape")
        writer.write(head + body)
        with contextlib.suppress(ConnectionError):
            await writer.drain()
        async with asyncio.timeout(PATIENCE_S):
            with contextlib.suppress(ConnectionError):
                return _parsed(await reader.read())
        return None
    finally:
        writer.close()
        with contextlib.suppress(OSError):
            await writer.wait_closed()


def _parsed(raw: bytes) -> RawAnswer | None:
    head, _, body = raw.partition(b"\r\n\r\n")
    first, *lines = head.decode("latin-1").split("\r\n")
    if not first.startswith("HTTP/1."):
        return None
    pairs = [line.partition(":") for line in lines]
    headers = [(name.strip().lower(), value.strip()) for name, _, value in pairs]
    return RawAnswer(int(first.split(" ", 2)[1]), headers, body)
