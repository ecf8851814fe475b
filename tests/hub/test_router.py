"""A router in hub mode: the daemon as a process, on its bus, with the real hub."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import jwt
import pytest

from simulator.router.uci_file import parse
from simulator.world import World
from tests.hub.vendor import Vendor, request_stripe

SELLERS = {"grant", "grants", "provision", "refund", "revoke", "set_keys", "setup_webhook"}


class HubRouter:
    """A router in hub mode; `id` is what the hub calls it."""

    def __init__(self, world: World) -> None:
        self.world = world

    async def call(self, method: str, **arguments: Any) -> dict[str, Any]:
        return await self.world.bus.call("stripe-payments", method, arguments)

    async def status(self) -> dict[str, Any]:
        return await self.call("status")

    async def enrolled(self) -> str:
        async def done() -> bool:
            status = await self.status()
            return bool(status["seller"]["enrolled"]) and status["seller"]["last_contact"] is not None

        await self.world.wait_until(done)
        return str((await self.status())["router_id"])

    async def unlocked(self) -> set[str]:
        features = (await self.call("features"))["features"]
        return {name for name, held in features.items() if held["unlocked"]}

    async def unlocks(self, *expected: str) -> None:
        async def holds() -> bool:
            return await self.unlocked() == set(expected) and self.in_uci() == set(expected)

        await self.world.wait_until(holds)

    def in_uci(self) -> set[str]:
        file = self.world.root / "etc/config/stripe-features"
        sections = parse("stripe-features", file.read_text()).sections
        return {one.name for one in sections if one.options.get("unlocked") == "1" and one.name}

    def problems(self) -> list[str]:
        """Warnings and errors in the daemon's log."""
        lines = self.world.daemon.log_text().splitlines()
        return [line for line in lines if line.startswith(("level=warning", "level=error"))]

    async def buy(self, price: str = "premium_monthly") -> str:
        session = str((await self.call("create_checkout_session", price_id=price))["session_id"])
        await self.world.pay(session)
        return session


@asynccontextmanager
async def hub_router(vendor: Vendor, folder: Path, code: str | None = None) -> AsyncIterator[HubRouter]:
    """A router that is enrolled."""
    code = code or await vendor.hub.routers.new_enrollment_code()
    async with World(state=folder, stripe=vendor.cloud, hub=(vendor.url, code)) as world:
        router = HubRouter(world)
        await router.enrolled()
        yield router


@pytest.fixture
async def vendor(database_url: str, tmp_path: Path) -> AsyncIterator[Vendor]:
    """Its routers poll once a second."""
    async with Vendor.open(database_url, tmp_path, poll_after=1) as opened:
        yield opened


@pytest.fixture
async def router(vendor: Vendor, tmp_path: Path) -> AsyncIterator[HubRouter]:
    async with hub_router(vendor, tmp_path / "a") as opened:
        yield opened


async def test_a_purchase_unlocks_and_a_refund_locks(vendor: Vendor, router: HubRouter) -> None:
    assert await router.unlocked() == set()
    await router.buy("lifetime_once")
    await router.unlocks("updates", "backups")
    statement = (await router.call("statement", audience="https://backup.example.org"))["statement"]
    key = jwt.PyJWK(vendor.hub.signer.jwks()["keys"][0])
    claims = jwt.decode(statement, key, ["ES256"], audience="https://backup.example.org")
    router_id = (await router.status())["router_id"]
    assert (claims["sub"], claims["features"]) == (router_id, ["backups", "updates"])
    (payment,) = (await router.call("transactions"))["transactions"]
    await request_stripe(vendor.cloud, "post", "refunds", payment_intent=payment["id"])
    await router.unlocks()
    assert router.problems() == []


async def test_the_sellers_methods_are_not_there(vendor: Vendor, router: HubRouter) -> None:
    async def published() -> bool:
        (found,) = await router.world.bus.lookup("stripe-payments")
        methods = set(found.methods)
        return not SELLERS & methods and "recovery_code" in methods

    await router.world.wait_until(published)
