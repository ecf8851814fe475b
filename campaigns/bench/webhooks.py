"""How many webhooks a second are accepted for good: verified, and durable before the 200.

The baseline is the design of Stripe's Flask sample, which stores nothing. In-process: neither has a web
server in front. Through HTTP: ours behind the simulated gateway and the bus, the sample behind Werkzeug's
threaded server.
"""

import asyncio
import json
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from pathlib import Path

import aiohttp

from campaigns.bench.flask_sample import make_app
from campaigns.bench.processes import python, running, spare_port
from campaigns.report import Goal, Row
from simulator.world import World
from stripe_payments.app import App
from stripe_payments.http_api.http import Request
from stripe_payments.http_api.routing import HttpApp
from stripe_payments.stripe_api import sign

PATH = "/api/payments/webhook"
DELIVERIES = 2000
OVER_HTTP = 600
AT_ONCE = 32
ROUNDS = 3


def _deliveries(secret: str, name: str, count: int) -> Iterator[tuple[bytes, dict[str, str]]]:
    """Distinct genuine events about objects that Stripe does not know: only their acceptance costs."""
    for number in range(count):
        body = json.dumps(
            {
                "id": f"evt_bench_{name}_{number}",
                "object": "event",
                "type": "payment_intent.succeeded",
                "livemode": False,
                "created": int(time.time()),
                "data": {
                    "object": {"id": f"pi_bench_{name}_{number}", "object": "payment_intent", "metadata": {}}
                },
            }
        ).encode()
        now = int(time.time())
        yield (
            body,
            {"stripe-signature": f"t={now},v1={sign(body, secret, now)}", "content-type": "application/json"},
        )


async def _at_once(
    deliveries: list[tuple[bytes, dict[str, str]]],
    deliver: Callable[[bytes, dict[str, str]], Awaitable[int]],
) -> float:
    """Deliveries a second; every one must be answered 200."""
    todo = iter(deliveries)

    async def sender() -> None:
        for body, headers in todo:
            status = await deliver(body, headers)
            if status != 200:
                raise RuntimeError(f"a delivery was answered {status}")

    start = time.perf_counter()
    await asyncio.gather(*(sender() for _ in range(AT_ONCE)))
    return len(deliveries) / (time.perf_counter() - start)


def _sample_in_process(secret: str, name: str) -> float:
    """The sample through Flask's own test client, one after the other: WSGI knows no other way."""
    deliveries = list(_deliveries(secret, name, DELIVERIES))
    client = make_app(secret).test_client()
    start = time.perf_counter()
    for body, headers in deliveries:
        answer = client.post(PATH, data=body, headers=headers)
        if answer.status_code != 200:
            raise RuntimeError(f"the sample answered {answer.status_code}")
    return len(deliveries) / (time.perf_counter() - start)


async def _in_process(world: World, secret: str) -> tuple[float, float]:
    """The daemon's service in this process, on the world's bus, with a ledger on this machine's disk."""
    await world.daemon.stop()
    app = App(
        str(world.bus_path),
        world.root / "etc/stripe-payments",
        environ={"STRIPE_API_BASE": world.stripe.url},
    )
    running = asyncio.create_task(app.run())
    try:
        face = HttpApp(app.gate, world.bus)
        await world.daemon_answers()
        await world.bus.call("stripe-payments", "sync", {})

        async def deliver(body: bytes, headers: dict[str, str]) -> int:
            return (await face.answer(Request("POST", PATH, headers=headers, body=body))).status

        ours, sample = [], []
        for number in range(ROUNDS):
            sample.append(_sample_in_process(secret, f"sample{number}"))
            ours.append(await _at_once(list(_deliveries(secret, f"ours{number}", DELIVERIES)), deliver))
        return max(ours), max(sample)
    finally:
        app.stop()
        await running


async def _over_http(url: str, secret: str, name: str) -> float:
    connector = aiohttp.TCPConnector(limit=AT_ONCE)
    async with aiohttp.ClientSession(connector=connector) as http:

        async def deliver(body: bytes, headers: dict[str, str]) -> int:
            async with http.post(url + PATH, data=body, headers=headers) as response:
                await response.read()
                return response.status

        return await _at_once(list(_deliveries(secret, name, OVER_HTTP)), deliver)


async def measure(folder: Path) -> AsyncIterator[Row]:
    """The best of a few rounds of each counts."""
    async with World(state=folder / "webhooks") as world:
        await world.bus.call("stripe-payments", "sync", {})
        kept = json.loads((world.root / "etc/stripe-payments/secrets.json").read_text())
        secret: str = kept["webhook_secret"]
        port = spare_port()
        sample = python("campaigns.bench.flask_sample", "--port", str(port), "--secret", secret)
        async with running(*sample, log=folder / "sample.log"):
            await asyncio.sleep(2)
            http, http_sample = [], []
            for number in range(ROUNDS):
                http_sample.append(await _over_http(f"http://127.0.0.1:{port}", secret, f"hs{number}"))
                http.append(await _over_http(world.front.url, secret, f"h{number}"))
        yield Row(
            "durable webhook accepts, through HTTP and bus",
            max(http),
            "1/s",
            None,
            max(http_sample),
            "Flask sample on Werkzeug",
        )
        ours, in_process_sample = await _in_process(world, secret)
    yield Row(
        "durable webhook accepts, in process",
        ours,
        "1/s",
        Goal(">=", 1, of_baseline=True),
        in_process_sample,
        "Flask sample that stores nothing",
    )
