"""The three documented endpoints, asked as the guide's snippet, Stripe and an attacker would."""

import asyncio
import hashlib
import hmac
import json
import time
from typing import Any

import aiohttp
import pytest

from simulator.world import World
from tests.flows.conftest import FEATURE, ONETIME, Buyer, LuciUser

CREATE = "/api/payments/create-checkout-session"
WEBHOOK = "/api/payments/webhook"
BEFORE_THE_HUB = "refused by the web server or the daemon before the hub has a part in it"
WEBHOOK_OF_THE_HUB = "in hub mode Stripe delivers to the hub: tests/hub/test_web.py"


def order(user: LuciUser, **changes: Any) -> dict[str, Any]:
    """The body of the guide's snippet."""
    return {
        "price_id": ONETIME,
        "success_url": f"{user.origin}/payment-success",
        "cancel_url": f"{user.origin}/payment-cancel",
        **changes,
    }


async def answer(response: aiohttp.ClientResponse) -> tuple[int, str]:
    """(status, documented error code)."""
    body = await response.json()
    assert set(body["error"]) >= {"code", "message"}
    assert body["error"]["message"]
    return response.status, body["error"]["code"]


async def webhook_secret(world: World) -> str:
    """The secret the router keeps, as a person with root on it would read it."""
    kept = json.loads((world.root / "etc/stripe-payments/secrets.json").read_text())
    secret: str = kept["webhook_secret"]
    return secret


def signed(body: bytes, secret: str, at: int | None = None) -> dict[str, str]:
    """Headers of a delivery, signed with Stripe's scheme (https://docs.stripe.com/webhooks#verify-manually)."""
    at = int(time.time()) if at is None else at
    digest = hmac.new(secret.encode(), f"{at}.".encode() + body, hashlib.sha256).hexdigest()
    return {"Stripe-Signature": f"t={at},v1={digest}", "Content-Type": "application/json"}


def event(**changes: Any) -> bytes:
    """An event that names an unknown object."""
    return json.dumps(
        {
            "id": "evt_test_unknown",
            "object": "event",
            "type": "payment_intent.succeeded",
            "livemode": False,
            "created": int(time.time()),
            "data": {"object": {"id": "pi_of_somebody_else", "object": "payment_intent"}},
            **changes,
        }
    ).encode()


async def test_the_guides_snippet_works_for_a_logged_in_user(
    world: World, buyer: Buyer, luci_user: LuciUser
) -> None:
    cookie = (await luci_user.hand_over()).headers["Set-Cookie"]
    assert "Path=/api/payments" in cookie
    assert "HttpOnly" in cookie
    assert "SameSite=Strict" in cookie
    response = await luci_user.http.post(
        luci_user.url(CREATE), json=order(luci_user), headers={"Origin": luci_user.origin}
    )
    assert response.status == 200, await response.text()
    body = await response.json()
    assert set(body) == {"session_id", "checkout_url"}
    assert body["session_id"].startswith("cs_")
    assert body["checkout_url"].startswith(world.stripe.url)
    await world.pay(body["session_id"])
    await buyer.everywhere(unlocked=True)
    status = await luci_user.http.get(luci_user.url(f"/api/payments/status/{body['session_id']}"))
    paid = await status.json()
    assert {key: paid[key] for key in ("status", "amount", "currency")} == {
        "status": "paid",
        "amount": 4999,
        "currency": "eur",
    }
    assert paid["payment_date"].endswith("Z")


async def test_the_way_back_needs_no_login_and_shows_the_outcome(
    world: World, buyer: Buyer, luci_user: LuciUser
) -> None:
    session_id = await buyer.buy()
    await buyer.everywhere(unlocked=True)
    async with aiohttp.ClientSession() as stranger:
        for language, word in (("it", "Pagamento"), ("en", "Payment")):
            page = await stranger.get(
                luci_user.url(f"/payment-success?session_id={session_id}"),
                headers={"Accept-Language": language},
            )
            text = await page.text()
            assert page.status == 200
            assert word in text
            assert f'lang="{language}"' in text
            assert "password" not in text.lower()
        cancelled = await stranger.get(luci_user.url("/payment-cancel"))
        assert cancelled.status == 200, await cancelled.text()
        assert "</html>" in await cancelled.text()


WRONG_ORDERS: tuple[tuple[dict[str, Any], tuple[int, str]], ...] = (
    ({"price_id": "price_of_nobody"}, (404, "unknown_price")),
    ({"success_url": "https://evil.example/"}, (400, "foreign_return_url")),
    ({"cancel_url": "javascript:alert(1)"}, (400, "foreign_return_url")),
    ({"success_url": "//evil.example/x"}, (400, "foreign_return_url")),
    ({"price_id": 7}, (400, "invalid_argument")),
    ({"price_id": None}, (400, "invalid_argument")),
)


async def test_a_wrong_order_is_answered_with_its_documented_error(luci_user: LuciUser) -> None:
    for changes, expected in WRONG_ORDERS:
        response = await luci_user.http.post(
            luci_user.url(CREATE),
            json=order(luci_user, **changes),
            headers={"Authorization": f"Bearer {luci_user.sid}"},
        )
        assert await answer(response) == expected, changes


async def test_relative_return_addresses_are_the_routers_own(world: World, luci_user: LuciUser) -> None:
    response = await luci_user.http.post(
        luci_user.url(CREATE),
        json=order(luci_user, success_url="/payment-success", cancel_url="/payment-cancel"),
        headers={"Authorization": f"Bearer {luci_user.sid}"},
    )
    body = await response.json()
    session = await world.account.request("GET", f"checkout/sessions/{body['session_id']}")
    assert session["success_url"].startswith(f"{luci_user.origin}/payment-success?")
    assert "{CHECKOUT_SESSION_ID}" in session["success_url"]


@pytest.mark.direct_only(BEFORE_THE_HUB)
async def test_a_user_who_may_not_buy_gets_that_error(world: World, luci_user: LuciUser) -> None:
    async with aiohttp.ClientSession() as stranger:
        missing = await stranger.post(luci_user.url(CREATE), json=order(luci_user))
        assert await answer(missing) == (401, "login_required")
        invented = await stranger.post(
            luci_user.url(CREATE), json=order(luci_user), headers={"Authorization": f"Bearer {'0' * 32}"}
        )
        assert await answer(invented) == (401, "login_required")
        viewer = await world.bus.call("session", "login", {"username": "viewer", "password": "router"})
        reader = await stranger.post(
            luci_user.url(CREATE),
            json=order(luci_user),
            headers={"Authorization": f"Bearer {viewer['ubus_rpc_session']}"},
        )
        assert await answer(reader) == (403, "permission_denied")


@pytest.mark.direct_only(BEFORE_THE_HUB)
async def test_a_cross_site_post_with_the_cookie_is_refused(luci_user: LuciUser) -> None:
    await luci_user.hand_over()
    for headers in ({"Origin": "https://evil.example"}, {}, {"Origin": "null"}):
        response = await luci_user.http.post(luci_user.url(CREATE), json=order(luci_user), headers=headers)
        assert await answer(response) == (403, "cross_origin"), headers


NO_ORDERS = (
    (b"{", "application/json", (400, "invalid_json")),
    (b"\xff\xfe", "application/json", (400, "invalid_json")),
    (b"[]", "application/json", (400, "invalid_argument")),
    (b"price_id=x", "application/x-www-form-urlencoded", (415, "unsupported_media_type")),
    (b" " * 600 * 1024, "application/json", (413, "body_too_large")),
)


@pytest.mark.direct_only(BEFORE_THE_HUB)
async def test_a_body_that_is_no_order(luci_user: LuciUser) -> None:
    for body, content_type, expected in NO_ORDERS:
        response = await luci_user.http.post(
            luci_user.url(CREATE),
            data=body,
            headers={"Authorization": f"Bearer {luci_user.sid}", "Content-Type": content_type},
        )
        assert await answer(response) == expected, body[:20]


@pytest.mark.direct_only(WEBHOOK_OF_THE_HUB)
async def test_the_webhook_takes_only_what_stripe_signed_just_now(world: World, luci_user: LuciUser) -> None:
    secret = await webhook_secret(world)
    url = luci_user.url(WEBHOOK)
    body = event()
    await world.bus.call("stripe-payments", "sync", {})  # Stripe has been reached: the clock is trusted
    async with aiohttp.ClientSession() as stripe:
        fine = await stripe.post(url, data=body, headers=signed(body, secret))
        assert (fine.status, await fine.json()) == (200, {"received": True})
        again = await stripe.post(url, data=body, headers=signed(body, secret))
        assert (again.status, await again.json()) == (200, {"received": True})
        forged = await stripe.post(url, data=body, headers=signed(body, "whsec_wrong"))
        assert await answer(forged) == (400, "invalid_signature")
        altered = await stripe.post(url, data=body + b" ", headers=signed(body, secret))
        assert await answer(altered) == (400, "invalid_signature")
        unsigned = await stripe.post(url, data=body)
        assert await answer(unsigned) == (400, "invalid_signature")
        stale = await stripe.post(url, data=body, headers=signed(body, secret, int(time.time()) - 3600))
        assert await answer(stale) == (400, "stale_timestamp")
        large = b" " * (600 * 1024)
        assert await answer(await stripe.post(url, data=large, headers=signed(large, secret))) == (
            413,
            "body_too_large",
        )
        garbage = b"not json"
        assert await answer(await stripe.post(url, data=garbage, headers=signed(garbage, secret))) == (
            400,
            "invalid_json",
        )
        unknown = event(id="evt_test_future", type="something.invented.tomorrow")
        future = await stripe.post(url, data=unknown, headers=signed(unknown, secret))
        assert (future.status, await future.json()) == (200, {"received": True})


@pytest.mark.direct_only(WEBHOOK_OF_THE_HUB)
async def test_a_replayed_webhook_changes_nothing(world: World, buyer: Buyer, luci_user: LuciUser) -> None:
    session_id = await buyer.buy()
    await buyer.everywhere(unlocked=True)
    secret = await webhook_secret(world)
    body = event(
        id="evt_test_replay",
        type="checkout.session.completed",
        data={"object": {"id": session_id, "object": "checkout.session"}},
    )
    async with aiohttp.ClientSession() as stripe:
        for _ in range(3):
            delivery = await stripe.post(luci_user.url(WEBHOOK), data=body, headers=signed(body, secret))
            assert (delivery.status, await delivery.json()) == (200, {"received": True})
    await asyncio.sleep(1)
    assert buyer.unlock_count(FEATURE) == 1


NOT_THERE = (
    ("GET", CREATE, (405, "method_not_allowed")),
    ("GET", WEBHOOK, (405, "method_not_allowed")),
    ("POST", "/api/payments/status/cs_test_x", (405, "method_not_allowed")),
    ("GET", "/api/payments/status/cs_test_of_nobody", (404, "payment_not_found")),
    ("GET", "/api/payments/nothing-here", (404, "not_found")),
)


async def test_what_is_not_there_is_said(luci_user: LuciUser) -> None:
    for method, path, expected in NOT_THERE:
        response = await luci_user.http.request(method, luci_user.url(path))
        assert await answer(response) == expected, (method, path)


@pytest.mark.direct_only(BEFORE_THE_HUB)
async def test_the_gateway_answers_while_the_daemon_is_away(world: World, luci_user: LuciUser) -> None:
    await world.daemon.kill()
    # read to its end: a real server's answer may come in pieces, and aiohttp keeps the connection until then
    async with luci_user.http.get(luci_user.url("/api/payments/health")) as response:
        await response.read()
    assert response.status == 503
