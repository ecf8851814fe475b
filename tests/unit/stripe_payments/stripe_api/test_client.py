from __future__ import annotations

import asyncio
import json
import logging
import subprocess
import sys
import threading
import time
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest
import requests
import stripe

from simulator.stripe_cloud import StripeCloud
from simulator.stripe_cloud.mangling import MANGLED
from stripe_payments.clock import TrustedClock
from stripe_payments.errors import PaymentError
from stripe_payments.keys import Keys
from stripe_payments.setup.webhook_endpoint import read_endpoints
from stripe_payments.stripe_api import StripeAPI, api_base_problem, is_transient, object_kind
from stripe_payments.stripe_api.client import MAX_QUEUED, THREADS
from stripe_payments.stripe_api.failures import MAX_RETRY_AFTER, retry_after
from stripe_payments.stripe_api.permissions import missing_permission
from tests.unit.stripe_payments.engine import KEY, Engine


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


async def test_one_request_returns_the_session_and_its_payment(engine: Engine) -> None:
    session_id = await engine.buy()
    before = engine.asked()
    session = await engine.stripe.retrieve(session_id)
    assert engine.asked() == before + 1
    assert session is not None
    charge = session["payment_intent"]["latest_charge"]
    assert charge["refunds"]["data"] == []
    assert session["line_items"]["data"][0]["price"]["lookup_key"] == "price_premium_onetime"


async def test_the_version_is_pinned_and_every_post_has_a_key(engine: Engine, cloud: StripeCloud) -> None:
    await engine.checkout()
    for request in cloud.requests():
        assert request["version"] == stripe.api_version
        assert (request["method"] == "POST") == bool(request["idempotency_key"])


async def test_the_clock_follows_the_date_of_every_response(cloud: StripeCloud) -> None:
    clock = TrustedClock(None)
    stripe_api = api(cloud.url, "sk_test_invalid_key", clock)
    error = await refusal(stripe_api.retrieve("cs_test_x"))
    assert error.code == "stripe_key_invalid"
    assert clock.trusted
    assert stripe_api.state.status == "unauthorized"
    stripe_api.close()


async def test_an_unknown_id_is_none(engine: Engine) -> None:
    assert await engine.stripe.retrieve("cs_test_nobody") is None
    assert engine.stripe.state.status == "ok"


async def test_each_failure_has_its_own_error(cloud: StripeCloud) -> None:
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


async def test_an_unknown_parameter_is_not_transient(engine: Engine) -> None:
    error = await refusal(engine.stripe.create("customer", {"colour": "blue"}, "k"))
    assert (error.code, error.details["param"], is_transient(error)) == ("stripe_error", "colour", False)


async def test_dns_failure_and_refused_connection() -> None:
    for url, reason in (("http://127.0.0.1:1", "refused"), ("https://nowhere.invalid", "dns")):
        stripe_api = api(url)
        error = await refusal(stripe_api.retrieve("cs_test_x"))
        assert (error.code, error.details["reason"]) == ("stripe_unreachable", reason)
        stripe_api.close()


async def test_a_lost_response_is_retried_twice(cloud: StripeCloud) -> None:
    stripe_api = api(cloud.url, retries=2)
    cloud.set_faults(drop_connection=True, count=2)
    assert await stripe_api.retrieve("cs_test_x") is None
    stripe_api.close()


async def test_without_a_key_nothing_is_sent(cloud: StripeCloud) -> None:
    before = len(cloud.requests())
    stripe_api = api(cloud.url, None)
    assert (await refusal(stripe_api.retrieve("cs_test_x"))).code == "not_configured"
    assert stripe_api.state.status == "unconfigured"
    assert len(cloud.requests()) == before


async def test_a_slow_stripe_does_not_block_the_loop_and_four_calls_run_at_once(cloud: StripeCloud) -> None:
    stripe_api = api(cloud.url)
    await stripe_api.retrieve("cs_test_x")
    cloud.set_faults(latency_ms=400)
    calls = [asyncio.create_task(stripe_api.retrieve("cs_test_x")) for _ in range(6)]
    turns = 0
    while not all(call.done() for call in calls):
        turns += 1
        await asyncio.sleep(0)
    assert turns > 20
    assert sum(thread.name.startswith("stripe_") for thread in threading.enumerate()) == 4
    stripe_api.close()


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The home directory of the daemon's user, with credentials for every host."""
    netrc = tmp_path / ".netrc"
    netrc.write_text("default login mallory password secret\n")
    netrc.chmod(0o600)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("NETRC", raising=False)
    return tmp_path


async def test_a_netrc_does_not_replace_the_key(cloud: StripeCloud, home: Path) -> None:
    assert requests.utils.get_netrc_auth(cloud.url) == ("mallory", "secret")  # requests does find it
    stripe_api = api(cloud.url)
    assert await stripe_api.retrieve("cs_test_x") is None
    assert stripe_api.state.status == "ok"
    stripe_api.close()


async def test_proxies_of_the_environment_see_only_tls(
    cloud: StripeCloud, monkeypatch: pytest.MonkeyPatch
) -> None:
    """http is for loopback: a proxy in between would read the key."""
    seen: list[bytes] = []

    async def proxy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        seen.append(await reader.readline())
        writer.write(b"HTTP/1.1 502 Bad Gateway\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
        writer.close()

    server = await asyncio.start_server(proxy, "127.0.0.1", 0)
    address = "http://{}:{}".format(*server.sockets[0].getsockname())
    for name in ("http_proxy", "https_proxy", "all_proxy"):
        monkeypatch.setenv(name, address)
    monkeypatch.delenv("no_proxy", raising=False)
    monkeypatch.delenv("NO_PROXY", raising=False)
    plain, encrypted = api(cloud.url), api("https://stripe.invalid")
    assert await plain.retrieve("cs_test_x") is None
    assert seen == []
    assert (await refusal(encrypted.retrieve("cs_test_x"))).code == "stripe_unreachable"
    assert seen == [b"CONNECT stripe.invalid:443 HTTP/1.0\r\n"]
    plain.close()
    encrypted.close()
    server.close()


@pytest.mark.parametrize("status", [400, 401, 402, 403, 404, 409, 429, 500, 503])
async def test_the_error_code_is_read_from_the_body(cloud: StripeCloud, status: int) -> None:
    """The SDK's exceptions have none for most of these."""
    stripe_api = api(cloud.url)
    body = {"error": {"type": "api_error", "code": "code_of_the_body", "message": "no"}}
    cloud.set_faults(status=status, body=json.dumps(body), content_type="application/json")
    error = await refusal(stripe_api.get("customer", "cus_1"))
    assert error.details["stripe_code"] == "code_of_the_body"
    stripe_api.close()


@pytest.mark.parametrize(
    ("message", "permission"),
    [
        (
            "The provided key 'rk_test_***' does not have the required permissions for this endpoint. Having "
            "the 'rak_checkout_session_read' permission would allow this request to continue.",
            "Checkout Sessions: Read (rak_checkout_session_read)",
        ),
        (
            "The provided key 'rk_test_***' requires the 'checkout_session_read' permission.",
            "Checkout Sessions: Read (checkout_session_read)",
        ),
        ("Having the 'rak_terminal_write' permission would help.", "rak_terminal_write"),
        ("You may not write this.", None),
    ],
)
def test_the_permission_named_in_a_refusal(message: str, permission: str | None) -> None:
    assert missing_permission(message) == permission


async def test_keys_are_never_logged(cloud: StripeCloud, caplog: pytest.LogCaptureFixture) -> None:
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
def test_accepted_api_base(url: str) -> None:
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
def test_rejected_api_base(url: str) -> None:
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
def test_object_kind(object_id: str, kind: str | None) -> None:
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


async def test_calls_are_bounded_and_a_cancelled_call_is_not_sent(cloud: StripeCloud) -> None:
    stripe_api = api(cloud.url)
    await stripe_api.retrieve("cs_test_x")
    cloud.set_faults(latency_ms=300)
    before = len(cloud.requests())
    calls = [asyncio.create_task(stripe_api.retrieve("cs_test_x")) for _ in range(THREADS + MAX_QUEUED)]
    await asyncio.sleep(0)
    assert (await refusal(stripe_api.retrieve("cs_test_x"))).code == "timeout"
    for call in calls[THREADS:]:
        call.cancel()
    await asyncio.gather(*calls, return_exceptions=True)
    cloud.set_faults()
    assert await stripe_api.retrieve("cs_test_x") is None
    assert len(cloud.requests()) - before == THREADS + 1
    stripe_api.close()
    stripe_api.close()
    with pytest.raises(RuntimeError):
        await stripe_api.retrieve("cs_test_x")


async def test_closing_does_not_wait_for_a_call_that_hangs(cloud: StripeCloud) -> None:
    stripe_api = api(cloud.url)
    cloud.set_faults(latency_ms=1500)
    call = asyncio.create_task(stripe_api.retrieve("cs_test_x"))
    await asyncio.sleep(0.3)
    began = time.monotonic()
    stripe_api.close(timeout=0.2)
    assert time.monotonic() - began < 1.0
    assert await call is None  # abandoned, not interrupted


async def test_opening_and_closing_leaves_no_thread(cloud: StripeCloud) -> None:
    for _ in range(10):
        stripe_api = api(cloud.url)
        await stripe_api.retrieve("cs_test_x")
        stripe_api.close()
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("stripe_")]


@pytest.mark.parametrize("bought", ["one-time", "subscription"])
@pytest.mark.parametrize("mangle", MANGLED)
async def test_a_truncated_response_changes_nothing(
    engine: Engine, cloud: StripeCloud, mangle: str, bought: str
) -> None:
    first = await (engine.buy() if bought == "one-time" else engine.subscribe())
    held = await engine.unlocked()
    assert held
    there = cloud.account.find(first) or {}
    for object_id in (first, there.get("payment_intent") or there["latest_invoice"]):
        cloud.set_faults(mangle=mangle)
        error = await refusal(engine.reconciler.sync(object_id))
        assert error.code == "stripe_error"
        assert is_transient(error)
        assert engine.stripe.state.status == "unreachable"
        assert await engine.unlocked() == held
        cloud.set_faults()
        await engine.reconciler.sync(object_id)
        assert await engine.unlocked() == held
    verbs: tuple[Callable[[], Awaitable[object]], ...] = (
        lambda: engine.stripe.list("checkout.session", {"limit": 5}),
        lambda: engine.stripe.find_customer("0" * 32),
        lambda: read_endpoints(engine.stripe),
    )
    for verb in verbs:
        cloud.set_faults(mangle=mangle)
        assert is_transient(await refusal(verb()))
        cloud.set_faults()
        await verb()


async def test_an_object_of_another_kind_is_rejected(engine: Engine, cloud: StripeCloud) -> None:
    """As from a broken cache: a well-formed customer where a list of sessions was requested."""
    customer = json.dumps({"id": "cus_1", "object": "customer", "metadata": {}})
    cloud.set_faults(body=customer, content_type="application/json")
    assert is_transient(await refusal(engine.stripe.list("checkout.session", {"limit": 5})))
    assert is_transient(await refusal(engine.stripe.find_customer("0" * 32)))
