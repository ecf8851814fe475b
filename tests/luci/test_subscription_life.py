"""A plan's life in the browser, with the real daemon and the Stripe simulator: bought, changed, cancelled,
resumed, refunded; the portal and back; set-up from an empty account.

The router is visited as ``localhost`` and Stripe as ``127.0.0.1``: two sites, as in the world.
"""

import re
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio
from playwright.async_api import Page, expect

from simulator.stripe_account import SECRET_KEY
from simulator.world import World
from tests.luci.conftest import LUCI_SRC, PATIENCE_MS, Visitor

pytestmark = pytest.mark.browser
expect.set_options(timeout=PATIENCE_MS)

RUN = "[data-dialog=run]"
CARD = ".sp-subscription"


@pytest_asyncio.fixture(loop_scope="session")
async def world() -> AsyncIterator[World]:
    async with World(luci_src=LUCI_SRC) as world:
        yield world


@pytest_asyncio.fixture(loop_scope="session")
async def empty_world() -> AsyncIterator[World]:
    async with World(luci_src=LUCI_SRC, configured=False, webhooks=False) as world:
        yield world


def _lan(world: World) -> str:
    return world.front.url.replace("127.0.0.1", "localhost")


async def _subscribe(world: World, price: str = "price_premium_monthly") -> None:
    reply = await world.bus.call("stripe-payments", "create_checkout_session", {"price_id": price})
    await world.pay(str(reply["session_id"]))
    await world.wait_until(lambda: world.unlocked("remote_backup_daily"))


async def _euros(page: Page, selector: str) -> int:
    """The first amount that a place names, in cents."""
    found = re.search(r"€([\d,]+)\.(\d\d)", await page.locator(selector).inner_text())
    assert found is not None
    return int(found[1].replace(",", "")) * 100 + int(found[2])


async def test_a_plan_from_upgrade_to_refund(world: World, visitor: Visitor) -> None:
    await _subscribe(world)
    page = visitor.page
    await visitor.log_in(_lan(world))
    preview = page.locator("[data-preview=business]")
    await expect(preview).to_contain_text("Due today:")
    shown = await _euros(page, "[data-preview=business]")
    await expect(page.locator("[data-offer=base] [data-way=change]")).to_have_text("Downgrade")
    await page.click("[data-offer=business] [data-way=change]")
    await expect(page.locator(".sp-modal .sp-due")).to_have_text(await preview.inner_text())
    await page.click(RUN)
    await expect(page.locator("[data-offer=business] .sp-badge")).to_have_text("Your plan")
    await world.wait_until(lambda: world.unlocked("phone_support"))

    await page.goto(f"{_lan(world)}/cgi-bin/luci/admin/payments/transactions")
    await expect(page.locator("[data-transaction]")).to_have_count(2)
    assert await _euros(page, "[data-transaction] >> nth=0 >> css=td.amount") == shown
    await expect(page.locator("[data-transaction] >> nth=0 >> css=a")).to_have_count(2)

    await page.goto(f"{_lan(world)}/cgi-bin/luci/admin/payments/features")
    await expect(page.locator(f"{CARD} h4")).to_have_text("Business")
    await page.click("[data-action=cancel]")
    await page.click(RUN)
    await expect(page.locator(f"{CARD} .sp-badge")).to_have_text("Ending")
    await expect(page.locator("[data-feature=phone_support]")).to_contain_text("the subscription ends.")
    await page.click("[data-action=resume]")
    await page.click(RUN)
    await expect(page.locator(f"{CARD} .sp-badge")).to_have_text("Active")
    await page.click("[data-action=cancel]")
    await page.get_by_label("Immediately").check()
    await page.click(RUN)
    await expect(page.locator("[data-feature=phone_support] .sp-badge")).to_have_text("Locked")

    await page.goto(f"{_lan(world)}/cgi-bin/luci/admin/payments/transactions")
    await page.locator("[data-action=refund] >> nth=0").click()
    await page.get_by_label("Amount in EUR").fill("1.00")
    await page.click(RUN)
    await expect(page.locator("[data-transaction]")).to_have_count(3)
    await expect(page.locator("[data-transaction] >> nth=0")).to_contain_text("-€1.00")
    assert visitor.complaints_about(_lan(world)) == []


async def test_the_portal_and_the_way_back(world: World, visitor: Visitor) -> None:
    await _subscribe(world)
    page = visitor.page
    await visitor.log_in(_lan(world), path="/admin/payments/features")
    await page.get_by_role("button", name="Invoices and payment methods").click()
    await page.wait_for_url(f"{world.stripe.url}/p/session/**")
    back = page.locator(f"a[href^='{_lan(world)}']")
    await back.first.click()
    await page.wait_for_url(f"{_lan(world)}/cgi-bin/luci/admin/payments/features")
    await expect(page.locator(f"{CARD} h4")).to_have_text("Premium")  # and no login form


async def test_a_router_out_of_the_box_is_set_up_in_the_browser(empty_world: World, visitor: Visitor) -> None:
    world, page = empty_world, visitor.page
    await visitor.log_in(_lan(world), path="/admin/payments/settings")
    await expect(page.locator("[data-check=key]")).to_have_class("bad")
    await expect(page.locator("[data-check=key] .sp-hint")).not_to_be_empty()
    await page.click("[data-pane=catalog]")
    await expect(page.get_by_role("button", name="Check products")).to_be_disabled()
    await page.click("[data-pane=stripe]")
    await page.get_by_label("Secret key", exact=True).fill(SECRET_KEY)
    await page.get_by_role("button", name="Save keys").click()
    await expect(page.locator("#sp-stored-secret_key")).to_contain_text(f"sk_test_…{SECRET_KEY[-4:]}")
    await page.click("[data-pane=catalog]")
    await page.get_by_role("button", name="Check products").click()
    await page.get_by_role("button", name=re.compile("Create at Stripe")).click()
    await expect(page.locator("#sp-provision")).to_contain_text("Done:")
    await page.get_by_role("button", name="Check products").click()
    await expect(page.locator("#sp-provision")).to_contain_text("Everything exists")
    await page.click("[data-pane=stripe]")
    await page.get_by_label("Address", exact=True).fill(f"{world.front.url}/api/payments/webhook")
    await page.get_by_role("button", name="Set up the webhook").click()
    await expect(page.locator("#sp-webhook .sp-badge")).to_have_text("Set up")
    await page.click("[data-pane=status]")
    await page.get_by_role("button", name="Check again").click()
    await expect(page.locator("[data-check=key]")).to_have_class("good")
    await page.goto(f"{_lan(world)}/cgi-bin/luci/admin/payments/shop")
    await page.click("[data-offer=premium] [data-way=pay]")
    await page.wait_for_url(f"{world.stripe.url}/c/pay/**")
    await page.click("#pay")
    await world.wait_until(lambda: world.unlocked("remote_backup_daily"))
    assert visitor.complaints_about(_lan(world)) == []


async def test_a_daemon_killed_while_it_changes_the_plan_changes_it_once(
    world: World, visitor: Visitor
) -> None:
    await _subscribe(world)
    page = visitor.page
    await visitor.log_in(_lan(world))
    await expect(page.locator("[data-preview=business]")).to_contain_text("Due today:")
    await page.click("[data-offer=business] [data-way=change]")
    await expect(page.locator(".sp-modal .sp-due")).to_be_visible()
    await page.evaluate("L.env.rpctimeout = 4")
    await world.control("faults", {"latency_ms": 1500})
    await page.dblclick(RUN)
    await expect(page.locator(RUN)).to_be_disabled()
    await world.daemon.kill()
    await expect(page.locator(".sp-modal [role=alert]")).to_be_visible()
    await world.control("faults", {"latency_ms": 0})
    await world.daemon.start()
    await world.daemon_answers()
    await page.locator(".sp-modal").get_by_role("button", name="Cancel").click()
    await page.reload()
    change = page.locator("[data-offer=business] [data-way=change]")
    await expect(page.locator(".sp-notices")).not_to_contain_text("not running")
    if await change.is_visible():  # killed before Stripe had heard of it
        await change.click()
        await expect(page.locator(".sp-modal .sp-due")).to_be_visible()
        await page.click(RUN)
    await expect(page.locator("[data-offer=business] .sp-badge")).to_have_text("Your plan")
    invoices = await world.account.request("GET", "invoices", limit=10)
    assert len([invoice for invoice in invoices["data"] if invoice["status"] == "paid"]) == 2
