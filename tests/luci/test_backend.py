"""A backend that is slow, fails, or dies in the middle: no page hangs, nothing is done twice."""

import asyncio
import json

import pytest
from playwright.async_api import Page, expect

from tests.luci.conftest import PATIENCE_MS, ScriptedRouter, Visitor
from tests.luci.test_package_files import ACL, ADMIN, BUY
from ubus_py import Status

pytestmark = pytest.mark.browser
expect.set_options(timeout=PATIENCE_MS)

PAGES = ("shop", "features", "transactions", "settings")
RUN = "[data-dialog=run]"
READ = ("status", "catalog", "features", "subscriptions", "transactions", "check")


async def _open_pages(router: ScriptedRouter, visitor: Visitor, names: tuple[str, ...] = PAGES) -> list[Page]:
    """Each page in a tab of its own."""
    await visitor.log_in(router.front.url)
    tabs = [visitor.page, *[await visitor.context.new_page() for _ in names[1:]]]
    for name, tab in zip(names, tabs, strict=True):
        await tab.goto(f"{router.front.url}/cgi-bin/luci/admin/payments/{name}")
        await expect(tab.locator(".sp-page h2")).to_be_visible()
    return tabs


async def _told(tabs: list[Page], words: str) -> None:
    for tab in tabs:
        await expect(tab.locator(".sp-notices")).to_contain_text(words)


async def _told_no_more(tabs: list[Page], words: str) -> None:
    for tab in tabs:
        await expect(tab.locator(".sp-notices")).not_to_contain_text(words)


@pytest.mark.parametrize("names", [PAGES[:2], PAGES[2:]])
async def test_pages_are_there_before_a_slow_answer(
    router: ScriptedRouter, visitor: Visitor, names: tuple[str, ...]
) -> None:
    gate = asyncio.Event()
    router.payments.gates = dict.fromkeys(READ, gate)
    tabs = await _open_pages(router, visitor, names)
    for tab in tabs:
        for button in await tab.locator(".sp-page .sp-actions .btn, .sp-page [data-action]").all():
            await expect(button).to_be_disabled()
    await _told(tabs[-1:], "Loading…")
    gate.set()
    await _told_no_more(tabs, "Loading…")
    await _told_no_more(tabs, "took too long")
    assert visitor.complaints == []


async def test_a_daemon_that_dies_and_returns(router: ScriptedRouter, visitor: Visitor) -> None:
    router.payments.furnish()
    tabs = await _open_pages(router, visitor)
    for tab in tabs:
        await tab.evaluate("window.untouched = true")
    await router.daemon_leaves()
    await _told(tabs, "The payment service is not running.")
    await router.daemon_comes()
    await _told_no_more(tabs, "not running")
    for tab in tabs:
        assert await tab.evaluate("window.untouched") is True
    assert visitor.complaints == []


async def test_an_error_of_every_answer_is_shown(router: ScriptedRouter, visitor: Visitor) -> None:
    error = {
        "code": "ledger_unavailable",
        "message": "The ledger cannot be read.",
        "hint": "Look at the log.",
    }
    router.payments.refuse = dict.fromkeys(READ, (Status.UNKNOWN_ERROR, error))
    tabs = await _open_pages(router, visitor)
    await _told(tabs, "The ledger cannot be read. Look at the log.")
    router.payments.refuse = {}
    await _told_no_more(tabs, "The ledger cannot be read.")


async def test_a_change_whose_answer_is_lost_is_not_called_undone(
    router: ScriptedRouter, visitor: Visitor
) -> None:
    """The daemon is killed in the middle; LuCI's client gives up after its time limit, a short one here."""
    router.payments.subscribe("base")
    router.payments.gates["cancel_subscription"] = asyncio.Event()
    await visitor.log_in(router.front.url, path="/admin/payments/features")
    page = visitor.page
    await expect(page.locator("[data-action=cancel]")).to_be_enabled()
    await page.evaluate("L.env.rpctimeout = 3")
    await page.click("[data-action=cancel]")
    await page.dblclick(RUN)
    await expect(page.locator(RUN)).to_be_disabled()
    await asyncio.sleep(0.2)
    await router.daemon_leaves()
    await expect(page.locator(".sp-modal [role=alert]")).to_be_visible()
    await expect(page.locator(RUN)).to_be_enabled()
    assert len(router.payments.called("cancel_subscription")) == 1
    await router.daemon_comes()
    router.payments.gates.clear()
    await expect(page.locator(".sp-notices")).not_to_contain_text("not running")
    await page.click(RUN)
    await expect(page.locator("[data-subscription=sub_1] .sp-badge")).to_have_text("Ending")


async def test_a_slow_refusal_leaves_the_page_usable(router: ScriptedRouter, visitor: Visitor) -> None:
    router.payments.subscribe("base")
    router.payments.gates["preview_change"] = asyncio.Event()
    await visitor.log_in(router.front.url)
    page = visitor.page
    await page.evaluate("L.env.rpctimeout = 3")
    await page.click("[data-offer=premium] [data-way=change]")
    await expect(page.locator(".sp-modal .sp-cost")).to_contain_text("Calculating the cost…")
    await expect(page.locator(RUN)).to_be_disabled()
    await page.locator(".sp-modal").get_by_role("button", name="Cancel").click()
    await expect(page.locator(".sp-modal")).not_to_be_visible()
    await page.locator(".sp-switch label", has_text="Yearly").click()
    await expect(page.locator("[data-offer=premium] .sp-price")).to_contain_text("€49.99")
    assert router.payments.called("change_plan") == []


async def test_the_bus_refuses_what_a_viewer_may_not(router: ScriptedRouter, visitor: Visitor) -> None:
    await visitor.log_in(router.front.url, "viewer")
    for method in (
        method for group in (BUY, ADMIN) for method in ACL[group]["write"]["ubus"]["stripe-payments"]
    ):
        reply = await visitor.page.evaluate(
            """method => fetch('/ubus/', {
                method: 'POST',
                body: JSON.stringify({ jsonrpc: '2.0', id: 1, method: 'call',
                    params: [ L.env.sessionid, 'stripe-payments', method, {} ] })
            }).then(reply => reply.text())""",
            method,
        )
        assert json.loads(reply)["error"] == {"code": -32002, "message": "Access denied"}, method
    assert [name for name, _ in router.payments.calls if name not in READ] == []
