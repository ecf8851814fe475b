"""The success page in Chromium: it follows the payment without a reload."""

import re

import pytest
from playwright.async_api import async_playwright

from simulator.browser_front import BrowserFront
from stripe_payments.currencies import decimal_amount
from stripe_payments.http_api.templating import Templates
from stripe_payments.settings import SellerContact
from tests.unit.stripe_payments.harness import Shop

CHROMIUM = "/usr/bin/chromium"


@pytest.mark.browser
async def test_the_page_follows_the_payment_without_a_reload(shop: Shop) -> None:
    front = BrowserFront(shop.harness.bus_path, shop.harness.root, None)
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
            assert await page.inner_text("data") == "49,99\u00a0€"
            assert re.fullmatch(r"\d{1,2} [a-z]+ \d{4}, \d\d:\d\d", await page.inner_text("time"))
            assert await page.locator("li[data-feature]").count() == 4
            assert await page.evaluate("window.stillTheSamePage") is True
            assert faults == []
            await browser.close()
    finally:
        await front.stop()


AMOUNTS = [
    ("it", "it-IT", 4999, "eur", "49,99 €"),
    ("it", "it-IT", 123456, "eur", "1234,56 €"),
    ("en", "en-US", 500000, "ugx", "UGX 5,000"),
    ("en", "en-US", 499950, "huf", "HUF 4,999.50"),
    ("en", "en-GB", 500, "jpy", "JP¥500"),
    ("en", "en-US", 5120, "kwd", "KWD 5.120"),
    ("en", "de-DE", 4999, "eur", "€49.99"),
    ("en", "en-US", 4999, "no code", "49.99 NO CODE"),
]


UNUSED = (
    *("status", "status_url", "checkout_url", "shop_url"),
    *("heading", "why", "lead", "notes", "features", "features_heading"),
)


@pytest.mark.browser
async def test_the_browser_formats_amount_and_date() -> None:
    """In the page's language, with the browser's region and time zone."""
    templates = Templates()
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        for language, locale, amount, currency, expected in AMOUNTS:
            content: dict[str, object] = {
                **dict.fromkeys(UNUSED, ""),
                "seller": SellerContact(),
                "state": "paid",
                "follow": 0,
                "tone": "good",
                "amount": decimal_amount(amount, currency),
                "currency": currency.upper(),
                "paid_at": "2023-11-15T23:30:00Z",
            }
            response = await templates.render("outcome.html", language, content)
            context = await browser.new_context(locale=locale, timezone_id="Europe/Rome")
            page = await context.new_page()
            await page.set_content(response.body)
            assert re.sub(r"\s", " ", await page.inner_text("data")) == expected
            date = "16 nov 2023" if language == "it" else "16"
            assert date in await page.inner_text("time")
            await context.close()
        await browser.close()
