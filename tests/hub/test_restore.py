"""A database that is restored from a backup: what Stripe knows comes back, as docs/hub.md says."""

from __future__ import annotations

import asyncio
import json
import subprocess
from pathlib import Path

import psycopg
from psycopg.conninfo import conninfo_to_dict

from payments_hub.operations import Operations
from simulator.postgres import PostgreSQL, program
from tests.hub.test_command import environment, succeed
from tests.hub.vendor import Vendor, request_stripe

PREMIUM = {"backups", "updates"}


async def run(name: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    """One of PostgreSQL's programs."""
    return await asyncio.to_thread(
        subprocess.run, [program(name), *arguments], capture_output=True, text=True, check=False
    )


async def back_up(postgres: PostgreSQL, url: str, dump: Path) -> None:
    database = str(conninfo_to_dict(url)["dbname"])
    refused = await run("pg_dump", "-Fc", "-f", str(dump), url)
    assert "row-level security" in refused.stderr, "the owner of the tables cannot back them up"
    done = await run("pg_dump", "-Fc", "-f", str(dump), postgres.url(database))
    assert done.returncode == 0, done.stderr


async def restore(postgres: PostgreSQL, dump: Path) -> str:
    """The address of a new database."""
    name = postgres.create_database()
    done = await run("pg_restore", "--exit-on-error", "-d", postgres.url(name), str(dump))
    assert done.returncode == 0, done.stderr
    return postgres.url(name, "hub")


async def test_stripe_repairs_what_an_old_backup_does_not_know(
    postgres: PostgreSQL, database_url: str, tmp_path: Path
) -> None:
    dump = tmp_path / "hub.dump"
    async with Vendor.open(database_url, tmp_path, webhooks=False, working=False) as vendor:
        ended, buys, blocked = await vendor.router(), await vendor.router(), await vendor.router()
        vendor.cloud.pay(await ended.checkout("premium_monthly"))
        await buys.checkout("premium_monthly")
        await vendor.hub.worker.walk.run(pause=0)
        await vendor.hub.worker.work()
        assert await ended.unlocked() == PREMIUM
        await back_up(postgres, database_url, dump)

        vendor.cloud.pay(await buys.checkout("premium_monthly"))
        (plan,) = (await ended.state())["en"]["subscriptions"]
        await request_stripe(vendor.cloud, "delete", f"subscriptions/{plan['id']}")
        later = await vendor.router()
        vendor.cloud.pay(await later.checkout("premium_monthly"))
        await Operations(vendor.hub, "cli:root").revoke(blocked.id)
        known = (await ended.request("GET", "/v1/state")).headers["etag"]

        url = await restore(postgres, dump)
        with psycopg.connect(url) as connection:
            connection.execute(
                "DELETE FROM cursors WHERE name = 'walk'; DELETE FROM inbox WHERE type = 'walk'"
            )
        env = environment(url, tmp_path, vendor.cloud.url)
        await succeed(env, "migrate")
        async with vendor.instance(database_url=url) as restored:
            ended.http = buys.http = blocked.http = later.http = restored.http
            assert (await ended.unlocked(), await buys.unlocked()) == (PREMIUM, set()), "as it was then"
            await restored.hub.worker.walk.run(pause=0)
            await restored.hub.worker.work()
            assert (await ended.unlocked(), await buys.unlocked()) == (set(), PREMIUM)
            reply = await ended.request("GET", "/v1/state", if_none_match=known)
            assert reply.status_code == 200, "no version is given for the second time"
            assert (await blocked.request("GET", "/v1/state")).status_code == 200, "blocked after the backup"

            refused = await later.request("GET", "/v1/state")
            assert refused.json()["error"]["code"] == "credential_refused", "enrolled after the backup"
            (found,) = json.loads(await succeed(env, "import", "--json"))["routers"]
            again = restored.caller()
            assert (await again.enroll(found["code"])).status_code == 201
            assert await again.unlocked() == PREMIUM
    postgres.drop_database(str(conninfo_to_dict(url)["dbname"]))
