"""My features, transactions, settings and plans in real LuCI with real rpcd: the LuCI app's tests again."""

import re
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio
from playwright.async_api import expect

from tests.interop.world import OpenWrtWorld
from tests.luci.conftest import LOADED, PATIENCE_MS, Visitor, browser, visitor, window
from tests.luci.test_purchase import PRODUCT
from tests.luci.test_settings import CBID
from tests.luci.test_subscription_life import (
    test_a_daemon_killed_while_it_changes_the_plan_changes_it_once,
    test_a_plan_from_upgrade_to_refund,
    test_a_router_out_of_the_box_is_set_up_in_the_browser,
    test_the_portal_and_the_way_back,
)

__all__ = [
    "browser",
    "test_a_daemon_killed_while_it_changes_the_plan_changes_it_once",
    "test_a_plan_from_upgrade_to_refund",
    "test_a_router_out_of_the_box_is_set_up_in_the_browser",
    "test_the_portal_and_the_way_back",
    "visitor",
    "window",
]

pytestmark = [pytest.mark.browser, pytest.mark.asyncio(loop_scope="session")]
expect.set_options(timeout=PATIENCE_MS)


@pytest_asyncio.fixture(name="world", loop_scope="session")
async def on_a_real_router(staging: Path, python_of_the_machine: None) -> AsyncIterator[OpenWrtWorld]:
    """Instead of the simulated world."""
    del python_of_the_machine
    async with OpenWrtWorld(staging) as world:
        yield world


@pytest_asyncio.fixture(name="empty_world", loop_scope="session")
async def out_of_the_box(staging: Path, python_of_the_machine: None) -> AsyncIterator[OpenWrtWorld]:
    """Instead of the simulated one."""
    del python_of_the_machine
    async with OpenWrtWorld(staging, webhooks=False, configured=False) as world:
        yield world


async def test_the_form_is_saved_applied_and_taken_up(world: OpenWrtWorld, visitor: Visitor) -> None:
    """Through real rpcd: staged for the session, applied with a rollback pending, confirmed, taken up."""
    lan = world.front.url.replace("127.0.0.1", "localhost")
    page = visitor.page
    await visitor.log_in(lan, path="/admin/payments/settings")
    await page.click("[data-pane=catalog]")
    row = page.locator("tr[data-section-id=price_premium_monthly]")
    await row.locator(".cbi-button-edit").click()
    await page.locator(f'#modal_overlay [id="{CBID}.price_premium_monthly.amount"]').fill("5.49")
    await page.locator("#modal_overlay .cbi-button-positive").click()
    await expect(row).to_contain_text("€5.49")
    await page.locator(".cbi-page-actions .cbi-button-apply").click()
    await expect(page.locator("#modal_overlay .modal")).to_contain_text("Configuration changes applied.")

    async def taken_up() -> bool:
        catalog = await world.bus.call("stripe-payments", "catalog", {})
        return "549" in str(catalog)

    await world.wait_until(taken_up)
    assert (world.root / "etc/config/stripe-payments").read_text().count("option amount '549'") == 1


async def test_the_owner_of_the_guide_buys_and_sets_nothing_up(world: OpenWrtWorld, visitor: Visitor) -> None:
    """The guide's commands make a login that LuCI accepts: no "Session expired" covers its pages."""
    guide = (Path(__file__).resolve().parents[2] / "docs/operators-guide.md").read_text("utf-8")
    (commands,) = re.findall(r"(?s)```sh\n(uci add rpcd login\n.*?)```", guide)
    world.openwrt.sh(commands)
    world.openwrt.sh("ubus -t 20 wait_for session")
    lan = world.front.url.replace("127.0.0.1", "localhost")
    page = visitor.page
    await visitor.log_in(lan, "owner", "/admin/payments/settings", password="a good password")
    await page.wait_for_function(LOADED)
    await expect(page.locator(".sp-notices")).to_contain_text("View only: you cannot make changes.")
    await expect(page.locator(".cbi-map")).to_have_count(0)
    await page.goto(f"{lan}/cgi-bin/luci/admin/payments/features")
    await expect(page.locator(".sp-feature").first).to_be_visible()
    await expect(page.locator("[data-action=grant]")).to_have_count(0)
    await page.goto(f"{lan}/cgi-bin/luci/admin/payments/shop")
    await page.wait_for_function(LOADED)
    await expect(page.locator("body")).not_to_have_class(re.compile("modal-overlay-active"))
    await page.click(f"{PRODUCT} [data-way=pay]")
    await page.wait_for_url(f"{world.stripe.url}/c/pay/**")


async def test_a_viewer_finds_no_settings_to_change(world: OpenWrtWorld, visitor: Visitor) -> None:
    lan = world.front.url.replace("127.0.0.1", "localhost")
    await visitor.log_in(lan, "viewer", "/admin/payments/settings")
    await visitor.page.wait_for_function(LOADED)
    await expect(visitor.page.locator("body")).not_to_have_class(re.compile("modal-overlay-active"))
    await expect(visitor.page.locator("[data-check]").first).to_be_attached()
    await expect(visitor.page.locator(".sp-notices")).to_contain_text("View only: you cannot make changes.")
    await expect(visitor.page.locator(".cbi-map")).to_have_count(0)
