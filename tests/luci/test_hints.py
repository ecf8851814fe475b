"""Every hint that sends a person to a page of LuCI can be followed there, under the words that it uses."""

from collections.abc import AsyncIterator

import pytest
import pytest_asyncio
from playwright.async_api import Browser, expect

from simulator.world import World
from stripe_payments.i18n import Text
from tests.luci.conftest import LUCI_SRC, PATIENCE_MS, open_visitor
from tests.luci.hints import CLICKS, LABELS, TITLES, clicks_of, texts_that_name_a_page

pytestmark = pytest.mark.browser
expect.set_options(timeout=PATIENCE_MS)


@pytest_asyncio.fixture(loop_scope="session", scope="module")
async def owner() -> AsyncIterator[World]:
    """A router whose owner has a plan and has bought something."""
    async with World(luci_src=LUCI_SRC) as world:
        for price in ("price_base_monthly", "price_premium_onetime"):
            order = {"price_id": price}
            session = await world.bus.call("stripe-payments", "create_checkout_session", {**order})
            await world.pay(str(session["session_id"]))

        async def bought() -> bool:
            return await world.unlocked("remote_backup_daily") and await world.unlocked("email_support")

        await world.wait_until(bought)
        yield world


def test_the_table_has_every_text_and_no_other() -> None:
    texts = texts_that_name_a_page()
    assert {
        beginning for beginning in CLICKS if not any(text.startswith(beginning) for text in texts)
    } == set()
    for text in texts:
        assert clicks_of(text)


@pytest.mark.parametrize("locale", ["en-GB", "it-IT"])
async def test_what_a_hint_names_is_on_the_page_that_it_names(
    owner: World, browser: Browser, locale: str
) -> None:
    lan = owner.front.url
    visitor = await open_visitor(browser, locale)
    page = visitor.page
    await visitor.log_in(lan, path="/admin/payments/features")
    titles = {}
    for name in TITLES:
        link = page.locator(f"a[href$='/admin/payments/{name}']").first
        titles[name] = (await link.inner_text()).strip()
    assert locale != "en-GB" or titles == TITLES
    rows = [(text, *row) for text in sorted(texts_that_name_a_page()) for row in clicks_of(text)]
    for name in TITLES:
        await page.goto(f"{lan}/cgi-bin/luci/admin/payments/{name}")
        for text, where, selector in rows:
            if where != name:
                continue
            hint = Text(text).in_locale(locale[:2])
            assert titles[name].casefold() in hint.casefold(), hint
            opener, _, target = selector.rpartition(" -> ")
            if opener:
                await page.locator(opener).first.click()
            element = page.locator(target).first
            await expect(element, hint).to_be_visible()
            if selector in LABELS:
                assert (await element.inner_text()).strip() in hint, hint
            if opener:
                await page.reload()
    await visitor.context.close()
