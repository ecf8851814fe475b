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
from tests.unit.stripe_payments.engine import (
    BUSINESS,
    MONTHLY,
    ONE_TIME,
    YEARLY,
    Engine,
    at_dashboard,
    eventually,
    open_engine,
)

RETURN = "http://192.168.1.1/payment-success"


async def code_of(awaitable: object) -> str:
    with pytest.raises(PaymentError) as raised:
        await awaitable  # type: ignore[misc]
    return raised.value.code


async def test_a_session_has_the_price_and_metadata_of_the_catalog(
    engine: Engine, cloud: StripeCloud
) -> None:
    created = await engine.checkouts.create(
        ONE_TIME, RETURN, "http://192.168.1.1/payment-cancel", locale="it-IT"
    )
    session = cloud.account.get("checkout.session", created["session_id"])
    assert created["checkout_url"] == session["url"]
    assert (session["amount_total"], session["currency"], session["mode"]) == (4999, "eur", "payment")
    assert session["metadata"] == {
        "router_id": engine.identity.load().router_id,
        "price_alias": ONE_TIME,
        "item": "router_os_premium",
    }
    assert session["client_reference_id"] == engine.identity.load().router_id
    assert session["customer"] == engine.identity.load().customer
    assert session["locale"] == "it"
    assert session["success_url"] == f"{RETURN}?session_id={{CHECKOUT_SESSION_ID}}"
    assert session["cancel_url"] == "http://192.168.1.1/payment-cancel"


async def test_the_row_is_durable_with_its_session_before_the_reply(engine: Engine) -> None:
    session_id = await engine.checkout()
    row = await engine.ledger.read(lambda tx: tx.checkouts.by_session(session_id))
    assert row is not None
    assert (row.state, row.price_alias, bool(row.url)) == ("open", ONE_TIME, True)


async def test_a_price_may_be_passed_by_its_id_at_stripe(engine: Engine) -> None:
    first = await engine.checkout()
    row = await engine.ledger.read(lambda tx: tx.checkouts.by_session(first))
    assert row is not None
    prices = dict(engine.settings.prices)
    prices[ONE_TIME] = type(prices[ONE_TIME])(ONE_TIME, "router_os_premium", row.price_id, 4999, "eur", None)
    engine.change(prices=prices)
    again = await engine.checkouts.create(row.price_id, RETURN)
    assert again["session_id"] == first


async def test_refusals_send_nothing_to_stripe(engine: Engine) -> None:
    before = engine.asked()
    assert await code_of(engine.checkouts.create("price_nobody_sells", RETURN)) == "unknown_price"
    assert await code_of(engine.checkouts.create("", RETURN)) == "invalid_argument"
    assert await code_of(engine.checkouts.create(ONE_TIME, "javascript:alert(1)")) == "invalid_argument"
    assert (
        await code_of(
            engine.checkouts.create(ONE_TIME, "https://evil.example/x", origin="http://192.168.1.1")
        )
        == "foreign_return_url"
    )
    engine.change(enabled=False)
    assert await code_of(engine.checkouts.create(ONE_TIME, RETURN)) == "disabled"
    assert engine.asked() == before


async def test_without_keys_it_is_not_configured(cloud: StripeCloud, tmp_path: Path) -> None:
    async with open_engine(cloud, tmp_path / "bare", key=None) as engine:
        assert await code_of(engine.checkouts.create(ONE_TIME, RETURN)) == "not_configured"


async def test_a_price_missing_at_stripe_is_unavailable(engine: Engine, cloud: StripeCloud) -> None:
    prices = dict(engine.settings.prices)
    prices["price_new"] = type(prices[ONE_TIME])("price_new", "router_os_premium", None, 100, "eur", None)
    prices["price_bad"] = type(prices[ONE_TIME])(
        "price_bad", "router_os_premium", "price_doesnotexist", 100, "eur", None
    )
    engine.change(prices=prices)
    assert await code_of(engine.checkouts.create("price_new", RETURN)) == "price_unavailable"
    assert await code_of(engine.checkouts.create("price_bad", RETURN)) == "price_unavailable"
    assert await engine.ledger.read(lambda tx: tx.checkouts.open()) == []


async def test_a_double_click_is_one_session(engine: Engine, cloud: StripeCloud) -> None:
    orders = await asyncio.gather(*(engine.checkouts.create(ONE_TIME, RETURN) for _ in range(8)))
    assert len({order["session_id"] for order in orders}) == 1
    later = await engine.checkouts.create(ONE_TIME, RETURN)
    assert later["session_id"] == orders[0]["session_id"]
    assert engine.asked("/v1/checkout/sessions", "POST") == 1
    assert engine.asked("/v1/customers", "POST") == 1


async def test_another_return_url_replaces_the_first_session(engine: Engine, cloud: StripeCloud) -> None:
    first = await engine.checkout()
    second = (await engine.checkouts.create(ONE_TIME, "https://phone.example/done"))["session_id"]
    assert second != first

    async def withdrawn() -> bool:
        return bool(cloud.account.get("checkout.session", first)["status"] == "expired")

    await eventually(withdrawn, "the first session is expired")
    assert cloud.account.get("checkout.session", second)["status"] == "open"


async def test_after_a_lost_response_the_same_key_is_used(engine: Engine, cloud: StripeCloud) -> None:
    await engine.customers.ensure()
    cloud.set_faults(drop_connection=True, when="after", count=1, method="POST", path="/v1/checkout/sessions")
    assert await code_of(engine.checkouts.create(ONE_TIME, RETURN)) == "stripe_unreachable"
    created = await engine.checkouts.create(ONE_TIME, RETURN)
    sessions = list(cloud.account.newest_first("checkout.session"))
    assert [session["id"] for session in sessions] == [created["session_id"]]


async def test_a_checkout_interrupted_by_a_power_cut_is_resumed_at_boot(
    cloud: StripeCloud, tmp_path: Path
) -> None:
    state = tmp_path / "router"
    async with open_engine(cloud, state) as engine:
        await engine.customers.ensure()
        cloud.set_faults(
            drop_connection=True, when="after", count=1, method="POST", path="/v1/checkout/sessions"
        )
        assert await code_of(engine.checkouts.create(ONE_TIME, RETURN)) == "stripe_unreachable"
    async with open_engine(cloud, state) as engine:
        await engine.checkouts.resume()
        open_rows = await engine.ledger.read(lambda tx: tx.checkouts.open())
        sessions = list(cloud.account.newest_first("checkout.session"))
        assert [row.session_id for row in open_rows] == [sessions[0]["id"]]
        assert len(sessions) == 1


async def test_resuming_and_buying_again_share_one_request(engine: Engine, cloud: StripeCloud) -> None:
    await engine.customers.ensure()
    path = "/v1/checkout/sessions"
    cloud.set_faults(drop_connection=True, when="before", count=1, method="POST", path=path)
    assert await code_of(engine.checkouts.create(ONE_TIME, RETURN)) == "stripe_unreachable"
    before = len(cloud.requests(method="POST", path=path))
    cloud.set_faults(latency_ms=500, method="POST", path=path)
    _, created = await asyncio.gather(engine.checkouts.resume(), engine.checkouts.create(ONE_TIME, RETURN))
    sessions = list(cloud.account.newest_first("checkout.session"))
    assert [session["id"] for session in sessions] == [created["session_id"]]
    assert len(cloud.requests(method="POST", path=path)) == before + 1


async def test_a_cancelled_caller_leaves_a_session_for_the_next_one(
    engine: Engine, cloud: StripeCloud
) -> None:
    await engine.customers.ensure()
    await engine.prices.id_of(engine.settings.prices[ONE_TIME])
    cloud.set_faults(latency_ms=300, method="POST")
    impatient = asyncio.create_task(engine.checkouts.create(ONE_TIME, RETURN))

    async def recorded() -> bool:
        return bool(await engine.ledger.read(lambda tx: tx.checkouts.open()))

    await eventually(recorded, "the checkout is recorded")
    impatient.cancel()
    await asyncio.gather(impatient, return_exceptions=True)
    created = await engine.checkouts.create(ONE_TIME, RETURN)
    assert [s["id"] for s in cloud.account.newest_first("checkout.session")] == [created["session_id"]]


def configured(engine: Engine, alias: str, **options: object) -> None:
    prices = dict(engine.settings.prices)
    prices[alias] = replace(prices[alias], **options)  # type: ignore[arg-type]
    engine.change(prices=prices)


async def charged(engine: Engine, alias: str) -> tuple[int, str]:
    """Open a checkout; return the amount that Stripe would charge, and the price id that was sent."""
    created = await engine.checkouts.create(alias, RETURN)
    session = engine.cloud.account.get("checkout.session", created["session_id"])
    row = await engine.ledger.read(lambda tx: tx.checkouts.by_session(created["session_id"]))
    assert row is not None
    return session["amount_total"], row.price_id


async def test_a_configured_id_of_another_amount_is_not_sold(engine: Engine) -> None:
    """Another router of the account replaced the price; this one has the new amount and the old id."""
    right = await engine.prices.id_of(engine.settings.prices[ONE_TIME])
    product = (await engine.stripe.get("price", right))["product"]
    old = await engine.stripe.create(
        "price", {"product": product, "unit_amount": 2999, "currency": "eur"}, "old price"
    )
    configured(engine, ONE_TIME, price_id=str(old["id"]))
    assert await charged(engine, ONE_TIME) == (4999, right)


@pytest.mark.parametrize("interrupted", [False, True])
async def test_a_price_with_several_currencies_costs_what_the_shop_shows(
    engine: Engine, cloud: StripeCloud, interrupted: bool
) -> None:
    """Without a currency in the session, Stripe's page has that of the buyer's country."""
    right = await engine.prices.id_of(engine.settings.prices[ONE_TIME])
    product = (await engine.stripe.get("price", right))["product"]
    await at_dashboard(
        cloud,
        "/v1/prices",
        product=product,
        unit_amount=4999,
        currency="eur",
        lookup_key=ONE_TIME,
        transfer_lookup_key="true",
        currency_options={"usd": {"unit_amount": 7999}},
    )
    engine.prices.invalidate()
    if interrupted:
        path = "/v1/checkout/sessions"
        cloud.set_faults(drop_connection=True, when="after", count=1, method="POST", path=path)
        assert await code_of(engine.checkouts.create(ONE_TIME, RETURN)) == "stripe_unreachable"
        engine.prices.invalidate()
        await engine.checkouts.resume()
    else:
        await engine.checkout(ONE_TIME)
    (session,) = cloud.account.newest_first("checkout.session")
    with pytest.raises(StripeApiError, match="no Adaptive Pricing"):
        cloud.pay(session["id"], currency="usd")
    cloud.pay(session["id"])
    (charge,) = cloud.account.newest_first("charge")
    assert (charge["amount"], charge["currency"]) == (4999, "eur")


async def test_a_price_by_the_dozen_is_not_sold(engine: Engine, cloud: StripeCloud) -> None:
    """Its amount is that of several units, rounded up or down: of nothing, for one."""
    price = next(one for one in cloud.account.newest_first("price") if one["lookup_key"] == MONTHLY)
    price["transform_quantity"] = {"divide_by": 12, "round": "down"}
    with pytest.raises(PaymentError, match="price_unavailable"):
        await engine.checkout(MONTHLY)


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
    engine: Engine, recurring: dict[str, object] | None
) -> None:
    right = await engine.prices.id_of(engine.settings.prices[MONTHLY])
    product = (await engine.stripe.get("price", right))["product"]
    await engine.stripe.update("price", right, {"active": False}, "archive")
    params: dict[str, object] = {"product": product, "unit_amount": 499, "currency": "eur"}
    wrong = await engine.stripe.create(
        "price", params | ({"recurring": recurring} if recurring else {}), "wrong price"
    )
    configured(engine, MONTHLY, price_id=str(wrong["id"]))
    assert await code_of(engine.checkouts.create(MONTHLY, RETURN)) == "price_unavailable"
    assert list(engine.cloud.account.newest_first("checkout.session")) == []


async def test_after_a_price_change_the_same_order_gets_a_new_session(engine: Engine) -> None:
    first = await engine.checkouts.create(ONE_TIME, RETURN)
    old = await engine.prices.id_of(engine.settings.prices[ONE_TIME])
    product = (await engine.stripe.get("price", old))["product"]
    new = await engine.stripe.create(
        "price", {"product": product, "unit_amount": 2999, "currency": "eur"}, "new price"
    )
    configured(engine, ONE_TIME, price_id=str(new["id"]), amount=2999)
    assert await charged(engine, ONE_TIME) == (2999, new["id"])

    async def expired() -> bool:
        held = engine.cloud.account.get("checkout.session", first["session_id"])
        return bool(held["status"] == "expired")

    await eventually(expired, "the session of the old price has expired")


async def is_expired(engine: Engine, session_id: str) -> None:
    async def expired() -> bool:
        return bool(engine.cloud.account.get("checkout.session", session_id)["status"] == "expired")

    await eventually(expired, "the older session has expired")


@pytest.mark.parametrize(
    ("price", "settings"),
    [
        ({"trial_days": 7}, {}),
        ({"trial_days": 14, "trial_requires_card": False}, {}),
        ({}, {"allow_promotion_codes": True}),
        ({}, {"automatic_tax": True}),
        ({}, {"tax_id_collection": True}),
    ],
)
async def test_after_a_change_of_terms_the_same_order_gets_a_new_session(
    engine: Engine, price: dict[str, object], settings: dict[str, object]
) -> None:
    configured(engine, MONTHLY, trial_days=14)
    first = await engine.checkout(MONTHLY)
    assert await engine.checkout(MONTHLY) == first
    configured(engine, MONTHLY, **price)
    engine.change(**settings)
    second = await engine.checkout(MONTHLY)
    assert second != first
    await is_expired(engine, first)
    assert engine.cloud.account.get("checkout.session", second)["status"] == "open"
    assert await engine.checkout(MONTHLY) == second


async def test_the_options_of_a_seller_reach_stripes_page(engine: Engine, cloud: StripeCloud) -> None:
    cloud.account.settings["terms_of_service_url"] = "https://seller.example/terms"
    engine.change(tax_id_collection=True, invoice_creation=True, terms_of_service=True)
    for alias in (MONTHLY, ONE_TIME):
        session = cloud.account.get("checkout.session", await engine.checkout(alias))
        assert session["tax_id_collection"]["enabled"] is True
        assert session["consent_collection"]["terms_of_service"] == "required"
    assert session["invoice_creation"]["enabled"] is True


async def test_an_option_that_stripe_does_not_accept_is_named(engine: Engine) -> None:
    """The account has no URL of the terms: nothing else is wrong."""
    engine.change(terms_of_service=True)
    with pytest.raises(PaymentError) as refused:
        await engine.checkouts.create(ONE_TIME, RETURN)
    assert refused.value.code == "option_refused"
    assert "“terms_of_service”" in refused.value.message
    assert "URL is set in the Stripe Dashboard" in refused.value.message
    assert await engine.ledger.read(lambda tx: tx.checkouts.open()) == []


async def test_a_one_time_purchase_with_an_invoice_is_one_line_of_the_history(engine: Engine) -> None:
    engine.change(invoice_creation=True)
    await engine.buy()
    await engine.poller.poll_everything()
    (row,) = (await engine.history.page())["transactions"]
    assert (row["kind"], row["amount"], row["status"]) == ("payment", 4999, "paid")
    assert row["invoice_pdf"].endswith("/pdf")
    assert await engine.unlocked() == {"updates", "backups"}


@pytest.mark.parametrize("at_stripe", ["unspecified", "exclusive"])
async def test_a_price_of_another_tax_behavior_is_not_sold(engine: Engine, at_stripe: str) -> None:
    """Tax on top of a price that is shown as including it would be charged besides."""
    if at_stripe != "unspecified":
        price_id = await engine.prices.id_of(engine.settings.prices[ONE_TIME])
        await engine.stripe.update("price", price_id, {"tax_behavior": at_stripe}, "tax")
    configured(engine, ONE_TIME, tax_behavior="inclusive")
    assert await code_of(engine.checkouts.create(ONE_TIME, RETURN)) == "price_unavailable"


async def test_a_request_that_was_lost_is_not_repeated_on_other_terms(
    engine: Engine, cloud: StripeCloud
) -> None:
    """A key is good for one request: Stripe refuses it for another."""
    await engine.customers.ensure()
    cloud.set_faults(drop_connection=True, when="after", count=1, method="POST", path="/v1/checkout/sessions")
    assert await code_of(engine.checkouts.create(ONE_TIME, RETURN)) == "stripe_unreachable"
    engine.change(allow_promotion_codes=True)
    created = await engine.checkouts.create(ONE_TIME, RETURN)
    assert cloud.account.get("checkout.session", created["session_id"])["allow_promotion_codes"] is True
    await engine.checkouts.resume()
    assert (
        await engine.ledger.read(lambda tx: [row for row in tx.checkouts.open() if not row.session_id]) == []
    )


async def test_a_session_for_a_plan_expires_the_open_ones_of_other_plans(
    engine: Engine, cloud: StripeCloud
) -> None:
    """Stripe would sell both plans to one customer, and charge both every month."""
    monthly, once = await engine.checkout(MONTHLY), await engine.checkout(ONE_TIME)
    yearly = await engine.checkout(YEARLY)
    await is_expired(engine, monthly)
    assert cloud.account.get("checkout.session", once)["status"] == "open"
    cloud.pay(yearly)
    with pytest.raises(StripeApiError):
        cloud.pay(monthly)
    assert len(list(cloud.account.newest_first("subscription"))) == 1


async def test_of_two_plans_ordered_in_the_same_moment_one_session_stays_open(
    engine: Engine, cloud: StripeCloud
) -> None:
    await engine.customers.ensure()
    await asyncio.gather(*(engine.checkout(alias) for alias in (MONTHLY, YEARLY, BUSINESS)))

    async def one() -> bool:
        sessions = list(cloud.account.newest_first("checkout.session"))
        return len(sessions) == 3 and [row["status"] for row in sessions].count("open") == 1

    await eventually(one, "one session is open")


async def test_the_first_plan_ordered_again_gets_a_session_that_can_be_paid(
    engine: Engine, cloud: StripeCloud
) -> None:
    await engine.checkout(MONTHLY)
    yearly = await engine.checkout(YEARLY)
    monthly = await engine.checkout(MONTHLY)
    await is_expired(engine, yearly)
    assert cloud.pay(monthly)["status"] == "paid"


async def test_no_second_trial_while_the_ledger_does_not_know_the_first(
    cloud: StripeCloud, tmp_path: Path
) -> None:
    """A ledger that was lost is empty until everything has been fetched again."""
    async with open_engine(cloud, tmp_path / "router") as engine:
        await engine.buy(MONTHLY)
        (first,) = cloud.account.newest_first("subscription")
        await engine.subscriptions.cancel(first["id"], at_period_end=False)
        identity = engine.identity.load()
    assert identity.customer is not None
    async with open_engine(cloud, tmp_path / "reset") as engine:
        engine.identity.set_customer(identity.customer)
        configured(engine, YEARLY, trial_days=14)
        created = await engine.checkouts.create(YEARLY, RETURN)
        session = cloud.account.get("checkout.session", created["session_id"])
        assert session["amount_total"] == 4999, "no free trial"


@pytest.mark.parametrize("lists", [True, False])
async def test_a_deleted_customer_does_not_keep_a_plan_with_a_trial_from_being_bought(
    engine: Engine, cloud: StripeCloud, *, lists: bool
) -> None:
    cloud.account.settings["lists_of_deleted_customers"] = lists
    configured(engine, MONTHLY, trial_days=14)
    cloud.account.remove(cloud.account.get("customer", await engine.customers.ensure()))
    created = await engine.checkouts.create(MONTHLY, RETURN)
    assert cloud.pay(created["session_id"])["status"] == "paid"


async def test_the_shop_shows_a_trial_only_where_the_checkout_will_give_it(engine: Engine) -> None:
    configured(engine, MONTHLY, trial_days=14)

    def shown(*, complete: bool = True) -> int:
        ownership = read_ownership(engine.reconciler.state)
        plans = catalog_view(engine.settings, ownership, "en", complete=complete)["plans"]
        (days,) = [
            price["trial_days"] for plan in plans for price in plan["prices"] if price["id"] == MONTHLY
        ]
        return int(days)

    assert shown() == 14
    assert shown(complete=False) == 0, "it is not known yet whether there was a subscription"
    await engine.buy(MONTHLY)
    assert shown() == 0


async def test_permanently_owned_features_are_not_sold_again(engine: Engine) -> None:
    await engine.buy()
    assert await code_of(engine.checkouts.create(ONE_TIME, RETURN)) == "already_owned"
    # all features of the plan are owned permanently
    assert await code_of(engine.checkouts.create(MONTHLY, RETURN)) == "already_owned"
    # Business has one feature more
    assert (await engine.checkouts.create("price_business_monthly", RETURN))["session_id"]


async def test_a_second_subscription_is_refused_a_one_time_purchase_is_not(engine: Engine) -> None:
    await engine.buy(MONTHLY)
    assert await engine.unlocked() == {"updates", "backups"}
    assert await code_of(engine.checkouts.create("price_business_monthly", RETURN)) == "already_owned"
    assert (await engine.checkouts.create(ONE_TIME, RETURN))["session_id"]


async def test_a_pending_bank_debit_is_not_bought_again(engine: Engine) -> None:
    await engine.buy(card="bank_debit")
    assert await engine.unlocked() == set()
    assert await code_of(engine.checkouts.create(ONE_TIME, RETURN)) == "already_owned"


async def test_the_customer_is_found_by_metadata_and_not_created_twice(
    cloud: StripeCloud, tmp_path: Path
) -> None:
    async with open_engine(cloud, tmp_path / "router") as engine:
        await engine.checkout()
        customer = engine.identity.load().customer
        engine.identity.set_customer(None)
        assert await engine.customers.ensure() == customer
    assert len(list(cloud.account.newest_first("customer"))) == 1


async def test_a_deleted_customer_is_replaced(engine: Engine, cloud: StripeCloud) -> None:
    engine.identity.set_customer("cus_of_another_account")
    created = await engine.checkouts.create(ONE_TIME, RETURN)
    session = cloud.account.get("checkout.session", created["session_id"])
    assert session["customer"] == engine.identity.load().customer != "cus_of_another_account"
    rows = await engine.ledger.read(lambda tx: tx.checkouts.open())
    assert [row.session_id for row in rows] == [created["session_id"]]


async def test_relative_urls_over_http_belong_to_public_url_or_the_request(engine: Engine) -> None:
    created = await engine.checkouts.create(ONE_TIME, "/thanks?x=1", origin="http://192.168.1.1")
    session = engine.cloud.account.get("checkout.session", created["session_id"])
    address = urlsplit(session["success_url"])
    assert (address.netloc, address.path) == ("192.168.1.1", "/thanks")
    assert dict(parse_qsl(address.query)) == {"x": "1", "session_id": "{CHECKOUT_SESSION_ID}"}
    engine.change(public_url="https://router.example")
    created = await engine.checkouts.create(ONE_TIME, "/thanks", origin="http://192.168.1.1")
    session = engine.cloud.account.get("checkout.session", created["session_id"])
    assert session["success_url"].startswith("https://router.example/thanks?")


async def test_another_open_session_is_withdrawn_after_one_is_paid(
    engine: Engine, cloud: StripeCloud
) -> None:
    yearly = await engine.checkout("price_premium_yearly")
    monthly = await engine.checkout(MONTHLY)
    cloud.pay(monthly)
    await engine.reconciler.sync(monthly)
    row = await engine.ledger.read(lambda tx: tx.checkouts.by_session(yearly))
    assert row is not None
    assert await engine.checkouts.withdraw(row) is True
    assert cloud.account.get("checkout.session", yearly)["status"] == "expired"
    assert await engine.ledger.read(lambda tx: tx.checkouts.open()) == []


async def test_a_customer_with_another_currency_gets_an_answer_and_can_buy_later(
    engine: Engine, cloud: StripeCloud
) -> None:
    """A first payment in dollars that was never made; the shop sells in euros."""
    await engine.checkout(ONE_TIME)
    dollars = await at_dashboard(
        cloud,
        "/v1/prices",
        product_data={"name": "Premium"},
        currency="usd",
        unit_amount=599,
        recurring={"interval": "month"},
    )
    await at_dashboard(
        cloud,
        "/v1/subscriptions",
        customer=str(engine.identity.load().customer),
        items=[{"price": dollars["id"]}],
        payment_behavior="default_incomplete",
    )
    with pytest.raises(PaymentError, match="another currency") as refused:
        await engine.checkout(MONTHLY)
    assert refused.value.code == "already_owned"
    assert await engine.checkout(ONE_TIME), "which is no matter of the customer's currency"
    cloud.advance(24 * 3600)
    engine.clock.observe(cloud.clock.now())
    assert await engine.checkout(MONTHLY)
