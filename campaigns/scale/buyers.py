"""Buyers while the hub is busy: an outage of Stripe and the storm of deliveries after it, an instance that is
killed in the middle, and a backfill.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import time
import uuid
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from random import Random
from typing import Any

import aiohttp

from campaigns.scale.running_hub import INSTANCES, SECRET, RunningHub
from simulator.stripe_cloud.rendering import render
from simulator.stripe_cloud.routes import find_route
from stripe_payments.stripe_api import sign
from stripe_payments.sync.events import EVENT_TYPES

__all__ = ["Buying", "Storm", "buying", "subscribers", "weather"]

_EVERY_S = 0.5
_SENDERS = 64
_URLS = {"success_url": "http://192.168.1.1/ok", "cancel_url": "http://192.168.1.1/no"}
_AGAIN_S = 0.2
_DRAINED_S = 600.0


@dataclass
class Buying:
    """`latencies`: seconds from a buyer's click to the address of the payment page, repetitions included."""

    latencies: list[float] = field(default_factory=list)
    refused: int = 0

    def percentile(self, share: float) -> float:
        """Seconds."""
        ordered = sorted(self.latencies)
        return ordered[min(len(ordered) - 1, int(share * len(ordered)))]


@asynccontextmanager
async def buying(hub: RunningHub, first: int) -> AsyncIterator[Buying]:
    """While the block lasts, a buyer begins a purchase every half second, each on a router of its own from
    `first` on.
    """
    done, chance = Buying(), Random(1)
    clicks: set[asyncio.Task[None]] = set()
    async with aiohttp.ClientSession() as http:

        async def click(number: int) -> None:
            began = time.perf_counter()
            headers = {
                "authorization": f"Bearer {hub.fleet.secret(number)}",
                "idempotency-key": uuid.UUID(int=chance.getrandbits(128)).hex,
            }
            body = {"price_id": "lifetime_once", **_URLS}
            while True:
                address = f"{hub.url(chance.choice(INSTANCES))}/v1/methods/create_checkout_session"
                with contextlib.suppress(aiohttp.ClientError):
                    async with http.post(address, json=body, headers=headers) as response:
                        if response.status == 200:
                            break
                done.refused += 1
                await asyncio.sleep(_AGAIN_S)
            done.latencies.append(time.perf_counter() - began)

        async def go_on() -> None:
            number = first
            while True:
                clicks.add(asyncio.create_task(click(number)))
                number += 1
                await asyncio.sleep(_EVERY_S)

        task = asyncio.create_task(go_on())
        try:
            yield done
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
            await asyncio.wait_for(asyncio.gather(*clicks), 60)


def subscribers(hub: RunningHub, routers: Sequence[str]) -> list[bytes]:
    """A customer and a plan at Stripe for each router id, bought elsewhere; the bodies of the events."""
    account, events = hub.cloud.account, list[Any]()
    account.on_event.append(events.append)

    def post(path: str, **params: Any) -> Any:
        found = find_route("POST", path)
        assert found is not None
        return found[0].handler(account, params, *found[1])

    price = next(one for one in account.newest_first("price") if one["unit_amount"] == 499)
    for router in routers:
        marked = {"router_id": router}
        customer = post("/v1/customers", metadata=marked)
        post(
            "/v1/subscriptions",
            customer=customer["id"],
            items=[{"price": price["id"]}],
            collection_method="send_invoice",
            days_until_due=7,
            metadata=marked,
        )
    account.on_event.remove(events.append)
    return [json.dumps(render(account, one)).encode() for one in events if one["type"] in EVENT_TYPES]


@dataclass
class Storm:
    """`accepted_in`, `drained_in`: seconds until all deliveries were answered 200, and until all of them had
    had their effect.
    """

    deliveries: int = 0
    repeated: int = 0
    accepted_in: float = 0.0
    drained_in: float = 0.0


async def weather(hub: RunningHub, bodies: Sequence[bytes], outage_s: float) -> Storm:
    """Stripe answers 503 for a while; then all deliveries arrive as fast as they are taken, and one of the
    two instances is killed in the middle and started again.
    """
    hub.cloud.set_faults(status=503)
    await asyncio.sleep(outage_s)
    hub.cloud.set_faults()
    storm, left, began = Storm(len(bodies)), list(bodies[::-1]), time.perf_counter()
    chance = Random(2)

    async def send(http: aiohttp.ClientSession) -> None:
        while left:
            body = left.pop()
            now = hub.cloud.clock.now()
            headers = {"stripe-signature": f"t={now},v1={sign(body, SECRET, now)}"}
            with contextlib.suppress(aiohttp.ClientError):
                address = f"{hub.url(chance.choice(INSTANCES))}/stripe/webhook"
                async with http.post(address, data=body, headers=headers) as response:
                    if response.status == 200:
                        continue
            storm.repeated += 1
            left.append(body)
            await asyncio.sleep(_AGAIN_S)

    async def kill() -> None:
        while len(left) > len(bodies) // 2:
            await asyncio.sleep(0.01)
        await hub.kill(INSTANCES[1])
        await hub.start(INSTANCES[1])
        await hub.ready(INSTANCES[1])

    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=_SENDERS)) as http:
        killing = asyncio.create_task(kill())
        await asyncio.gather(*[send(http) for _ in range(_SENDERS)])
        storm.accepted_in = time.perf_counter() - began
        await killing
    query = "SELECT count(*) FROM inbox WHERE outcome IS NULL"
    while (await asyncio.to_thread(hub.fleet.rows, query))[0][0]:
        assert time.perf_counter() - began < _DRAINED_S, "events are stuck"
        await asyncio.sleep(0.2)
    storm.drained_in = time.perf_counter() - began
    return storm
