"""Sends prepared HTTP requests over kept connections, as fast as they are answered. Costs little itself."""

import asyncio
import time
from collections.abc import Iterable, Iterator

__all__ = ["SENDERS", "send_all", "webhook_request"]

SENDERS = 64


def webhook_request(path: str, body: bytes, signature: str) -> bytes:
    """A delivery of Stripe's, as bytes of HTTP/1.1."""
    head = (
        f"POST {path} HTTP/1.1\r\nHost: hub.example.com\r\nContent-Type: application/json; charset=utf-8\r\n"
        f"User-Agent: Stripe/1.0 (+https://stripe.com/docs/webhooks)\r\nStripe-Signature: {signature}\r\n"
        f"Content-Length: {len(body)}\r\n\r\n"
    )
    return head.encode() + body


async def send_all(
    port: int, requests: Iterable[bytes], senders: int = SENDERS, *, status: bytes = b"200"
) -> float:
    """Send every request once, over so many connections; the seconds it took. Raises RuntimeError where one
    has another status.
    """
    left = iter(requests)
    loop = asyncio.get_running_loop()
    began = time.perf_counter()
    connections = [_Connection(left, loop.create_future(), b"HTTP/1.1 " + status) for _ in range(senders)]
    for connection in connections:
        await loop.create_connection(lambda one=connection: one, "127.0.0.1", port)  # type: ignore[misc]
    await asyncio.gather(*[connection.done for connection in connections])
    return time.perf_counter() - began


class _Connection(asyncio.Protocol):
    def __init__(self, left: Iterator[bytes], done: "asyncio.Future[None]", wanted: bytes) -> None:
        self.done = done
        self._left = left
        self._wanted = wanted
        self._received = b""
        self._transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        self._send_next()

    def data_received(self, data: bytes) -> None:
        self._received += data
        if not _is_whole(self._received):
            return
        if not self._received.startswith(self._wanted):
            self._fail(self._received.decode(errors="replace")[:500])
            return
        self._received = b""
        self._send_next()

    def connection_lost(self, error: Exception | None) -> None:
        self._fail(f"the connection was lost: {error}")

    def _send_next(self) -> None:
        assert self._transport is not None
        request = next(self._left, None)
        if request is not None:
            self._transport.write(request)
            return
        if not self.done.done():
            self.done.set_result(None)
        self._transport.close()

    def _fail(self, reason: str) -> None:
        if not self.done.done():
            self.done.set_exception(RuntimeError(reason))


def _is_whole(answer: bytes) -> bool:
    head, ended, body = answer.partition(b"\r\n\r\n")
    if not ended:
        return False
    head = head.lower()
    if b"transfer-encoding: chunked" in head:
        return body.endswith(b"0\r\n\r\n")
    length = head.partition(b"content-length:")[2].partition(b"\r\n")[0]
    return len(body) >= int(length or 0)
