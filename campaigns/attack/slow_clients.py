"""Slow clients take the script slots of the web servers: webhooks are answered in time, LuCI stays usable.

On the simulator's servers, which have uhttpd's slots and limits; the same against uhttpd:
``tests/interop/test_gateway.py``.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import json
import time
from collections.abc import AsyncIterator
from typing import Final
from urllib.parse import urlsplit

import aiohttp

from campaigns.attack.cases import Cases
from campaigns.attack.complaints import listening
from campaigns.attack.floods import WEBHOOK
from simulator.browser_front.gateway import BODY_TIMEOUT
from simulator.browser_front.public_gateway import PublicGateway
from simulator.world import World
from stripe_payments.stripe_api import sign
from tests.conformance.script_slots import BODY, CHUNKS, HEAD, PAGE, WITHOUT_SLOT

__all__ = ["slow_clients"]

SLOW: Final = 20
BEGINNINGS: Final = (b"", HEAD, BODY, CHUNKS)
WEBHOOK_S: Final = 1.0
"""p99 of a webhook's answer."""
PAGE_S: Final = 1.0
SLACK_S: Final = 2.0


async def slow_clients(cases: Cases) -> None:
    """First on the public gateway, then on LuCI's own server."""
    async with World(state=cases.folder) as world:
        kept = json.loads((world.root / "etc/stripe-payments/secrets.json").read_text())
        public = PublicGateway(world.bus_path)
        await public.start()
        try:
            with listening():  # the servers complain of connections that break
                await _on_the_public_gateway(cases, world, public.url, kept["webhook_secret"])
                await _on_luci(cases, world.front.url)
        finally:
            await public.stop()


@contextlib.asynccontextmanager
async def _held(url: str, number: int) -> AsyncIterator[None]:
    """So many slow clients at any time: each connects again when it is cut off."""
    address = urlsplit(url)

    async def hold(beginning: bytes) -> None:
        while True:
            with contextlib.suppress(OSError):
                reader, writer = await asyncio.open_connection(address.hostname, address.port)
                try:
                    writer.write(beginning)
                    await reader.read()
                finally:
                    writer.close()

    beginnings = itertools.islice(itertools.cycle(BEGINNINGS), number)
    holding = [asyncio.create_task(hold(beginning)) for beginning in beginnings]
    await asyncio.sleep(0.2)
    try:
        yield
    finally:
        for task in holding:
            task.cancel()
        await asyncio.gather(*holding, return_exceptions=True)


async def _on_the_public_gateway(cases: Cases, world: World, url: str, secret: str) -> None:
    """Webhooks on it, and pages on LuCI's server."""
    times = []
    async with _held(url, SLOW), aiohttp.ClientSession() as http:
        for number in range(max(40, cases.count)):
            body = json.dumps(
                {"id": f"evt_slow{number}", "type": "charge.refunded", "livemode": True}
            ).encode()
            now = int(time.time())
            headers = {"Stripe-Signature": f"t={now},v1={sign(body, secret, now)}"}
            began = time.monotonic()
            async with http.post(url + WEBHOOK, data=body, headers=headers) as answer:
                await answer.read()
            times.append(time.monotonic() - began)
            wrong = None if answer.status in (200, 400) else f"answered {answer.status}"
            cases.note(wrong, "a webhook beside slow clients")
            if number % 10 == 0:
                took = await _page(http, world.front.url + PAGE)
                slow = f"took {took:.1f} s" if took > PAGE_S else None
                cases.note(slow, "LuCI beside slow clients of the public gateway")
    p99 = sorted(times)[len(times) * 99 // 100 - 1]
    cases.note(f"p99 is {p99:.2f} s" if p99 > WEBHOOK_S else None, "webhooks: p99")
    cases.notes.append(f"webhooks beside {SLOW} slow clients: p99 {p99 * 1000:.0f} ms")


async def _on_luci(cases: Cases, url: str) -> None:
    """Three slow clients of /api/payments hold its pages for one body's time, and nothing else."""
    async with aiohttp.ClientSession() as http:
        async with _held(url, len(BEGINNINGS)):
            for path in WITHOUT_SLOT:
                took = await _page(http, url + path)
                cases.note(f"took {took:.1f} s" if took > PAGE_S else None, f"{path} beside slow clients")
            took = await _page(http, url + PAGE)
        limit = BODY_TIMEOUT + SLACK_S
        cases.note(f"took {took:.1f} s" if took > limit else None, "LuCI's page beside its own slow clients")
        took = await _page(http, url + PAGE)
        cases.note(f"took {took:.1f} s" if took > PAGE_S else None, "LuCI's page after them")


async def _page(http: aiohttp.ClientSession, url: str) -> float:
    """How long it took, in seconds."""
    began = time.monotonic()
    async with http.get(url) as answer:
        await answer.read()
    return time.monotonic() - began
