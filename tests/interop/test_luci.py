"""The shop in real LuCI: every purchase test of the LuCI app again, with a browser."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio
from playwright.async_api import Browser, expect

from tests.interop.world import OpenWrtWorld
from tests.luci.conftest import PATIENCE_MS, Visitor, browser, open_visitor, visitor, window
from tests.luci.test_purchase import *  # noqa: F403
from tests.luci.test_purchase import PRODUCT

del world  # noqa: F821  # the simulated one

__all__ = ["browser", "visitor", "window"]

pytestmark = pytest.mark.browser
expect.set_options(timeout=PATIENCE_MS)

ORDER_BY_HAND = """async () => {
    const request = {
        jsonrpc: '2.0', id: 1, method: 'call',
        params: [
            L.env.sessionid, 'stripe-payments', 'create_checkout_session',
            { price_id: 'price_premium_onetime' }
        ]
    };
    return (await fetch('/ubus/', { method: 'POST', body: JSON.stringify(request) })).json();
}"""
ACCESS_DENIED = -32002


@pytest_asyncio.fixture(name="world", loop_scope="session")
async def on_a_real_router(staging: Path, python_of_the_machine: None) -> AsyncIterator[OpenWrtWorld]:
    """Instead of the simulated world."""
    del python_of_the_machine
    async with OpenWrtWorld(staging) as world:
        yield world


async def test_an_italian_reads_italian(world: OpenWrtWorld, lan: str, browser: Browser) -> None:
    """Through the compiled catalog, which real LuCI reads, and the menu of menu.d."""
    del world
    person = await open_visitor(browser, "it-IT")
    await person.log_in(lan)
    await expect(person.page.locator("html")).to_have_attribute("lang", "it")
    await expect(person.page.get_by_role("link", name="Pagamenti").first).to_be_visible()
    await expect(person.page.locator(f"{PRODUCT} [data-way=pay]")).to_be_enabled()
    assert "Assistenza prioritaria" in await person.page.inner_text("body")
    await person.context.close()


async def test_a_viewer_sees_the_shop_and_cannot_buy(world: OpenWrtWorld, lan: str, visitor: Visitor) -> None:
    del world
    await visitor.log_in(lan, "viewer")
    await expect(visitor.page.locator(PRODUCT)).to_be_visible()
    refused = await visitor.page.evaluate(ORDER_BY_HAND)
    assert refused["error"]["code"] == ACCESS_DENIED, refused
