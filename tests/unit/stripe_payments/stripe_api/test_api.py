from __future__ import annotations

import asyncio
import json
import logging
import subprocess
import sys
import threading
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest
import stripe

from simulator.stripe_cloud import StripeCloud
from simulator.stripe_cloud.mangling import MANGLED
from stripe_payments.clock import TrustedClock
from stripe_payments.errors import PaymentError
from stripe_payments.keys import Keys
from stripe_payments.stripe_api import StripeAPI, api_base_problem, is_transient, object_kind
from stripe_payments.stripe_api.faults import MAX_RETRY_AFTER, retry_after
from stripe_payments.stripe_api.worker_threads import OverloadError, WorkerThreads
from tests.unit.stripe_payments.seller import KEY, PATIENCE, Seller


async def refusal(awaitable: object) -> PaymentError:
    with pytest.raises(PaymentError) as raised:
        await awaitable  # type: ignore[misc]
    return raised.value


def api(url: str, key: str | None = KEY, clock: TrustedClock | None = None, retries: int = 0) -> StripeAPI:
    return StripeAPI(
        lambda: Keys(secret_key=key),
        clock or TrustedClock(None),
        url,
        read_timeout=2.0,
        network_retries=retries,
    )


def test_importing_the_package_does_not_import_the_sdk() -> None:
    code = (
        "import sys; import stripe_payments.stripe_api, stripe_payments.sync, stripe_payments.billing;"
        "sys.exit('stripe' in sys.modules or 'requests' in sys.modules)"
    )
    root = Path(__file__).parents[4]
    ran = subprocess.run(
        [sys.executable, "-c", code], cwd=root / "daemon", check=False, timeout=60, capture_output=True
    )
    assert ran.returncode == 0, ran.stderr


async def test_a_session_comes_with_what_belongs_to_it(seller: Seller) -> None:
    session_id = await seller.buy()
    before = seller.asked()
    session = await seller.stripe.retrieve(session_id)
    assert seller.asked() == before + 1
    assert session is not None
    charge = session["payment_intent"]["latest_charge"]
    assert charge["refunds"]["data"] == []
    assert session["line_items"]["data"][0]["price"]["lookup_key"] == "price_premium_onetime"


async def test_the_version_is_pinned_and_every_post_has_a_key(seller: Seller, cloud: StripeCloud) -> None:
    await seller.checkout()
    for request in cloud.requests():
        assert request["version"] == stripe.api_version
        assert (request["method"] == "POST") == bool(request["idempotency_key"])


async def test_the_clock_learns_from_every_answer_even_a_refusal(cloud: StripeCloud) -> None:
    clock = TrustedClock(None)
    stripe_api = api(cloud.url, "sk_test_invalid_key", clock)
    error = await refusal(stripe_api.retrieve("cs_test_x"))
    assert error.code == "stripe_key_invalid"
    assert clock.trusted
    assert stripe_api.state.status == "unauthorized"
    stripe_api.close()


async def test_what_does_not_exist_is_none(seller: Seller) -> None:
    assert await seller.stripe.retrieve("cs_test_nobody") is None
    assert seller.stripe.state.status == "ok"


async def test_faults_are_told_apart(cloud: StripeCloud) -> None:
    stripe_api = api(cloud.url)
    assert stripe_api.state.status == "unknown"
    cloud.set_faults(status=429, retry_after=7)
    error = await refusal(stripe_api.retrieve("cs_test_x"))
    assert (error.code, error.details["retry_after"], is_transient(error)) == ("rate_limited", 7, True)
    cloud.set_faults(status=500)
    error = await refusal(stripe_api.retrieve("cs_test_x"))
    assert (error.code, is_transient(error)) == ("stripe_error", True)
    assert stripe_api.state.status == "unreachable"
    cloud.set_faults(drop_connection=True)
    error = await refusal(stripe_api.retrieve("cs_test_x"))
    assert (error.code, error.details["reason"]) == ("stripe_unreachable", "network")
    cloud.set_faults(status=403)
    error = await refusal(stripe_api.retrieve("cs_test_x"))
    assert (error.code, is_transient(error)) == ("stripe_key_permission", False)
    cloud.set_faults(latency_ms=5000)
    error = await refusal(stripe_api.retrieve("cs_test_x"))
    assert (error.code, error.details["reason"]) == ("stripe_unreachable", "timeout")
    cloud.set_faults()
    assert await stripe_api.retrieve("cs_test_x") is None
    assert stripe_api.state.status == "ok"
    stripe_api.close()


async def test_a_parameter_stripe_does_not_know_is_our_mistake(seller: Seller) -> None:
    error = await refusal(seller.stripe.post("/v1/customers", {"colour": "blue"}, "k"))
    assert (error.code, error.details["param"], is_transient(error)) == ("stripe_error", "colour", False)


async def test_nobody_there() -> None:
    for url, reason in (("http://127.0.0.1:1", "refused"), ("https://nowhere.invalid", "dns")):
        stripe_api = api(url)
        error = await refusal(stripe_api.retrieve("cs_test_x"))
        assert (error.code, error.details["reason"]) == ("stripe_unreachable", reason)
        stripe_api.close()


async def test_a_lost_answer_is_asked_for_twice_more(cloud: StripeCloud) -> None:
    stripe_api = api(cloud.url, retries=2)
    cloud.set_faults(drop_connection=True, count=2)
    assert await stripe_api.retrieve("cs_test_x") is None
    stripe_api.close()


async def test_no_key_no_call(cloud: StripeCloud) -> None:
    before = len(cloud.requests())
    stripe_api = api(cloud.url, None)
    assert (await refusal(stripe_api.retrieve("cs_test_x"))).code == "not_configured"
    assert stripe_api.state.status == "unconfigured"
    assert len(cloud.requests()) == before


async def test_a_slow_stripe_leaves_the_loop_free_and_four_calls_under_way(cloud: StripeCloud) -> None:
    stripe_api = api(cloud.url)
    await stripe_api.retrieve("cs_test_x")
    cloud.set_faults(latency_ms=400)
    calls = [asyncio.create_task(stripe_api.retrieve("cs_test_x")) for _ in range(6)]
    turns = 0
    while not all(call.done() for call in calls):
        turns += 1
        await asyncio.sleep(0)
    assert turns > 20
    assert sum(thread.name.startswith("stripe-") for thread in threading.enumerate()) == 4
    stripe_api.close()


async def test_keys_never_reach_the_log(cloud: StripeCloud, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    stripe_api = api(cloud.url, "sk_test_invalid_very_secret_value")
    await refusal(stripe_api.retrieve("cs_test_x"))
    stripe_api.close()
    assert caplog.records
    for record in caplog.records:
        assert "very_secret_value" not in record.getMessage() + str(record.__dict__)


@pytest.mark.parametrize(
    "url", ["https://api.stripe.com", "http://127.0.0.1:12111", "http://[::1]:1", "http://localhost:80"]
)
def test_where_stripe_may_be(url: str) -> None:
    assert api_base_problem(url) is None


@pytest.mark.parametrize(
    "url",
    [
        "http://stripe.example",
        "http://10.0.0.1",
        "ftp://127.0.0.1",
        "127.0.0.1:80",
        "https://user@api.stripe.com",
        "http://127.0.0.1.evil.example",
        "http://localhost.evil.example",
        "",
    ],
)
def test_where_it_may_not(url: str) -> None:
    assert api_base_problem(url) is not None
    with pytest.raises(ValueError, match="STRIPE_API_BASE"):
        StripeAPI(lambda: Keys(), TrustedClock(None), url)


@pytest.mark.parametrize(
    ("object_id", "kind"),
    [
        ("cs_test_a1", "checkout.session"),
        ("cs_live_a1", "checkout.session"),
        ("pi_1", "payment_intent"),
        ("py_1", "charge"),
        ("pyr_1", "refund"),
        ("du_1", "dispute"),
        ("dp_1", "dispute"),
        ("sub_1", "subscription"),
        ("in_1", "invoice"),
        ("evt_1", None),
        ("cs", None),
        ("cs_", None),
        ("cs_a/../b", None),
        ("cs_a?x=1", None),
        ("cs_" + "a" * 300, None),
        ("cs_a\n", None),
    ],
)
def test_the_kind_of_an_id(object_id: str, kind: str | None) -> None:
    assert object_kind(object_id) == kind


def test_retry_after() -> None:
    assert retry_after({"Retry-After": "12"}, None) == 12
    assert retry_after({"retry-after": "99999999"}, None) == MAX_RETRY_AFTER
    date = "Wed, 21 Oct 2026 07:28:00 GMT"
    assert retry_after({"Retry-After": "Wed, 21 Oct 2026 07:28:30 GMT", "Date": date}, None) == 30
    assert retry_after({"Retry-After": date}, None) is None
    assert retry_after({"Retry-After": date}, 2_000_000_000) == 0
    assert retry_after({"Retry-After": "soon"}, 1) is None
    assert retry_after(None, 1) is None


async def test_threads_are_bounded_and_a_cancelled_call_never_begins() -> None:
    threads = WorkerThreads(1, "test", max_waiting=1)
    go, ran = threading.Event(), []
    first = asyncio.create_task(threads.run(lambda: go.wait(PATIENCE)))
    await asyncio.sleep(0)
    second = asyncio.create_task(threads.run(lambda: ran.append(2)))
    await asyncio.sleep(0)
    with pytest.raises(OverloadError):
        await threads.run(lambda: ran.append(3))
    second.cancel()
    await asyncio.gather(second, return_exceptions=True)
    third = asyncio.create_task(threads.run(lambda: 3))  # it has the place of the one that left
    await asyncio.sleep(0)
    go.set()
    assert await third == 3
    assert await first
    with pytest.raises(ZeroDivisionError):
        await threads.run(lambda: 1 / 0)
    threads.close()
    threads.close()
    assert ran == []
    with pytest.raises(RuntimeError):
        await threads.run(lambda: None)


async def test_opening_and_closing_leaves_no_thread(cloud: StripeCloud) -> None:
    for _ in range(10):
        stripe_api = api(cloud.url)
        await stripe_api.retrieve("cs_test_x")
        stripe_api.close()
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("stripe-")]


@pytest.mark.parametrize("bought", ["one-time", "subscription"])
@pytest.mark.parametrize("mangle", MANGLED)
async def test_nothing_is_concluded_from_an_answer_that_is_not_whole(
    seller: Seller, cloud: StripeCloud, mangle: str, bought: str
) -> None:
    first = await (seller.buy() if bought == "one-time" else seller.subscribe())
    held = await seller.unlocked()
    assert held
    there = cloud.account.find(first) or {}
    for object_id in (first, there.get("payment_intent") or there["latest_invoice"]):
        cloud.set_faults(mangle=mangle)
        error = await refusal(seller.reconciler.sync(object_id))
        assert error.code == "stripe_error"
        assert is_transient(error)
        assert seller.stripe.state.status == "unreachable"
        assert await seller.unlocked() == held
        cloud.set_faults()
        await seller.reconciler.sync(object_id)
        assert await seller.unlocked() == held
    verbs: tuple[Callable[[], Awaitable[object]], ...] = (
        lambda: seller.stripe.list_checkout_sessions({"limit": 5}),
        lambda: seller.stripe.find_customer("0" * 32),
        lambda: seller.stripe.list_webhook_endpoints(),
    )
    for verb in verbs:
        cloud.set_faults(mangle=mangle)
        assert is_transient(await refusal(verb()))
        cloud.set_faults()
        await verb()


async def test_one_object_is_no_answer_for_another(seller: Seller, cloud: StripeCloud) -> None:
    """What some cache might give: a well-formed customer where a list of sessions was asked for."""
    customer = json.dumps({"id": "cus_1", "object": "customer", "metadata": {}})
    cloud.set_faults(body=customer, content_type="application/json")
    assert is_transient(await refusal(seller.stripe.list_checkout_sessions({"limit": 5})))
    assert is_transient(await refusal(seller.stripe.find_customer("0" * 32)))
