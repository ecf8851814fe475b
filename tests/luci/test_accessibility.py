"""Every page in both languages, both themes, all widths: axe-core finds nothing, nothing sticks out
sideways, the console stays quiet."""

import itertools
import re
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Literal

import pytest
from playwright.async_api import Browser, Page, expect

from tests.luci.conftest import PATIENCE_MS, ScriptedRouter, Visitor, open_visitor

pytestmark = pytest.mark.browser
expect.set_options(timeout=PATIENCE_MS)

AXE = Path(__file__).resolve().parents[2] / "node_modules/axe-core/axe.min.js"
OURS = [".sp-page", ".sp-widget"]
"""The rest of the page is LuCI's theme."""
DIALOGUE = ["#modal_overlay .cbi-modal"]


async def _shop(page: Page) -> None:
    await expect(page.locator(".sp-card")).to_have_count(3)


async def _features(page: Page) -> None:
    await expect(page.locator(".sp-feature")).to_have_count(4)


async def _transactions(page: Page) -> None:
    await expect(page.locator("[data-transaction]")).to_have_count(20)


async def _settings(page: Page) -> None:
    await expect(page.locator("[data-check]")).to_have_count(4)
    await expect(page.locator(".sp-form .cbi-map")).to_be_attached()


async def _widget(page: Page) -> None:
    await expect(page.locator(".sp-widget")).to_contain_text("Base")


PAGES: dict[str, tuple[Callable[[Page], Awaitable[None]], tuple[str, ...]]] = {
    "/admin/payments/shop": (_shop, ("[data-offer=router_os_premium] [data-way=phone]",)),
    "/admin/payments/features": (_features, ("[data-action=cancel]",)),
    "/admin/payments/transactions": (_transactions, ("[data-action=refund] >> nth=0",)),
    "/admin/payments/settings": (
        _settings,
        (
            "[data-pane=stripe] -> [data-focus=remove-secret_key]",
            "[data-pane=catalog] -> #cbi-stripe-payments-price .cbi-button-edit >> nth=0",
        ),
    ),
    "/admin/status/overview": (_widget, ()),
}
"""Path -> what to wait for, and what opens a dialogue there, step by step; the last of several is LuCI's."""


@pytest.mark.skipif(not AXE.exists(), reason="npm ci has not been run (make test does)")
@pytest.mark.parametrize(
    ("width", "scheme", "locale"),
    [
        *itertools.product((375, 1280), ("light", "dark"), ("en-GB", "it-IT")),
        (320, "light", "it-IT"),  # Italian is the longer one
    ],
)
async def test_axe_finds_nothing(
    router: ScriptedRouter, browser: Browser, locale: str, scheme: Literal["light", "dark"], width: int
) -> None:
    router.payments.furnish()
    visitor = await open_visitor(
        browser,
        locale,
        color_scheme=scheme,
        viewport={"width": width, "height": 900},
        bypass_csp=True,
        reduced_motion="reduce",
    )
    await visitor.log_in(router.front.url)
    for path, (ready, openers) in PAGES.items():
        page = visitor.page
        await page.goto(f"{router.front.url}/cgi-bin/luci{path}")
        await ready(page)
        assert await page.locator("html").get_attribute("lang") == locale[:2]
        await page.add_script_tag(path=AXE)
        await _inspect(visitor, width, path, OURS)
        for tab in await page.locator("[role=tab]").all():
            await tab.click()
            await _inspect(visitor, width, f"{path}, {await tab.inner_text()}", OURS)
        for opener in openers:
            for step in opener.split(" -> "):
                await page.click(step)
            await expect(page.locator("#modal_overlay"), opener).to_have_css("opacity", "1")
            await expect(page.locator(".cbi-modal button >> nth=0")).to_be_visible()
            await _inspect(visitor, width, f"{path}, {opener}", DIALOGUE)
            if opener is not openers[-1]:
                await page.keyboard.press("Escape")
                await expect(page.locator("body")).not_to_have_class(re.compile("modal-overlay-active"))
    assert visitor.complaints == []
    await visitor.context.close()


async def _inspect(visitor: Visitor, width: int, where: str, parts: list[str]) -> None:
    found = await visitor.page.evaluate(
        """include => axe.run({
                include: include.filter(part => document.querySelector(part))
            }, { resultTypes: [ 'violations' ] }).then(result => result.violations
                .map(found => [ found.id, found.nodes.map(node => node.failureSummary + node.html) ]))""",
        parts,
    )
    assert found == [], where
    for part in parts:
        for box in [await found.bounding_box() for found in await visitor.page.locator(part).all()]:
            assert box is not None
            assert box["x"] >= 0, where
            assert box["x"] + box["width"] <= width, where
    sticking_out = await visitor.page.evaluate(
        """() => [...document.querySelectorAll('.sp-page *')]
            .filter(node => !node.closest('.cbi-map, .sp-hidden, thead'))
            .filter(node => node.getBoundingClientRect().right > window.innerWidth + 1)
            .map(node => node.outerHTML.slice(0, 120))"""
    )
    assert sticking_out == [], where
