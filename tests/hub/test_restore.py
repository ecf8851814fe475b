"""A database that is restored from a backup: what Stripe knows comes back, as docs/hub.md says."""

from __future__ import annotations

import asyncio
import json
import subprocess
from pathlib import Path

import psycopg
import pytest
from psycopg.conninfo import conninfo_to_dict

from payments_hub.operations import Operations
from simulator.postgres import PostgreSQL, program
from tests.hub.test_command import environment, succeed
from tests.hub.vendor import CATALOG, Caller, Vendor, request_stripe

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


class Dump:
    """`pg_dump` of the database into a file, restored into the same server."""

    def __init__(self, postgres: PostgreSQL, url: str, folder: Path) -> None:
        self._postgres, self._url = postgres, url
        self._file = folder / "hub.dump"

    async def take(self) -> None:
        await back_up(self._postgres, self._url, self._file)

    async def restore(self) -> str:
        self._restored = await restore(self._postgres, self._file)
        return self._restored

    def remove(self) -> None:
        self._postgres.drop_database(str(conninfo_to_dict(self._restored)["dbname"]))


class BaseBackup:
    """`pg_basebackup` of the server, started as another one."""

    def __init__(self, postgres: PostgreSQL, url: str, _folder: Path) -> None:
        self._postgres, self._name = postgres, str(conninfo_to_dict(url)["dbname"])

    async def take(self) -> None:
        self._copy = await asyncio.to_thread(lambda: PostgreSQL({"fsync": "off"}, primary=self._postgres))

    async def restore(self) -> str:
        (self._copy.folder / "data/standby.signal").unlink()  # a server of its own, no standby
        await asyncio.to_thread(self._copy.start)
        return self._copy.url(self._name, "hub")

    def remove(self) -> None:
        self._copy.remove()


@pytest.mark.parametrize("kind", [Dump, BaseBackup])
async def test_stripe_repairs_what_an_old_backup_does_not_know(
    kind: type[Dump | BaseBackup], postgres: PostgreSQL, database_url: str, tmp_path: Path
) -> None:
    backup = kind(postgres, database_url, tmp_path)
    async with Vendor.open(database_url, tmp_path, webhooks=False, working=False) as vendor:
        ended, buys, blocked = await vendor.router(), await vendor.router(), await vendor.router()
        vendor.cloud.pay(await ended.checkout("premium_monthly"))
        await buys.checkout("premium_monthly")
        await vendor.hub.worker.walk.run(pause=0)
        await vendor.hub.worker.work()
        assert await ended.unlocked() == PREMIUM
        await backup.take()

        vendor.cloud.pay(await buys.checkout("premium_monthly"))
        (plan,) = (await ended.state())["en"]["subscriptions"]
        await request_stripe(vendor.cloud, "delete", f"subscriptions/{plan['id']}")
        later = await vendor.router()
        vendor.cloud.pay(await later.checkout("premium_monthly"))
        await Operations(vendor.hub, "cli:root").revoke(blocked.id)
        known = (await ended.request("GET", "/v1/state")).headers["etag"]

        url = await backup.restore()
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
    backup.remove()


async def test_everything_that_was_paid_comes_back_from_stripe_alone(
    postgres: PostgreSQL, database_url: str, tmp_path: Path
) -> None:
    """No backup is left: an empty database and the file of the catalog."""
    async with Vendor.open(database_url, tmp_path, webhooks=False, working=False) as vendor:
        subscribed, once, nothing = await vendor.router(), await vendor.router(), await vendor.router()
        vendor.cloud.pay(await subscribed.checkout("premium_monthly"))
        vendor.cloud.pay(await once.checkout("lifetime_once"))
        customers = {one["id"] for one in vendor.cloud.state()["objects"]["customer"]}

        url = postgres.url(postgres.create_database(), "hub")
        env = environment(url, tmp_path, vendor.cloud.url)
        catalog = tmp_path / "catalog.toml"
        catalog.write_text(CATALOG)
        await succeed(env, "migrate")
        await succeed(env, "catalog", "apply", str(catalog))
        found = json.loads(await succeed(env, "import", "--json"))["routers"]
        assert len(found) == 2, "those that bought something"
        async with vendor.instance(database_url=url) as restored:
            for router in (subscribed, once, nothing):
                router.http = restored.http
                refused = await router.request("GET", "/v1/state")
                assert refused.json()["error"]["code"] == "credential_refused"
            plans: dict[str, Caller] = {}
            for row in found:
                again = restored.caller()
                assert (await again.enroll(row["code"])).status_code == 201
                assert await again.unlocked() == PREMIUM
                plans |= {one["id"]: again for one in (await again.state())["en"]["subscriptions"]}
            ((plan, router),) = plans.items()
            await request_stripe(vendor.cloud, "delete", f"subscriptions/{plan}")
            assert await restored.hub.worker.sweep(behind=0) > 0
            await restored.hub.worker.work()
            assert await router.unlocked() == set()
        assert {one["id"] for one in vendor.cloud.state()["objects"]["customer"]} == customers
    postgres.drop_database(str(conninfo_to_dict(url)["dbname"]))
