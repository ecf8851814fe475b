"""Instances, workers and PostgreSQL that are killed in the middle of things: nothing is lost or doubled."""

from __future__ import annotations

import asyncio
import os
import sys
from contextlib import suppress
from pathlib import Path

import psycopg

from simulator.postgres import PostgreSQL
from stripe_payments.stripe_api.webhook_delivery import Hint
from tests.hub.vendor import KEY, Vendor, apply_catalog, eventually

PREMIUM = {"backups", "updates"}


async def worker_process(vendor: Vendor, database_url: str) -> asyncio.subprocess.Process:
    env = os.environ | {
        "DATABASE_URL": database_url,
        "HUB_URL": vendor.hub.config.hub_url,
        "STRIPE_SECRET_KEY": KEY,
        "HUB_SIGNING_KEY_FILE": str(vendor.hub.config.signing_key_file),
        "STRIPE_API_BASE": vendor.cloud.url,
        "PYTHONPATH": os.pathsep.join(sys.path),
    }
    return await asyncio.create_subprocess_exec(
        sys.executable, "-m", "payments_hub", "work", env=env, stderr=asyncio.subprocess.DEVNULL
    )


async def test_a_worker_that_is_killed_leaves_its_work_to_others(database_url: str, tmp_path: Path) -> None:
    async with Vendor.open(database_url, tmp_path, working=False) as vendor:
        router = await vendor.router()
        session = await router.checkout("premium_monthly")
        path = f"/v1/checkout/sessions/{session}"
        vendor.cloud.set_faults(latency_ms=600_000, path=path, method="GET")
        vendor.cloud.pay(session)
        process = await worker_process(vendor, database_url)

        async def waits_for_stripe() -> bool:
            with psycopg.connect(database_url) as connection:
                query = (
                    "SELECT 1 FROM pg_locks, accounts WHERE locktype = 'advisory' AND granted AND"
                    " classid::bigint << 32 | objid::bigint = hashtextextended(accounts.id, 0)"
                )
                return connection.execute(query).fetchone() is not None

        try:
            await eventually(waits_for_stripe, "the worker fetches, with the account's lock")
        finally:
            process.kill()
            await process.wait()
        assert await router.unlocked() == set()
        vendor.cloud.set_faults()
        async with vendor.worker():

            async def has_it() -> bool:
                return await router.unlocked() == PREMIUM

            await eventually(has_it, "another worker finishes")


async def test_postgresql_is_killed_and_comes_back(
    postgres: PostgreSQL, database_url: str, tmp_path: Path
) -> None:
    async with Vendor.open(database_url, tmp_path) as vendor:
        router = await vendor.router()
        session = await router.checkout("premium_monthly")
        await asyncio.to_thread(postgres.stop, crash=True)
        try:
            away = await router.request("GET", "/v1/state", accept_language="it")
            assert away.status_code == 503
            assert away.json()["error"]["message"]
            assert away.headers["retry-after"]
            vendor.cloud.pay(session)  # its webhook is refused meanwhile, and delivered again
        finally:
            await asyncio.to_thread(postgres.start)

        async def has_it() -> bool:
            reply = await router.request("GET", "/v1/state")
            if reply.status_code != 200:
                return False
            return {name for name, held in reply.json()["features"].items() if held["unlocked"]} == PREMIUM

        await eventually(has_it, "unlocked after the crash")
        (plan,) = (await router.state())["en"]["subscriptions"]
        assert plan["status"] == "active"


async def test_two_instances_serve_one_router(database_url: str, tmp_path: Path) -> None:
    """A purchase at one, the state at the other, a revocation at a third's database connection."""
    async with Vendor.open(database_url, tmp_path) as vendor, vendor.instance() as second:
        router = await vendor.router()
        elsewhere = second.caller()
        elsewhere.secret = router.secret
        vendor.cloud.pay(await router.checkout("lifetime_once"))

        async def has_it() -> bool:
            return await elsewhere.unlocked() == PREMIUM

        await eventually(has_it, "bought at one, seen at the other")
        orders = [caller.checkout("business_monthly") for caller in (router, elsewhere, router)]
        assert len(set(await asyncio.gather(*orders))) == 1, "one session, whichever instance"
        await apply_catalog(vendor.hub)  # a new version of the catalog reaches both
        for caller in (router, elsewhere):
            assert (await caller.state())["catalog_version"] == 2
        assert await second.hub.routers.revoke(router.id)
        for caller in (router, elsewhere):
            assert (await caller.request("GET", "/v1/state")).status_code == 403


async def test_a_lost_connection_is_no_attempt(
    postgres: PostgreSQL, database_url: str, tmp_path: Path
) -> None:
    """An outage does not make events wait longer: the pauses after failures are for what fails by itself."""
    async with Vendor.open(database_url, tmp_path, webhooks=False, working=False) as vendor:
        router = await vendor.router()
        session = await router.checkout("premium_monthly")
        vendor.cloud.pay(session)
        await vendor.hub.inbox.accept(Hint("evt_1", "checkout.session.completed", session, None, None))
        vendor.cloud.set_faults(latency_ms=2000, path=f"/v1/checkout/sessions/{session}", method="GET")
        working = asyncio.create_task(vendor.hub.worker.work())
        with psycopg.connect(postgres.url(), autocommit=True) as connection:

            async def ended() -> bool:
                """Every connection of the hub, once the account is locked."""
                query = (
                    "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity WHERE usename = 'hub' AND"
                    " EXISTS (SELECT 1 FROM pg_locks WHERE locktype = 'advisory' AND granted)"
                )
                return connection.execute(query).fetchone() != (0,)

            await eventually(ended, "connections are lost while the worker waits for Stripe")
        await asyncio.gather(working, return_exceptions=True)
        with psycopg.connect(database_url) as connection:
            assert connection.execute("SELECT attempts, outcome FROM inbox").fetchone() == (0, None)
        vendor.cloud.set_faults()

        async def worked() -> bool:
            """The pool still holds connections that are lost; each is noticed when it is used."""
            with suppress(psycopg.Error):
                await vendor.hub.worker.work()
            reply = await router.request("GET", "/v1/state")
            return reply.status_code == 200 and all(
                reply.json()["features"][name]["unlocked"] for name in PREMIUM
            )

        await eventually(worked, "the event has its effect")
