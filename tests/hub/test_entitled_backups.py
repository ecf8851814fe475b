"""The package remote-backup, the daemon in hub mode, the hub and the example server, each as shipped."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import trustme

from payments_hub.operations import Operations
from simulator.hub_processes import CATALOG as EXAMPLE
from simulator.hub_processes import REPOSITORY
from tests.examples.router_with_backups import RouterWithBackups
from tests.examples.test_entitled_backup_server import AUDIENCE, KeysOfHub, Server, serving
from tests.hub.test_router import HubRouter, Line, world_of
from tests.hub.vendor import Vendor, apply_catalog

FEATURE = "remote_backup_daily"

UBUS = f"""#!{sys.executable}
import asyncio, json, sys
sys.path[:0] = [{str(REPOSITORY / "daemon")!r}]
from ubus_py import Client, StatusError

async def call(bus, words):
    async with Client(bus) as client:
        print(json.dumps(await client.call(words[1], words[2], json.loads(words[3]))))

try:
    asyncio.run(call(%r, sys.argv[1:]))
except StatusError as error:
    print(json.dumps(error.data))
    sys.exit(error.status)
"""
"""`ubus call OBJECT METHOD ARGUMENTS` on the router's bus."""


def statement_of(reply: dict[str, Any]) -> str:
    return str(reply["statement"])


def complete(server: Server) -> list[str]:
    """The backups that have their name."""
    return [name for name in server.stored() if "/.incoming-" not in name]


async def test_a_backup_is_stored_while_it_is_paid_for(database_url: str, tmp_path: Path) -> None:
    authority = trustme.CA()
    authority.cert_pem.write_to_path(tmp_path / "ca.pem")
    async with (
        Line("http://127.0.0.1:1") as line,
        Vendor.open(database_url, tmp_path, catalog=None, poll_after=1, hub_url=line.url) as vendor,
    ):
        line.target = vendor.url
        await apply_catalog(vendor.hub, EXAMPLE.read_text())
        code = await vendor.hub.routers.new_enrollment_code()
        keys = KeysOfHub(vendor.hub.config.signing_key_file, line.url)
        async with (
            serving(keys, line.url, authority, tmp_path) as server,
            world_of(vendor, line, tmp_path / "router", code) as world,
        ):
            router, package = HubRouter(world), RouterWithBackups(world, tmp_path)
            router_id = await router.enrolled()
            package.install()
            (package.root / "stand-ins/ubus").write_text(UBUS % str(world.bus_path))
            await package.trust(tmp_path / "ca.pem")
            package.aim_at(server.url, AUDIENCE)
            try:
                ended, log = await package.backup_now()
                assert (ended, f"{FEATURE} is locked: buy it" in log) == (1, True), log
                unpaid = statement_of(await router.call("statement", audience=AUDIENCE))
                assert await server.put(unpaid) == (403, "feature_locked")

                await router.buy("price_premium_monthly")
                await package.until(lambda: bool(complete(server)))
                (stored,) = complete(server)
                assert stored.startswith(f"{router_id}/OpenWrt-")
                assert package.pid() is not None

                vendor_side = Operations(vendor.hub, "cli:root")
                (payment,) = (await vendor_side.show(router_id))["transactions"]
                await vendor_side.refund(router_id, payment["id"])
                await package.until(lambda: package.pid() is None)
                ended, log = await package.backup_now()
                assert (ended, f"{FEATURE} is locked" in log.splitlines()[-1]) == (1, True), log
                refunded = statement_of(await router.call("statement", audience=AUDIENCE))
                assert await server.put(refunded) == (403, "feature_locked"), (
                    "a router that goes around the package"
                )
                assert complete(server) == [stored]
            finally:
                package.kill()
