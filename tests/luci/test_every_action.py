"""Everything that can be done in the application, in both languages, on a phone and on a desk, in the dark
and in the light: from the empty account to the refund, with the real daemon and Stripe's own pages."""

import re
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio
from playwright.async_api import Browser, Page, expect

from simulator.stripe_account import SECRET_KEY
from simulator.world import World
from tests.luci.conftest import LUCI_SRC, PATIENCE_MS, open_visitor

pytestmark = pytest.mark.browser
expect.set_options(timeout=PATIENCE_MS)

RUN = "[data-dialog=run]"
LOOK, CREATE = "[data-focus=look]", "[data-focus=create]"
OPTION = "widget.cbid.stripe-payments.main"
FEATURE = "phone_support"


@pytest_asyncio.fixture(loop_scope="session")
async def empty_world() -> AsyncIterator[World]:
    async with World(luci_src=LUCI_SRC, configured=False) as world:
        yield world


@pytest.mark.parametrize(("locale", "width", "scheme"), [("it-IT", 375, "dark"), ("en-GB", 1280, "light")])
async def test_every_action(
    empty_world: World, browser: Browser, tmp_path: Path, locale: str, width: int, scheme: str
) -> None:
    world, lan = empty_world, empty_world.front.url.replace("127.0.0.1", "localhost")
    visitor = await open_visitor(
        browser,
        locale,
        color_scheme=scheme,
        viewport={"width": width, "height": 900},
        reduced_motion="reduce",
        accept_downloads=True,
    )
    page = visitor.page

    async def go(name: str) -> None:
        await page.goto(f"{lan}/cgi-bin/luci/admin/payments/{name}")

    await visitor.log_in(lan, path="/admin/payments/settings")
    assert await page.locator("html").get_attribute("lang") == locale[:2]
    await _set_up(world, page)
    await go("shop")
    await _subscribe(world, page)
    await go("shop")
    await _upgrade(world, page)
    await go("features")
    await _portal(world, page, lan)
    await _cancel_resume_and_end(world, page)
    await _grant_and_revoke(world, page)
    await page.click("[data-focus=sync]")
    await expect(page.locator("[data-focus=sync]")).to_be_enabled()
    await go("shop")
    await _buy_on_a_phone(world, page)
    await go("transactions")
    await _look_at_the_history_and_refund(world, page, tmp_path)
    assert visitor.complaints_about(lan) == []
    await visitor.context.close()


async def _set_up(world: World, page: Page) -> None:
    """Keys, products and prices, webhook, configuration, diagnostics."""
    await expect(page.locator("[data-check=key]")).to_have_class("bad")
    await page.click("[data-pane=stripe]")
    await page.fill("#sp-key-secret_key", SECRET_KEY)
    await page.click("[data-focus=keys]")
    await expect(page.locator("#sp-stored-secret_key")).to_contain_text(SECRET_KEY[-4:])
    await page.fill("#sp-key-publishable_key", "pk_test_51abcdefghWXYZ")
    await page.click("[data-focus=keys]")
    await page.click("[data-focus=remove-publishable_key]")
    await page.click(RUN)
    await expect(page.locator("[data-focus=remove-publishable_key]")).to_have_count(0)

    await page.click("[data-pane=catalog]")
    await page.click(LOOK)
    await page.click(CREATE)
    await expect(page.locator(CREATE)).to_have_count(0)
    await expect(page.locator("#sp-provision .sp-badge.good").first).to_be_visible()

    await page.click("[data-pane=stripe]")
    await page.fill("#sp-webhook input", f"{world.front.url}/api/payments/webhook")
    await page.click("[data-focus=webhook]")
    await expect(page.locator("#sp-webhook header .sp-badge")).to_have_class(re.compile("good"))

    await page.click("[data-pane=advanced]")
    await page.fill(f'[id="{OPTION}.grace_days"]', "9")
    await page.locator(".cbi-page-actions .cbi-button-apply").click()
    await expect(page.locator("#modal_overlay .modal")).to_be_visible()
    await expect(page.locator("#modal_overlay .modal")).not_to_be_visible()

    async def stored() -> bool:
        return "option grace_days '9'" in (world.root / "etc/config/stripe-payments").read_text()

    await world.wait_until(stored)
    await page.click("[data-pane=status]")
    await page.click("[data-focus=check]")
    await expect(page.locator("[data-check=key]")).to_have_class("good")


async def _subscribe(world: World, page: Page) -> None:
    await page.locator(".sp-switch label").nth(1).click()
    await page.locator(".sp-switch label").nth(0).click()
    await page.click("[data-offer=base] [data-way=pay]")
    await page.wait_for_url(f"{world.stripe.url}/c/pay/**")
    await page.click("#pay")
    await page.wait_for_url("**/payment-success?**")
    await expect(page.locator("#outcome")).to_have_attribute("data-state", "paid")
    await page.click("#shop")
    await expect(page.locator(".sp-panel .sp-progress")).to_have_attribute("data-phase", "unlocked")


async def _upgrade(world: World, page: Page) -> None:
    await expect(page.locator("[data-preview=business]")).not_to_be_empty()
    await page.click("[data-offer=business] [data-way=change]")
    await expect(page.locator(".sp-modal .sp-due")).to_be_visible()
    await page.click(RUN)
    await expect(page.locator("[data-offer=business] .sp-badge")).to_be_visible()
    await world.wait_until(lambda: world.unlocked(FEATURE))


async def _cancel_resume_and_end(world: World, page: Page) -> None:
    await page.click("[data-action=change]")
    await page.locator(".sp-modal input[type=radio]:enabled").first.check()
    await page.click(RUN)  # the next dialogue says what it costs
    await expect(page.locator(".sp-modal .sp-due")).to_be_visible()
    await page.locator(".sp-modal button:not([data-dialog])").click()
    await page.click("[data-action=cancel]")
    await page.click(RUN)
    await expect(page.locator("[data-action=resume]")).to_be_visible()
    await page.click("[data-action=resume]")
    await page.click(RUN)
    await expect(page.locator("[data-action=cancel]")).to_be_visible()
    await page.click("[data-action=cancel]")
    await page.locator(".sp-modal input[type=radio]").nth(1).check()
    await page.click(RUN)
    await expect(page.locator(f"[data-feature={FEATURE}]")).to_have_class(re.compile(r"(^| )locked"))
    await expect(page.locator("[data-action=resume]")).to_have_count(0)
    assert not await world.unlocked(FEATURE)


async def _portal(world: World, page: Page, lan: str) -> None:
    await page.click("[data-focus^=portal-]")
    await page.wait_for_url(f"{world.stripe.url}/p/session/**")
    await page.locator(f"a[href^='{lan}']").first.click()
    await page.wait_for_url(f"{lan}/cgi-bin/luci/admin/payments/features")


async def _grant_and_revoke(world: World, page: Page) -> None:
    row = page.locator(f"[data-feature={FEATURE}]")
    await row.locator("[data-action=grant]").click()
    await page.fill("#sp-grant-note", "un regalo <b>")
    await page.click(RUN)
    await expect(row.locator("[data-action=revoke]")).to_be_visible()
    assert await world.unlocked(FEATURE)
    await row.locator("[data-action=revoke]").click()
    await page.click(RUN)
    await expect(row.locator("[data-action=grant]")).to_be_visible()
    assert not await world.unlocked(FEATURE)


async def _buy_on_a_phone(world: World, page: Page) -> None:
    await page.click("[data-offer=router_os_premium] [data-way=phone]")
    await expect(page.locator(".sp-qr svg")).to_be_visible()
    progress = page.locator(".sp-modal .sp-progress")
    await expect(progress).to_have_attribute("data-phase", "waiting")
    newest = (await world.account.request("GET", "checkout/sessions", limit=1))["data"][0]
    await world.pay(newest["id"])
    await expect(progress).to_have_attribute("data-phase", "unlocked")
    await page.keyboard.press("Escape")
    await expect(page.locator("[data-offer=router_os_premium] .sp-badge")).to_be_visible()


async def _look_at_the_history_and_refund(world: World, page: Page, folder: Path) -> None:
    rows = page.locator("[data-transaction]")
    await expect(rows).to_have_count(3)
    await expect(page.locator(".sp-spending")).to_be_visible()
    await page.select_option("[data-focus=sp-kind]", "payment")
    await expect(rows).to_have_count(1)
    await page.select_option("[data-focus=sp-kind]", "")
    await page.select_option("[data-focus=sp-state]", "paid")
    await expect(rows).to_have_count(3)
    async with page.expect_download() as waiting:
        await page.click("[data-focus=csv]")
    file = folder / "history.csv"
    await (await waiting.value).save_as(file)
    assert len(file.read_text("utf-8-sig").splitlines()) == 4
    await page.select_option("[data-focus=sp-state]", "")
    await page.locator("[data-action=refund]").first.click()
    await page.click(RUN)
    await expect(rows).to_have_count(4)
    await world.wait_until(lambda: _locked(world))


async def _locked(world: World) -> bool:
    return not await world.unlocked("remote_backup_daily")
