from __future__ import annotations

import asyncio
from dataclasses import replace
from pathlib import Path
from urllib.parse import parse_qsl, urlsplit

import pytest

from simulator.stripe_cloud import StripeCloud
from simulator.stripe_cloud.api_errors import StripeApiError
from stripe_payments.billing import catalog_view, read_ownership
from stripe_payments.errors import PaymentError
from tests.unit.stripe_payments.seller import (
    BUSINESS,
    MONTHLY,
    ONE_TIME,
    YEARLY,
    Seller,
    eventually,
    selling,
)

RETURN = "http://192.168.1.1/payment-success"


async def code_of(awaitable: object) -> str:
    with pytest.raises(PaymentError) as raised:
        await awaitable  # type: ignore[misc]
    return raised.value.code


async def test_a_session_has_the_price_and_metadata_of_the_catalog(
    seller: Seller, cloud: StripeCloud
) -> None:
    created = await seller.checkouts.create(
        ONE_TIME, RETURN, "http://192.168.1.1/payment-cancel", locale="it-IT"
    )
    session = cloud.account.get("checkout.session", created["session_id"])
    assert created["checkout_url"] == session["url"]
    assert (session["amount_total"], session["currency"], session["mode"]) == (4999, "eur", "payment")
    assert session["metadata"] == {
        "router_id": seller.identity.load().router_id,
        "price_alias": ONE_TIME,
        "item": "router_os_premium",
    }
    assert session["client_reference_id"] == seller.identity.load().router_id
    assert session["customer"] == seller.identity.load().customer
    assert session["locale"] == "it"
    assert session["success_url"] == f"{RETURN}?session_id={{CHECKOUT_SESSION_ID}}"
    assert session["cancel_url"] == "http://192.168.1.1/payment-cancel"


async def test_the_row_is_durable_with_its_session_before_the_reply(seller: Seller) -> None:
    session_id = await seller.checkout()
    row = await seller.ledger.read(lambda tx: tx.checkouts.by_session(session_id))
    assert row is not None
    assert (row.state, row.price_alias, bool(row.url)) == ("open", ONE_TIME, True)


async def test_a_price_may_be_passed_by_its_id_at_stripe(seller: Seller) -> None:
    first = await seller.checkout()
    row = await seller.ledger.read(lambda tx: tx.checkouts.by_session(first))
    assert row is not None
    prices = dict(seller.settings.prices)
    prices[ONE_TIME] = type(prices[ONE_TIME])(ONE_TIME, "router_os_premium", row.price_id, 4999, "eur", None)
    seller.change(prices=prices)
    again = await seller.checkouts.create(row.price_id, RETURN)
    assert again["session_id"] == first


async def test_refusals_send_nothing_to_stripe(seller: Seller) -> None:
    before = seller.asked()
    assert await code_of(seller.checkouts.create("price_nobody_sells", RETURN)) == "unknown_price"
    assert await code_of(seller.checkouts.create("", RETURN)) == "invalid_argument"
    assert await code_of(seller.checkouts.create(ONE_TIME, "javascript:alert(1)")) == "invalid_argument"
    assert (
        await code_of(
            seller.checkouts.create(ONE_TIME, "https://evil.example/x", origin="http://192.168.1.1")
        )
        == "foreign_return_url"
    )
    seller.change(enabled=False)
    assert await code_of(seller.checkouts.create(ONE_TIME, RETURN)) == "disabled"
    assert seller.asked() == before


async def test_without_keys_it_is_not_configured(cloud: StripeCloud, tmp_path: Path) -> None:
    async with selling(cloud, tmp_path / "bare", key=None) as seller:
        assert await code_of(seller.checkouts.create(ONE_TIME, RETURN)) == "not_configured"


async def test_a_price_missing_at_stripe_is_unavailable(seller: Seller, cloud: StripeCloud) -> None:
    prices = dict(seller.settings.prices)
    prices["price_new"] = type(prices[ONE_TIME])("price_new", "router_os_premium", None, 100, "eur", None)
    prices["price_bad"] = type(prices[ONE_TIME])(
        "price_bad", "router_os_premium", "price_doesnotexist", 100, "eur", None
    )
    seller.change(prices=prices)
    assert await code_of(seller.checkouts.create("price_new", RETURN)) == "price_unavailable"
    assert await code_of(seller.checkouts.create("price_bad", RETURN)) == "price_unavailable"
    assert await seller.ledger.read(lambda tx: tx.checkouts.open()) == []


async def test_a_double_click_is_one_session(seller: Seller, cloud: StripeCloud) -> None:
    orders = await asyncio.gather(*(seller.checkouts.create(ONE_TIME, RETURN) for _ in range(8)))
    assert len({order["session_id"] for order in orders}) == 1
    later = await seller.checkouts.create(ONE_TIME, RETURN)
    assert later["session_id"] == orders[0]["session_id"]
    assert seller.asked("/v1/checkout/sessions", "POST") == 1
    assert seller.asked("/v1/customers", "POST") == 1


async def test_another_return_url_replaces_the_first_session(seller: Seller, cloud: StripeCloud) -> None:
    first = await seller.checkout()
    second = (await seller.checkouts.create(ONE_TIME, "https://phone.example/done"))["session_id"]
    assert second != first

    async def withdrawn() -> bool:
        return bool(cloud.account.get("checkout.session", first)["status"] == "expired")

    await eventually(withdrawn, "the first session is expired")
    assert cloud.account.get("checkout.session", second)["status"] == "open"


async def test_after_a_lost_response_the_same_key_is_used(seller: Seller, cloud: StripeCloud) -> None:
    await seller.customers.ensure()
    cloud.set_faults(drop_connection=True, when="after", count=1, method="POST", path="/v1/checkout/sessions")
    assert await code_of(seller.checkouts.create(ONE_TIME, RETURN)) == "stripe_unreachable"
    created = await seller.checkouts.create(ONE_TIME, RETURN)
    sessions = list(cloud.account.newest_first("checkout.session"))
    assert [session["id"] for session in sessions] == [created["session_id"]]


async def test_a_checkout_interrupted_by_a_power_cut_is_resumed_at_boot(
    cloud: StripeCloud, tmp_path: Path
) -> None:
    state = tmp_path / "router"
    async with selling(cloud, state) as seller:
        await seller.customers.ensure()
        cloud.set_faults(
            drop_connection=True, when="after", count=1, method="POST", path="/v1/checkout/sessions"
        )
        assert await code_of(seller.checkouts.create(ONE_TIME, RETURN)) == "stripe_unreachable"
    async with selling(cloud, state) as seller:
        await seller.checkouts.resume()
        open_rows = await seller.ledger.read(lambda tx: tx.checkouts.open())
        sessions = list(cloud.account.newest_first("checkout.session"))
        assert [row.session_id for row in open_rows] == [sessions[0]["id"]]
        assert len(sessions) == 1


async def test_resuming_and_buying_again_share_one_request(seller: Seller, cloud: StripeCloud) -> None:
    await seller.customers.ensure()
    path = "/v1/checkout/sessions"
    cloud.set_faults(drop_connection=True, when="before", count=1, method="POST", path=path)
    assert await code_of(seller.checkouts.create(ONE_TIME, RETURN)) == "stripe_unreachable"
    before = len(cloud.requests(method="POST", path=path))
    cloud.set_faults(latency_ms=500, method="POST", path=path)
    _, created = await asyncio.gather(seller.checkouts.resume(), seller.checkouts.create(ONE_TIME, RETURN))
    sessions = list(cloud.account.newest_first("checkout.session"))
    assert [session["id"] for session in sessions] == [created["session_id"]]
    assert len(cloud.requests(method="POST", path=path)) == before + 1


async def test_a_cancelled_caller_leaves_a_session_for_the_next_one(
    seller: Seller, cloud: StripeCloud
) -> None:
    await seller.customers.ensure()
    await seller.prices.id_of(seller.settings.prices[ONE_TIME])
    cloud.set_faults(latency_ms=300, method="POST")
    impatient = asyncio.create_task(seller.checkouts.create(ONE_TIME, RETURN))

    async def recorded() -> bool:
        return bool(await seller.ledger.read(lambda tx: tx.checkouts.open()))

    await eventually(recorded, "the checkout is recorded")
    impatient.cancel()
    await asyncio.gather(impatient, return_exceptions=True)
    created = await seller.checkouts.create(ONE_TIME, RETURN)
    assert [s["id"] for s in cloud.account.newest_first("checkout.session")] == [created["session_id"]]


def configured(seller: Seller, alias: str, **options: object) -> None:
    prices = dict(seller.settings.prices)
    prices[alias] = replace(prices[alias], **options)  # type: ignore[arg-type]
    seller.change(prices=prices)


async def charged(seller: Seller, alias: str) -> tuple[int, str]:
    """Open a checkout; return the amount that Stripe would charge, and the price id that was sent."""
    created = await seller.checkouts.create(alias, RETURN)
    session = seller.cloud.account.get("checkout.session", created["session_id"])
    row = await seller.ledger.read(lambda tx: tx.checkouts.by_session(created["session_id"]))
    assert row is not None
    return session["amount_total"], row.price_id


async def test_a_configured_id_of_another_amount_is_not_sold(seller: Seller) -> None:
    """Another router of the account replaced the price; this one has the new amount and the old id."""
    right = await seller.prices.id_of(seller.settings.prices[ONE_TIME])
    product = (await seller.stripe.get("price", right))["product"]
    old = await seller.stripe.create(
        "price", {"product": product, "unit_amount": 2999, "currency": "eur"}, "old price"
    )
    configured(seller, ONE_TIME, price_id=str(old["id"]))
    assert await charged(seller, ONE_TIME) == (4999, right)


@pytest.mark.parametrize(
    "recurring",
    [
        {"interval": "year"},
        {"interval": "month", "interval_count": 3},
        {"interval": "month", "usage_type": "metered"},
        None,
    ],
)
async def test_a_configured_id_of_other_terms_is_refused_where_no_price_matches(
    seller: Seller, recurring: dict[str, object] | None
) -> None:
    right = await seller.prices.id_of(seller.settings.prices[MONTHLY])
    product = (await seller.stripe.get("price", right))["product"]
    await seller.stripe.update("price", right, {"active": False}, "archive")
    params: dict[str, object] = {"product": product, "unit_amount": 499, "currency": "eur"}
    wrong = await seller.stripe.create(
        "price", params | ({"recurring": recurring} if recurring else {}), "wrong price"
    )
    configured(seller, MONTHLY, price_id=str(wrong["id"]))
    assert await code_of(seller.checkouts.create(MONTHLY, RETURN)) == "price_unavailable"
    assert list(seller.cloud.account.newest_first("checkout.session")) == []


async def test_after_a_price_change_the_same_order_gets_a_new_session(seller: Seller) -> None:
    first = await seller.checkouts.create(ONE_TIME, RETURN)
    old = await seller.prices.id_of(seller.settings.prices[ONE_TIME])
    product = (await seller.stripe.get("price", old))["product"]
    new = await seller.stripe.create(
        "price", {"product": product, "unit_amount": 2999, "currency": "eur"}, "new price"
    )
    configured(seller, ONE_TIME, price_id=str(new["id"]), amount=2999)
    assert await charged(seller, ONE_TIME) == (2999, new["id"])

    async def expired() -> bool:
        held = seller.cloud.account.get("checkout.session", first["session_id"])
        return bool(held["status"] == "expired")

    await eventually(expired, "the session of the old price has expired")


async def is_expired(seller: Seller, session_id: str) -> None:
    async def expired() -> bool:
        return bool(seller.cloud.account.get("checkout.session", session_id)["status"] == "expired")

    await eventually(expired, "the older session has expired")


@pytest.mark.parametrize(
    ("price", "settings"),
    [
        ({"trial_days": 7}, {}),
        ({"trial_days": 14, "trial_requires_card": False}, {}),
        ({}, {"allow_promotion_codes": True}),
        ({}, {"automatic_tax": True}),
    ],
)
async def test_after_a_change_of_terms_the_same_order_gets_a_new_session(
    seller: Seller, price: dict[str, object], settings: dict[str, object]
) -> None:
    configured(seller, MONTHLY, trial_days=14)
    first = await seller.checkout(MONTHLY)
    assert await seller.checkout(MONTHLY) == first
    configured(seller, MONTHLY, **price)
    seller.change(**settings)
    second = await seller.checkout(MONTHLY)
    assert second != first
    await is_expired(seller, first)
    assert seller.cloud.account.get("checkout.session", second)["status"] == "open"
    assert await seller.checkout(MONTHLY) == second


async def test_a_request_that_was_lost_is_not_repeated_on_other_terms(
    seller: Seller, cloud: StripeCloud
) -> None:
    """A key is good for one request: Stripe refuses it for another."""
    await seller.customers.ensure()
    cloud.set_faults(drop_connection=True, when="after", count=1, method="POST", path="/v1/checkout/sessions")
    assert await code_of(seller.checkouts.create(ONE_TIME, RETURN)) == "stripe_unreachable"
    seller.change(allow_promotion_codes=True)
    created = await seller.checkouts.create(ONE_TIME, RETURN)
    assert cloud.account.get("checkout.session", created["session_id"])["allow_promotion_codes"] is True
    await seller.checkouts.resume()
    assert (
        await seller.ledger.read(lambda tx: [row for row in tx.checkouts.open() if not row.session_id]) == []
    )


async def test_a_session_for_a_plan_expires_the_open_ones_of_other_plans(
    seller: Seller, cloud: StripeCloud
) -> None:
    """Stripe would sell both plans to one customer, and charge both every month."""
    monthly, once = await seller.checkout(MONTHLY), await seller.checkout(ONE_TIME)
    yearly = await seller.checkout(YEARLY)
    await is_expired(seller, monthly)
    assert cloud.account.get("checkout.session", once)["status"] == "open"
    cloud.pay(yearly)
    with pytest.raises(StripeApiError):
        cloud.pay(monthly)
    assert len(list(cloud.account.newest_first("subscription"))) == 1


async def test_of_two_plans_ordered_in_the_same_moment_one_session_stays_open(
    seller: Seller, cloud: StripeCloud
) -> None:
    await seller.customers.ensure()
    await asyncio.gather(*(seller.checkout(alias) for alias in (MONTHLY, YEARLY, BUSINESS)))

    async def one() -> bool:
        sessions = list(cloud.account.newest_first("checkout.session"))
        return len(sessions) == 3 and [row["status"] for row in sessions].count("open") == 1

    await eventually(one, "one session is open")


async def test_the_first_plan_ordered_again_gets_a_session_that_can_be_paid(
    seller: Seller, cloud: StripeCloud
) -> None:
    await seller.checkout(MONTHLY)
    yearly = await seller.checkout(YEARLY)
    monthly = await seller.checkout(MONTHLY)
    await is_expired(seller, yearly)
    assert cloud.pay(monthly)["status"] == "paid"


async def test_no_second_trial_while_the_ledger_does_not_know_the_first(
    cloud: StripeCloud, tmp_path: Path
) -> None:
    """A ledger that was lost is empty until everything has been fetched again."""
    async with selling(cloud, tmp_path / "router") as seller:
        await seller.buy(MONTHLY)
        (first,) = cloud.account.newest_first("subscription")
        await seller.subscriptions.cancel(first["id"], at_period_end=False)
        identity = seller.identity.load()
    assert identity.customer is not None
    async with selling(cloud, tmp_path / "reset") as seller:
        seller.identity.set_customer(identity.customer)
        configured(seller, YEARLY, trial_days=14)
        created = await seller.checkouts.create(YEARLY, RETURN)
        session = cloud.account.get("checkout.session", created["session_id"])
        assert session["amount_total"] == 4999, "no free trial"


async def test_the_shop_shows_a_trial_only_where_the_checkout_will_give_it(seller: Seller) -> None:
    configured(seller, MONTHLY, trial_days=14)

    def shown(*, complete: bool = True) -> int:
        ownership = read_ownership(seller.reconciler.state)
        plans = catalog_view(seller.settings, ownership, "en", complete=complete)["plans"]
        (days,) = [
            price["trial_days"] for plan in plans for price in plan["prices"] if price["id"] == MONTHLY
        ]
        return int(days)

    assert shown() == 14
    assert shown(complete=False) == 0, "it is not known yet whether there was a subscription"
    await seller.buy(MONTHLY)
    assert shown() == 0


async def test_permanently_owned_features_are_not_sold_again(seller: Seller) -> None:
    await seller.buy()
    assert await code_of(seller.checkouts.create(ONE_TIME, RETURN)) == "already_owned"
    # all features of the plan are owned permanently
    assert await code_of(seller.checkouts.create(MONTHLY, RETURN)) == "already_owned"
    # Business has one feature more
    assert (await seller.checkouts.create("price_business_monthly", RETURN))["session_id"]


async def test_a_second_subscription_is_refused_a_one_time_purchase_is_not(seller: Seller) -> None:
    await seller.buy(MONTHLY)
    assert await seller.unlocked() == {"updates", "backups"}
    assert await code_of(seller.checkouts.create("price_business_monthly", RETURN)) == "already_owned"
    assert (await seller.checkouts.create(ONE_TIME, RETURN))["session_id"]


async def test_a_pending_bank_debit_is_not_bought_again(seller: Seller) -> None:
    await seller.buy(card="bank_debit")
    assert await seller.unlocked() == set()
    assert await code_of(seller.checkouts.create(ONE_TIME, RETURN)) == "already_owned"


async def test_the_customer_is_found_by_metadata_and_not_created_twice(
    cloud: StripeCloud, tmp_path: Path
) -> None:
    async with selling(cloud, tmp_path / "router") as seller:
        await seller.checkout()
        customer = seller.identity.load().customer
        seller.identity.set_customer(None)
        assert await seller.customers.ensure() == customer
    assert len(list(cloud.account.newest_first("customer"))) == 1


async def test_a_deleted_customer_is_replaced(seller: Seller, cloud: StripeCloud) -> None:
    seller.identity.set_customer("cus_of_another_account")
    created = await seller.checkouts.create(ONE_TIME, RETURN)
    session = cloud.account.get("checkout.session", created["session_id"])
    assert session["customer"] == seller.identity.load().customer != "cus_of_another_account"
    rows = await seller.ledger.read(lambda tx: tx.checkouts.open())
    assert [row.session_id for row in rows] == [created["session_id"]]


async def test_relative_urls_over_http_belong_to_public_url_or_the_request(seller: Seller) -> None:
    created = await seller.checkouts.create(ONE_TIME, "/thanks?x=1", origin="http://192.168.1.1")
    session = seller.cloud.account.get("checkout.session", created["session_id"])
    address = urlsplit(session["success_url"])
    assert (address.netloc, address.path) == ("192.168.1.1", "/thanks")
    assert dict(parse_qsl(address.query)) == {"x": "1", "session_id": "{CHECKOUT_SESSION_ID}"}
    seller.change(public_url="https://router.example")
    created = await seller.checkouts.create(ONE_TIME, "/thanks", origin="http://192.168.1.1")
    session = seller.cloud.account.get("checkout.session", created["session_id"])
    assert session["success_url"].startswith("https://router.example/thanks?")


async def test_another_open_session_is_withdrawn_after_one_is_paid(
    seller: Seller, cloud: StripeCloud
) -> None:
    yearly = await seller.checkout("price_premium_yearly")
    monthly = await seller.checkout(MONTHLY)
    cloud.pay(monthly)
    await seller.reconciler.sync(monthly)
    row = await seller.ledger.read(lambda tx: tx.checkouts.by_session(yearly))
    assert row is not None
    assert await seller.checkouts.withdraw(row) is True
    assert cloud.account.get("checkout.session", yearly)["status"] == "expired"
    assert await seller.ledger.read(lambda tx: tx.checkouts.open()) == []
