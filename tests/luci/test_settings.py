"""Settings and doctor: diagnostics, keys, provisioning, webhook, and the form over UCI."""

import asyncio
import json
import re

import pytest
from playwright.async_api import Browser, Page, expect

from simulator.router.uci_file import parse
from tests.luci.conftest import PATIENCE_MS, ScriptedRouter, Visitor, open_visitor
from ubus_py import Status

pytestmark = pytest.mark.browser
expect.set_options(timeout=PATIENCE_MS)

PATH = "/admin/payments/settings"
RUN = "[data-dialog=run]"
CBID = "widget.cbid.stripe-payments"


async def _open(
    router: ScriptedRouter, visitor: Visitor, username: str = "root", tab: str | None = None
) -> Page:
    await visitor.log_in(router.front.url, username, PATH)
    await expect(visitor.page.locator("#sp-doctor")).to_be_visible()
    if tab is not None:
        await visitor.page.click(f"[data-pane={tab}]")
    return visitor.page


async def _configured(router: ScriptedRouter, section: str, option: str) -> object:
    reply = await router.bus.call("stripe-payments.uci", "load", {})
    settings = reply["settings"]
    assert isinstance(settings, dict)
    found = settings.get(section)
    return found.get(option) if isinstance(found, dict) else None


async def test_the_doctor_puts_what_is_wrong_first(router: ScriptedRouter, visitor: Visitor) -> None:
    router.payments.furnish()
    page = await _open(router, visitor)
    checks = page.locator("[data-check]")
    await expect(checks).to_have_count(4)
    order = [await check.get_attribute("data-check") for check in await checks.all()]
    assert order == ["prices", "clock", "webhook_endpoint", "key"]
    await expect(checks.nth(0)).to_contain_text("Prices at Stripe")
    await expect(checks.nth(0).locator(".sp-hint")).to_have_text("Create it.")
    await expect(checks.nth(1)).to_contain_text(re.compile(r"The clock is late: \d+ \w+ 2031, \d\d:\d\d\."))
    await expect(checks.nth(0).get_by_role("img", name="Error")).to_be_visible()
    await expect(page.locator("#sp-doctor header .sp-badge")).to_have_text("Errors: 1")
    await expect(checks.nth(3)).not_to_be_visible()
    router.payments.checks = [dict(check, ok=True, severity="ok") for check in router.payments.checks]
    gate = router.payments.gates["check"] = asyncio.Event()
    await page.get_by_role("button", name="Check again").click()
    await expect(page.locator("#sp-doctor").get_by_role("button", name="Checking…")).to_be_disabled()
    gate.set()
    await expect(page.locator("#sp-doctor header .sp-badge")).to_have_text("All checks passed")
    await expect(checks.nth(3)).to_be_visible()
    assert visitor.complaints == []


@pytest.mark.parametrize("label", ["Address", "Secret key"])
async def test_the_end_of_the_checks_does_not_interrupt_typing(
    router: ScriptedRouter, visitor: Visitor, label: str
) -> None:
    gate = router.payments.gates["check"] = asyncio.Event()
    page = await _open(router, visitor, tab="stripe")
    await page.get_by_label(label, exact=True).focus()
    await page.keyboard.type("half ")
    gate.set()
    await expect(page.locator("[data-focus=check]")).to_be_enabled()
    await page.keyboard.type("and half")
    await expect(page.get_by_label(label, exact=True)).to_have_value("half and half")


async def test_keys_go_in_and_never_come_back(router: ScriptedRouter, visitor: Visitor) -> None:
    router.payments.mode = "unconfigured"
    page = await _open(router, visitor, tab="stripe")
    await expect(page.locator("#sp-keys .sp-badge")).to_have_text("Not set up")
    await page.get_by_role("button", name="Save keys").click()
    await expect(page.locator("#sp-keys [role=alert]")).to_contain_text("No key entered.")
    secret = page.get_by_label("Secret key", exact=True)
    await expect(secret).to_have_attribute("type", "password")
    await secret.fill(" sk_test_51abcdefWXYZ ")
    await page.get_by_role("button", name="Save keys").click()
    await expect(page.locator("#sp-keys .sp-badge")).to_have_text("Test mode")
    await expect(page.locator("#sp-stored-secret_key")).to_contain_text("Saved: sk_test_…WXYZ")
    await expect(secret).to_have_value("")
    await expect(page.locator(".sp-notice.success")).to_have_text("The keys are saved.")
    given = {"secret_key": "sk_test_51abcdefWXYZ"}
    assert router.payments.called("set_keys") == [given | {"dry_run": True}, given]
    assert "sk_test_51abc" not in await page.content()
    await page.get_by_role("button", name="Remove: Secret key").click()
    await expect(page.locator(".sp-modal")).to_contain_text("Nothing can be bought and polling stops")
    await page.click(RUN)
    await expect(page.locator("#sp-stored-secret_key")).to_have_text("Not set.")
    assert router.payments.called("set_keys")[-1] == {"secret_key": ""}
    assert visitor.complaints == []


async def test_a_refused_key_stays_in_the_field(router: ScriptedRouter, visitor: Visitor) -> None:
    router.payments.refuse["set_keys"] = (
        Status.INVALID_ARGUMENT,
        {
            "code": "invalid_argument",
            "message": "The request is not valid (“secret_key”).",
            "hint": "Correct it.",
        },
    )
    page = await _open(router, visitor, tab="stripe")
    await page.get_by_label("Secret key", exact=True).fill("pk_test_wrong")
    await page.get_by_role("button", name="Save keys").click()
    await expect(page.locator("#sp-keys [role=alert]")).to_contain_text("“secret_key”")
    await expect(page.get_by_label("Secret key", exact=True)).to_have_value("pk_test_wrong")
    await expect(page.get_by_role("button", name="Save keys")).to_be_enabled()


async def test_a_key_that_would_lock_or_does_not_work_is_not_stored_unasked(
    router: ScriptedRouter, visitor: Visitor
) -> None:
    router.payments.furnish()
    page = await _open(router, visitor, tab="stripe")
    secret = page.get_by_label("Secret key", exact=True)
    save = page.get_by_role("button", name="Save keys")

    def stored() -> list[dict[str, object]]:
        return [call for call in router.payments.called("set_keys") if "dry_run" not in call]

    router.payments.trial = {"accepted": False}
    await secret.fill("sk_test_mistyped1234")
    await save.click()
    await expect(page.locator("#sp-keys [role=alert]")).to_contain_text(
        "Stripe does not accept this secret key. Nothing was changed."
    )
    router.payments.trial = {"mode": "live", "locks": ["email_support", "remote_backup"]}
    await secret.fill("rk_live_51abcdefWXYZ")
    await save.click()
    dialogue = page.get_by_role("dialog", name="Replace the secret key")
    await expect(dialogue).to_contain_text("Features bought in test mode lock: 2.")
    await expect(dialogue).to_contain_text("remote_backup")
    await dialogue.get_by_role("button", name="Keep the saved key").click()
    router.payments.trial = {"accepted": None}
    await save.click()
    await expect(dialogue).to_contain_text("it is not known whether this key works")
    await dialogue.get_by_role("button", name="Keep the saved key").click()
    router.payments.trial = {"other_account": True}
    await save.click()
    await expect(dialogue).to_contain_text("This key belongs to another Stripe account")
    assert stored() == []
    looked = len(router.payments.called("check"))
    await dialogue.get_by_role("button", name="Replace").click()
    await expect(page.locator(".sp-notice.success")).to_have_text("The keys are saved.")
    assert stored() == [{"secret_key": "rk_live_51abcdefWXYZ"}]
    await expect(page.locator("[data-check]")).to_have_count(4)
    assert len(router.payments.called("check")) == looked + 1
    assert visitor.complaints == []


async def test_tabs_are_chosen_by_keyboard_and_kept(router: ScriptedRouter, visitor: Visitor) -> None:
    page = await _open(router, visitor)
    buttons = page.locator(".cbi-page-actions")
    await expect(page.get_by_role("tab", selected=True)).to_have_text("Status")
    await expect(buttons).not_to_be_visible()
    await page.get_by_role("tab", name="Status").focus()
    for name, saved in (("Stripe", False), ("Catalog", True), ("Advanced", True)):
        await page.keyboard.press("ArrowRight")
        await expect(page.get_by_role("tab", selected=True)).to_have_text(name)
        await expect(page.get_by_role("tab", name=name)).to_be_focused()
        await expect(buttons).to_be_visible(visible=saved)
    await expect(page.locator(f'[id="{CBID}.main.grace_days"]')).to_be_visible()
    await expect(page.locator("tr[data-section-id=price_premium_monthly]")).not_to_be_visible()
    await page.reload()
    await expect(page.get_by_role("tab", selected=True)).to_have_text("Advanced")


async def test_nothing_is_created_at_stripe_before_it_was_looked_at(
    router: ScriptedRouter, visitor: Visitor
) -> None:
    page = await _open(router, visitor, tab="catalog")
    create = page.locator("#sp-provision").get_by_role("button", name="Create at Stripe (2)")
    await expect(create).to_have_count(0)
    await page.get_by_role("button", name="Check products").click()
    await expect(page.locator("[data-provision=price-premium_monthly]")).to_contain_text("will be created")
    await expect(page.locator("[data-provision=price-premium_monthly]")).to_contain_text("€4.99 per month")
    await expect(page.locator("[data-provision=price-premium_yearly]")).to_contain_text("59.99 EUR in Stripe")
    assert router.payments.called("provision") == [{"dry_run": True, "replace": False}]
    rows = await page.locator("[data-provision] .what").all_inner_texts()
    assert [row.partition("\n")[0] for row in rows] == [
        "Premium",
        "premium_monthly",
        "premium_yearly",
        "Router OS Premium: premium_onetime",
    ]
    await create.dblclick()
    await expect(page.locator("#sp-provision")).to_contain_text("Done: 2 created.")
    await expect(create).to_have_count(0)
    assert router.payments.called("provision")[1:] == [{"dry_run": False, "replace": False}]
    await page.get_by_role("button", name="Check products").click()
    await expect(page.locator("#sp-provision [role=status]")).to_have_text(
        "Nothing is missing, but prices differ: 1"
    )
    await page.get_by_role("button", name="Replace changed prices (1)").click()
    await expect(page.locator(".sp-modal")).to_contain_text("Existing subscriptions keep the old prices.")
    await page.click(RUN)
    await expect(page.locator("[data-provision=price-premium_yearly] .sp-badge")).to_have_text("replaced")
    assert router.payments.called("provision")[-1] == {"dry_run": False, "replace": True}
    assert visitor.complaints == []


async def test_setting_the_webhook_up(router: ScriptedRouter, visitor: Visitor) -> None:
    page = await _open(router, visitor, tab="stripe")
    await page.get_by_label("Address", exact=True).fill("https://router.example.org/api/payments/webhook")
    await page.get_by_role("button", name="Set up the webhook").click()
    await expect(page.locator("#sp-webhook .sp-done")).to_have_text("Endpoint created.")
    await expect(page.locator("#sp-webhook .sp-badge")).to_have_text("Set up")
    facts = page.locator("#sp-webhook dd")
    await expect(facts.nth(0)).to_have_text("https://router.example.org/api/payments/webhook")
    await expect(facts.nth(1)).to_have_text(re.compile(r"\d+ \w+ 2031, \d\d:\d\d"))
    assert router.payments.called("setup_webhook") == [
        {"url": "https://router.example.org/api/payments/webhook"}
    ]


async def test_the_form_writes_the_configuration(router: ScriptedRouter, visitor: Visitor) -> None:
    page = await _open(router, visitor, tab="advanced")
    interval = page.locator(f'[id="{CBID}.main.poll_interval"]')
    await expect(interval).to_have_value("900")
    await interval.fill("5")
    await page.locator(".cbi-page-actions .cbi-button-save").click()
    await expect(page.locator("#modal_overlay .modal")).to_contain_text("Polling interval (seconds)")
    await page.get_by_role("button", name="Dismiss").click()
    await interval.fill("300")
    await page.locator(f'[id="{CBID}.main.public_url"]').fill("https://router.example.org")
    await page.locator(".cbi-page-actions .cbi-button-save").click()
    await expect(page.locator("#indicators")).to_contain_text("Unsaved Changes")
    await page.click("[data-pane=catalog]")
    row = page.locator("tr[data-section-id=price_premium_monthly]")
    await expect(row).to_contain_text("€4.99")
    await expect(row.locator("[data-name=of]")).to_have_text("Premium")
    await expect(row.locator("[data-name=interval]")).to_have_text("Monthly")
    await row.locator(".cbi-button-edit").click()
    amount = page.locator(f'#modal_overlay [id="{CBID}.price_premium_monthly.amount"]')
    await expect(amount).to_have_value("4.99")
    await amount.fill("5,49")
    await page.locator("#modal_overlay .cbi-button-positive").click()
    await expect(row).to_contain_text("€5.49")
    await expect(page.locator("#modal_overlay .cbi-map")).not_to_be_visible()
    await page.locator(".cbi-page-actions .cbi-button-apply").click()
    await expect(page.locator("#modal_overlay .modal")).to_contain_text("Configuration changes applied.")
    await expect(page.locator("#modal_overlay .modal")).not_to_be_visible()
    assert await _configured(router, "main", "poll_interval") == "300"
    assert await _configured(router, "main", "public_url") == "https://router.example.org"
    assert await _configured(router, "price_premium_monthly", "amount") == "549"
    assert await _configured(router, "price_premium_yearly", "amount") == "4999"
    await expect(page.get_by_label("Address", exact=True)).to_have_value(
        "https://router.example.org/api/payments/webhook"
    )
    assert visitor.complaints == []


@pytest.mark.parametrize(
    ("locale", "refused"),
    [
        (
            "en-GB",
            [
                ("eur", "4.999", "An amount such as 4.99."),
                ("eur", "0.49", "Stripe’s minimum is €0.50."),
                ("eur", "1000000", "Stripe’s maximum is €999,999.99."),
                ("HUF", "174.99", "Stripe’s minimum is HUF\xa0175."),
                ("jpy", "49", "Stripe’s minimum is JP¥50."),
                ("ugx", "500.50", "Stripe requires a multiple of UGX\xa01."),
                ("kwd", "1.234", "Stripe requires a multiple of KWD\xa00.010."),
            ],
        ),
        (
            "it-IT",
            [
                ("eur", "4,999", "Un importo come 4,99."),
                ("eur", "0,49", "Il minimo di Stripe è 0,50\xa0€."),
                ("eur", "1000000", "Il massimo di Stripe è 999.999,99\xa0€."),
                ("kwd", "1,234", "Stripe richiede un multiplo di 0,010\xa0KWD."),
            ],
        ),
    ],
)
async def test_an_amount_that_stripe_does_not_charge_is_refused(
    router: ScriptedRouter, browser: Browser, locale: str, refused: list[tuple[str, str, str]]
) -> None:
    visitor = await open_visitor(browser, locale)
    page = await _open(router, visitor, tab="catalog")
    await page.locator("tr[data-section-id=price_premium_monthly] .cbi-button-edit").click()
    amount, currency = (
        page.locator(f'#modal_overlay [id="{CBID}.price_premium_monthly.{option}"]')
        for option in ("amount", "currency")
    )
    save = page.locator("#modal_overlay .cbi-button-positive")
    for code, entered, problem in refused:
        await currency.fill(code)
        await amount.fill(entered)
        await amount.press("Tab")
        await expect(amount).to_have_attribute("data-tooltip", problem)
    await save.click()  # does nothing: the dialogue stays open
    for code, entered in [("ugx", "500"), ("gbp", "0.30"), ("eur", "0")]:
        await currency.fill(code)
        await amount.fill(entered)
        await amount.press("Tab")
        await expect(amount).not_to_have_class(re.compile("cbi-input-invalid"))
    await save.click()
    await expect(amount).not_to_be_visible()
    assert visitor.complaints == []
    await visitor.context.close()


async def test_a_plan_is_added_and_taken_away(router: ScriptedRouter, visitor: Visitor) -> None:
    page = await _open(router, visitor, tab="catalog")
    plans = page.locator("#cbi-stripe-payments-plan")
    await plans.get_by_label("Plans: New name").fill("family")
    await plans.locator(".cbi-section-create-name").press("y")
    await plans.locator(".cbi-section-create-name").press("Backspace")
    await plans.locator(".cbi-button-add").click()
    await page.locator(f'#modal_overlay [id="{CBID}.family.title"]').fill("Family")
    await page.locator("#modal_overlay .cbi-button-positive").click()
    await expect(page.locator("tr[data-section-id=family]")).to_contain_text("Family")
    await page.locator("tr[data-section-id=base] .cbi-button-remove").click()
    await expect(page.locator("tr[data-section-id=base]")).to_have_count(0)
    await page.locator(".cbi-page-actions .cbi-button-apply").click()
    await expect(page.locator("#modal_overlay .modal")).to_contain_text("Configuration changes applied.")
    await expect(page.locator("#modal_overlay .modal")).not_to_be_visible()
    assert await _configured(router, "family", "title") == "Family"
    assert await _configured(router, "base", "title") is None
    assert visitor.complaints == []


async def test_the_shipped_configuration_survives_being_saved(
    router: ScriptedRouter, visitor: Visitor
) -> None:
    before = (await router.bus.call("stripe-payments.uci", "load", {}))["settings"]
    page = await _open(router, visitor, tab="advanced")
    await page.locator(".cbi-page-actions .cbi-button-apply").click()
    await expect(page.locator("#modal_overlay .modal")).to_be_visible()
    await expect(page.locator("#modal_overlay .modal")).not_to_be_visible()
    after = (await router.bus.call("stripe-payments.uci", "load", {}))["settings"]
    assert isinstance(before, dict)
    assert isinstance(after, dict)
    for name, section in before.items():
        assert isinstance(section, dict)
        kept = {option: value for option, value in section.items() if value not in ("", None)}
        assert after[name] == kept, name


async def test_who_may_not_administer_sees_the_doctor_alone(router: ScriptedRouter, visitor: Visitor) -> None:
    router.payments.furnish()
    page = await _open(router, visitor, "viewer")
    await expect(page.locator("[data-check]")).to_have_count(4)
    await expect(page.locator(".sp-notices")).to_contain_text("View only: you cannot make changes.")
    await expect(page.locator("#sp-keys")).not_to_be_visible()
    await expect(page.locator(".cbi-map")).to_have_count(0)
    await expect(page.locator(".cbi-page-actions")).to_have_count(0)
    reply = await page.evaluate(
        """method => fetch('/ubus/', {
            method: 'POST',
            body: JSON.stringify({ jsonrpc: '2.0', id: 1, method: 'call',
                params: [ L.env.sessionid, 'uci', 'get', { config: 'stripe-payments' } ] })
        }).then(reply => reply.text())"""
    )
    assert json.loads(reply)["result"] == [int(Status.PERMISSION_DENIED)]
    assert visitor.complaints == []


SETTINGS = {"en": "Settings", "it": "Impostazioni"}
WHY = {
    "en": "The payments of this router are managed by its provider.",
    "it": "I pagamenti di questo router sono gestiti da chi lo fornisce.",
}


@pytest.mark.parametrize("locale", ["en", "it"])
async def test_on_a_managed_router_settings_are_gone_and_their_address_says_why(
    router: ScriptedRouter, browser: Browser, locale: str
) -> None:
    router.payments.status_extra["managed"] = True
    mark = router.root / "var/run/stripe-payments/managed"
    mark.mkdir(parents=True)
    visitor = await open_visitor(browser, locale)
    page = visitor.page
    await visitor.log_in(router.front.url, path="/admin/payments/shop")
    await expect(page.locator('a[href$="/admin/payments/transactions"]').first).to_be_attached()
    await expect(page.get_by_role("link", name=SETTINGS[locale], include_hidden=True)).to_have_count(0)
    await page.goto(f"{router.front.url}/cgi-bin/luci/admin/payments/settings")
    await expect(page.locator(".sp-notices")).to_contain_text(WHY[locale])
    await expect(page.locator(".cbi-map")).to_have_count(0)
    await expect(page.locator("#sp-keys")).not_to_be_visible()
    await visitor.context.close()
    mark.rmdir()
    visitor = await open_visitor(browser, locale)  # LuCI keeps a session's menu
    await visitor.log_in(router.front.url, path="/admin/payments/shop")
    await expect(visitor.page.get_by_role("link", name=SETTINGS[locale], include_hidden=True)).to_have_count(
        1
    )
    await visitor.context.close()


def test_no_secret_is_an_option_of_the_shipped_configuration() -> None:
    from simulator.router.root_files import REPOSITORY

    package = parse("stripe-payments", (REPOSITORY / "files/etc/config/stripe-payments").read_text())
    assert not [
        name for section in package.sections for name in section.options if "secret" in name or "key" in name
    ]
