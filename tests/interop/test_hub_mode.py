"""A router of a vendor's: real OpenWrt in hub mode, bought on in LuCI, with the vendor's hub as processes."""

import asyncio
import json
import re
import shutil
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from playwright.async_api import expect

from simulator.hub_processes import HubProcesses
from tests.interop.packages import STRIPE
from tests.interop.test_managed import SELLER, on_the_bus
from tests.interop.world import SERVICE, OpenWrtWorld
from tests.luci.conftest import PATIENCE_MS, Visitor, browser, visitor, window

__all__ = ["browser", "visitor", "window"]

pytestmark = [pytest.mark.browser, pytest.mark.asyncio(loop_scope="session")]
expect.set_options(timeout=PATIENCE_MS)

PREMIUM = {"email_support", "priority_support", "remote_backup_daily", "security_updates"}
FOR_STRIPE_ALONE = ("requests", "urllib3", "idna", "certifi", "charset_normalizer", "typing_extensions.py")
FEEDS = "usr/lib/python3/dist-packages"


@pytest_asyncio.fixture(name="world", loop_scope="session")
async def out_of_the_box(staging: Path, python_of_the_machine: None) -> AsyncIterator[OpenWrtWorld]:
    """A router with what `stripe-payments-hub` depends on."""
    del python_of_the_machine
    async with OpenWrtWorld(staging, webhooks=False, configured=False) as world:
        shutil.rmtree(world.root / STRIPE / "stripe")
        for name in FOR_STRIPE_ALONE:
            path = world.root / FEEDS / name
            shutil.rmtree(path) if path.is_dir() else path.unlink(missing_ok=True)
        yield world


@pytest_asyncio.fixture(loop_scope="session")
async def hub(world: OpenWrtWorld) -> AsyncIterator[HubProcesses]:
    async with HubProcesses(world.stripe.url, ["a customer"]) as started:
        yield started


@pytest_asyncio.fixture(loop_scope="session")
async def router(staging: Path, python_of_the_machine: None) -> AsyncIterator[OpenWrtWorld]:
    """With the package for direct mode, not set up."""
    del python_of_the_machine
    async with OpenWrtWorld(staging, webhooks=False, configured=False) as world:
        yield world


async def shell(world: OpenWrtWorld, command: str) -> str:
    return await asyncio.to_thread(world.openwrt.sh, command)


async def until_unlocked(world: OpenWrtWorld, expected: set[str]) -> None:
    """In UCI, for other packages."""

    async def holds() -> bool:
        shown = await shell(world, "uci show stripe-features")
        lines = [line for line in shown.splitlines() if line.endswith(".unlocked='1'")]
        return {line.split(".")[1] for line in lines} == expected

    await world.wait_until(holds, patience_s=90)


async def test_a_router_without_stripe_s_library_buys_in_luci(
    world: OpenWrtWorld, hub: HubProcesses, visitor: Visitor
) -> None:
    await shell(world, f"service {SERVICE} restart")
    await world.daemon_answers()
    assert "python3-stripe is needed" in world.openwrt.log()

    await shell(world, "reload_config")  # as at boot: later ones compare with it
    await shell(
        world,
        f"uci set {SERVICE}.main.hub={hub.url}; uci set {SERVICE}.main.hub_code={hub.codes[0]};"
        f" uci commit {SERVICE}; reload_config",
    )

    async def sells() -> bool:
        if SELLER & await on_the_bus(world):
            return False
        status: Any = await world.bus.call(SERVICE, "status", {})
        return status["seller"] is not None and status["seller"]["last_contact"] is not None

    await world.wait_until(sells, patience_s=90)

    async def code_forgotten() -> bool:
        return "hub_code" not in await shell(world, f"uci show {SERVICE}")

    await world.wait_until(code_forgotten)

    lan = world.front.url.replace("127.0.0.1", "localhost")
    page = visitor.page
    await visitor.log_in(lan, path="/admin/payments/shop")
    await page.click("[data-offer=premium] [data-way=pay]")
    await page.wait_for_url(f"{world.stripe.url}/c/pay/**")
    await page.fill("input[name=card]", "4242424242424242")
    await page.click("#pay")
    await page.wait_for_url("**/payment-success?**")
    await expect(page.locator("#outcome")).to_have_attribute("data-state", "paid")
    await until_unlocked(world, PREMIUM)
    await visitor.log_in(lan, path="/admin/payments/features")
    await expect(page.locator(".sp-feature.unlocked")).to_have_count(len(PREMIUM))

    checks: Any = (await world.bus.call(SERVICE, "check", {}))["checks"]
    assert [one for one in checks if one["severity"] == "error"] == []

    await world.daemon.kill()  # procd brings it back
    await world.daemon_answers()
    await until_unlocked(world, PREMIUM)

    found: Any = await world.bus.call(SERVICE, "subscriptions", {})
    ended = {"subscription": found["subscriptions"][0]["id"], "at_period_end": False}
    await world.bus.call(SERVICE, "cancel_subscription", ended)
    await until_unlocked(world, set())


@pytest.mark.parametrize("guide", ["docs/hub.md", "docs/hub.it.md"])
async def test_the_way_back_to_direct_mode_as_it_is_written(router: OpenWrtWorld, guide: str) -> None:
    """Every command of the chapter, typed on the router's shell; the key on standard input."""
    (commands,) = re.findall(
        r"```sh\n(/etc/init.d/stripe-payments stop\n.*?)```", Path(guide).read_text(), re.S
    )
    async with HubProcesses(router.stripe.url, ["a customer"]) as hub:
        settings = {"hub": hub.url, "hub_code": hub.codes[0]}
        await shell(router, "reload_config")
        for name, value in settings.items():
            await shell(router, f"uci set {SERVICE}.main.{name}={value}")
        await shell(router, f"uci commit {SERVICE}; reload_config")

        async def enrolled() -> bool:
            status: Any = await router.bus.call(SERVICE, "status", {})
            return status["seller"] is not None and status["seller"]["last_contact"] is not None

        await router.wait_until(enrolled, patience_s=90)
        order = {"price_id": "price_premium_monthly"}
        session: Any = await router.bus.call(SERVICE, "create_checkout_session", order)
        await router.pay(session["session_id"])
        await until_unlocked(router, PREMIUM)
        status: Any = await router.bus.call(SERVICE, "status", {})
        (shown,) = await hub.commands(("routers", "show", status["router_id"], "--json"))
        for word in ("account", "customer"):
            commands = commands.replace(word.upper(), json.loads(shown)[word])
        key = f"{router.account.secret_key}\n\n\n"
        for command in commands.splitlines():
            done = await asyncio.to_thread(router.openwrt.run, "sh", "-c", command, text=key)
            assert done.returncode == 0, (command, done.stdout, done.stderr)
            if command.endswith("start"):
                await router.daemon_answers()
        await until_unlocked(router, PREMIUM)
        status = await router.bus.call(SERVICE, "status", {})
        assert (status["seller"], status["router_id"]) == (None, json.loads(shown)["account"])
