"""Keys and prices that are missing, wrong, or of the other mode."""

from __future__ import annotations

import json

import pytest

from stripe_payments.billing.prices import Difference
from stripe_payments.setup.catalog_at_stripe import describe
from stripe_payments.stripe_api import PERMISSIONS
from tests.unit.stripe_payments.diagnostics.rows import finding, fine, row
from tests.unit.stripe_payments.harness import ONETIME, Harness, Shop

MONTHLY = "price_premium_monthly"


async def test_nothing_is_wrong(shop: Shop) -> None:
    for name in ("key", "key_permissions", "prices"):
        await fine(shop.harness, name)
    await finding(shop.harness, "key_mode", "info", says="Test mode")


async def test_no_key(harness: Harness) -> None:
    await finding(harness, "key", "error", says="No Stripe secret key", hint="set_keys")
    for name in ("key_permissions", "key_mode", "stripe", "prices", "webhook_endpoint", "polling"):
        await finding(harness, name, "info", says="no secret key")


@pytest.mark.parametrize(
    ("key", "says", "hint"),
    [
        ("sk_test_invalid123", "does not recognize", "incomplete"),
        ("sk_test_expired123", "has expired", "Create a new key"),
    ],
)
async def test_a_key_that_stripe_refuses(shop: Shop, key: str, says: str, hint: str) -> None:
    await shop.harness.call("set_keys", secret_key=key)
    await finding(shop.harness, "key", "error", says=says, hint=hint)
    assert (await row(shop.harness, "stripe"))[
        "severity"
    ] == "ok"  # it answers, and that is what is asked here
    assert key not in json.dumps(await shop.harness.call("check"))


async def test_stripe_away_is_no_fault_of_the_key(offline: Harness) -> None:
    await finding(offline, "key", "info", says="cannot be reached")


@pytest.mark.parametrize("lacking", PERMISSIONS, ids=lambda one: one.rak)
async def test_a_restricted_key_that_lacks_something(shop: Shop, lacking: object) -> None:
    (permission,) = [one for one in PERMISSIONS if one is lacking]
    key = "rk_test_restricted"
    shop.stripe.api.keys.restrict(key, [f"rak_{permission.rak}_read"])
    await shop.harness.call("set_keys", secret_key=key)
    severity = "warning" if permission.setup_only else "error"
    named = f"{permission.resource}: {permission.router_access.capitalize()}"
    await finding(shop.harness, "key_permissions", severity, says=named, hint=named)
    await fine(shop.harness, "key")


async def test_a_live_key_that_may_everything(shop: Shop) -> None:
    await shop.harness.call("set_keys", secret_key="sk_live_1234567890abcdef")
    await finding(shop.harness, "key_permissions", "warning", says="full access", hint="restricted key")


async def test_a_restricted_key_that_may_all(shop: Shop) -> None:
    await shop.harness.call("set_keys", secret_key="rk_test_restricted")
    await fine(shop.harness, "key_permissions")


async def test_test_ids_under_a_live_key(shop: Shop) -> None:
    await shop.harness.call("set_keys", secret_key="sk_live_1234567890abcdef")
    await finding(shop.harness, "key_mode", "error", says=ONETIME, hint="provision")
    await finding(shop.harness, "prices", "error", says=ONETIME, hint="provision")


async def test_a_live_publishable_key_beside_a_test_key(shop: Shop) -> None:
    secrets = shop.harness.state / "secrets.json"
    held = json.loads(secrets.read_text())
    secrets.write_text(json.dumps({**held, "publishable_key": "pk_live_1234567890abcdef"}))
    await finding(shop.harness, "key_mode", "error", says="publishable", hint="set_keys")


async def test_prices_that_do_not_exist(unprovisioned: Harness) -> None:
    await finding(unprovisioned, "prices", "error", says=f"“{MONTHLY}” does not exist", hint="provision")


async def test_an_archived_price(shop: Shop) -> None:
    price = (await shop.harness.parts()).settings().prices[MONTHLY]
    await shop.account.request("POST", f"prices/{price.price_id}", active=False)
    await finding(shop.harness, "prices", "error", says=f"“{MONTHLY}” is archived", hint="Unarchive")


@pytest.mark.parametrize(
    ("option", "value", "says"),
    [
        ("amount", "599", "amount: 5.99 EUR configured, 4.99 EUR in Stripe"),
        ("currency", "usd", "currency: usd configured, eur in Stripe"),
        ("interval", "year", "interval: yearly configured, monthly in Stripe"),
    ],
)
async def test_a_price_that_differs(shop: Shop, option: str, value: str, says: str) -> None:
    await shop.harness.configure(MONTHLY, **{option: value})
    await finding(shop.harness, "prices", "warning", says=says, hint='"replace":true')


@pytest.mark.parametrize(
    ("configured", "at_stripe", "currency", "says"),
    [
        (1250, 999, "eur", "importo: 12,50 EUR nella configurazione, 9,99 EUR su Stripe"),
        (500, None, "jpy", "importo: 500 JPY nella configurazione, nessun importo fisso su Stripe"),
    ],
)
def test_amounts_that_differ_are_shown_as_money(
    configured: int, at_stripe: int | None, currency: str, says: str
) -> None:
    assert describe(Difference("amount", configured, at_stripe), currency).in_locale("it") == says


async def test_nothing_on_sale(harness: Harness) -> None:
    for alias in (await harness.parts()).settings().prices:
        await harness.bus.call("uci", "delete", {"config": "stripe-payments", "section": alias})
    await harness.bus.call("uci", "commit", {"config": "stripe-payments"})

    async def read() -> bool:
        return not (await harness.parts()).settings().prices

    await harness.until(read)
    await finding(harness, "prices", "warning", says="Nothing is for sale", hint="config price")
