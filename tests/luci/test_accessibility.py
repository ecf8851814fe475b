"""axe-core finds nothing serious on the shop: both themes, both widths, with and without the dialogue."""

from pathlib import Path

import pytest
from playwright.async_api import Browser, expect

from tests.luci.conftest import PATIENCE_MS, ScriptedRouter, open_visitor

pytestmark = pytest.mark.browser

AXE = Path(__file__).resolve().parents[2] / "node_modules/axe-core/axe.min.js"
OURS = ["#view", "#modal_overlay .sp-modal"]
"""The rest of the page is LuCI's theme."""


@pytest.mark.skipif(not AXE.exists(), reason="npm ci has not been run (make test does)")
@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [375, 1280])
async def test_nothing_serious(router: ScriptedRouter, browser: Browser, scheme: str, width: int) -> None:
    router.payments.own("base")
    visitor = await open_visitor(
        browser, "it-IT", color_scheme=scheme, viewport={"width": width, "height": 900}, bypass_csp=True
    )
    page = visitor.page
    await visitor.log_in(router.front.url)
    await expect(page.locator(".sp-card")).to_have_count(3, timeout=PATIENCE_MS)
    await page.add_script_tag(path=AXE)
    for step in ("shop", "dialogue"):
        if step == "dialogue":
            await page.click("[data-offer=router_os_premium] [data-way=phone]")
            await expect(page.locator(".sp-qr svg")).to_be_visible(timeout=PATIENCE_MS)
            await expect(page.locator("#modal_overlay")).to_have_css("opacity", "1")
        found = await page.evaluate(
            """include => axe.run({ include: include.filter(part => document.querySelector(part)) })
                .then(result => result.violations
                    .filter(found => [ 'serious', 'critical' ].includes(found.impact))
                    .map(found => [ found.id, found.nodes.map(node => node.failureSummary + node.html) ]))""",
            OURS if step == "shop" else OURS[1:],
        )
        assert found == [], step
    await visitor.context.close()
