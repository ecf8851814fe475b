"""When the hub is polled as a buyer does, and when as the fleet does."""

from __future__ import annotations

import asyncio
import json
import socket
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager, suppress
from pathlib import Path

from stripe_payments.clock import TrustedClock
from stripe_payments.hub_client.credential import CredentialStore
from stripe_payments.hub_client.seller import Seller
from stripe_payments.hub_client.transport import Transport
from stripe_payments.ledger import SQLiteLedger
from stripe_payments.settings import Settings
from ubus_py import Encodable, Status, StatusError, Table

IN_A_LANGUAGE = {"catalog": {"products": []}, "subscriptions": [], "transactions": []}
STATE = {"features": {}, "poll_after": 3600, "en": IN_A_LANGUAGE, "it": IN_A_LANGUAGE}


class NoBus:
    """A router without a `system` object."""

    async def call(
        self,
        object: str,  # noqa: A002
        method: str,
        args: Mapping[str, Encodable] | None = None,
        *,
        timeout: float | None = 30.0,
    ) -> Table:
        raise StatusError(Status.NOT_FOUND)


class Hub:
    """Enrols at once; keeps every poll until it is answered."""

    def __init__(self) -> None:
        self.polls: asyncio.Queue[tuple[bytes, asyncio.StreamWriter]] = asyncio.Queue()

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(OSError, asyncio.IncompleteReadError):
            while head := (await reader.readuntil(b"\r\n\r\n")).lower():
                if head.startswith(b"get /v1/state "):
                    self.polls.put_nowait((head, writer))
                    continue
                await reader.readexactly(int(head.partition(b"content-length: ")[2].split()[0]))
                writer.write(response(201, {"router_id": "r1"}))
        writer.close()

    async def poll(self, seller: Seller) -> tuple[bool, asyncio.StreamWriter]:
        """The next poll, whatever the backoff: whether it may wait at the hub, and where it is answered."""
        while self.polls.empty():
            seller.poll_soon()
            await asyncio.sleep(0.01)
        head, writer = self.polls.get_nowait()
        return b"prefer: wait=" in head, writer


def response(status: int, body: Mapping[str, object], **headers: str) -> bytes:
    content = json.dumps(body).encode()
    head = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
    return f"HTTP/1.1 {status} x\r\nContent-Length: {len(content)}\r\n{head}\r\n".encode() + content


@asynccontextmanager
async def seller_of(url: str, folder: Path) -> AsyncIterator[Seller]:
    """With a ledger and a credential of its own, not enrolled."""
    clock = TrustedClock(None)
    transport = Transport(url, clock)
    ledger = await SQLiteLedger.open(folder / "ledger.db")
    settings = Settings.DEFAULTS
    seller = Seller(
        ledger, transport, CredentialStore(folder), clock, lambda: settings, NoBus(), lambda _features: None
    )
    try:
        await seller.load()
        yield seller
    finally:
        transport.close()
        await ledger.close()


async def test_what_was_bought_is_polled_for_as_a_buyer_does_until_the_hub_has_answered(
    tmp_path: Path,
) -> None:
    hub = Hub()
    server = await asyncio.start_server(hub.serve, "127.0.0.1", 0)
    url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    async with seller_of(url, tmp_path) as seller:
        seller.watch()
        polling = asyncio.create_task(seller.run())
        try:
            async with asyncio.timeout(20):
                as_a_buyer, writer = await hub.poll(seller)
                assert as_a_buyer
                seller.unwatch()  # the purchase's own request has heard that it is paid
                writer.write(response(200, STATE, ETag='"1"'))

                as_a_buyer, writer = await hub.poll(seller)
                assert as_a_buyer, "the poll before may have been answered before the payment"
                writer.write(response(503, {}, **{"Retry-After": "60"}))
                as_a_buyer, writer = await hub.poll(seller)
                assert as_a_buyer, "that one was not answered"
                writer.write(response(304, {}))

                as_a_buyer, writer = await hub.poll(seller)
                assert not as_a_buyer
                seller.watch()  # the next purchase begins
                writer.write(response(304, {}))
                as_a_buyer, writer = await hub.poll(seller)
                assert as_a_buyer
        finally:
            polling.cancel()
            server.close()
            await asyncio.gather(polling, return_exceptions=True)


async def test_an_outage_does_not_keep_a_buyer_waiting_once_it_is_over(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        url = f"http://127.0.0.1:{taken.getsockname()[1]}"
    async with seller_of(url, tmp_path) as seller:
        as_the_fleet = [await seller._round() for _ in range(6)]
        seller.watch()
        as_a_buyer = [await seller._round() for _ in range(6)]
    assert as_the_fleet[-1] > 40
    assert max(as_a_buyer) <= 10
