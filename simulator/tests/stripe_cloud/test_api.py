"""What every endpoint shares: keys, versions, idempotency, lists, expand, errors."""

from __future__ import annotations

import asyncio
import email.utils
from typing import Any, get_args

import aiohttp
import pytest
import stripe
from typing_extensions import is_typeddict

from simulator.stripe_cloud import StripeCloud
from simulator.stripe_cloud.parameters import _members, declared
from simulator.stripe_cloud.routes import ROUTES
from simulator.stripe_cloud.simulated import SIMULATED, Played, played

from .conftest import KEY, Shop, until


async def test_keys_are_checked_as_stripe_does(shop: Shop) -> None:
    for key, kind in (
        ("sk_test_invalid_1234", stripe.AuthenticationError),
        ("sk_test_expired_1234", stripe.AuthenticationError),
        ("nonsense", stripe.AuthenticationError),
        ("pk_test_1234567890", stripe.PermissionError),
    ):
        error = await shop.refused(shop.with_key(key).v1.balance.retrieve)
        assert isinstance(error, kind), key
        assert key not in str(error), "keys are not echoed whole"
    async with aiohttp.ClientSession() as http, http.get(f"{shop.cloud.url}/v1/balance") as answer:
        assert answer.status == 401


@pytest.mark.parametrize(
    ("named", "code"), [("rak_webhook_write", None), ("webhook_write", "more_permissions_required")]
)
async def test_a_restricted_key_lacks_what_it_was_configured_to_lack(
    shop: Shop, named: str, code: str | None
) -> None:
    key = "rk_test_limited_1234"
    shop.cloud.api.keys.restrict(key, [named])
    client = shop.with_key(key)
    await shop.call(client.v1.balance.retrieve)
    error = await shop.refused(
        client.v1.webhook_endpoints.create, {"url": "http://x/", "enabled_events": ["*"]}
    )
    assert isinstance(error, stripe.PermissionError)
    assert f"Having the '{named}' permission" in str(error)
    body: Any = error.json_body  # the SDK leaves `code` of a 403 empty
    assert body["error"].get("code") == code
    assert key not in str(error)


async def test_a_live_key_does_not_see_test_objects_and_the_error_says_so(shop: Shop) -> None:
    price = await shop.price()
    error = await shop.refused(shop.with_key("sk_live_1234567890").v1.prices.retrieve, price)
    assert error.code == "resource_missing"
    assert "a similar object exists in test mode, but a live mode key" in str(error)


async def test_the_account_is_the_same_for_every_test_key(shop: Shop) -> None:
    first = await shop.call(shop.client.v1.accounts.retrieve_current)
    second = await shop.call(shop.with_key("rk_test_other").v1.accounts.retrieve_current)
    assert first.id == second.id


async def test_an_unknown_version_is_refused(shop: Shop) -> None:
    await shop.call(shop.with_key(KEY, stripe_version=stripe.api_version).v1.balance.retrieve)
    error = await shop.refused(shop.with_key(KEY, stripe_version="2026-13-45.nonsense").v1.balance.retrieve)
    assert error.http_status == 400


async def test_answers_carry_stripes_headers(shop: Shop) -> None:
    shop.cloud.advance(40 * 86_400)
    async with (
        aiohttp.ClientSession(headers={"Authorization": f"Bearer {KEY}"}) as http,
        http.get(f"{shop.cloud.url}/v1/balance") as answer,
    ):
        assert answer.headers["Request-Id"].startswith("req_")
        assert answer.headers["Stripe-Version"] == stripe.api_version
        date = email.utils.parsedate_to_datetime(answer.headers["Date"]).timestamp()
        assert abs(date - shop.cloud.clock.now()) < 30


async def test_the_same_key_and_parameters_get_the_stored_answer(shop: Shop) -> None:
    create = shop.client.v1.customers.create
    first = await shop.call(create, {"name": "A"}, {"idempotency_key": "k1"})
    again = await shop.call(create, {"name": "A"}, {"idempotency_key": "k1"})
    assert first.id == again.id
    response: Any = again.last_response
    assert response.headers["Idempotent-Replayed"] == "true"
    assert len(list(shop.cloud.account.newest_first("customer"))) == 1

    error = await shop.refused(create, {"name": "B"}, {"idempotency_key": "k1"})
    assert isinstance(error, stripe.IdempotencyError)

    shop.cloud.advance(86_401)
    later = await shop.call(create, {"name": "B"}, {"idempotency_key": "k1"})
    assert later.id != first.id, "keys are forgotten after a day"


async def test_a_refusal_of_parameters_does_not_use_up_the_key(shop: Shop) -> None:
    create: Any = shop.client.v1.customers.create
    await shop.refused(create, {"colour": "red"}, {"idempotency_key": "k2"})
    assert (await shop.call(create, {"name": "A"}, {"idempotency_key": "k2"})).name == "A"


async def test_a_key_in_use_is_a_conflict(shop: Shop) -> None:
    shop.cloud.set_faults(latency_ms=1500, count=1)
    create = shop.client.v1.customers.create
    first = asyncio.create_task(shop.call(create, {"name": "A"}, {"idempotency_key": "k3"}))
    await until(shop.cloud.requests)
    error = await shop.refused(create, {"name": "A"}, {"idempotency_key": "k3"})
    assert error.http_status == 409
    assert (await first).name == "A"


async def test_lists_page_in_both_directions(shop: Shop) -> None:
    ids = [await shop.customer(name=str(number)) for number in range(7)][::-1]
    listing = await shop.call(shop.client.v1.customers.list, {"limit": 3})
    assert ([c.id for c in listing.data], listing.has_more) == (ids[:3], True)
    rest = await shop.call(shop.client.v1.customers.list, {"limit": 10, "starting_after": ids[2]})
    assert ([c.id for c in rest.data], rest.has_more) == (ids[3:], False)
    back = await shop.call(shop.client.v1.customers.list, {"limit": 2, "ending_before": ids[4]})
    assert ([c.id for c in back.data], back.has_more) == (ids[2:4], True)
    everything = await asyncio.to_thread(lambda: [c.id for c in listing.auto_paging_iter()])
    assert everything == ids
    error = await shop.refused(shop.client.v1.customers.list, {"limit": 101})
    assert error.http_status == 400
    error = await shop.refused(shop.client.v1.customers.list, {"starting_after": "cus_none"})
    assert error.code == "resource_missing"


async def test_lists_filter_by_time(shop: Shop) -> None:
    old = await shop.customer()
    shop.cloud.advance(1000)
    young = await shop.customer()
    border = shop.cloud.account.get("customer", young)["created"]
    newer = await shop.call(shop.client.v1.customers.list, {"created": {"gte": border}})
    older = await shop.call(shop.client.v1.customers.list, {"created": {"lt": border}})
    assert ([c.id for c in newer.data], [c.id for c in older.data]) == ([young], [old])


async def test_search_finds_by_metadata(shop: Shop) -> None:
    mine = await shop.customer(metadata={"router_id": "r'1"})
    await shop.customer(metadata={"router_id": "other"})
    found = await shop.call(shop.client.v1.customers.search, {"query": r"metadata['router_id']:'r\'1'"})
    assert [customer.id for customer in found.data] == [mine]
    none = await shop.call(
        shop.client.v1.customers.search, {"query": "metadata['router_id']:'x' AND created>0"}
    )
    assert none.data == []
    error = await shop.refused(shop.client.v1.customers.search, {"query": "what?"})
    assert error.http_status == 400


async def test_expand_goes_deep_and_refuses_what_is_not_expandable(shop: Shop) -> None:
    session = await shop.session(await shop.price(), customer=await shop.customer())
    shop.cloud.pay(session.id)
    intents = await shop.call(
        shop.client.v1.payment_intents.list,
        {"expand": ["data.latest_charge.balance_transaction", "data.customer"]},
    )
    intent: Any = intents.data[0]
    assert intent.latest_charge.balance_transaction.object == "balance_transaction"
    assert intent.customer.object == "customer"
    for path in ("amount", "nothing", "latest_charge.payment_method", "a.b.c.d.e"):
        error = await shop.refused(shop.client.v1.payment_intents.retrieve, intent.id, {"expand": [path]})
        assert error.http_status == 400, path
    error = await shop.refused(shop.client.v1.payment_intents.list, {"expand": ["customer"]})
    assert "data.customer" in str(error)


async def test_missing_objects_and_addresses(shop: Shop) -> None:
    error: Any = await shop.refused(shop.client.v1.prices.retrieve, "price_none")
    assert (error.http_status, error.code, error.user_message) == (
        404,
        "resource_missing",
        "No such price: 'price_none'",
    )
    async with aiohttp.ClientSession(headers={"Authorization": f"Bearer {KEY}"}) as http:
        async with http.get(f"{shop.cloud.url}/v1/nonsense") as answer:
            assert answer.status == 404
        async with http.post(f"{shop.cloud.url}/v1/customers", json={"name": "A"}) as answer:
            assert answer.status == 400, "v1 takes forms, not JSON"


async def test_metadata_is_merged_unset_and_limited(shop: Shop) -> None:
    customer = await shop.customer(metadata={"a": "1", "b": "2"})
    update = shop.client.v1.customers.update
    assert (await shop.call(update, customer, {"metadata": {"a": "", "c": "3"}})).to_dict()["metadata"] == {
        "b": "2",
        "c": "3",
    }
    assert (await shop.call(update, customer, {"metadata": ""})).to_dict()["metadata"] == {}
    for bad in ({"k" * 41: "v"}, {"k": "v" * 501}, {str(n): "v" for n in range(51)}):
        error = await shop.refused(update, customer, {"metadata": bad})
        assert error.http_status == 400


async def test_lookup_keys_are_unique_and_can_be_moved(shop: Shop) -> None:
    first = await shop.price(lookup_key="premium")
    error = await shop.refused(
        shop.client.v1.prices.create,
        {"currency": "eur", "unit_amount": 1, "lookup_key": "premium", "product_data": {"name": "X"}},
    )
    assert error.code == "resource_already_exists"
    second = await shop.price(lookup_key="premium", transfer_lookup_key=True)
    found = await shop.call(shop.client.v1.prices.list, {"lookup_keys": ["premium", "other"]})
    assert [price.id for price in found.data] == [second] != [first]


async def test_the_log_of_requests_has_no_secrets(shop: Shop) -> None:
    await shop.customer()
    logged = shop.cloud.requests()[-1]
    assert (logged["method"], logged["path"], logged["status"]) == ("POST", "/v1/customers", 200)
    assert logged["params"] == {"email": "owner@example.com"}
    assert KEY not in str(shop.cloud.requests())


async def test_state_survives_a_restart(tmp_path: Any) -> None:
    file = tmp_path / "stripe.json"
    first = StripeCloud(state_file=file)
    async with first:
        shop = Shop(first)
        price = await shop.price()
        session = await shop.session(price)
        first.advance(1000)
    second = StripeCloud(state_file=file)
    async with second:
        assert second.clock.offset > 999
        assert second.pay(session.id)["status"] == "paid"
        second.advance(100_000)
        assert second.account.get("price", price)["unit_amount"] == 4999


async def test_fifty_starts_and_stops_leave_nothing_behind() -> None:
    before = len(asyncio.all_tasks())
    for _ in range(50):
        cloud = StripeCloud()
        await cloud.start()
        await cloud.stop()
        await cloud.stop()
    assert len(asyncio.all_tasks()) == before


def test_ids_are_reproducible_only_with_a_seed() -> None:
    def first_id(seed: int | None) -> str:
        return StripeCloud(seed=seed).account.new_id("cus")

    assert first_id(1) == first_id(1)
    assert first_id(None) != first_id(None)


@pytest.mark.parametrize("seconds", [-1, 1e12])
def test_the_clock_moves_forward_only(seconds: float) -> None:
    from simulator.stripe_cloud.api_errors import StripeApiError

    with pytest.raises(StripeApiError):
        StripeCloud().advance(seconds)


@pytest.mark.parametrize(
    ("path", "params", "named"),
    [
        ("/v1/subscriptions/{sub}", {"default_tax_rates": ["txr_1"]}, "default_tax_rates"),
        ("/v1/subscriptions/{sub}", {"transfer_data": {"destination": "acct_1"}}, "transfer_data"),
        (
            "/v1/subscriptions/{sub}",
            {"items": [{"price": "price_1"}, {"price": "price_1", "tax_rates": ["txr_1"]}]},
            "items[1][tax_rates]",
        ),
        ("/v1/invoices/{invoice}/pay", {"forgive": True}, "forgive"),
        ("/v1/refunds", {"charge": "ch_1", "reverse_transfer": True}, "reverse_transfer"),
        ("/v1/customers", {"tax": {"validate_location": "deferred"}}, "tax"),
        (
            "/v1/prices",
            {"product": "prod_1", "currency": "eur", "billing_scheme": "tiered"},
            "billing_scheme=tiered",
        ),
        (
            "/v1/checkout/sessions",
            {"mode": "payment", "shipping_address_collection": {"allowed_countries": ["IT"]}},
            "shipping_address_collection",
        ),
        (
            "/v1/checkout/sessions",
            {"mode": "payment", "payment_intent_data": {"capture_method": "manual"}},
            "payment_intent_data[capture_method]",
        ),
        ("/v1/billing_portal/sessions", {"customer": "cus_1", "on_behalf_of": "acct_1"}, "on_behalf_of"),
        (
            "/v1/invoices/create_preview",
            {"subscription": "sub_1", "invoice_items": [{"amount": 1}]},
            "invoice_items",
        ),
    ],
)
async def test_what_would_be_ignored_is_answered_501(
    shop: Shop, path: str, params: dict[str, Any], named: str
) -> None:
    sub = await shop.subscribe()
    invoice = shop.cloud.account.get("subscription", sub)["latest_invoice"]
    where = path.format(sub=sub, invoice=invoice)
    error = await shop.refused(lambda: shop.client.raw_request("post", where, **params))
    assert error.http_status == 501
    assert f"not simulated: the parameter {named} of POST" in str(error.user_message)


async def test_an_endpoint_that_is_not_simulated_is_a_501(shop: Shop) -> None:
    error = await shop.refused(shop.client.v1.quotes.create, {})
    assert (error.http_status, error.user_message) == (501, "not simulated: the endpoint POST /v1/quotes")
    error = await shop.refused(
        shop.client.v1.subscriptions.migrate, "sub_1", {"billing_mode": {"type": "flexible"}}
    )
    assert error.http_status == 501


async def test_what_is_not_billed_here_cannot_be_bought(shop: Shop) -> None:
    exact: Any = {"unit_amount_decimal": "0.5", "currency": "eur", "product_data": {"name": "x"}}
    price = await shop.call(shop.client.v1.prices.create, exact)
    items: Any = [{"price": price.id, "quantity": 1}]
    params: Any = {"mode": "payment", "line_items": items, "success_url": "http://router.lan/"}
    error = await shop.refused(shop.client.v1.checkout.sessions.create, params)
    assert error.http_status == 501


async def test_what_stripe_does_not_know_is_a_400(shop: Shop) -> None:
    error: Any = await shop.refused(lambda: shop.client.raw_request("post", "/v1/customers", colour="red"))
    assert (error.http_status, error.code) == (400, "parameter_unknown")


def test_each_endpoint_says_which_parameters_it_plays_and_all_of_them_exist() -> None:
    def check(known: Played, shape: type) -> None:
        parameters = declared(shape)
        for name, inner in known.items():
            assert name == "expand" or name in parameters, name
            shapes = nested_shapes(parameters[name]) if isinstance(inner, dict) else []
            assert bool(shapes) == isinstance(inner, dict), name
            for nested in shapes:
                check(inner, nested)

    assert SIMULATED.keys() == {f"{route.method} {route.path}" for route in ROUTES}
    for route in ROUTES:
        if route.shape is not None:
            check(played(f"{route.method} {route.path}"), route.shape)


def nested_shapes(annotation: Any) -> list[type]:
    """The objects that a parameter can hold, alone or in a list."""
    return [
        shape
        for member in _members(annotation)
        for shape in (
            [member]
            if is_typeddict(member)
            else nested_shapes(get_args(member)[0])
            if get_args(member)
            else []
        )
    ]
