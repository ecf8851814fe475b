"""The replies in docs/reference.md have the same members, on every level, as real ones."""

import json
import re
from pathlib import Path
from typing import Any, Final

import pytest

from stripe_payments.bus_api import api
from tests.unit.stripe_payments.harness import FEATURE, ONETIME, Shop

DOCS: Final = Path(__file__).resolve().parents[4] / "docs"
BY_NAME: Final = ("features", "stored")
"""Members that are maps: their keys are names, and the documentation shows some."""


async def every_reply(shop: Shop) -> dict[str, Any]:
    """Return one reply of each method, on a router with data for all of them."""
    harness = shop.harness
    replies: dict[str, Any] = {}

    async def call(method: str, /, **args: Any) -> Any:
        replies[method] = await harness.call(method, **args)
        return replies[method]

    await call("set_keys", webhook_secret="whsec_thisRoutersOwnSecret")
    await call("provision", dry_run=True)
    session_id = (await call("create_checkout_session", price_id=ONETIME))["session_id"]
    shop.stripe.pay(session_id)
    await call("sync")
    await call("has", feature=FEATURE)
    await call("payment_status", payment_id=session_id)
    business = await harness.call("create_checkout_session", price_id="price_business_monthly")
    shop.stripe.pay(business["session_id"])
    await harness.call("sync")
    [held] = (await call("subscriptions"))["subscriptions"]
    await call("preview_change", subscription=held["id"], price_id="price_business_yearly")
    await call("change_plan", subscription=held["id"], price_id="price_business_yearly")
    await call("cancel_subscription", subscription=held["id"])
    await call("resume_subscription", subscription=held["id"])
    await call("portal")
    await call("grant", feature="phone_support", until="2099-12-31T23:59:59Z", note="a present")
    await call("grants")
    await call("revoke", feature="phone_support")
    await call("refund", payment_id=session_id, amount=1000, reason="requested_by_customer")
    await call("setup_webhook", url="https://router.example.org")
    for method in ("check", "status", "catalog", "features", "transactions"):
        await call(method)
    return replies


def examples(text: str) -> dict[str, Any]:
    """Return the JSON block of each section, which shows the reply of the section's methods."""
    found: dict[str, Any] = {}
    for section in re.split(r"(?m)^#{2,3} ", text)[1:]:
        heading, _, body = section.partition("\n")
        block = re.search(r"```json\n(.*?)```", body, re.DOTALL)
        if block:
            found.update(dict.fromkeys(re.findall(r"`(\w+)`", heading), json.loads(block[1])))
    return found


def shape(value: Any, name: str = "") -> Any:
    """Return the members and their nesting; None for a value."""
    if isinstance(value, dict) and name in BY_NAME:
        return {"*": shape(next(iter(value.values()), None))}
    if isinstance(value, dict):
        return {member: shape(inner, member) for member, inner in sorted(value.items())}
    if isinstance(value, list):
        return [shape(value[0])] if value else None
    return None


def agree(shown: Any, real: Any) -> bool:
    """Compare two shapes; null or empty on one side matches anything on the other."""
    if shown is None or real is None:
        return True
    if isinstance(shown, dict) and isinstance(real, dict):
        return shown.keys() == real.keys() and all(agree(shown[name], real[name]) for name in shown)
    if isinstance(shown, list) and isinstance(real, list):
        return agree(shown[0], real[0])
    return False


async def test_every_example_has_the_members_of_the_real_reply(shop: Shop) -> None:
    replies = await every_reply(shop)
    here = {method.name for method in api if not method.hub_mode}  # the others need a hub
    assert replies.keys() == here, "call the new method in `every_reply`"
    for page in ("reference.md", "reference.it.md"):
        shown = examples((DOCS / page).read_text())
        shown = {name: example for name, example in shown.items() if not api[name].hub_mode}
        assert shown.keys() == replies.keys(), page
        for method, reply in replies.items():
            assert agree(shape(shown[method]), shape(reply)), (page, method, shape(reply))


@pytest.mark.parametrize("page", ["reference.md", "reference.it.md"])
def test_the_examples_of_lists_have_an_item(page: str) -> None:
    shown = examples((DOCS / page).read_text())
    assert shown["catalog"]["plans"]
    assert shown["transactions"]["transactions"]
    assert shown["check"]["checks"]
    assert shown["subscriptions"]["subscriptions"]
