"""Requests to the hub: what is refused, and what a broken answer is called."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

import pytest

from stripe_payments.clock import TrustedClock
from stripe_payments.errors import PaymentError
from stripe_payments.hub_client.transport import LARGEST_ANSWER, Transport


@asynccontextmanager
async def transport_to(answers: list[bytes], clock: TrustedClock | None = None) -> AsyncIterator[Transport]:
    """To a server that sends one of the answers for each request; it keeps the connection."""

    serving: set[asyncio.Task[None]] = set()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        serving.add(task)
        with suppress(OSError, asyncio.IncompleteReadError):
            while await reader.readuntil(b"\r\n\r\n") and (answer := answers.pop(0)):
                writer.write(answer)
                await writer.drain()
        writer.close()
        with suppress(OSError):
            await writer.wait_closed()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    transport = Transport(
        f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}", clock or TrustedClock(None)
    )
    try:
        yield transport
    finally:
        transport.close()
        server.close()
        await asyncio.gather(*serving)


def answer(body: bytes, status: str = "200 OK", *headers: str) -> bytes:
    head = [f"HTTP/1.1 {status}", f"Content-Length: {len(body)}", *headers, "", ""]
    return "\r\n".join(head).encode() + body


@pytest.mark.parametrize(
    ("sent", "fault"),
    [
        (answer(b"", "302 Found", "Location: http://127.0.0.1:1/"), "answer"),
        (answer(b"<html>captive portal</html>"), "answer"),
        (answer(b"[]"), "answer"),
        (answer(b'"' + b"x" * LARGEST_ANSWER + b'"'), "answer"),
        (b"SSH-2.0-OpenSSH\r\n", "answer"),
        (b"", "connection"),
    ],
    ids=["a redirect", "HTML", "no object", "too large", "no HTTP", "nothing"],
)
async def test_what_is_not_the_hubs_answer(sent: bytes, fault: str) -> None:
    async with transport_to([sent, sent]) as transport:
        with pytest.raises(PaymentError) as raised:
            await transport.request("GET", "/v1/state")
    assert (raised.value.code, raised.value.details["fault"]) == ("seller_unreachable", fault)


async def test_a_connection_that_the_hub_closed_meanwhile_is_replaced() -> None:
    """Two requests on one connection, whose second one gets no answer there."""
    clock = TrustedClock(None)
    good = answer(b'{"ok": true}', "200 OK", "Date: Sat, 28 Nov 2026 12:00:00 GMT")
    async with transport_to([good, b"", good], clock) as transport:
        for _ in range(2):
            assert (await transport.request("GET", "/v1/state")).body == {"ok": True}
    assert clock.trusted


@pytest.mark.parametrize("url", ["http://hub.example.org", "ftp://127.0.0.1", "hub.example.org"])
async def test_an_address_without_tls_is_not_called(url: str) -> None:
    transport = Transport(url, TrustedClock(None))
    with pytest.raises(PaymentError) as raised:
        await transport.request("GET", "/v1/state")
    transport.close()
    assert raised.value.details["fault"] == "address"
