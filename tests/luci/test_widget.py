"""The box on the status overview."""

import pytest
from playwright.async_api import expect

from tests.luci.conftest import PATIENCE_MS, ScriptedRouter, Visitor

pytestmark = pytest.mark.browser
expect.set_options(timeout=PATIENCE_MS)

OVERVIEW = "/admin/status/overview"


async def test_plan_and_way_to_it(router: ScriptedRouter, visitor: Visitor) -> None:
    router.payments.subscribe("base")
    await visitor.log_in(router.front.url, path=OVERVIEW)
    widget = visitor.page.locator(".sp-widget")
    await expect(widget).to_contain_text("Base")
    await expect(widget).to_contain_text("2 of 4 features unlocked")
    await expect(widget).to_contain_text("Renews on 17 May 2031 for €1.99.")
    await expect(widget.locator(".sp-notice")).to_have_count(0)
    await widget.get_by_role("link", name="My features").click()
    await visitor.page.wait_for_url("**/admin/payments/features")
    assert visitor.complaints == []


@pytest.mark.parametrize(
    ("state", "words"),
    [
        ({"mode": "unconfigured"}, "Payments are not set up yet."),
        ({"stripe": "unreachable"}, "Stripe cannot be reached from this router."),
        ({"stripe": "unauthorized"}, "Stripe does not accept the key of this router."),
        ({"reason": "grace"}, "Features lock on 17 May 2031 unless it is paid."),
        ({"reason": "ending"}, "Features lock on 17 May 2031: the subscription ends."),
    ],
)
async def test_what_needs_attention(
    router: ScriptedRouter, visitor: Visitor, state: dict[str, str], words: str
) -> None:
    router.payments.subscribe("base")
    if reason := state.pop("reason", None):
        router.payments.features["email_support"]["reason"] = reason
    for name, value in state.items():
        setattr(router.payments, name, value)
    await visitor.log_in(router.front.url, path=OVERVIEW)
    widget = visitor.page.locator(".sp-widget")
    await expect(widget.locator(".sp-notice")).to_contain_text(words)
    await expect(widget.get_by_text("Renews on 17 May 2031")).to_have_count(0 if reason else 1)


async def test_the_daemon_away_and_back(router: ScriptedRouter, visitor: Visitor) -> None:
    await router.daemon_leaves()
    await visitor.log_in(router.front.url, path=OVERVIEW)
    await expect(visitor.page.locator(".sp-widget")).to_contain_text("The payment service is not running.")
    await router.daemon_comes()
    await expect(visitor.page.locator(".sp-widget")).to_contain_text("No plan")


async def test_a_viewer_sees_it_too(router: ScriptedRouter, visitor: Visitor) -> None:
    await visitor.log_in(router.front.url, "viewer", OVERVIEW)
    await expect(visitor.page.locator(".sp-widget")).to_contain_text("No plan")
    assert visitor.complaints == []
