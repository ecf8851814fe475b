"""The pages of a router in hub mode: troubles with the seller, the recovery code, no seller's tools."""

import pytest
from playwright.async_api import Browser, Page, expect

from tests.luci.conftest import PATIENCE_MS, ScriptedRouter, Visitor, open_visitor
from ubus_py import Status

pytestmark = pytest.mark.browser
expect.set_options(timeout=PATIENCE_MS)

RUN = "[data-dialog=run]"
BUY = "[data-offer=router_os_premium] [data-way=pay]"
STATES = {
    # the problem: what the page says, what to do, whether to buy can be tried
    "router_revoked": ("The seller has blocked this router", "Contact Example Networks.", False),
    "router_replaced": ("Another router has replaced this one", "a new enrollment code from", False),
    "credential_refused": ("The seller does not recognize this router", "a new enrollment code", False),
    "code_used": ("The seller has not accepted this router", "a new enrollment code from", False),
    "busy": ("Something is wrong over there", "Be patient.", True),
    "seller_unreachable": ("The seller cannot be reached; last contact:", "Check the Internet", True),
}


async def _open(router: ScriptedRouter, visitor: Visitor, page: str) -> Page:
    await visitor.log_in(router.front.url, path=f"/admin/payments/{page}")
    return visitor.page


async def test_each_trouble_with_the_seller_is_said_with_what_to_do(
    router: ScriptedRouter, visitor: Visitor
) -> None:
    router.payments.use_hub(enrolled=False, name=None, last_contact=None)
    page = await _open(router, visitor, "shop")
    await expect(page.locator(".sp-notices")).to_contain_text(
        "This router is being registered with the seller."
    )
    await expect(page.locator(BUY)).to_be_disabled()
    for problem, (sentence, remedy, open_for_sale) in STATES.items():
        words = {"message": "Something is wrong over there.", "hint": "", "user_hint": "Be patient."}
        router.payments.use_hub(problem={"code": problem, **words})
        await page.reload()
        await expect(page.locator(".sp-notice.warning")).to_contain_text(sentence)
        await expect(page.locator(".sp-notice.warning")).to_contain_text(remedy)
        await expect(page.locator(BUY)).to_be_enabled(enabled=open_for_sale)
    router.payments.use_hub()
    await page.reload()
    await expect(page.locator(".sp-foot")).to_contain_text("Sold by Example Networks.")
    await expect(page.locator(".sp-notice.warning")).to_have_count(0)
    await expect(page.locator(BUY)).to_be_enabled()
    assert visitor.complaints == []


async def test_a_recovery_code_is_offered_once_something_was_bought(
    router: ScriptedRouter, visitor: Visitor
) -> None:
    router.payments.use_hub()
    page = await _open(router, visitor, "features")
    await expect(page.locator("[data-action=recovery-code]")).to_have_count(0)
    await page.click("[data-action=recover]")
    await expect(page.locator(RUN)).to_be_disabled()
    await page.fill("#sp-recovery-code", " abcde-fghjk ")
    refusal = {"code": "code_refused", "message": "The code is wrong.", "user_hint": "Check it."}
    router.payments.refuse["recover"] = (Status.PERMISSION_DENIED, refusal)
    await page.click(RUN)
    await expect(page.locator(".sp-modal [role=alert]")).to_have_text("The code is wrong. Check it.")
    router.payments.refuse.clear()
    router.payments.subscribe()
    await page.press("#sp-recovery-code", "Enter")
    await expect(page.locator(".sp-modal")).not_to_be_visible()
    assert router.payments.called("recover")[-1] == {"code": "abcde-fghjk"}

    await expect(page.locator("[data-action=recover]")).to_have_count(0)
    await page.click("[data-action=recovery-code]")
    await page.click(RUN)
    await expect(page.locator("[data-recovery=code]")).to_have_text("ABCDE-FGHJK-MNPQR-STVWX")
    await expect(page.locator(RUN)).to_have_count(0)
    await page.get_by_role("button", name="Close").click()
    await expect(page.locator("[data-action=recovery-code]")).to_be_focused()
    assert visitor.complaints == []


@pytest.mark.parametrize(
    ("locale", "where", "tab", "recovery"),
    [
        ("en", "This router buys from Example Networks.", "Seller", "Recovery code…"),
        ("it", "Questo router acquista da Example Networks.", "Venditore", "Codice di recupero…"),
    ],
)
async def test_there_are_no_sellers_tools(
    router: ScriptedRouter, browser: Browser, locale: str, where: str, tab: str, recovery: str
) -> None:
    router.payments.furnish()
    router.payments.use_hub()
    router.payments.status_extra["contact"] = {
        "name": "Example Networks",
        "support_url": "https://x.example/",
    }
    visitor = await open_visitor(browser, locale)
    page = await _open(router, visitor, "settings")
    await expect(page.locator("[data-check]")).to_have_count(4)
    await expect(page.locator(".sp-notices")).to_contain_text(where)
    await expect(page.locator("#sp-keys, #sp-provision, #sp-webhook").locator("visible=true")).to_have_count(
        0
    )
    await expect(page.locator(".cbi-map")).to_have_count(0)
    await page.get_by_role("tab", name=tab).click()
    seller = page.get_by_role("tabpanel", name=tab)
    await expect(seller).to_contain_text("Example Networks")
    await expect(seller.locator("a[href='https://x.example/']")).to_be_visible()
    await seller.get_by_role("button", name=recovery, exact=True).click()
    await expect(page.get_by_role("dialog")).to_be_visible()
    await page.keyboard.press("Escape")
    page = await _open(router, visitor, "transactions")
    await expect(page.locator("[data-transaction]")).to_have_count(20)
    await expect(page.locator("[data-action=refund]")).to_have_count(0)
    page = await _open(router, visitor, "features")
    await expect(page.locator("[data-feature]")).to_have_count(4)
    await expect(page.locator("[data-action=grant]")).to_have_count(0)
    await visitor.context.close()
