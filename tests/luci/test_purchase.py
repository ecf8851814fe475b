"""Purchases from the shop to the unlock, with the real daemon and the Stripe simulator's own pages.

The router is visited as ``localhost`` and Stripe as ``127.0.0.1``: two sites, so that cookies which are
strictly same-site stay behind on the way back, as they do in the world.
"""

import re
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio
from playwright.async_api import Browser, expect

from simulator.world import World
from tests.luci.conftest import LUCI_SRC, PATIENCE_MS, Visitor, open_visitor

pytestmark = pytest.mark.browser
expect.set_options(timeout=PATIENCE_MS)

SHOP = "/cgi-bin/luci/admin/payments/shop"
PRODUCT = "[data-offer=router_os_premium]"
FEATURE = "remote_backup_daily"
DECLINED = "4000000000000002"


@pytest_asyncio.fixture(loop_scope="session")
async def world() -> AsyncIterator[World]:
    async with World(luci_src=LUCI_SRC) as world:
        yield world


@pytest.fixture
def lan(world: World) -> str:
    """The router's address as the person in the LAN types it."""
    return world.front.url.replace("127.0.0.1", "localhost")


async def test_buying_here_unlocks_without_reloading(world: World, lan: str, visitor: Visitor) -> None:
    page = visitor.page
    await visitor.use_login_form(lan)
    await page.click(f"{PRODUCT} [data-way=pay]")
    await page.wait_for_url(f"{world.stripe.url}/c/pay/**")
    await page.fill("input[name=card]", "4242424242424242")
    await page.click("#pay")
    await page.wait_for_url(f"{lan}/payment-success?**")
    await expect(page.locator("#outcome")).to_have_attribute("data-state", "paid")
    await page.click("#shop")
    await page.wait_for_url(f"{lan}{SHOP}")
    await expect(page.locator(f"{PRODUCT} .sp-badge")).to_have_text("Owned")
    await expect(page.locator(".sp-panel .sp-progress")).to_have_attribute("data-phase", "unlocked")
    await expect(page.locator(f"{PRODUCT} [data-way]")).to_have_count(0)
    assert visitor.complaints_about(lan) == []


async def test_another_tab_sees_the_unlock(
    world: World, lan: str, browser: Browser, visitor: Visitor
) -> None:
    await visitor.log_in(lan)
    await visitor.page.evaluate("window.untouched = true")
    buyer = await open_visitor(browser, "it-IT")
    await buyer.log_in(lan)
    await buyer.page.click(f"{PRODUCT} [data-way=pay]")
    await buyer.page.wait_for_url(f"{world.stripe.url}/c/pay/**")
    await buyer.page.click("#pay")
    await buyer.page.wait_for_url(f"{lan}/payment-success?**")
    await expect(visitor.page.locator(f"{PRODUCT} .sp-badge")).to_have_text("Owned")
    assert await visitor.page.evaluate("window.untouched") is True
    await buyer.context.close()


@pytest.mark.parametrize("webhooks", ["delivered", "dropped"])
async def test_paying_on_a_phone_unlocks_the_open_shop(
    world: World, lan: str, visitor: Visitor, webhooks: str
) -> None:
    if webhooks == "dropped":
        await world.control("faults", {"webhooks": "drop"})
    page = visitor.page
    await visitor.log_in(lan)
    await page.evaluate("window.untouched = true")
    await page.click(f"{PRODUCT} [data-way=phone]")
    await expect(page.locator(".sp-qr svg")).to_be_visible()
    address = await page.get_by_role("link", name="Open the payment page here instead").get_attribute("href")
    session = re.search(r"cs_test_\w+", address or "")
    assert session is not None
    progress = page.locator(".sp-modal .sp-progress")
    await expect(progress).to_have_attribute("data-phase", "waiting")
    await world.pay(session[0])
    await expect(progress).to_have_attribute("data-phase", "unlocked")
    await page.get_by_role("button", name="Done").click()
    await expect(page.locator(f"{PRODUCT} .sp-badge")).to_have_text("Owned")
    assert await page.evaluate("window.untouched") is True
    assert visitor.complaints_about(lan) == []


async def test_a_declined_card_unlocks_nothing_and_says_why(world: World, lan: str, visitor: Visitor) -> None:
    page = visitor.page
    await visitor.log_in(lan)
    await page.click(f"{PRODUCT} [data-way=pay]")
    await page.wait_for_url(f"{world.stripe.url}/c/pay/**")
    await page.fill("input[name=card]", DECLINED)
    await page.click("#pay")
    await expect(page.locator("#problem")).to_be_visible()
    await page.goto(f"{lan}{SHOP}")
    progress = page.locator(".sp-panel .sp-progress")
    await expect(progress).to_have_attribute("data-phase", "declined")
    await expect(progress.locator(".sp-live")).to_contain_text("declined")
    await expect(progress.locator(".sp-live")).to_contain_text("another card")
    assert not await world.unlocked(FEATURE)
    await expect(page.locator(f"{PRODUCT} [data-way=pay]")).to_be_enabled()
    await page.get_by_role("link", name="Back to payment").click()
    await page.fill("input[name=card]", "4242424242424242")
    await page.click("#pay")
    await page.wait_for_url(f"{lan}/payment-success?**")
    await world.wait_until(lambda: world.unlocked(FEATURE))


async def test_the_guides_snippet_works_in_a_luci_page(world: World, lan: str, visitor: Visitor) -> None:
    await visitor.log_in(lan)
    await expect(visitor.page.locator(f"{PRODUCT} [data-way=pay]")).to_be_enabled()
    await visitor.page.wait_for_function(
        "JSON.stringify(sessionStorage).includes('stripe-payments.http-session')"
    )
    reference = (Path(__file__).resolve().parents[2] / "docs/reference.md").read_text("utf-8")
    (snippet,) = re.findall(r"(?s)```js\n(const response.*?)window\.location\.href", reference)
    session = "'Authorization': `Bearer ${L.env.sessionid}`"
    for order in (snippet.replace(f", {session}", ""), snippet):  # with the cookie, then as on other pages
        assert (session in order) == (order is snippet)
        reply = await visitor.page.evaluate(
            f"async () => {{ {order} return {{ status: response.status, body: await response.json() }} }}"
        )
        assert reply["status"] == 200, reply
        assert sorted(reply["body"]) == ["checkout_url", "session_id"]
        assert reply["body"]["checkout_url"].startswith(f"{world.stripe.url}/c/pay/cs_test_")
        await visitor.context.clear_cookies(name="stripe_payments_session")


async def test_the_way_back_by_cancelling(world: World, lan: str, visitor: Visitor) -> None:
    page = visitor.page
    await visitor.log_in(lan)
    await page.click(f"{PRODUCT} [data-way=pay]")
    await page.wait_for_url(f"{world.stripe.url}/c/pay/**")
    await page.click("#cancel")
    await page.wait_for_url(f"{lan}/payment-cancel**")
    await page.goto(f"{lan}{SHOP}")
    await expect(page.locator(".sp-panel .sp-progress")).to_have_attribute("data-phase", "waiting")
    await page.get_by_role("button", name="Dismiss").click()
    await expect(page.locator(".sp-panel")).to_have_count(0)
    assert not await world.unlocked(FEATURE)
