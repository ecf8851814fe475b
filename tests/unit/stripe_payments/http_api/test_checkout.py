"""`POST /api/payments/create-checkout-session`: the guide's request, and malformed ones."""

from typing import Any

import pytest

from stripe_payments import startup_gate
from stripe_payments.billing import checkout_sessions
from stripe_payments.http_api import routing
from tests.unit.stripe_payments.harness import ONETIME, Harness, Reply, Shop

CREATE = "/api/payments/create-checkout-session"
JSON = "application/json"


async def create(harness: Harness, body: object, **headers: str) -> Reply:
    sid = await harness.login()
    return await harness.http("POST", CREATE, body, authorization=f"Bearer {sid}", **headers)


@pytest.mark.parametrize(
    ("body", "content_type", "expected"),
    [
        ("", JSON, (400, "invalid_json")),
        ("{", JSON, (400, "invalid_json")),
        (b'{"price_id":"\xff"}', JSON, (400, "invalid_json")),
        ('{"price_id":NaN}', JSON, (400, "invalid_json")),
        ("[" * 15000, JSON, (400, "invalid_json")),
        ('"price"', JSON, (400, "invalid_argument")),
        ("[]", JSON, (400, "invalid_argument")),
        ("{}", JSON, (400, "invalid_argument")),
        ('{"price_id":7}', JSON, (400, "invalid_argument")),
        ('{"price_id":null}', JSON, (400, "invalid_argument")),
        ('{"price_id":"p","success_url":1}', JSON, (400, "invalid_argument")),
        ('{"price_id":"p","success_url":"/a\\u0000"}', JSON, (400, "invalid_argument")),
        ('{"price_id":"price_of_nobody"}', JSON, (404, "unknown_price")),
        ('{"price_id":"price_of_nobody"}', "application/json; charset=UTF-8", (404, "unknown_price")),
        ('{"price_id":"price_of_nobody"}', "Application/JSON;charset=utf-8", (404, "unknown_price")),
        ("{}", "application/json; charset=latin-1", (415, "unsupported_media_type")),
        ("{}", "text/plain", (415, "unsupported_media_type")),
        ("price_id=1", "application/x-www-form-urlencoded", (415, "unsupported_media_type")),
        ("{}", "application/jsonp", (415, "unsupported_media_type")),
        ("{}", "", (415, "unsupported_media_type")),
    ],
)
async def test_a_malformed_order_is_refused(
    harness: Harness, body: str | bytes, content_type: str, expected: tuple[int, str]
) -> None:
    assert (await create(harness, body, content_type=content_type)).error == expected


async def test_a_request_without_a_valid_host_is_refused(harness: Harness) -> None:
    assert (await create(harness, {"price_id": ONETIME}, host="evil.example/x")).error == (
        400,
        "invalid_argument",
    )


async def test_the_guides_request(shop: Shop) -> None:
    order = {
        "price_id": ONETIME,
        "success_url": "http://192.168.1.1/payment-success",
        "cancel_url": "http://192.168.1.1/payment-cancel",
    }
    reply = await create(shop.harness, order)
    assert (reply.status, reply.headers["Content-Type"]) == (200, "application/json")
    body = reply.json()
    assert set(body) == {"session_id", "checkout_url"}
    assert body["session_id"].startswith("cs_test_")
    assert body["checkout_url"] == f"{shop.stripe.url}/c/pay/{body['session_id']}"
    session: dict[str, Any] = await shop.account.request("GET", f"checkout/sessions/{body['session_id']}")
    assert session["success_url"] == "http://192.168.1.1/payment-success?session_id={CHECKOUT_SESSION_ID}"


async def test_a_foreign_return_url_is_refused(shop: Shop) -> None:
    for url in ("https://evil.example/", "//evil.example/", "http://192.168.1.1@evil.example/"):
        reply = await create(shop.harness, {"price_id": ONETIME, "success_url": url})
        assert reply.status == 400
        assert reply.error[1] in ("foreign_return_url", "invalid_argument")


@pytest.mark.parametrize(
    ("silent_s", "expected"), [(0.1, (502, "stripe_unreachable")), (60.0, (503, "timeout"))]
)
async def test_a_silent_stripe_is_named_in_time(
    shop: Shop, monkeypatch: pytest.MonkeyPatch, silent_s: float, expected: tuple[int, str]
) -> None:
    """`timeout` where the time went elsewhere; on the bus as over HTTP."""
    monkeypatch.setattr(routing, "CALL_TIMEOUT_S", 0.5)
    monkeypatch.setattr(startup_gate, "SILENT_S", silent_s)
    assert shop.harness.service is not None
    monkeypatch.setattr(shop.harness.service._bus_api, "_timeout", 0.5)
    shop.stripe.set_faults(latency_ms=1500, method="POST", path="/v1/checkout/sessions")
    reply = await create(shop.harness, {"price_id": ONETIME})
    assert reply.error == expected
    refusal = await shop.harness.refusal("create_checkout_session", price_id=ONETIME)
    assert refusal["code"] == expected[1]


@pytest.mark.parametrize(("retries", "call_timeout_s"), [(0, 25.0), (5, 0.5)])
async def test_a_request_that_stripe_still_works_on_is_a_silent_stripe(
    shop: Shop, monkeypatch: pytest.MonkeyPatch, retries: int, call_timeout_s: float
) -> None:
    """The second click meets the first one's key in use (409): no sentence of Stripe's reaches the buyer."""
    monkeypatch.setattr(routing, "CALL_TIMEOUT_S", call_timeout_s)
    monkeypatch.setattr(checkout_sessions, "KEY_IN_USE_RETRIES", retries)
    parts = await shop.harness.parts()
    for name, value in (("_timeout", (10.0, 0.3)), ("_retries", 0), ("_client", None)):
        monkeypatch.setattr(parts.stripe, name, value)
    shop.stripe.set_faults(latency_ms=5000, count=1, method="POST", path="/v1/checkout/sessions")
    for _ in range(2):
        reply = await create(shop.harness, {"price_id": ONETIME})
        assert reply.error == (502, "stripe_unreachable")
