"""The shop page in every state it can be in; the daemon is a script, the browser and the bus are real."""

import asyncio
import io
import json
import re

import pytest
import zxingcpp
from PIL import Image
from playwright.async_api import Browser, Page, Request, expect

from tests.luci.conftest import PATIENCE_MS, ScriptedRouter, Visitor, open_visitor
from ubus_py import Status

pytestmark = pytest.mark.browser
expect.set_options(timeout=PATIENCE_MS)

SHOP = "/cgi-bin/luci/admin/payments/shop"
PRODUCT = "[data-offer=router_os_premium]"
BUY = f"{PRODUCT} [data-way=pay]"
PHONE = f"{PRODUCT} [data-way=phone]"


async def test_shows_what_is_sold(router: ScriptedRouter, visitor: Visitor) -> None:
    await visitor.log_in(router.front.url)
    page = visitor.page
    await expect(page.locator("[data-offer=base] .sp-price")).to_have_text("€1.99 per month")
    await expect(page.locator("[data-offer=premium]")).to_contain_text("Everything in Base, and:")
    await expect(page.locator(f"{PRODUCT} .sp-price")).to_have_text("€49.99 once")
    await expect(page.locator(f"{PRODUCT} .sp-features li")).to_have_count(4)
    await expect(page.locator(".sp-notices")).to_contain_text("Test mode.")
    await page.locator(".sp-switch label", has_text="Yearly").click()
    await expect(page.locator("[data-offer=base] .sp-price")).to_have_text("€19.99 per year")
    await expect(page.locator(".sp-switch input[value=year]")).to_be_focused()
    assert visitor.complaints == []


async def test_a_product_that_makes_the_plan_needless_says_that_the_plan_goes_on(
    router: ScriptedRouter, visitor: Visitor
) -> None:
    router.payments.subscribe("base")
    await visitor.log_in(router.front.url)
    page = visitor.page
    hint = page.locator("[data-needless=sub_1]")
    await expect(hint).to_contain_text("It has everything in your plan Base, which does not end by itself.")
    also = hint.get_by_label("Also set Base to end on 17 May 2031. You can resume it until then.")
    await expect(also).not_to_be_checked()
    await also.check()
    router.payments.refuse_checkout = (Status.UNKNOWN_ERROR, {"code": "stripe_unreachable", "message": ""})
    await page.click(BUY)
    await expect(page.locator(f"{PRODUCT} [role=alert]")).to_be_visible()
    await expect(page.locator("[data-ending=base]")).to_contain_text("Ends on 17 May 2031.")
    await expect(hint).to_have_count(0)
    assert router.payments.called("cancel_subscription") == [{"subscription": "sub_1", "at_period_end": True}]
    router.payments.subscriptions[0].update(ends_at=None, status="past_due")
    await expect(hint.get_by_role("link", name="My features")).to_be_visible()
    await expect(also).to_have_count(0)
    router.payments.subscriptions[0].update(status="active")
    router.payments.own("router_os_premium")
    for feature in router.payments.unlocked:
        router.payments.features[feature] = {"source": "cs_1", "plan": "router_os_premium", "reason": "paid"}
    warning = page.locator(".sp-notice.warning")
    await expect(warning).to_contain_text("You pay €1.99 per month for features that are yours forever.")
    await expect(warning).to_contain_text("Cancel the subscription “Base” under My features.")
    premium = page.locator("[data-offer=premium]")
    await expect(premium.locator(".sp-badge")).to_have_text("Included")
    await expect(premium.locator("[data-way]")).to_have_count(0)
    assert visitor.complaints == []


async def test_a_plan_that_ends_says_so_and_can_be_resumed_or_changed(
    router: ScriptedRouter, visitor: Visitor
) -> None:
    router.payments.subscribe("base", cancel_at_period_end=True, ends_at="2031-05-17T12:00:00Z")
    await visitor.log_in(router.front.url)
    page = visitor.page
    base = page.locator("[data-offer=base]")
    await expect(base).to_contain_text("Ends on 17 May 2031. Nothing more is charged.")
    await expect(page.locator("[data-offer=premium] [data-way=change]")).to_have_text("Upgrade")
    await expect(page.locator("[data-offer=premium] [data-way=pay]")).to_have_count(0)
    await base.get_by_role("button", name="Resume").click()
    await page.click("[data-dialog=run]")
    await expect(page.locator(".sp-notice.success")).to_have_text("The subscription continues.")
    await expect(base.locator(".sp-have")).to_have_text("Unlocked on this router")
    assert router.payments.called("resume_subscription") == [{"subscription": "sub_1"}]
    assert visitor.complaints == []


async def test_a_failed_renewal_is_an_alert_with_the_way_to_pay(
    router: ScriptedRouter, visitor: Visitor
) -> None:
    invoice = {"id": "in_1", "status": "open", "amount_due": 499, "amount_remaining": 199, "currency": "eur"}
    invoice["url"] = "https://invoice.stripe.com/i/1"
    invoice["failure"] = {"reason": "expired_card", "message": "The card has expired. Use another card."}
    router.payments.subscribe(
        "base", status="past_due", grace_until="2031-04-20T12:00:00Z", latest_invoice=invoice
    )
    await visitor.log_in(router.front.url)
    alert = visitor.page.locator(".sp-notice.error")
    await expect(alert).to_contain_text("The card has expired. Use another card.")
    await expect(alert).to_contain_text("The last payment for “Base” failed.")
    await expect(alert).to_contain_text("Its features lock on 20 Apr 2031 unless it is paid.")
    await expect(alert.get_by_role("link", name="Pay €1.99 at Stripe")).to_have_attribute(
        "href", "https://invoice.stripe.com/i/1"
    )
    premium = visitor.page.locator("[data-offer=premium]")
    await expect(premium.locator("[data-way]")).to_have_count(0)
    waits = {"price": "premium_monthly", "expires_at": None, "invoice_url": None}
    for change, words in (
        ({}, "You can change to this plan once the payment for “Base” is made."),
        ({"status": "paused", "paused": True}, "Resume “Base” to change to this plan."),
        (
            {"status": "active", "paused": False, "pending_change": waits},
            "A change of “Base” waits for its payment.",
        ),
    ):
        router.payments.subscriptions[0].update(change)
        await expect(premium.locator("[data-later]")).to_contain_text(words)
    router.payments.subscriptions[0].update(status="past_due", pending_change=None)
    await alert.get_by_role("link", name="Update payment method").click()
    await expect(visitor.page.get_by_role("button", name="Update payment method")).to_be_enabled()


async def test_speaks_italian(router: ScriptedRouter, browser: Browser) -> None:
    visitor = await open_visitor(browser, "it-IT")
    await visitor.log_in(router.front.url)
    page = visitor.page
    await expect(page.locator("[data-offer=base] .sp-price")).to_have_text("1,99 € al mese")
    await expect(page.locator(BUY)).to_have_text("Acquista")
    await expect(page.locator(".sp-notices")).to_contain_text("Modalità di prova.")
    await expect(page.locator("#topmenu")).to_contain_text("Pagamenti")
    await page.click(BUY)
    await page.wait_for_url("**/payment-success?session=*")
    assert router.payments.checkouts[0]["locale"] == "it"
    await visitor.context.close()


async def test_a_double_click_buys_once(router: ScriptedRouter, visitor: Visitor) -> None:
    router.payments.checkout_gate = asyncio.Event()
    await visitor.log_in(router.front.url)
    await visitor.page.dblclick(BUY)
    await expect(visitor.page.locator(BUY)).to_have_text("Opening Stripe…")
    await expect(visitor.page.locator(BUY)).to_be_disabled()
    await expect(visitor.page.locator("[data-offer=base] [data-way=pay]")).to_be_disabled()
    router.payments.checkout_gate.set()
    await visitor.page.wait_for_url("**/payment-success?session=cs_test_1")
    assert len(router.payments.checkouts) == 1
    assert router.payments.checkouts[0]["price_id"] == "premium_onetime"
    assert router.payments.checkouts[0]["success_url"] == f"{router.front.url}/payment-success"
    assert router.payments.checkouts[0]["cancel_url"] == f"{router.front.url}/payment-cancel"
    assert visitor.complaints == []


async def test_a_refusal_is_said_in_words_and_can_be_retried(
    router: ScriptedRouter, visitor: Visitor
) -> None:
    router.payments.refuse_checkout = (
        Status.UNKNOWN_ERROR,
        {"code": "stripe_unreachable", "message": "no route", "hint": "cable"},
    )
    await visitor.log_in(router.front.url)
    await visitor.page.click(BUY)
    alert = visitor.page.locator(f"{PRODUCT} [role=alert]")
    await expect(alert).to_contain_text("Stripe cannot be reached from this router.")
    await expect(alert).to_contain_text("Check the Internet connection.")
    await expect(visitor.page.locator(BUY)).to_be_focused()
    router.payments.refuse_checkout = None
    await visitor.page.click(BUY)
    await visitor.page.wait_for_url("**/payment-success?session=cs_test_2")


async def test_an_unknown_refusal_keeps_the_daemons_words(router: ScriptedRouter, visitor: Visitor) -> None:
    router.payments.refuse_checkout = (
        Status.INVALID_ARGUMENT,
        {"code": "never_heard_of", "message": "The moon is <b>full</b>.", "hint": "Wait a week."},
    )
    await visitor.log_in(router.front.url)
    await visitor.page.click(BUY)
    alert = visitor.page.locator(f"{PRODUCT} [role=alert]")
    await expect(alert).to_have_text("The moon is <b>full</b>. Wait a week.")


async def test_the_unlock_shows_without_reloading(router: ScriptedRouter, visitor: Visitor) -> None:
    await visitor.log_in(router.front.url)
    await expect(visitor.page.locator(BUY)).to_be_enabled()
    await visitor.page.evaluate("window.untouched = true")
    router.payments.own("router_os_premium")
    await expect(visitor.page.locator(f"{PRODUCT} .sp-badge")).to_have_text("Owned")
    await expect(visitor.page.locator(f"{PRODUCT} .sp-have")).to_have_text("Unlocked on this router")
    await expect(visitor.page.locator(f"{PRODUCT} li.unlocked")).to_have_count(4)
    await expect(visitor.page.locator("[data-offer=base] .sp-badge")).to_have_text("Included")
    assert await visitor.page.evaluate("window.untouched") is True


async def test_coming_back_the_shop_follows_the_payment(router: ScriptedRouter, visitor: Visitor) -> None:
    await visitor.log_in(router.front.url)
    await visitor.page.click(BUY)
    await visitor.page.wait_for_url("**/payment-success?session=cs_test_1")
    await visitor.page.goto(f"{router.front.url}{SHOP}")
    progress = visitor.page.locator(".sp-panel .sp-progress")
    await expect(progress).to_have_attribute("data-phase", "waiting")
    link = visitor.page.get_by_role("link", name="Back to payment")
    await expect(link).to_have_attribute("href", f"{router.payments.checkout_url}?session=cs_test_1")
    router.payments.payment = {"status": "pending"}
    await expect(progress).to_have_attribute("data-phase", "processing")
    router.payments.payment = {"status": "paid"}
    await expect(progress).to_have_attribute("data-phase", "unlocking")
    router.payments.own("router_os_premium")
    await expect(progress).to_have_attribute("data-phase", "unlocked")
    live = visitor.page.locator(".sp-live")
    await expect(live).to_have_text("“Router OS Premium” is paid and unlocked. Thank you!")
    await expect(visitor.page.locator(f"{PRODUCT} .sp-badge")).to_have_text("Owned")
    await visitor.page.get_by_role("button", name="Close").click()
    await expect(progress).to_have_count(0)


async def test_every_browser_knows_what_is_not_paid_yet(router: ScriptedRouter, visitor: Visitor) -> None:
    open_page = {
        "payment_id": "cs_test_9",
        "price": "premium_onetime",
        "state": "open",
        "url": f"{router.payments.checkout_url}?session=cs_test_9",
        "created": "2031-04-30T10:00:00Z",
    }
    await visitor.log_in(router.front.url)
    page = visitor.page
    await expect(page.locator(BUY)).to_be_enabled()
    router.payments.purchases = [open_page]
    panel = page.locator(".sp-panel")
    await expect(panel).to_contain_text("Router OS Premium · €49.99 once")
    await expect(panel.get_by_role("link", name="Back to payment")).to_have_attribute(
        "href", open_page["url"]
    )
    await page.click(BUY)
    await page.wait_for_url("**/payment-success?session=cs_test_9")
    assert router.payments.checkouts == []
    router.payments.payment = {"status": "pending"}
    router.payments.purchases = [open_page | {"state": "processing", "url": None}]
    await page.goto(f"{router.front.url}{SHOP}")
    await expect(page.locator("[data-pending=router_os_premium]")).to_have_text(
        re.compile(r"Payment pending since 30 Apr 2031: your bank is processing it\.")
    )
    await expect(page.locator(f"{PRODUCT} [data-way]")).to_have_count(0)
    await expect(panel.locator(".sp-progress")).to_have_attribute("data-phase", "processing")
    await expect(panel.get_by_role("link")).to_have_count(0)
    await panel.get_by_role("button", name="Close").click()
    await expect(panel).to_have_count(0)
    other = await visitor.context.new_page()
    await other.goto(f"{router.front.url}{SHOP}")
    await expect(other.locator("[data-pending=router_os_premium]")).to_be_visible()
    await expect(other.locator(".sp-panel")).to_have_count(0)
    assert visitor.complaints == []


async def test_an_idle_shop_asks_for_the_status_alone_and_a_hidden_one_for_nothing(
    router: ScriptedRouter, visitor: Visitor
) -> None:
    requests: list[list[str]] = []

    def note(request: Request) -> None:
        if "/ubus" in request.url and request.post_data:
            calls = json.loads(request.post_data)
            each = calls if isinstance(calls, list) else [calls]
            requests.append([call["params"][2] if "params" in call else call["method"] for call in each])

    visitor.page.on("request", note)
    await visitor.log_in(router.front.url)
    await expect(visitor.page.locator(BUY)).to_be_enabled()
    ours = ["access", "status", "catalog", "features", "subscriptions"]
    await visitor.page.wait_for_function("L.loaded")
    # LuCI's own two, once in a tab, are not with ours
    assert sorted(requests) == [ours, ["getFeatures"], ["list"]]
    del requests[:]
    await visitor.page.reload()
    await expect(visitor.page.locator(BUY)).to_be_enabled()
    assert requests == [ours]
    await visitor.page.evaluate("L.require('poll').then(poll => poll.stop())")
    step = "L.require('poll').then(poll => poll.queue.find(one => (one.i ?? one.interval) == 5).fn())"
    await visitor.page.evaluate(step)  # the first one, from answers that are just in
    del requests[:]
    for _ in range(3):
        await visitor.page.evaluate(step)
    assert requests == [["status"]] * 3
    await visitor.page.evaluate("Object.defineProperty(document, 'hidden', { get: () => window.covered })")
    await visitor.page.evaluate("window.covered = true")
    await visitor.page.evaluate(step)
    assert requests == [["status"]] * 3
    router.payments.own("router_os_premium")
    await visitor.page.evaluate(
        "window.covered = false; document.dispatchEvent(new Event('visibilitychange'))"
    )
    await expect(visitor.page.locator(f"{PRODUCT} .sp-badge")).to_have_text("Owned")
    assert [len(calls) for calls in requests[3:]] == [1, 4]
    visitor.page.remove_listener("request", note)


async def test_buying_again_leads_to_the_page_that_is_open(router: ScriptedRouter, visitor: Visitor) -> None:
    await visitor.log_in(router.front.url)
    await visitor.page.click(BUY)
    await visitor.page.wait_for_url("**/payment-success?session=cs_test_1")
    await visitor.page.goto(f"{router.front.url}{SHOP}")
    await expect(visitor.page.locator(".sp-panel .sp-progress")).to_have_attribute("data-phase", "waiting")
    await visitor.page.click(BUY)
    await visitor.page.wait_for_url("**/payment-success?session=cs_test_1")
    assert len(router.payments.checkouts) == 1


async def test_the_qr_code_leads_to_the_payment_page(router: ScriptedRouter, visitor: Visitor) -> None:
    await visitor.log_in(router.front.url)
    await visitor.page.click(PHONE)
    await expect(visitor.page.locator(".sp-qr svg")).to_be_visible()
    assert await _read_code(visitor.page) == f"{router.payments.checkout_url}?session=cs_test_1"
    await expect(visitor.page.locator(".sp-modal .sp-progress")).to_have_attribute("data-phase", "waiting")
    router.payments.payment = {"status": "paid"}
    router.payments.own("router_os_premium")
    await expect(visitor.page.locator(".sp-modal .sp-progress")).to_have_attribute("data-phase", "unlocked")
    done = visitor.page.get_by_role("button", name="Done")
    await expect(done).to_be_focused()
    await done.click()
    await expect(visitor.page.locator(".sp-modal")).not_to_be_visible()
    await expect(visitor.page.locator(f"{PRODUCT} .sp-badge")).to_have_text("Owned")
    assert visitor.complaints == []


async def _read_code(page: Page) -> str:
    picture = Image.open(io.BytesIO(await page.locator(".sp-qr").screenshot()))
    (code,) = zxingcpp.read_barcodes(picture)
    return str(code.text)


async def test_escape_leaves_the_phone_dialogue(router: ScriptedRouter, visitor: Visitor) -> None:
    await visitor.log_in(router.front.url)
    await visitor.page.click(PHONE)
    await expect(visitor.page.locator(".sp-qr svg")).to_be_visible()
    await visitor.page.keyboard.press("Escape")
    await expect(visitor.page.locator(".sp-modal")).not_to_be_visible()
    await expect(visitor.page.locator(PHONE)).to_be_enabled()
    usual = visitor.page.viewport_size
    assert usual is not None
    await visitor.page.set_viewport_size({"width": 320, "height": 480})  # lower than the dialogue
    try:
        await visitor.page.click(PHONE)
        await expect(visitor.page.locator(".sp-qr svg")).to_be_visible()
        await expect(visitor.page.locator(".sp-modal h4")).to_be_in_viewport()
    finally:
        await visitor.page.set_viewport_size(usual)


async def test_an_expired_payment_page_says_so(router: ScriptedRouter, visitor: Visitor) -> None:
    await visitor.log_in(router.front.url)
    await visitor.page.click(PHONE)
    await expect(visitor.page.locator(".sp-qr svg")).to_be_visible()
    router.payments.payment = {"status": "expired"}
    await expect(visitor.page.locator(".sp-modal .sp-live")).to_contain_text("has expired")


async def test_a_read_only_login_sees_and_cannot_buy(router: ScriptedRouter, visitor: Visitor) -> None:
    await visitor.log_in(router.front.url, "viewer")
    await expect(visitor.page.locator(f"{PRODUCT} .sp-price")).to_be_visible()
    await expect(visitor.page.locator(BUY)).to_be_disabled()
    await expect(visitor.page.locator(PHONE)).to_be_disabled()
    await expect(visitor.page.locator(".sp-notices")).to_contain_text("View only: you cannot make purchases.")
    reply = await visitor.page.evaluate(
        """() => fetch('/ubus/', {
            method: 'POST',
            body: JSON.stringify({ jsonrpc: '2.0', id: 1, method: 'call', params: [
                L.env.sessionid, 'stripe-payments', 'create_checkout_session', { price_id: 'premium_onetime' }
            ] })
        }).then(reply => reply.text())"""
    )
    assert json.loads(reply)["error"] == {"code": -32002, "message": "Access denied"}
    assert router.payments.checkouts == []
    assert visitor.complaints == []


async def test_the_page_waits_for_a_daemon_that_is_away(router: ScriptedRouter, visitor: Visitor) -> None:
    await router.daemon_leaves()
    await visitor.log_in(router.front.url)
    notices = visitor.page.locator(".sp-notices")
    await expect(notices).to_contain_text("The payment service is not running.")
    await visitor.page.evaluate("window.untouched = true")
    await router.daemon_comes()
    await expect(visitor.page.locator(BUY)).to_be_enabled()
    await expect(notices).not_to_contain_text("not running")
    await router.daemon_leaves()
    await expect(notices).to_contain_text("The payment service is not running.")
    await expect(visitor.page.locator(BUY)).to_be_disabled()
    assert await visitor.page.evaluate("window.untouched") is True


@pytest.mark.parametrize(
    ("mode", "stripe", "words", "sells"),
    [
        ("unconfigured", "unknown", "Payments are not set up yet.", False),
        ("live", "unreachable", "Stripe cannot be reached from this router.", True),
        ("live", "unauthorized", "Stripe does not accept the key of this router.", True),
    ],
)
async def test_troubles_have_a_state_of_their_own(
    router: ScriptedRouter, visitor: Visitor, mode: str, stripe: str, words: str, sells: bool
) -> None:
    router.payments.mode, router.payments.stripe = mode, stripe
    await visitor.log_in(router.front.url)
    await expect(visitor.page.locator(".sp-notices")).to_contain_text(words)
    await expect(visitor.page.locator(".sp-notices")).not_to_contain_text("Test mode")
    if sells:
        await expect(visitor.page.locator(BUY)).to_be_enabled()
    else:
        await expect(visitor.page.locator(BUY)).to_be_disabled()


@pytest.mark.parametrize("width", [375, 1280])
async def test_nothing_sticks_out_sideways(router: ScriptedRouter, browser: Browser, width: int) -> None:
    visitor = await open_visitor(browser, "it-IT", viewport={"width": width, "height": 800})
    await visitor.log_in(router.front.url)
    await visitor.page.click(PHONE)
    await expect(visitor.page.locator(".sp-qr svg")).to_be_visible()
    for part in (".sp-page >> nth=0", ".sp-modal"):
        box = await visitor.page.locator(part).bounding_box()
        assert box is not None
        assert box["x"] >= 0
        assert box["x"] + box["width"] <= width
    assert await visitor.page.evaluate("document.documentElement.scrollWidth <= window.innerWidth")
    await visitor.context.close()


async def test_pages_open_the_http_session(router: ScriptedRouter, visitor: Visitor) -> None:
    async with visitor.page.expect_response("**/api/payments/session"):
        await visitor.log_in(router.front.url)
    requests = [request for request in router.payments.requests if request["path"] == "/api/payments/session"]
    session = await visitor.page.evaluate("L.env.sessionid")
    assert requests
    assert requests[0]["method"] == "POST"
    assert requests[0]["headers"]["authorization"] == f"Bearer {session}"
    assert "cookie" not in requests[0]["headers"]  # LuCI's own is bound to /cgi-bin/luci/


async def test_an_expired_session_is_called_so(router: ScriptedRouter, visitor: Visitor) -> None:
    await visitor.log_in(router.front.url)
    page = visitor.page
    await expect(page.locator(BUY)).to_be_enabled()
    await router.bus.call("session", "destroy", {"ubus_rpc_session": await page.evaluate("L.env.sessionid")})
    await expect(page.get_by_role("heading", name="Session expired")).to_be_visible()
    await expect(page.locator(".sp-notices")).to_contain_text("Your login has expired. Log in again.")


async def test_styles_are_of_the_version_of_the_modules(router: ScriptedRouter, visitor: Visitor) -> None:
    """A browser that has kept files of an older package requests neither of them from its cache."""
    await visitor.log_in(router.front.url)
    await expect(visitor.page.locator(BUY)).to_be_enabled()
    addresses = await visitor.page.evaluate("performance.getEntriesByType('resource').map(one => one.name)")
    version = await visitor.page.evaluate("L.env.resource_version")
    assert version
    ours = [address for address in addresses if re.search(r"stripe-payments.*\.(js|css)\b", address)]
    assert [address for address in ours if not address.endswith(f"?v={version}")] == []
    assert sum(".css?" in address for address in ours) == 2
