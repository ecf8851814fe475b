"""Faults as the SDK meets them, and the control surface over HTTP."""

from __future__ import annotations

import asyncio
import time
from email.utils import parsedate_to_datetime
from typing import Any

import aiohttp
import pytest
import stripe

from simulator.stripe_cloud.mangling import MANGLED

from .conftest import KEY, Shop


async def test_a_rate_limit_reaches_the_caller_with_its_pause(shop: Shop) -> None:
    shop.cloud.set_faults(status=429, retry_after=7, count=1)
    error = await shop.refused(shop.client.v1.balance.retrieve)
    assert isinstance(error, stripe.RateLimitError)
    assert (error.headers or {})["Retry-After"] == "7"
    await shop.call(shop.client.v1.balance.retrieve)


async def test_the_sdk_gets_over_server_errors_by_itself(shop: Shop) -> None:
    shop.cloud.set_faults(status=500, count=2)
    client = shop.with_key(KEY, max_network_retries=3)
    customer = await shop.call(client.v1.customers.create, {"name": "A"})
    assert customer.name == "A"
    requests = shop.cloud.requests()
    assert [request["status"] for request in requests] == [500, 500, 200]
    assert len({request["idempotency_key"] for request in requests}) == 1


@pytest.mark.parametrize("how", [{"drop_connection": True}, {"truncate": True}, {"status": 500}])
async def test_a_lost_answer_is_replayed_not_repeated(shop: Shop, how: dict[str, bool]) -> None:
    shop.cloud.set_faults(**how, when="after", count=1, method="POST")
    client = shop.with_key(KEY, max_network_retries=2)
    create = client.v1.customers.create
    try:
        await shop.call(create, {"name": "A"}, {"idempotency_key": "once"})
    except stripe.APIConnectionError:
        await shop.call(create, {"name": "A"}, {"idempotency_key": "once"})
    assert len(list(shop.cloud.account.newest_first("customer"))) == 1
    assert shop.cloud.requests()[-1]["replayed"]


async def test_a_captive_portals_page_takes_the_place_of_the_answer(shop: Shop) -> None:
    page = "<html>Please log in</html>"
    shop.cloud.set_faults(body=page, count=1)
    error = await shop.refused(shop.client.v1.customers.create, {"name": "A"})
    assert isinstance(error, stripe.APIError)
    assert (error.http_body, error.http_status) == (page, 200)
    assert list(shop.cloud.account.newest_first("customer")) == []
    shop.cloud.set_faults(body="{}", status=502, content_type="application/json", when="after", count=1)
    assert (await shop.refused(shop.client.v1.customers.create, {"name": "A"})).http_status == 502
    assert len(list(shop.cloud.account.newest_first("customer"))) == 1


@pytest.mark.parametrize("mangle", MANGLED)
async def test_a_mangled_answer_is_json_and_no_such_object_and_its_request_is_carried_out(
    shop: Shop, mangle: str
) -> None:
    async def create() -> Any:
        async with (
            aiohttp.ClientSession(headers={"Authorization": f"Bearer {KEY}"}) as http,
            http.post(f"{shop.cloud.url}/v1/customers", data={"name": "A"}) as answer,
        ):
            return await answer.json()

    whole = await create()
    shop.cloud.set_faults(mangle=mangle, count=1)
    mangled = await create()
    assert len(list(shop.cloud.account.newest_first("customer"))) == 2
    assert not (isinstance(mangled, dict) and mangled.keys() >= whole.keys() and _same_types(mangled, whole))


def _same_types(one: dict[str, Any], other: dict[str, Any]) -> bool:
    return all(type(one[name]) is type(value) for name, value in other.items())


async def test_the_date_of_an_answer_can_be_wrong(shop: Shop) -> None:
    shop.cloud.set_faults(date_ahead=-86_400, status=503, count=1)
    error = await shop.refused(shop.client.v1.balance.retrieve)
    said = parsedate_to_datetime((error.headers or {})["Date"]).timestamp()
    assert said == pytest.approx(time.time() - 86_400, abs=60)


async def test_a_dropped_connection_before_leaves_nothing_behind(shop: Shop) -> None:
    shop.cloud.set_faults(drop_connection=True, count=1)
    error = await shop.refused(shop.client.v1.customers.create, {"name": "A"})
    assert isinstance(error, stripe.APIConnectionError)
    assert list(shop.cloud.account.newest_first("customer")) == []


async def test_faults_hit_only_their_path(shop: Shop) -> None:
    shop.cloud.set_faults(
        rules=[{"status": 503, "path": "/v1/refunds*"}, {"latency_ms": 1, "path": "/v1/prices*"}]
    )
    await shop.call(shop.client.v1.balance.retrieve)
    assert (await shop.refused(shop.client.v1.refunds.list)).http_status == 503
    shop.cloud.set_faults()
    await shop.call(shop.client.v1.refunds.list)


async def test_latency_delays_one_request_not_the_others(shop: Shop) -> None:
    shop.cloud.set_faults(latency_ms=3000, path="/v1/balance")
    slow = asyncio.create_task(shop.call(shop.client.v1.balance.retrieve))
    await shop.customer()
    assert not slow.done()
    await slow


async def test_the_control_surface_over_http(shop: Shop) -> None:
    session = await shop.session(await shop.price(), customer=await shop.customer())
    async with aiohttp.ClientSession(f"{shop.cloud.url}") as http:

        async def post(path: str, body: Any, status: int = 200) -> Any:
            async with http.post(path, json=body) as answer:
                assert answer.status == status, await answer.text()
                return await answer.json()

        async def get(path: str) -> Any:
            async with http.get(path) as answer:
                assert answer.status == 200
                return await answer.json()

        declined = await post(f"/_sim/checkout/{session.id}/pay", {"card": "4000000000000002"})
        assert (declined["status"], declined["decline_code"]) == ("declined", "generic_decline")
        assert (await post(f"/_sim/checkout/{session.id}/pay", {"card": "4242424242424242"}))[
            "status"
        ] == "paid"
        await post(f"/_sim/checkout/{session.id}/pay", {"card": "4242424242424242"}, 400)
        await post("/_sim/checkout/cs_none/pay", {}, 404)
        await post(f"/_sim/checkout/{session.id}/pay", {"card": 4242}, 400)
        before = (await get("/_sim/clock"))["now"]
        assert (await post("/_sim/clock/advance", {"seconds": 3600}))["now"] >= before + 3600
        bad: Any
        for bad in ({"seconds": -1}, {"seconds": "x"}, {"second": 1}, {}):
            await post("/_sim/clock/advance", bad, 400)
        assert (await post("/_sim/faults", {"webhooks": "drop"}))["webhooks"] == "drop"
        assert (await post("/_sim/faults", {"latency_ms": 5}))["webhooks"] == "drop"
        assert (await post("/_sim/faults", {})) == {"webhooks": "on", "rules": []}
        for bad in ({"webhooks": "sometimes"}, {"status": 42}, {"nonsense": 1}, {"rules": [3]}, {"rules": 3}):
            await post("/_sim/faults", bad, 400)
        dispute = await post("/_sim/dispute", {"session": session.id, "outcome": "lost"})
        assert dispute["status"] == "lost"
        await post("/_sim/dispute", {"charge": "ch_none"}, 404)
        await post("/_sim/dispute", {}, 400)
        endpoint = await post("/_sim/webhooks", {"url": "http://127.0.0.1:9/"})
        assert endpoint["secret"].startswith("whsec_")
        assert (await get("/_sim/webhooks"))["endpoints"][0]["id"] == endpoint["id"]
        state = await get("/_sim/state")
        assert state["objects"]["checkout.session"][0]["payment_status"] == "paid"
        requests = (await get("/_sim/requests?method=POST&limit=1"))["requests"]
        assert requests[0]["path"] == "/v1/checkout/sessions"
        assert "secret" not in str(state).lower().replace("client_secret", "").replace("_secret_", "")
        await post("/_sim/keys", {"key": "rk_test_x", "missing": ["rak_balance_read"]})
        assert isinstance(
            await shop.refused(shop.with_key("rk_test_x").v1.balance.retrieve), stripe.PermissionError
        )
        await post("/_sim/settings", {"dunning_ends_with": "unpaid"})
        for bad in (
            {"dunning_ends_with": "never"},
            {"tax_percent": "22"},
            {"tax_behavior": "none"},
            {"search": 1},
            {"colour": "red"},
        ):
            await post("/_sim/settings", bad, 400)
        assert (await post("/_sim/settings", {"tax_percent": 22, "adaptive_pricing": True}))["tax_percent"]
        await post("/_sim/refunds/re_none/fail", {}, 404)
        async with http.post("/_sim/faults", data="{") as answer:
            assert answer.status == 400


@pytest.mark.parametrize("when", ["before", "after"])
async def test_a_failure_is_stored_under_the_idempotency_key(shop: Shop, when: str) -> None:
    shop.cloud.set_faults(status=500, stored=True, when=when, count=1, path="/v1/customers")
    create = shop.client.v1.customers.create
    options = {"idempotency_key": "constant"}
    for replayed in (None, "true"):
        error = await shop.refused(create, {"email": "a@example.com"}, options)
        assert error.http_status == 500
        headers = {name.lower(): value for name, value in (error.headers or {}).items()}
        assert headers.get("idempotent-replayed") == replayed
    assert len(list(shop.cloud.account.newest_first("customer"))) == (1 if when == "after" else 0)
    shop.cloud.advance(25 * 3600)
    await shop.call(create, {"email": "a@example.com"}, options)


async def test_an_account_without_search(shop: Shop) -> None:
    shop.cloud.account.settings["search"] = False
    error = await shop.refused(shop.client.v1.customers.search, {"query": "email:'a@example.com'"})
    assert (error.http_status, error.code) == (400, None)
