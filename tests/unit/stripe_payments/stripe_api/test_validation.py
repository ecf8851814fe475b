"""A response that is not what Stripe documents is rejected as a whole."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest
from aiohttp import web

from stripe_payments.clock import TrustedClock
from stripe_payments.errors import PaymentError
from stripe_payments.keys import Keys
from stripe_payments.stripe_api import StripeAPI, is_transient
from stripe_payments.stripe_api.validation import (
    MAX_DEPTH,
    Expected,
    MalformedResponseError,
    check,
    read_response,
)
from tests.unit.stripe_payments.engine import KEY, Engine

SESSION: dict[str, Any] = {
    "id": "cs_test_1",
    "object": "checkout.session",
    "status": "complete",
    "payment_status": "paid",
    "mode": "payment",
    "livemode": False,
    "created": 1_700_000_000,
    "amount_total": 4999,
    "currency": "eur",
    "metadata": {},
    "payment_intent": {
        "id": "pi_1",
        "object": "payment_intent",
        "status": "succeeded",
        "livemode": False,
        "created": 1_700_000_000,
        "amount": 4999,
        "currency": "eur",
        "metadata": {},
        "latest_charge": {
            "id": "ch_1",
            "object": "charge",
            "paid": True,
            "refunded": False,
            "disputed": False,
            "metadata": {},
            "livemode": False,
            "created": 1_700_000_000,
            "amount": 4999,
            "amount_captured": 4999,
            "amount_refunded": 0,
            "currency": "eur",
            "receipt_url": "https://pay.stripe.com/receipts/x",
            "refunds": {"object": "list", "data": [], "has_more": False},
        },
    },
}


def changed(path: str, value: Any) -> dict[str, Any]:
    """The session with another value at a dotted path."""
    session: dict[str, Any] = json.loads(json.dumps(SESSION))
    *above, last = path.split(".")
    holder = session
    for step in above:
        holder = holder[step]
    holder[last] = value
    return session


def test_a_session_as_documented_is_accepted() -> None:
    expected = Expected("checkout.session", object_id="cs_test_1")
    assert read_response(json.dumps(SESSION), expected) == SESSION


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("id", None),
        ("id", "cs_test_2"),
        ("object", "charge"),
        ("payment_status", None),
        ("payment_status", "<b>paid</b>"),
        ("created", "yesterday"),
        ("created", -1),
        ("created", 253_402_300_800),
        ("created", True),
        ("amount_total", 10**30),
        ("amount_total", 49.99),
        ("currency", "€"),
        ("url", "javascript:alert(1)"),
        ("url", "data:text/html,x"),
        ("metadata", {"router_id": {}}),
        ("metadata", []),
        ("line_items", {"object": "list", "data": None, "has_more": False}),
        ("line_items", {"object": "list", "data": [None], "has_more": False}),
        ("payment_intent", {}),
        ("payment_intent", 7),
        ("payment_intent", None),
        ("payment_intent.status", []),
        ("payment_intent.metadata", None),
        ("payment_intent.latest_charge.refunded", None),
        ("payment_intent.latest_charge.refunded", "no"),
        ("payment_intent.latest_charge.disputed", None),
        ("payment_intent.latest_charge.amount_captured", None),
        ("payment_intent.latest_charge.amount_refunded", None),
        ("payment_intent.latest_charge.refunds", {"object": "list", "data": ["re_1"], "has_more": False}),
        ("payment_intent.latest_charge.receipt_url", "file:///etc/passwd"),
        ("payment_intent.last_payment_error", {"code": ["x"]}),
    ],
)
def test_a_session_not_as_documented_is_rejected(path: str, value: Any) -> None:
    with pytest.raises(MalformedResponseError):
        check(changed(path, value), Expected("checkout.session", object_id="cs_test_1"))


def test_a_session_with_nothing_to_pay_has_no_payment_intent() -> None:
    check({**SESSION, "amount_total": 0, "payment_intent": None}, Expected("checkout.session"))


def test_an_expanded_object_must_not_be_an_id() -> None:
    """Only the charge shows whether it was refunded."""
    path_to_refunds = "payment_intent.latest_charge.refunds"
    expected = Expected(expanded=(path_to_refunds,))
    check(SESSION, expected)
    for path in ("payment_intent", "payment_intent.latest_charge"):
        with pytest.raises(MalformedResponseError, match="not expanded"):
            check(changed(path, "pi_1"), expected)
    listed = {"object": "list", "data": [SESSION, changed("payment_intent", "pi_1")], "has_more": False}
    with pytest.raises(MalformedResponseError, match="not expanded"):
        check(listed, Expected("checkout.session", is_list=True, expanded=(f"data.{path_to_refunds}",)))


@pytest.mark.parametrize("kind", ["list", "search_result"])
def test_a_page_without_data_or_has_more_is_rejected(kind: str) -> None:
    """Read as an empty page, it would lead to a second customer."""
    page: dict[str, Any] = {"object": kind, "data": [], "has_more": False}
    expected = Expected("customer", is_list=True)
    check(page, expected)
    for name in page:
        for half in ({**page, name: None}, {key: page[key] for key in page if key != name}):
            with pytest.raises(MalformedResponseError):
                check(half, expected)


@pytest.mark.parametrize(
    "body",
    [
        "",
        "null",
        "[]",
        '{"a": NaN}',
        '{"a": -Infinity}',
        '{"a": 1e999}',
        '{"a": ' + "9" * 5000 + "}",
        '{"a":' * (MAX_DEPTH + 1) + "1" + "}" * (MAX_DEPTH + 1),
        '{"a":' + "[" * 100_000 + "]" * 100_000 + "}",
    ],
    ids=lambda body: body[:20],
)
def test_a_body_that_is_not_a_json_object_is_rejected(body: str) -> None:
    with pytest.raises(MalformedResponseError):
        read_response(body, Expected())


def test_unfit_characters_are_replaced() -> None:
    body = '{"a\\u0000": ["\\ud800x", {"b": "\\ud83d\\ude00 \\udc00"}], "c": "\\\\u0000"}'
    read = read_response(body, Expected())
    assert read == {"a\ufffd": ["\ufffdx", {"b": "😀 \ufffd"}], "c": "\\u0000"}


Serve = Callable[..., None]


@pytest.fixture
async def served() -> AsyncIterator[tuple[StripeAPI, Serve]]:
    """A server with a scripted response, and a client of it."""
    answer: dict[str, Any] = {}

    async def handle(request: web.Request) -> web.Response:
        del request
        return web.Response(**answer)

    def serve(body: bytes | str, status: int = 200, **headers: str) -> None:
        raw = body.encode() if isinstance(body, str) else body
        answer.update(body=raw, status=status, headers=headers)

    application = web.Application()
    application.router.add_route("*", "/{rest:.*}", handle)
    runner = web.AppRunner(application, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    url = "http://{}:{}".format(*runner.addresses[0][:2])
    stripe = StripeAPI(lambda: Keys(secret_key=KEY), TrustedClock(None), url, network_retries=0)
    yield stripe, serve
    stripe.close()
    await runner.cleanup()


async def refused(stripe: StripeAPI) -> PaymentError:
    with pytest.raises(PaymentError) as raised:
        await stripe.retrieve("cs_test_1")
    return raised.value


async def test_a_malformed_response_names_the_field_and_is_transient(
    served: tuple[StripeAPI, Serve],
) -> None:
    stripe, serve = served
    serve(json.dumps(SESSION))
    assert (await stripe.retrieve("cs_test_1") or {})["payment_status"] == "paid"
    serve(json.dumps(changed("payment_intent.latest_charge.created", "soon")))
    error = await refused(stripe)
    assert (error.code, is_transient(error)) == ("stripe_error", True)
    assert "charge.created" in error.message_in("en")
    assert "charge.created" in error.message_in("it")
    assert stripe.state.status == "unreachable"
    assert "charge.created" in stripe.state.detail


@pytest.mark.parametrize("status", [400, 401, 402, 403, 404, 409, 429, 500])
@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"\xff\xfe",
        b"[]",
        b'{"error": []}',
        b'{"error": "invalid_request"}',
        b'{"error": {"code": ["x"], "message": {"a": 1}, "type": 7, "param": {}, "decline_code": []}}',
    ],
)
async def test_an_error_of_any_shape_is_translated(
    served: tuple[StripeAPI, Serve], status: int, body: bytes
) -> None:
    stripe, serve = served
    serve(body, status)
    if status == 404 and b'"code"' in body:
        assert await stripe.retrieve("cs_test_1") is None
        return
    error = await refused(stripe)
    assert error.code in ("stripe_error", "stripe_key_invalid", "stripe_key_permission", "rate_limited")
    assert error.body("it")["error"]["message"]
    for name in ("stripe_code", "param", "decline_code"):
        assert error.details.get(name) is None or isinstance(error.details[name], str)


@pytest.mark.parametrize(("status", "code"), [(429, "rate_limited"), (503, "stripe_error")])
async def test_the_retry_after_of_a_page_that_is_not_json_is_read(
    served: tuple[StripeAPI, Serve], status: int, code: str
) -> None:
    stripe, serve = served
    serve("<html>busy</html>", status, **{"Retry-After": "17"})
    error = await refused(stripe)
    assert (error.code, error.details["retry_after"], is_transient(error)) == (code, 17, True)


async def test_a_long_page_of_a_proxy_is_truncated(served: tuple[StripeAPI, Serve]) -> None:
    stripe, serve = served
    serve("<html>" + "Log in to the Wi-Fi. " * 100_000)
    error = await refused(stripe)
    assert len(str(error.details["reason"])) <= 1000
    assert len(stripe.state.detail) <= 200


async def test_a_title_with_half_a_surrogate_pair_is_an_invalid_argument(engine: Engine) -> None:
    with pytest.raises(PaymentError) as raised:
        await engine.stripe.create("product", {"name": "Premi\udcfcm"}, "k")
    assert raised.value.code == "invalid_argument"
