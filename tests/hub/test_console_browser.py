"""The console in a browser: what no HTTP client shows, in one visit."""

from __future__ import annotations

import re

import pytest
from playwright.async_api import ConsoleMessage, Page, expect

from payments_hub.operations import Operations
from tests.hub.test_console import PASSWORD
from tests.hub.test_purchases import PREMIUM, unlocks
from tests.hub.vendor import Vendor
from tests.luci.conftest import PATIENCE_MS, open_browser

_FIELDS = "document.querySelectorAll('input:not([type=hidden], [hidden]), select')"
_UNNAMED = f"[...{_FIELDS}].filter(field => !field.labels.length)"
_WIDER = "document.documentElement.scrollWidth > document.documentElement.clientWidth"


async def _is_usable(page: Page) -> None:
    """On a phone: nothing is wider than the screen, and every field has a label."""
    assert not await page.evaluate(_WIDER), page.url
    assert await page.evaluate(f"{_UNNAMED}.length") == 0, page.url


@pytest.mark.browser
async def test_a_refund_in_a_browser(vendor: Vendor) -> None:
    router = await vendor.router()
    session = await router.checkout("lifetime_once")
    vendor.cloud.pay(session, email="buyer@example.org")
    await unlocks(router, PREMIUM)
    await Operations(vendor.hub, "cli:root").create_operator("anna", "admin", PASSWORD)
    complaints: list[str] = []

    def heard(message: ConsoleMessage) -> None:
        if message.type in ("error", "warning"):
            complaints.append(message.text)

    async with vendor.console() as http, open_browser() as chromium:
        context = await chromium.new_context(
            locale="it-IT", viewport={"width": 375, "height": 800}, base_url=str(http.base_url)
        )
        context.set_default_timeout(PATIENCE_MS)
        page = await context.new_page()
        page.on("console", heard)
        await page.goto("/console")
        await _is_usable(page)
        await page.get_by_label("Nome").fill("anna")
        await page.get_by_label("Password").fill(PASSWORD)
        await page.keyboard.press("Enter")
        await page.get_by_role("searchbox").fill("buyer@example.org")
        await page.keyboard.press("Enter")
        await expect(page).to_have_url(re.compile(r"\?q="), timeout=PATIENCE_MS)
        await _is_usable(page)
        await page.get_by_role("link", name=re.compile(f"^{router.id[:8]}")).click()
        await expect(page.get_by_text("pagato").first).to_be_visible(timeout=PATIENCE_MS)
        await _is_usable(page)
        await page.get_by_role("link", name="English").click()
        await page.get_by_role("link", name="Refund…").click()
        await expect(page.get_by_text("The amount is refunded to the payer")).to_be_visible(
            timeout=PATIENCE_MS
        )
        await _is_usable(page)
        await page.get_by_role("button", name="Refund now").click()
        await expect(page.get_by_role("status")).to_have_text("Done: Refund a payment", timeout=PATIENCE_MS)
        await unlocks(router, set())
        for path in ("/console/codes", "/console/operators", "/console/audit", "/console/password"):
            await page.goto(path)
            await _is_usable(page)
        await page.get_by_role("button", name="Log out").click()
        await expect(page).to_have_url(re.compile("/console/login"), timeout=PATIENCE_MS)
        await context.close()
    assert complaints == [], "the browser refused something, by the content security policy or otherwise"
