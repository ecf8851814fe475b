"""Requests to Stripe that all instances share, and accounts that wait for each other: buyers come first."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack
from pathlib import Path

import psycopg
import pytest

from payments_hub import accounts
from payments_hub.budget import Priority, StripeBudget, priority
from payments_hub.database import OPEN_AT_ONCE, Database
from payments_hub.errors import HubError
from payments_hub.metrics import REGISTRY
from stripe_payments.errors import PaymentError
from tests.hub.vendor import Caller, Vendor, eventually


def fill(database_url: str, tokens: float) -> None:
    """So many tokens, and no refill before the next one is taken."""
    with psycopg.connect(database_url, autocommit=True) as connection:
        connection.execute("DELETE FROM stripe_budget")
        connection.execute(
            "INSERT INTO stripe_budget (tokens, counted_at) VALUES (%s, now() + interval '1 hour')", (tokens,)
        )


@pytest.mark.parametrize(
    ("tokens", "first", "there_is_one"),
    [
        (20, Priority.BUYER, True),
        (20, Priority.SYNC, True),
        (20, Priority.BACKGROUND, True),
        (10.9, Priority.BACKGROUND, False),
        (10.9, Priority.SYNC, True),
        (5.9, Priority.SYNC, False),
        (5.9, Priority.BUYER, True),
        (1, Priority.BUYER, True),
        (0.9, Priority.BUYER, False),
        (1000, Priority.BUYER, True),
    ],
)
async def test_buyers_take_the_last_requests(
    database_url: str, tokens: float, first: Priority, there_is_one: bool
) -> None:
    fill(database_url, tokens)
    async with Database.open(database_url) as database:
        with priority(first):
            wait = await StripeBudget(database, 80).try_take()
    assert (wait == 0) is there_is_one


async def test_a_full_bucket_is_no_more_than_its_size(database_url: str) -> None:
    """Two instances; nothing is refilled meanwhile, because each token puts the count to an hour from now."""
    async with Database.open(database_url) as database:
        budgets = [StripeBudget(database, 20) for _instance in range(2)]
        taken = 0
        fill(database_url, 1000)
        for number in range(10):
            taken += await budgets[number % 2].try_take() == 0
            with psycopg.connect(database_url, autocommit=True) as connection:
                connection.execute("UPDATE stripe_budget SET counted_at = now() + interval '1 hour'")
    assert taken == 5, "a quarter of the limit at once; the rest is spread over the second"


async def test_a_refusal_of_stripe_slows_everybody_down(vendor: Vendor, database_url: str) -> None:
    vendor.cloud.set_faults(status=429, path="/v1/products")
    refused = await asyncio.gather(
        *[vendor.hub.stripe.list("product", {"limit": 1}) for _ in range(4)], return_exceptions=True
    )
    assert {isinstance(one, PaymentError) and one.code for one in refused} == {"rate_limited"}
    with psycopg.connect(database_url) as connection:
        row = connection.execute("SELECT slowed, slow_until > now() FROM stripe_budget").fetchone()
    assert row == (2, True), "one burst counts once"
    async with Database.open(database_url) as database:
        other = StripeBudget(database, 20)
        fill(database_url, 0)
        before = await other.try_take()
        with psycopg.connect(database_url, autocommit=True) as connection:
            connection.execute("UPDATE stripe_budget SET slowed = 2, slow_until = now() + interval '1 hour'")
        assert await other.try_take() == pytest.approx(2 * before)


async def test_after_a_crash_the_budget_begins_again(database_url: str) -> None:
    """The table is not logged: PostgreSQL empties it after a crash."""
    with psycopg.connect(database_url, autocommit=True) as connection:
        connection.execute("TRUNCATE stripe_budget")
    async with Database.open(database_url) as database:
        await StripeBudget(database, 80).take()


async def test_where_nothing_is_left_a_caller_gets_words(
    vendor: Vendor, database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    router = await vendor.router()
    monkeypatch.setattr(Priority.BUYER, "patience", 0.0)
    fill(database_url, -1000)
    given_up = "hub_stripe_budget_exhausted_total", {"priority": "buyer"}
    before = REGISTRY.get_sample_value(*given_up) or 0
    reply = await router.request("POST", "/v1/methods/sync", {})
    assert (reply.status_code, reply.json()["error"]["code"]) == (429, "rate_limited")
    assert (REGISTRY.get_sample_value(*given_up) or 0) > before


async def test_a_poll_takes_no_request(database_url: str, tmp_path: Path) -> None:
    async with Vendor.open(database_url, tmp_path, working=False) as vendor:
        router = await vendor.router()
        fill(database_url, 5)
        etag = (await router.request("GET", "/v1/state")).headers["etag"]
        assert (await router.request("GET", "/v1/state", if_none_match=etag)).status_code == 304
        with psycopg.connect(database_url) as connection:
            assert connection.execute("SELECT tokens FROM stripe_budget").fetchone() == (5,)


async def test_a_router_that_floods_takes_one_connection(vendor: Vendor) -> None:
    flooder, other = await vendor.router(), await vendor.router()
    session = await flooder.checkout("premium_monthly")
    vendor.cloud.set_faults(latency_ms=1500, path=f"/v1/checkout/sessions/{session}")

    async def ask() -> str:
        reply = await flooder.request("POST", "/v1/methods/payment_status", {"payment_id": session})
        if reply.status_code == 200:
            return "done"
        assert (reply.status_code, reply.headers["retry-after"]) == (503, "2")
        return str(reply.json()["error"]["code"])

    flood = [asyncio.create_task(ask()) for _ in range(12)]

    async def refused() -> bool:
        return sum(task.done() for task in flood) >= 7

    await eventually(refused, "all but five are refused at once")
    assert {task.result() for task in flood if task.done()} == {"busy"}
    assert await other.unlocked() == set()
    await other.checkout("premium_monthly")
    assert any(not task.done() for task in flood), "others need not wait for the flood"
    vendor.cloud.set_faults()
    assert sorted(await asyncio.gather(*flood)) == ["busy"] * 7 + ["done"] * 5


async def test_a_full_process_says_so(
    database_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(accounts, "_SLOT_S", 0.05)
    async with Vendor.open(database_url, tmp_path, working=False) as vendor:
        buyer = await vendor.router()
        others = [f"{number:032x}" for number in range(OPEN_AT_ONCE)]
        with psycopg.connect(database_url) as connection:
            connection.cursor().executemany("INSERT INTO accounts (id) VALUES (%s)", [(o,) for o in others])
        async with AsyncExitStack() as held:
            for account in others:
                await held.enter_async_context(vendor.hub.accounts.open(account))
            reply = await buyer.request("POST", "/v1/methods/sync", {})
            assert (reply.status_code, reply.json()["error"]["code"]) == (503, "busy")
            assert reply.headers["retry-after"] == "5"
            own = await account_of(vendor, buyer)
            async with vendor.hub.accounts.open(own, wait=False) as opened:
                assert opened is None, "the worker waits for a place"
            assert await buyer.unlocked() == set(), "states are still read"
        assert (await buyer.call("sync"))["changed"] == []


async def test_a_caller_that_leaves_leaves_no_lock(database_url: str, tmp_path: Path) -> None:
    """Cancelled while it waits for a lock that another instance holds."""
    async with Vendor.open(database_url, tmp_path, working=False) as vendor, vendor.instance() as second:
        account = await account_of(vendor, await vendor.router())
        async with vendor.hub.accounts.open(account):
            waiting = asyncio.create_task(_open(second, account))

            async def waits() -> bool:
                with psycopg.connect(database_url) as connection:
                    row = connection.execute("SELECT 1 FROM pg_locks WHERE NOT granted").fetchone()
                    return row is not None

            await eventually(waits, "the other instance waits")
            waiting.cancel()
        await asyncio.gather(waiting, return_exceptions=True)
        for instance in (second, vendor):
            async with instance.hub.accounts.open(account, wait=False) as opened:
                assert opened is not None


async def _open(vendor: Vendor, account: str) -> None:
    async with vendor.hub.accounts.open(account):
        raise HubError("busy")


async def account_of(vendor: Vendor, router: Caller) -> str:
    return str((await vendor.hub.routers.find(router.id))[0]["account"])
