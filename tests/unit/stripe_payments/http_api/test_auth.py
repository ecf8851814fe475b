"""Authorization of the guide's checkout request: bearer, cookie, other sites, no login."""

import re

import pytest

from stripe_payments.http_api.auth import COOKIE
from tests.unit.stripe_payments.harness import ONETIME, Harness

CREATE = "/api/payments/create-checkout-session"
SESSION = "/api/payments/session"
ORDER = {"price_id": ONETIME}
OWN = "http://192.168.1.1"

# Nothing is configured in `harness`: an authorized request gets this error.
AUTHORIZED = (503, "not_configured")


async def test_a_bearer_is_accepted_from_any_origin(harness: Harness) -> None:
    sid = await harness.login()
    for headers in ({}, {"origin": "https://app.example"}, {"sec_fetch_site": "cross-site"}):
        assert (
            await harness.http("POST", CREATE, ORDER, authorization=f"Bearer {sid}", **headers)
        ).error == AUTHORIZED


@pytest.mark.parametrize(
    "authorization",
    [
        "",
        "Bearer",
        "Bearer x",
        f"Bearer {'0' * 32}",
        f"Bearer {'a' * 32}",
        f"Bearer {'A' * 32}",
        f"Bearer {'a' * 31}\n",
        "Basic cm9vdDpyb3V0ZXI=",
        "Bearer " + "a" * 5000,
    ],
)
async def test_an_invalid_credential_requires_a_login(harness: Harness, authorization: str) -> None:
    reply = await harness.http("POST", CREATE, ORDER, authorization=authorization)
    assert reply.error == (401, "login_required")
    assert reply.headers["WWW-Authenticate"].startswith("Bearer")


async def test_an_expired_session_requires_a_login(harness: Harness) -> None:
    sid = await harness.login()
    await harness.bus.call("session", "destroy", {"ubus_rpc_session": sid})
    assert (await harness.http("POST", CREATE, ORDER, authorization=f"Bearer {sid}")).error == (
        401,
        "login_required",
    )


async def test_a_read_only_login_must_not_buy(harness: Harness) -> None:
    sid = await harness.login("viewer")
    assert (await harness.http("POST", CREATE, ORDER, authorization=f"Bearer {sid}")).error == (
        403,
        "permission_denied",
    )


async def test_without_rpcd_the_error_is_starting(harness: Harness) -> None:
    sid = await harness.login()
    await harness.router.stop()
    assert (await harness.http("POST", CREATE, ORDER, authorization=f"Bearer {sid}")).error == (
        503,
        "starting",
    )


@pytest.mark.parametrize(
    "headers",
    [
        {"origin": OWN},
        {"origin": "http://192.168.1.1:80"},
        {"sec_fetch_site": "same-origin"},
        {"sec_fetch_site": "same-origin", "origin": "https://192.168.1.1"},
        {"origin": "https://192.168.1.1", "x_forwarded_proto": "https"},
        {"origin": "http://router.lan:8080", "host": "Router.LAN:8080"},
    ],
)
async def test_the_cookie_is_accepted_from_this_origin(harness: Harness, headers: dict[str, str]) -> None:
    sid = await harness.login()
    assert (
        await harness.http("POST", CREATE, ORDER, cookie=f"a=1; {COOKIE}={sid}", **headers)
    ).error == AUTHORIZED


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"origin": "null"},
        {"origin": "https://evil.example"},
        {"origin": "https://192.168.1.1"},
        {"origin": "http://192.168.1.1:8080"},
        {"origin": "http://192.168.1.1.evil.example"},
        {"origin": "http://user@192.168.1.1"},
        {"sec_fetch_site": "cross-site", "origin": OWN},
        {"sec_fetch_site": "same-site", "origin": OWN},
        {"sec_fetch_site": "none"},
        {"origin": OWN, "host": "192.168.1.1/"},
    ],
)
async def test_the_cookie_is_refused_from_any_other_origin(harness: Harness, headers: dict[str, str]) -> None:
    sid = await harness.login()
    reply = await harness.http("POST", CREATE, ORDER, cookie=f"{COOKIE}={sid}", **headers)
    assert reply.error == (403, "cross_origin")


async def test_another_origin_without_a_login_is_cross_origin(harness: Harness) -> None:
    assert (await harness.http("POST", CREATE, ORDER, origin="https://evil.example")).error == (
        403,
        "cross_origin",
    )


async def test_open_session_sets_a_valid_cookie(harness: Harness) -> None:
    sid = await harness.login()
    reply = await harness.http("POST", SESSION, authorization=f"Bearer {sid}")
    assert reply.json() == {"logged_in": True}
    assert reply.headers["Set-Cookie"] == f"{COOKIE}={sid}; Path=/api/payments; HttpOnly; SameSite=Strict"
    pair = reply.headers["Set-Cookie"].partition(";")[0]
    assert (await harness.http("POST", CREATE, ORDER, cookie=pair, origin=OWN)).error == AUTHORIZED


async def test_over_tls_the_cookie_is_secure(harness: Harness) -> None:
    sid = await harness.login()
    reply = await harness.http("POST", SESSION, authorization=f"Bearer {sid}", x_forwarded_proto="https")
    assert re.search(r"; Secure$", reply.headers["Set-Cookie"])


async def test_the_cookie_of_a_read_only_login_must_not_buy(harness: Harness) -> None:
    sid = await harness.login("viewer")
    reply = await harness.http("POST", SESSION, authorization=f"Bearer {sid}")
    assert reply.status == 200
    refused = await harness.http("POST", CREATE, ORDER, cookie=f"{COOKIE}={sid}", origin=OWN)
    assert refused.error == (403, "permission_denied")


async def test_open_session_requires_a_bearer(harness: Harness) -> None:
    sid = await harness.login()
    reply = await harness.http("POST", SESSION, cookie=f"{COOKIE}={sid}", origin=OWN)
    assert reply.error == (401, "login_required")
    assert "Set-Cookie" not in reply.headers
    invented = await harness.http("POST", SESSION, authorization=f"Bearer {'b' * 32}")
    assert invented.error == (401, "login_required")


async def test_a_session_without_our_rights_gets_no_cookie(harness: Harness) -> None:
    created = await harness.bus.call("session", "create", {"timeout": 60})
    reply = await harness.http("POST", SESSION, authorization=f"Bearer {created['ubus_rpc_session']}")
    assert reply.error == (403, "permission_denied")
    assert "Set-Cookie" not in reply.headers


async def test_only_a_page_of_this_origin_removes_the_cookie(harness: Harness) -> None:
    cleared = await harness.http("DELETE", SESSION, origin=OWN)
    assert cleared.json() == {"logged_in": False}
    assert cleared.headers["Set-Cookie"].startswith(f"{COOKIE}=; Path=/api/payments;")
    assert "Max-Age=0" in cleared.headers["Set-Cookie"]
    foreign = await harness.http("DELETE", SESSION, origin="https://evil.example")
    assert foreign.error == (403, "cross_origin")
    assert "Set-Cookie" not in foreign.headers
