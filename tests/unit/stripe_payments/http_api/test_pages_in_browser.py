"""The success page in Chromium: it follows the payment without a reload."""

import pytest
from playwright.async_api import async_playwright

from simulator.browser_front import BrowserFront
from tests.unit.stripe_payments.house import Shop

CHROMIUM = "/usr/bin/chromium"


@pytest.mark.browser
async def test_the_page_follows_the_payment_without_a_reload(shop: Shop) -> None:
    front = BrowserFront(shop.house.bus_path, shop.house.root, None)
    await front.start("127.0.0.1", 0)
    try:
        session_id = await shop.checkout()
        async with async_playwright() as playwright:
            browser = await playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
            page = await browser.new_page(locale="it-IT")
            faults: list[str] = []
            page.on("pageerror", lambda error: faults.append(str(error)))
            page.on("console", lambda message: faults.append(message.text))
            await page.goto(f"{front.url}/payment-success?session_id={session_id}")
            await page.evaluate("window.stillTheSamePage = true")
            assert await page.get_attribute("#outcome", "data-state") == "open"
            shop.stripe.pay(session_id, card="4000000000000002")
            await page.wait_for_selector(".why", timeout=30_000)
            shop.stripe.pay(session_id)
            await page.wait_for_selector("#outcome[data-state=paid][data-follow='0']", timeout=30_000)
            assert "Pagamento ricevuto" in await page.inner_text("[aria-live]")
            assert "Pagamento ricevuto" in await page.title()
            assert await page.locator("li[data-feature]").count() == 4
            assert await page.evaluate("window.stillTheSamePage") is True
            assert faults == []
            await browser.close()
    finally:
        await front.stop()
