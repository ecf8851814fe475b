"""A Stripe that takes two seconds, or thirty, and a daemon that is killed meanwhile, with the real daemon: no
page hangs, and a double click, a reload or a second try buys once."""

from collections.abc import AsyncIterator

import pytest
import pytest_asyncio
from playwright.async_api import Browser, Page, expect

from simulator.world import World
from tests.luci.conftest import LUCI_SRC, PATIENCE_MS, Visitor, open_visitor

pytestmark = pytest.mark.browser
expect.set_options(timeout=PATIENCE_MS)

PAY = "[data-offer=router_os_premium] [data-way=pay]"
ORDERS = {"method": "POST", "path": "/v1/checkout/sessions"}
SLOWEST_MS = 2 * PATIENCE_MS


@pytest_asyncio.fixture(loop_scope="session")
async def world() -> AsyncIterator[World]:
    async with World(luci_src=LUCI_SRC) as world:
        yield world


def _lan(world: World) -> str:
    return world.front.url.replace("127.0.0.1", "localhost")


async def _orders(world: World) -> list[str]:
    """The sessions that Stripe has made."""
    return [session["id"] for session in (await world.account.request("GET", "checkout/sessions"))["data"]]


async def _asked(world: World) -> None:
    """Waits until the daemon has asked Stripe for a session."""

    async def asked() -> bool:
        return any(
            request["method"] == "POST" and request["path"] == ORDERS["path"]
            for request in world.stripe.requests()
        )

    await world.wait_until(asked)


async def _sent_to(page: Page, world: World) -> str:
    """The session whose payment page the buyer was sent to."""
    await page.wait_for_url(f"{world.stripe.url}/c/pay/**", timeout=SLOWEST_MS)
    return page.url.split("/c/pay/")[1].split("#")[0].split("?")[0]


@pytest.mark.parametrize(("locale", "width", "scheme"), [("it-IT", 375, "dark"), ("en-GB", 1280, "light")])
async def test_two_seconds_a_double_click_and_a_reload_are_one_order(
    world: World, browser: Browser, locale: str, width: int, scheme: str
) -> None:
    await world.control("faults", {"latency_ms": 2000, **ORDERS})
    visitor = await open_visitor(
        browser, locale, color_scheme=scheme, viewport={"width": width, "height": 800}
    )
    page = visitor.page
    await visitor.log_in(_lan(world))
    await page.dblclick(PAY)
    await expect(page.locator(PAY)).to_be_disabled()
    await _asked(world)
    await page.reload()
    await page.click(PAY)
    session = await _sent_to(page, world)
    assert await _orders(world) == [session]
    assert visitor.complaints_about(_lan(world)) == []
    await visitor.context.close()


async def test_thirty_seconds_are_said_and_the_second_try_finds_the_first_order(
    world: World, visitor: Visitor
) -> None:
    await world.control("faults", {"latency_ms": 30_000, "count": 1, **ORDERS})
    page = visitor.page
    await visitor.log_in(_lan(world))
    await page.evaluate("window.untouched = true")
    await page.click(PAY)
    await page.locator(".sp-switch label", has_text="Yearly").click()  # meanwhile the page can be used
    await expect(page.locator("[data-offer=premium] .sp-price")).to_contain_text("€49.99")
    await expect(page.get_by_role("alert").first).to_contain_text("took too long", timeout=SLOWEST_MS)
    await expect(page.get_by_role("alert").first).to_contain_text("Nothing was charged.")
    assert await page.evaluate("window.untouched") is True
    await page.click(PAY)
    session = await _sent_to(page, world)
    assert await _orders(world) == [session]


async def test_a_daemon_that_is_killed_in_the_middle_orders_once(world: World, visitor: Visitor) -> None:
    await world.control("faults", {"latency_ms": 2000, **ORDERS})
    page = visitor.page
    await visitor.log_in(_lan(world))
    await page.evaluate("L.env.rpctimeout = 6")  # the caller of a daemon that died gets no notice from ubusd
    await page.click(PAY)
    await _asked(world)
    await world.daemon.kill()
    await world.daemon.start()
    await expect(page.locator(PAY)).to_be_enabled(timeout=SLOWEST_MS)
    await world.daemon_answers()
    await page.click(PAY)
    session = await _sent_to(page, world)
    assert await _orders(world) == [session]
    await world.pay(session)
    await world.wait_until(lambda: world.unlocked("remote_backup_daily"))
