"""Paths and HTTP methods, valid and invalid."""

import pytest

from tests.unit.stripe_payments.harness import Harness

CREATE = "/api/payments/create-checkout-session"


@pytest.mark.parametrize(
    "path",
    [
        "/",
        "",
        "*",
        "/api/payments",
        "/api/payments/",
        "/api/payments/health/",
        "/api/payments//health",
        "//api/payments/health",
        "/api/payments/../payments/health",
        "/api/payments/./health",
        "/api/payments/%68ealth",
        "/api/payments%2fhealth",
        "/api/payments/status/cs_test_1/..",
        "/api/payments/status/..%2f..%2fhealth",
        "/api/payments/status/",
        "/api/payments/status/cs_test_1/extra",
        "/api/payments/status/cs_test_é",
        "/api/payments/status/" + "x" * 400,
        "/api/payments/health\n",
        "/API/payments/health",
        "/payment-success/",
        "/payment-success.html",
        "http://192.168.1.1/api/payments/health",
    ],
)
@pytest.mark.parametrize("method", ["GET", "POST", "OPTIONS"])
async def test_any_other_path_is_not_found(harness: Harness, method: str, path: str) -> None:
    assert (await harness.http(method, path)).error == (404, "not_found")


@pytest.mark.parametrize(
    ("method", "path", "allowed"),
    [
        ("GET", CREATE, "OPTIONS, POST"),
        ("HEAD", CREATE, "OPTIONS, POST"),
        ("PUT", "/api/payments/webhook", "OPTIONS, POST"),
        ("POST", "/api/payments/status/cs_test_1", "GET, HEAD, OPTIONS"),
        ("BREW", "/api/payments/health", "GET, HEAD, OPTIONS"),
        ("GET", "/api/payments/session", "DELETE, OPTIONS, POST"),
    ],
)
async def test_a_method_not_allowed_lists_the_allowed_ones(
    harness: Harness, method: str, path: str, allowed: str
) -> None:
    reply = await harness.http(method, path)
    assert reply.status == 405
    assert reply.headers["Allow"] == allowed
    if method != "HEAD":
        assert reply.error == (405, "method_not_allowed")


async def test_options_has_no_cors_headers(harness: Harness) -> None:
    reply = await harness.http(
        "OPTIONS", CREATE, origin="https://evil.example", access_control_request_method="POST"
    )
    assert (reply.status, reply.body) == (200, "")
    assert reply.headers["Allow"] == "OPTIONS, POST"
    assert not [name for name in reply.headers if name.lower().startswith("access-control")]


async def test_head_is_get_without_a_body(harness: Harness) -> None:
    await harness.parts()
    get, head = (
        await harness.http("GET", "/api/payments/health"),
        await harness.http("HEAD", "/api/payments/health"),
    )
    assert get.json() == {"status": "ok"}
    assert (head.status, head.headers, head.body) == (get.status, get.headers, "")


@pytest.mark.parametrize(
    ("path", "size"),
    [(CREATE, 17 * 1024), ("/api/payments/webhook", 600 * 1024), ("/api/payments/session", 99999)],
)
async def test_a_large_body_is_refused(harness: Harness, path: str, size: int) -> None:
    assert (await harness.http("POST", path, " " * size)).error == (413, "body_too_large")


async def test_errors_are_in_the_browsers_language(harness: Harness) -> None:
    italian = await harness.http("GET", "/nothing", accept_language="it-IT,it;q=0.9")
    assert italian.json()["error"]["message"] == "A questo indirizzo non c'è nulla."
    english = await harness.http("GET", "/nothing", accept_language="it", query="locale=en")
    assert english.json()["error"]["message"] == "There is nothing at this address."


async def test_an_error_of_a_page_is_a_page(harness: Harness) -> None:
    reply = await harness.http("POST", "/payment-success", accept_language="it")
    assert reply.status == 405
    assert reply.headers["Content-Type"].startswith("text/html")
    assert 'lang="it"' in reply.body
    assert "POST" in reply.body
