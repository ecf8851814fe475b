"""Keys and prices that are missing, wrong, or of the other mode."""

from __future__ import annotations

import json

import pytest

from stripe_payments.stripe_api import PERMISSIONS
from tests.unit.stripe_payments.diagnostics.rows import fine, row, told
from tests.unit.stripe_payments.house import ONETIME, House, Shop

MONTHLY = "price_premium_monthly"


async def test_nothing_is_wrong(shop: Shop) -> None:
    for name in ("key", "key_permissions", "prices"):
        await fine(shop.house, name)
    await told(shop.house, "key_mode", "info", says="Test mode")


async def test_no_key(house: House) -> None:
    await told(house, "key", "error", says="No Stripe secret key", hint="set_keys")
    for name in ("key_permissions", "key_mode", "stripe", "prices", "webhook_endpoint", "polling"):
        await told(house, name, "info", says="no secret key")


@pytest.mark.parametrize(
    ("key", "says", "hint"),
    [
        ("sk_test_invalid123", "does not recognize", "incomplete"),
        ("sk_test_expired123", "has expired", "Create a new key"),
    ],
)
async def test_a_key_that_stripe_refuses(shop: Shop, key: str, says: str, hint: str) -> None:
    await shop.house.call("set_keys", secret_key=key)
    await told(shop.house, "key", "error", says=says, hint=hint)
    assert (await row(shop.house, "stripe"))["severity"] == "ok"  # it answers, and that is what is asked here
    assert key not in json.dumps(await shop.house.call("check"))


async def test_stripe_away_is_no_fault_of_the_key(offline: House) -> None:
    await told(offline, "key", "info", says="cannot be reached")


@pytest.mark.parametrize("lacking", PERMISSIONS, ids=lambda one: one.rak)
async def test_a_restricted_key_that_lacks_something(shop: Shop, lacking: object) -> None:
    (permission,) = [one for one in PERMISSIONS if one is lacking]
    key = "rk_test_restricted"
    shop.stripe.api.keys.restrict(key, [f"rak_{permission.rak}_read"])
    await shop.house.call("set_keys", secret_key=key)
    severity = "warning" if permission.setup_only else "error"
    await told(shop.house, "key_permissions", severity, says=permission.resource, hint=permission.resource)
    await fine(shop.house, "key")


async def test_a_restricted_key_that_may_all(shop: Shop) -> None:
    await shop.house.call("set_keys", secret_key="rk_test_restricted")
    await fine(shop.house, "key_permissions")


async def test_test_ids_under_a_live_key(shop: Shop) -> None:
    await shop.house.call("set_keys", secret_key="sk_live_1234567890abcdef")
    await told(shop.house, "key_mode", "error", says=ONETIME, hint="provision")
    await told(shop.house, "prices", "error", says=ONETIME, hint="provision")


async def test_a_live_publishable_key_beside_a_test_key(shop: Shop) -> None:
    secrets = shop.house.state / "secrets.json"
    held = json.loads(secrets.read_text())
    secrets.write_text(json.dumps({**held, "publishable_key": "pk_live_1234567890abcdef"}))
    await told(shop.house, "key_mode", "error", says="publishable", hint="set_keys")


async def test_prices_that_do_not_exist(unprovisioned: House) -> None:
    await told(unprovisioned, "prices", "error", says=f"“{MONTHLY}” does not exist", hint="provision")


async def test_an_archived_price(shop: Shop) -> None:
    price = (await shop.house.parts()).settings().prices[MONTHLY]
    await shop.account.request("POST", f"prices/{price.price_id}", active=False)
    await told(shop.house, "prices", "error", says=f"“{MONTHLY}” is archived", hint="Unarchive")


@pytest.mark.parametrize(
    ("option", "value", "says"),
    [
        ("amount", "599", "amount: 599 eur configured, 499 eur in Stripe"),
        ("currency", "usd", "currency: usd configured, eur in Stripe"),
        ("interval", "year", "interval: yearly configured, monthly in Stripe"),
    ],
)
async def test_a_price_that_differs(shop: Shop, option: str, value: str, says: str) -> None:
    await shop.house.configure(MONTHLY, **{option: value})
    await told(shop.house, "prices", "warning", says=says, hint='"replace":true')


async def test_nothing_on_sale(house: House) -> None:
    for alias in (await house.parts()).settings().prices:
        await house.bus.call("uci", "delete", {"config": "stripe-payments", "section": alias})
    await house.bus.call("uci", "commit", {"config": "stripe-payments"})

    async def read() -> bool:
        return not (await house.parts()).settings().prices

    await house.until(read)
    await told(house, "prices", "warning", says="Nothing is for sale", hint="config price")
