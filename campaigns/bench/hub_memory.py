"""The most memory that the daemon ever holds in hub mode: a purchase through TLS, return pages, `check`."""

import asyncio
import contextlib
import ssl
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiohttp
import trustme

from campaigns.bench.processes import most_resident_mib
from campaigns.report import Goal, Row
from simulator.hub_processes import HubProcesses
from simulator.stripe_cloud import StripeCloud
from simulator.world import World

GOAL_MIB = 36.0
CHECKS = 3


async def measure(folder: Path) -> AsyncIterator[Row]:
    """The kernel's VmHWM."""
    async with _hub() as (cloud, hub), _encrypted(hub.url, folder) as url:
        router = World(
            state=folder / "router",
            stripe=cloud,
            hub=(url, hub.codes[0]),
            environment={"SSL_CERT_FILE": str(folder / "authority.pem")},
            respawn=True,
        )
        async with router:
            await _use(router)
            most = most_resident_mib(router.daemon.pid or 0)
    yield Row(
        "memory, the most in hub mode, pages, TLS and check included", most, "MiB", Goal("<=", GOAL_MIB)
    )


@contextlib.asynccontextmanager
async def _hub() -> AsyncIterator[tuple[StripeCloud, HubProcesses]]:
    cloud = StripeCloud(validate_answers=True)
    await cloud.start("127.0.0.1", 0)
    try:
        async with HubProcesses(cloud.url, ["measured"]) as hub:
            yield cloud, hub
    finally:
        await cloud.stop()


async def _use(router: World) -> None:
    """What a household does on the day of its first purchase, and more `check` than that."""
    plans: list[dict[str, Any]] = []

    async def sells() -> bool:
        plans[:] = (await _call(router, "catalog"))["plans"]
        return bool(plans)

    await router.wait_until(sells)
    price = plans[0]["prices"][0]["price_id"]
    back = f"{router.front.url}/payment-success"
    session = await _call(
        router,
        "create_checkout_session",
        price_id=price,
        success_url=back,
        cancel_url=f"{router.front.url}/payment-cancel",
    )
    session_id = session["session_id"]
    await router.pay(session_id)

    async def unlocked() -> bool:
        features = (await _call(router, "features"))["features"]
        return any(one["unlocked"] for one in features.values())

    await router.wait_until(unlocked)
    async with aiohttp.ClientSession() as browser:
        for page in ("payment-success", "payment-cancel"):
            address = f"{router.front.url}/{page}?session_id={session_id}"
            async with browser.get(address) as response:
                response.raise_for_status()
    for method in ("transactions", "subscriptions", "recovery_code", *["check"] * CHECKS):
        await _call(router, method)


async def _call(router: World, method: str, **arguments: Any) -> Any:
    return await router.bus.call("stripe-payments", method, arguments)


@contextlib.asynccontextmanager
async def _encrypted(hub: str, folder: Path) -> AsyncIterator[str]:
    """The address of a TLS proxy before the hub; its authority is in `authority.pem`."""
    authority = trustme.CA()
    authority.cert_pem.write_to_path(folder / "authority.pem")
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    authority.issue_cert("127.0.0.1").configure_cert(context)
    port = int(hub.rpartition(":")[2])
    open_now: set[asyncio.StreamWriter] = set()

    async def forward(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        to_reader, to_writer = await asyncio.open_connection("127.0.0.1", port)
        open_now.update((writer, to_writer))
        await asyncio.gather(_copy(reader, to_writer), _copy(to_reader, writer))
        open_now.difference_update((writer, to_writer))

    server = await asyncio.start_server(forward, "127.0.0.1", 0, ssl=context)
    try:
        yield f"https://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    finally:
        server.close()
        for writer in open_now:
            writer.transport.abort()


async def _copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with contextlib.suppress(OSError):
        while data := await reader.read(65_536):
            writer.write(data)
            await writer.drain()
    writer.close()
