"""What routers cost the hub: a poll without news, and how soon a refund at Stripe is at a router that waits.

Two instances, a worker and PostgreSQL, each a process of its own, and a simulated Stripe.
"""

import asyncio
import hashlib
import itertools
import random
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from statistics import quantiles

import aiohttp
import psycopg

from campaigns.bench.processes import cpu_seconds
from campaigns.bench.webhook_sender import SENDERS, send_all
from campaigns.report import Goal, Row
from simulator.hub_processes import HubProcesses
from simulator.stripe_account import StripeAccount
from simulator.stripe_cloud import StripeCloud

ROUTERS = 100_000
POLLS = 8000
POLLS_ALONE = 1500
ROUNDS = 3
REFUNDS = 100
HOST = "hub.example.org"

_FLEET = """
INSERT INTO accounts (id) SELECT md5(n::text) FROM generate_series(1, %(count)s) n;
INSERT INTO routers (id, account, board, software)
    SELECT md5('router' || n), md5(n::text), '', '' FROM generate_series(1, %(count)s) n;
INSERT INTO credentials (digest, router, status)
    SELECT sha256(lpad(n::text, 43, 'A')::bytea), md5('router' || n), 'active'
    FROM generate_series(1, %(count)s) n;
"""


async def measure(_folder: Path) -> AsyncIterator[Row]:
    """The cost is that of an instance and PostgreSQL together, of so many connections at a time."""
    async with StripeCloud() as cloud, HubProcesses(cloud.url, ["waits"]) as hub:
        await asyncio.to_thread(_enroll_fleet, hub.database)
        for row in await _polls(hub):
            yield row
        for row in await _refunds(hub, cloud):
            yield row


# -- polls --------------------------------------------------------------------------------------------


def _enroll_fleet(database: str) -> None:
    with psycopg.connect(database, autocommit=True) as connection:
        for statement in _FLEET.split(";")[:-1]:
            connection.execute(statement.encode(), {"count": ROUTERS})
        connection.execute("ANALYZE")


async def _polls(hub: HubProcesses) -> list[Row]:
    address = hub.instances[0]
    port = int(address.rpartition(":")[2])
    catalog = await _catalog_version(address)
    some = _requests(catalog)
    together, alone = [], []
    for number in range(ROUNDS + 1):
        one = await _cost(hub, port, list(itertools.islice(some, POLLS_ALONE)), senders=1)
        many = await _cost(hub, port, list(itertools.islice(some, POLLS)), senders=SENDERS)
        if number:
            alone.append(one)
            together.append(many)
    cost, ungrouped = sorted(together)[ROUNDS // 2], sorted(alone)[ROUNDS // 2]
    what = f"{ROUTERS:,} routers, {SENDERS} connections; the goal is that or a quarter of the baseline"
    goal = Goal("<=", 120) if cost <= 120 else Goal("<=", 0.25, of_baseline=True)
    request = next(some)
    answer = await _answer(port, request)
    sizes = f"request {len(request)}, answer {len(answer)}"
    return [
        Row("poll without news: CPU with PostgreSQL", cost, "µs", goal, ungrouped, "one at a time", what),
        Row("poll without news: answer", len(answer), "bytes", Goal("<=", 300), what=sizes),
    ]


async def _cost(hub: HubProcesses, port: int, requests: list[bytes], *, senders: int) -> float:
    """µs of CPU for each."""
    pids = (hub.processes["serve-1"].pid, hub.postgres_pid)
    before = sum(cpu_seconds(pid) for pid in pids)
    await send_all(port, requests, senders, status=b"304")
    return (sum(cpu_seconds(pid) for pid in pids) - before) * 1e6 / len(requests)


def _requests(catalog: int) -> Iterator[bytes]:
    """Polls of routers by chance, that have everything, as the daemon sends them."""
    chance = random.Random(1)
    while True:
        number = chance.randint(1, ROUTERS)
        yield _request(number, f'"{_account(number)[:8]}-1-{catalog}"')


def _request(number: int, etag: str) -> bytes:
    return (
        f"GET /v1/state HTTP/1.1\r\nHost: {HOST}\r\nAccept-Encoding: identity\r\nAccept: application/json\r\n"
        f"User-Agent: stripe-payments/0.9.0\r\nAccept-Language: en\r\nIf-None-Match: {etag}\r\n"
        f"Authorization: Bearer {_secret(number)}\r\n\r\n"
    ).encode()


def _secret(number: int) -> str:
    return str(number).rjust(43, "A")


def _account(number: int) -> str:
    return hashlib.md5(str(number).encode(), usedforsecurity=False).hexdigest()


async def _catalog_version(address: str) -> int:
    headers = {"Authorization": f"Bearer {_secret(1)}"}
    async with aiohttp.ClientSession() as http, http.get(f"{address}/v1/state", headers=headers) as answer:
        answer.raise_for_status()
        return int((await answer.json())["catalog_version"])


async def _answer(port: int, request: bytes) -> bytes:
    """The bytes of one answer, which has no body."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(request)
    answer = await reader.readuntil(b"\r\n\r\n")
    writer.close()
    return answer


# -- refunds ------------------------------------------------------------------------------------------


async def _refunds(hub: HubProcesses, cloud: StripeCloud) -> list[Row]:
    """From the request for a refund until the answer that shows it. The delivery goes to one instance, and
    the router waits at the other one.
    """
    stripe = StripeAccount(cloud.url)
    near, far = hub.instances
    (endpoint,) = (await stripe.request("GET", "webhook_endpoints"))["data"]
    await stripe.request("POST", f"webhook_endpoints/{endpoint['id']}", url=f"{near}/stripe/webhook")
    headers = {"Authorization": f"Bearer {_secret(0)}"}
    async with aiohttp.ClientSession(headers=headers) as http:
        payment = await _bought(http, far, hub.codes[0], cloud)
        pids = (*[process.pid for process in hub.processes.values()], hub.postgres_pid)
        before = sum(cpu_seconds(pid) for pid in pids)
        took = [await _refund(http, far, stripe, payment) for _ in range(REFUNDS)]
        cost = (sum(cpu_seconds(pid) for pid in pids) - before) * 1000 / REFUNDS
    hundredths = quantiles(took, n=100, method="inclusive")
    what = f"{REFUNDS} refunds, one after the other; Stripe is simulated on this machine"
    return [
        Row("refund to a router at another instance, p50", hundredths[49], "ms", Goal("<=", 50), what=what),
        Row("refund to a router at another instance, p99", hundredths[98], "ms", Goal("<=", 250), what=what),
        Row("refund to a router: CPU of all of the hub", cost, "ms"),
    ]


async def _bought(http: aiohttp.ClientSession, url: str, code: str, cloud: StripeCloud) -> str:
    """The payment of a product that a new router has bought."""
    body = {"secret": _secret(0), "code": code, "board": "", "version": ""}
    async with http.post(f"{url}/v1/enrollments", json=body) as answer:
        answer.raise_for_status()
    async with http.get(f"{url}/v1/catalog") as answer:
        products = (await answer.json())["products"]
    price = next(iter(products.values()))["prices"][0]["id"]
    urls = {"success_url": "http://192.168.1.1/ok", "cancel_url": "http://192.168.1.1/no"}
    method = f"{url}/v1/methods/create_checkout_session"
    async with http.post(method, json={"price_id": price, **urls}) as answer:
        answer.raise_for_status()
        session = (await answer.json())["session_id"]
    cloud.pay(session)
    payment: str = cloud.account.get("checkout.session", session)["payment_intent"]
    etag = ""
    while True:
        etag, text = await _wait(http, url, etag)
        if payment in text:
            return payment


async def _refund(http: aiohttp.ClientSession, url: str, stripe: StripeAccount, payment: str) -> float:
    """Milliseconds until the router has a refund of a cent."""
    etag, _text = await _wait(http, url, "")
    waiting = asyncio.create_task(_wait(http, url, etag))
    await asyncio.sleep(0.1)
    if waiting.done():
        raise RuntimeError("the router did not wait")
    began = time.perf_counter()
    refund = await stripe.request("POST", "refunds", payment_intent=payment, amount=1)
    etag, text = await waiting
    while str(refund["id"]) not in text:
        etag, text = await _wait(http, url, etag)
    return (time.perf_counter() - began) * 1000


async def _wait(http: aiohttp.ClientSession, url: str, etag: str) -> tuple[str, str]:
    """The state, once it is another one than that."""
    while True:
        headers = {"If-None-Match": etag, "Prefer": "wait=20"}
        async with http.get(f"{url}/v1/state", headers=headers) as answer:
            if answer.status == 304:
                continue
            answer.raise_for_status()
            return answer.headers["ETag"], await answer.text()
