"""My features: what is unlocked and why, and everything that can be done with a subscription."""

import asyncio

import pytest
from playwright.async_api import Browser, Page, expect

from tests.luci.conftest import PATIENCE_MS, ScriptedRouter, Visitor, open_visitor
from ubus_py import Status

pytestmark = pytest.mark.browser
expect.set_options(timeout=PATIENCE_MS)

PATH = "/admin/payments/features"
CARD = "[data-subscription=sub_1]"
RUN = "[data-dialog=run]"
CHANGE = {"subscription": "sub_1", "price_id": "premium_monthly"}


async def _open(router: ScriptedRouter, visitor: Visitor, username: str = "root") -> Page:
    await visitor.log_in(router.front.url, username, PATH)
    await expect(visitor.page.locator(".sp-feature")).to_have_count(4)
    return visitor.page


@pytest.mark.parametrize(
    ("reason", "until", "words", "badge"),
    [
        ("paid", None, "Yours forever.", "Unlocked"),
        ("active", "2031-05-17T12:00:00Z", "Renews on 17 May 2031.", "Unlocked"),
        ("active", "2021-05-17T12:00:00Z", "not confirmed yet; stays unlocked", "Unlocked"),
        ("ending", "2031-05-17T12:00:00Z", "Locks on 17 May 2031: the subscription ends.", "Unlocked"),
        ("grace", "2031-05-17T12:00:00Z", "Locks on 17 May 2031 unless it is paid.", "Unlocked"),
        ("granted", None, "Granted by the administrator.", "Unlocked"),
        ("offline", "2021-05-17T12:00:00Z", "has been unreachable for too long", "Locked"),
        ("refunded", None, "The payment was refunded.", "Locked"),
        ("none", None, "Not purchased.", "Locked"),
        ("of_tomorrow", None, "Locked.", "Locked"),
    ],
)
async def test_every_state_is_shown_in_a_sentence(
    router: ScriptedRouter, visitor: Visitor, reason: str, until: str | None, words: str, badge: str
) -> None:
    if badge == "Unlocked":
        router.payments.unlocked = {"email_support"}
    router.payments.features = {
        "email_support": {
            "reason": reason,
            "until": until,
            "source": "x",
            "plan": "base",
            "disputed": reason == "paid",
        }
    }
    page = await _open(router, visitor)
    feature = page.locator("[data-feature=email_support]")
    await expect(feature).to_contain_text(words)
    await expect(feature.locator(".sp-badge")).to_have_text(badge)
    await expect(feature.locator("[data-disputed]")).to_have_count(int(reason == "paid"))
    assert visitor.complaints == []


async def test_a_change_of_plan_costs_what_was_said(router: ScriptedRouter, visitor: Visitor) -> None:
    router.payments.subscribe("base")
    router.payments.preview |= {"credit": 50, "next_payment": {"date": "2031-05-17T12:00:00Z", "amount": 449}}
    page = await _open(router, visitor)
    await expect(page.locator(CARD)).to_contain_text("Renews on 17 May 2031 for €1.99.")
    await page.click(f"{CARD} [data-action=change]")
    await page.get_by_label("Premium €4.99 per month").check()
    await page.click(RUN)
    cost = page.locator(".sp-modal .sp-cost")
    await expect(cost).to_contain_text("Due today: €3.21")
    await expect(cost).to_contain_text("You have a credit of €0.50")
    await expect(cost).to_contain_text("Next payment: €4.49 on 17 May 2031, then €4.99 per month.")
    await page.dblclick(RUN)
    await expect(page.locator(f"{CARD} h4")).to_have_text("Premium")
    await expect(page.locator(".sp-modal")).not_to_be_visible()
    assert router.payments.called("preview_change")[0] == CHANGE
    assert router.payments.called("change_plan") == [CHANGE]
    assert visitor.complaints == []


async def test_a_credit_delays_the_price_after_a_change(router: ScriptedRouter, visitor: Visitor) -> None:
    """The first renewal costs less than the ones after it; Stripe could not preview them."""
    router.payments.subscribe("base")
    router.payments.preview |= {
        "credit": 300,
        "renewal_amount": 249,
        "next_payment": {"date": "2031-05-17T12:00:00Z", "amount": 0, "source": "list_price"},
    }
    page = await _open(router, visitor)
    await page.click(f"{CARD} [data-action=change]")
    await page.get_by_label("Premium €4.99 per month").check()
    await page.click(RUN)
    cost = page.locator(".sp-modal .sp-cost")
    await expect(cost).to_contain_text(
        "Next payment: €0.00 on 17 May 2031. When the credit is used up: €2.49 per month."
    )
    await expect(cost).to_contain_text("This is the list price: discounts and tax may change it.")


async def test_the_next_payment_is_the_one_that_stripe_previews(
    router: ScriptedRouter, visitor: Visitor
) -> None:
    expected = {
        "date": "2031-05-17T12:00:00Z",
        "amount": 199,
        "currency": "eur",
        "source": "list_price",
    }
    router.payments.subscribe("base", next_payment=expected)
    router.payments.next_payment = expected
    page = await _open(router, visitor)
    await expect(page.locator(CARD)).to_contain_text(
        "Renews on 17 May 2031 for €1.99. This is the list price: discounts and tax may change it."
    )
    router.payments.next_payment = expected | {"amount": 99, "source": "preview"}
    router.payments.subscriptions[0]["next_payment"] = expected | {"amount": 200}
    await expect(page.locator(CARD)).to_contain_text("Renews on 17 May 2031 for €0.99.")
    router.payments.subscriptions[0]["planned_change"] = {
        "date": "2031-05-17T12:00:00Z",
        "price": "premium_monthly",
        "title": "Premium",
        "amount": 499,
        "currency": "eur",
        "interval": "month",
    }
    await expect(page.locator(CARD)).to_contain_text(
        "The seller has planned a change: from 17 May 2031 it is Premium, €4.99 per month."
    )
    await expect(page.locator(CARD)).not_to_contain_text("list price")
    assert visitor.complaints == []


async def test_a_plan_for_what_is_owned_forever_can_be_ended(
    router: ScriptedRouter, visitor: Visitor
) -> None:
    router.payments.subscribe("base")
    router.payments.own("router_os_premium")
    for feature in router.payments.unlocked:
        router.payments.features[feature] = {"source": "cs_1", "plan": "router_os_premium", "reason": "paid"}
    page = await _open(router, visitor)
    warning = page.locator(".sp-notice.warning")
    await expect(warning).to_contain_text("You pay €1.99 per month for features that are yours forever.")
    await page.click(f"{CARD} [data-action=cancel]")
    await page.click(RUN)
    await expect(warning).to_have_count(0)
    assert router.payments.called("cancel_subscription") == [{"subscription": "sub_1", "at_period_end": True}]


async def test_two_plans_that_are_charged_are_named(router: ScriptedRouter, visitor: Visitor) -> None:
    router.payments.subscribe("base")
    router.payments.subscribe("premium", id="sub_2", amount=499)
    page = await _open(router, visitor)
    warning = page.locator(".sp-notice.warning")
    await expect(warning).to_contain_text("2 subscriptions are active, and each of them is charged.")
    await expect(warning).to_contain_text("Payments can be refunded under Transactions.")
    router.payments.subscriptions[1].update(cancel_at_period_end=True, ends_at="2031-05-17T12:00:00Z")
    await expect(warning).to_have_count(0)


async def test_a_payment_to_be_completed_is_shown_the_way(router: ScriptedRouter, visitor: Visitor) -> None:
    pending = {
        "price": "premium_monthly",
        "expires_at": None,
        "invoice_url": "https://invoice.stripe.com/i/1",
    }
    subscription = router.payments.subscribe("base")
    page = await _open(router, visitor)
    await page.click(f"{CARD} [data-action=change]")
    await page.get_by_label("Premium €4.99 per month").check()
    await page.click(RUN)
    await expect(page.locator(".sp-modal .sp-cost")).to_contain_text("Due today:")
    router.payments.changed = {**subscription, "pending_change": pending}
    await page.click(RUN)
    await expect(page.locator(".sp-modal")).to_contain_text("Payment required.")
    link = page.locator(".sp-modal").get_by_role("link", name="Complete the payment at Stripe")
    await expect(link).to_have_attribute("href", "https://invoice.stripe.com/i/1")
    await expect(page.locator(RUN)).to_have_count(0)
    await page.get_by_role("button", name="Close").click()
    await expect(page.locator(f"{CARD}")).to_contain_text("The change to Premium is waiting for payment.")


async def test_a_plan_that_was_to_end_can_be_changed_and_renews_again(
    router: ScriptedRouter, visitor: Visitor
) -> None:
    router.payments.subscribe("base", cancel_at_period_end=True, ends_at="2031-05-17T12:00:00Z")
    router.payments.preview = {
        **router.payments.preview,
        "pays_by_debit": True,
        "waits_for_debit": True,
    }
    page = await _open(router, visitor)
    await page.click(f"{CARD} [data-action=change]")
    await page.get_by_label("Premium €4.99 per month").check()
    await page.click(RUN)
    dialogue = page.locator(".sp-modal")
    await expect(dialogue).to_contain_text("Your subscription was to end. With this change it renews again.")
    await expect(dialogue).to_contain_text(
        "It is debited from your bank account within days. "
        "What is new in the plan unlocks when the debit has arrived."
    )


async def test_cancelling_says_what_ends_and_can_be_taken_back(
    router: ScriptedRouter, visitor: Visitor
) -> None:
    router.payments.subscribe("base")
    page = await _open(router, visitor)
    await page.click(f"{CARD} [data-action=cancel]")
    dialogue = page.locator(".sp-modal")
    await expect(dialogue).to_contain_text("These features will lock: Email support and Security updates.")
    await expect(dialogue).to_contain_text("Stays unlocked until 17 May 2031. Nothing more is charged.")
    await page.keyboard.press("Escape")
    await expect(dialogue).not_to_be_visible()
    await expect(page.locator(f"{CARD} [data-action=cancel]")).to_be_focused()
    assert router.payments.called("cancel_subscription") == []
    await page.keyboard.press("Enter")
    await page.click(RUN)
    await expect(page.locator(f"{CARD} .sp-badge")).to_have_text("Ending")
    assert router.payments.called("cancel_subscription") == [{"subscription": "sub_1", "at_period_end": True}]
    await page.click(f"{CARD} [data-action=resume]")
    await expect(dialogue).to_contain_text("Your subscription will renew on 17 May 2031 for €1.99.")
    await page.click(RUN)
    await expect(page.locator(f"{CARD} .sp-badge")).to_have_text("Active")
    await page.click(f"{CARD} [data-action=cancel]")
    await page.get_by_label("Immediately").check()
    await page.click(RUN)
    await expect(page.get_by_text("Ended subscriptions (1)")).to_be_visible()
    await expect(page.get_by_role("link", name="Choose a plan")).to_be_visible()
    await expect(page.locator(".sp-notice.success")).to_have_text("The subscription has ended.")
    assert router.payments.called("cancel_subscription")[-1] == {
        "subscription": "sub_1",
        "at_period_end": False,
    }
    assert visitor.complaints == []


async def test_an_unpaid_plan_is_not_promised_to_stay(router: ScriptedRouter, visitor: Visitor) -> None:
    invoice = {
        "id": "in_1",
        "status": "open",
        "amount_due": 1499,
        "currency": "eur",
        "url": "https://invoice.stripe.com/i/1",
    }
    router.payments.subscribe(
        "base", status="past_due", grace_until="2031-04-20T12:00:00Z", latest_invoice=invoice
    )
    page = await _open(router, visitor)
    alert = page.locator(".sp-notice.error")
    await expect(alert).to_contain_text("The last payment for “Base” failed.")
    await page.click(f"{CARD} [data-action=cancel]")
    dialogue = page.locator(".sp-modal")
    await expect(dialogue).to_contain_text(
        "stays unlocked until 20 Apr 2031, or until 17 May 2031 if the open invoice is paid."
    )
    await expect(dialogue).not_to_contain_text("Nothing more is charged")
    await expect(dialogue).to_contain_text("The open invoice of €14.99 is neither paid nor voided by this.")
    await page.get_by_role("button", name="Keep subscription").click()
    assert router.payments.called("cancel_subscription") == []
    router.payments.subscriptions[0].update(status="unpaid", grace_until=None)
    await expect(alert).to_contain_text("Its features are locked until it is paid.")
    await page.click(f"{CARD} [data-action=cancel]")
    await expect(dialogue).to_contain_text("its features stay locked unless the open invoice is paid.")
    assert visitor.complaints == []


async def test_a_plan_whose_first_debit_is_processing_is_not_called_active(
    router: ScriptedRouter, visitor: Visitor
) -> None:
    plan = router.payments.subscribe("base")
    router.payments.unlocked.clear()
    page = await _open(router, visitor)
    await expect(page.locator(CARD)).to_contain_text("Active")
    begun = {"payment_id": "cs_1", "price": plan["price"], "state": "processing", "url": None}
    router.payments.purchases = [begun | {"created": "2031-04-30T10:00:00Z"}]
    await expect(page.locator(CARD)).to_contain_text("The bank is still processing the payment.")
    await expect(page.locator(CARD)).not_to_contain_text("Active")
    await page.goto(f"{router.front.url}/cgi-bin/luci/admin/payments/shop")
    await expect(page.locator("[data-pending=base]")).to_contain_text("Payment pending since 30 Apr 2031")
    router.payments.purchases = []
    await expect(page.locator("[data-locked=base]")).to_contain_text("Locked on this router.")


async def test_a_downgrade_names_what_locks_with_it(router: ScriptedRouter, visitor: Visitor) -> None:
    router.payments.subscribe("premium")
    page = await _open(router, visitor)
    await page.click(f"{CARD} [data-action=change]")
    await expect(page.locator(RUN)).to_be_disabled()
    await expect(page.get_by_label("Premium €4.99 per month Current plan")).to_be_disabled()
    await page.get_by_label("Base €1.99 per month").check()
    await page.click(RUN)
    locks = "Not in Base, so these features lock now: Priority support and Daily remote backups."
    await expect(page.locator(".sp-modal [data-lost]")).to_have_text(locks)
    await page.click(RUN)
    await expect(page.locator(".sp-notice.success")).to_have_text("Your plan is now Base.")
    for feature in ("priority_support", "remote_backup"):
        router.payments.unlocked.discard(feature)
        router.payments.features[feature] = {"reason": "refunded"}
    await expect(page.locator("[data-feature=priority_support]")).to_contain_text("Not in your plan (Base).")
    assert visitor.complaints == []


async def test_a_refusal_stays_in_the_dialogue_and_can_be_tried_again(
    router: ScriptedRouter, visitor: Visitor
) -> None:
    router.payments.subscribe("base")
    router.payments.refuse["cancel_subscription"] = (
        Status.CONNECTION_FAILED,
        {"code": "stripe_unreachable", "message": "no route", "hint": "cable"},
    )
    page = await _open(router, visitor)
    await page.click(f"{CARD} [data-action=cancel]")
    await page.click(RUN)
    await expect(page.locator(".sp-modal [role=alert]")).to_contain_text(
        "Stripe cannot be reached from this router."
    )
    await expect(page.locator(RUN)).to_be_enabled()
    router.payments.refuse.clear()
    await page.click(RUN)
    await expect(page.locator(f"{CARD} .sp-badge")).to_have_text("Ending")


async def test_leaving_the_dialogue_does_not_lose_how_it_ends(
    router: ScriptedRouter, visitor: Visitor
) -> None:
    router.payments.subscribe("base")
    gate = router.payments.gates["cancel_subscription"] = asyncio.Event()
    router.payments.refuse["cancel_subscription"] = (
        Status.UNKNOWN_ERROR,
        {"code": "stripe_error", "message": "Stripe did not accept it.", "hint": "Later."},
    )
    page = await _open(router, visitor)
    await page.click(f"{CARD} [data-action=cancel]")
    await page.click(RUN)
    await expect(page.locator(RUN)).to_be_disabled()
    await page.get_by_role("button", name="Close").click()
    await expect(page.locator(".sp-modal")).not_to_be_visible()
    gate.set()
    await expect(page.locator(".alert-message")).to_contain_text("Stripe did not accept it.")


async def test_the_portal_leads_back_to_the_page(router: ScriptedRouter, visitor: Visitor) -> None:
    router.payments.subscribe("base", status="past_due", grace_until="2031-05-20T12:00:00Z")
    page = await _open(router, visitor)
    await expect(page.locator(CARD)).to_contain_text(
        "stay unlocked until 20 May 2031; update your payment method."
    )
    # The script's portal leads back at once, from the same site: Stripe's is tested with the daemon. The page
    # it leads back to has the address of the page that was left, so the loading is awaited, not the address.
    async with page.expect_event("load"):
        await page.get_by_role("button", name="Update payment method").click()
    await expect(page.locator(CARD)).to_be_visible()
    (asked,) = router.payments.called("portal")
    assert asked["return_url"].startswith(
        f"{router.front.url}/luci-static/resources/stripe-payments/return.html"
    )


async def test_asking_stripe_now(router: ScriptedRouter, visitor: Visitor) -> None:
    router.payments.status_extra["last_sync"] = "2031-04-30T10:00:00Z"
    gate = router.payments.gates["sync"] = asyncio.Event()
    page = await _open(router, visitor)
    await page.get_by_role("button", name="Check now").click()
    await expect(page.get_by_role("button", name="Querying Stripe…")).to_be_disabled()
    gate.set()
    await expect(page.get_by_role("button", name="Check now")).to_be_focused()
    assert len(router.payments.called("sync")) == 1
    router.payments.stripe = "unreachable"
    router.payments.refuse["sync"] = (Status.CONNECTION_FAILED, {"code": "stripe_unreachable", "message": ""})
    await page.reload()
    sentence = page.get_by_text("Stripe cannot be reached from this router.")
    await expect(sentence).to_have_count(1)
    await page.get_by_role("button", name="Check now").click()
    await expect(page.locator(".sp-sync [role=alert]")).to_be_visible()
    await expect(sentence).to_have_count(1)


async def test_an_administrator_unlocks_by_hand_and_takes_it_back(
    router: ScriptedRouter, visitor: Visitor
) -> None:
    page = await _open(router, visitor)
    feature = page.locator("[data-feature=remote_backup]")
    await feature.get_by_role("button", name="Grant manually: Daily remote backups").click()
    await page.get_by_label("Until").fill("2031-05-17")
    await page.get_by_label("Reason").fill("for the trade fair")
    await page.click(RUN)
    await expect(feature).to_contain_text("Manual grant")
    await expect(feature).to_contain_text("Granted by the administrator until 17 May 2031.")
    assert router.payments.called("grant") == [
        {"feature": "remote_backup", "until": "2031-05-17T23:59:59Z", "note": "for the trade fair"}
    ]
    await feature.get_by_role("button", name="Revoke: Daily remote backups").click()
    await page.click(RUN)
    await expect(feature.locator(".sp-badge")).to_have_text("Locked")
    assert router.payments.called("revoke") == [{"feature": "remote_backup"}]
    assert visitor.complaints == []


async def test_a_viewer_sees_and_changes_nothing(router: ScriptedRouter, visitor: Visitor) -> None:
    router.payments.subscribe("base")
    page = await _open(router, visitor, "viewer")
    await expect(page.locator(".sp-notices")).to_contain_text("View only: you cannot make changes.")
    for button in await page.locator(".sp-page .btn").all():
        await expect(button).to_be_disabled()
    assert visitor.complaints == []


async def test_on_a_managed_router_nobody_is_shown_grants(router: ScriptedRouter, visitor: Visitor) -> None:
    router.payments.status_extra["managed"] = True
    page = await _open(router, visitor)
    await expect(page.locator("[data-feature=email_support]")).to_be_visible()
    await expect(page.locator("[data-action=grant]")).to_have_count(0)
    await expect(page.get_by_role("button", name="Check now")).to_be_enabled()


async def test_it_speaks_italian(router: ScriptedRouter, browser: Browser) -> None:
    router.payments.subscribe("base")
    visitor = await open_visitor(browser, "it-IT")
    page = await _open(router, visitor)
    await expect(page.locator(CARD)).to_contain_text("Si rinnova il 17 mag 2031 per 1,99 €.")
    await page.click(f"{CARD} [data-action=cancel]")
    await expect(page.locator(".sp-modal")).to_contain_text("Resta sbloccato fino al 17 mag 2031.")
    await visitor.context.close()


async def test_a_shop_with_a_plan_offers_the_others_for_what_they_cost_now(
    router: ScriptedRouter, visitor: Visitor
) -> None:
    router.payments.subscribe("base")
    await visitor.log_in(router.front.url)
    page = visitor.page
    await expect(page.locator("[data-preview=premium]")).to_have_text("Due today: €3.21")
    await expect(page.locator("[data-offer=premium] [data-way=change]")).to_have_text("Upgrade")
    await expect(page.locator("[data-offer=base] [data-way]")).to_have_count(0)
    await page.locator(".sp-switch label", has_text="Yearly").click()
    await expect(page.locator("[data-offer=base] [data-way=change]")).to_have_text("Pay yearly")
    await page.locator(".sp-switch label", has_text="Monthly").click()
    await page.click("[data-offer=premium] [data-way=change]")
    await expect(page.locator(".sp-modal .sp-cost")).to_contain_text("Due today: €3.21")
    await page.click(RUN)
    await expect(page.locator("[data-offer=base] [data-way=change]")).to_have_text("Downgrade")
    assert router.payments.called("change_plan") == [CHANGE]
    assert router.payments.checkouts == []
    assert visitor.complaints == []
