"""The keyboard alone buys, cancels a plan and refunds it, with the real daemon and Stripe's Checkout page."""

from collections.abc import AsyncIterator

import pytest
import pytest_asyncio
from playwright.async_api import Page, expect

from simulator.world import World
from tests.luci.conftest import LUCI_SRC, PATIENCE_MS, Visitor

pytestmark = pytest.mark.browser
expect.set_options(timeout=PATIENCE_MS)

STOPS = 60
"""No page has more places that the tab key stops at."""
RUN = "[data-dialog=run]"
SEEN = """() => {
    const style = getComputedStyle(document.activeElement);
    return style.outlineStyle != 'none' || style.boxShadow != 'none';
}"""
"""Whether the element that has the focus looks like it."""


@pytest_asyncio.fixture(loop_scope="session")
async def world() -> AsyncIterator[World]:
    async with World(luci_src=LUCI_SRC) as world:
        yield world


async def _press(page: Page, selector: str, key: str = "Enter") -> None:
    """Walks to an element by the tab key alone, which must show where it is, and presses a key there."""
    await expect(page.locator(selector)).to_be_enabled()
    for _ in range(STOPS):
        if await page.evaluate("selector => document.activeElement.matches(selector)", selector):
            seen = "getComputedStyle(document.activeElement)"
            assert await page.evaluate(f"{seen}.outlineStyle != 'none' || {seen}.boxShadow != 'none'"), (
                selector
            )
            await page.keyboard.press(key)
            return
        await page.keyboard.press("Tab")
    raise AssertionError(f"the tab key does not stop at {selector}")


async def test_the_keyboard_buys_cancels_and_refunds(world: World, visitor: Visitor) -> None:
    lan = world.front.url.replace("127.0.0.1", "localhost")
    page = visitor.page
    await visitor.log_in(lan)
    await _press(page, "[data-offer=base] [data-way=pay]")
    await page.wait_for_url(f"{world.stripe.url}/c/pay/**")
    await _press(page, "#pay")
    await page.wait_for_url(f"{lan}/payment-success?**")
    await expect(page.locator("#outcome")).to_have_attribute("data-state", "paid")
    await _press(page, "#shop")
    await expect(page.locator("[data-offer=base] .sp-badge")).to_have_text("Your plan")

    await page.goto(f"{lan}/cgi-bin/luci/admin/payments/features")
    await _press(page, "[data-action=cancel]")
    await expect(page.locator(".sp-modal input[value=later]")).to_be_focused()
    await page.keyboard.press("ArrowDown")
    await expect(page.locator(".sp-modal input[value=now]")).to_be_checked()
    await page.keyboard.press("Escape")
    await expect(page.locator("[data-action=cancel]")).to_be_focused()
    await page.keyboard.press("Enter")
    await _press(page, RUN)
    await expect(page.locator(".sp-notice.success")).to_contain_text("The subscription ends on")

    await page.goto(f"{lan}/cgi-bin/luci/admin/payments/transactions")
    await _press(page, "[data-action=refund]")
    await expect(page.locator("#sp-refund-amount")).to_be_focused()
    await _press(page, RUN)
    await expect(page.locator(".sp-notice.success")).to_contain_text("Refunded: €1.99.")
    assert visitor.complaints_about(lan) == []
