"""The HTTP interface: caching, waiting, errors with words, and what a router never reaches."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import time
from dataclasses import replace
from pathlib import Path

import httpx
import jwt
import pytest

from payments_hub import changes
from payments_hub.methods import METHODS
from payments_hub.statements import rotate_keys
from stripe_payments.bus_api import api
from stripe_payments.stripe_api import sign
from tests.hub.vendor import KEY, Caller, Vendor, eventually


async def test_a_poll_without_news_is_304_and_small(vendor: Vendor) -> None:
    router = await vendor.router()
    first = await router.request("GET", "/v1/state")
    again = await router.request("GET", "/v1/state", if_none_match=first.headers["etag"])
    assert (again.status_code, again.content) == (304, b"")
    assert sum(len(name) + len(value) + 4 for name, value in again.headers.raw) < 200
    assert again.headers["poll-after"] == str(first.json()["poll_after"])


async def test_a_waiting_router_hears_of_a_payment_at_once(vendor: Vendor) -> None:
    router = await vendor.router()
    session = await router.checkout("lifetime_once")
    known = (await router.request("GET", "/v1/state")).headers["etag"]
    waiting = asyncio.create_task(router.request("GET", "/v1/state", if_none_match=known, prefer="wait=20"))
    await asyncio.sleep(0)
    vendor.cloud.pay(session)
    began = time.monotonic()
    reply = await waiting
    assert reply.status_code == 200
    assert time.monotonic() - began < 15, "long before its 20 seconds are over"
    assert reply.headers["etag"] != known


async def test_waiting_ends(vendor: Vendor) -> None:
    router = await vendor.router()
    known = (await router.request("GET", "/v1/state")).headers["etag"]
    reply = await router.request("GET", "/v1/state", if_none_match=known, prefer="wait=1")
    assert reply.status_code == 304


async def test_a_waiting_router_needs_no_notification(
    vendor: Vendor, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(changes, "_LOOK_EVERY_S", 0.05)
    monkeypatch.setattr(changes, "CHANGED", "another_channel")
    async with vendor.instance() as deaf:
        router = await vendor.router()
        session = await router.checkout("lifetime_once")
        elsewhere = replace(router, http=deaf.http)
        known = (await elsewhere.request("GET", "/v1/state")).headers["etag"]
        waiting = asyncio.create_task(
            elsewhere.request("GET", "/v1/state", if_none_match=known, prefer="wait=25")
        )

        async def waits() -> bool:
            return bool(deaf.hub.changes._waiting)

        await eventually(waits, "it waits")
        began = time.monotonic()
        vendor.cloud.pay(session)
        assert (await waiting).headers["etag"] != known
        assert time.monotonic() - began < 20, "long before its 25 seconds are over"
        assert not deaf.hub.changes._waiting


async def test_a_revoked_credential_is_refused_by_the_next_request_everywhere(vendor: Vendor) -> None:
    """While other polls keep the shared lookups of both instances busy."""
    async with vendor.instance() as second:
        others = [await vendor.router() for _ in range(4)]
        done = asyncio.Event()

        async def poll(router: Caller, http: httpx.AsyncClient) -> None:
            while not done.is_set():
                assert (await replace(router, http=http).request("GET", "/v1/catalog")).status_code == 200

        busy = [
            asyncio.create_task(poll(router, http))
            for router in others
            for http in (vendor.http, second.http)
        ]
        try:
            for _ in range(5):
                router = await vendor.router()
                held = (await router.request("GET", "/v1/catalog")).status_code
                await vendor.hub.routers.revoke(router.id)
                refused = [
                    await replace(router, http=http).request("GET", "/v1/catalog")
                    for http in (vendor.http, second.http)
                ]
                assert [held, *[one.status_code for one in refused]] == [200, 403, 403]
        finally:
            done.set()
            await asyncio.gather(*busy)


async def test_a_head_without_an_end_is_refused(vendor: Vendor) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", int(vendor.url.rpartition(":")[2]))
    with contextlib.closing(writer), contextlib.suppress(ConnectionError):
        writer.write(b"GET /healthz HTTP/1.1\r\nHost: hub\r\nX-Long: ")
        for _ in range(1000):
            writer.write(b"a" * 1024)
            await writer.drain()
        async with asyncio.timeout(10):
            assert (await reader.read()).startswith(b"HTTP/1.1 400 ")
    assert (await vendor.http.get("/healthz")).status_code == 200


async def test_the_catalog_is_in_both_languages(vendor: Vendor) -> None:
    router = await vendor.router()
    reply = await router.request("GET", "/v1/catalog")
    catalog = reply.json()
    assert catalog["seller"]["name"] == "Example Networks"
    assert catalog["products"]["lifetime"]["title"] == {"en": "Premium for ever", "it": "Premium per sempre"}
    (price,) = catalog["plans"]["premium"]["prices"]
    assert price == {
        "id": "premium_monthly",
        "amount": 499,
        "currency": "eur",
        "interval": "month",
        "trial_days": 0,
    }
    again = await router.request("GET", "/v1/catalog", if_none_match=reply.headers["etag"])
    assert again.status_code == 304


async def test_without_a_credential_nothing_is_answered(vendor: Vendor) -> None:
    calls = [("GET", "state"), ("GET", "catalog"), ("POST", "methods/sync"), ("POST", "statements")]
    for verb, path in calls:
        for authorization in (None, "Bearer", "Bearer x", "Basic YTpi", "Bearer " + "A" * 43):
            headers = {"authorization": authorization} if authorization else {}
            reply = await vendor.http.request(verb, f"/v1/{path}", headers=headers)
            assert (reply.status_code, reply.headers["www-authenticate"]) == (401, "Bearer")
            assert reply.json()["error"]["code"] in ("credential_missing", "credential_refused")


async def test_an_address_that_does_not_exist_is_an_error_with_words(vendor: Vendor) -> None:
    for verb, path, status, code in (
        ("GET", "/v1/routers", 404, "not_found"),
        ("DELETE", "/v1/state", 405, "method_not_allowed"),
        ("GET", "/console", 404, "not_found"),
    ):
        reply = await vendor.http.request(verb, path, headers={"accept-language": "it"})
        assert (reply.status_code, reply.json()["error"]["code"]) == (status, code)


async def test_guessing_credentials_is_slowed_down(vendor: Vendor) -> None:
    headers = {"authorization": "Bearer " + "A" * 43}
    statuses = [(await vendor.http.get("/v1/state", headers=headers)).status_code for _ in range(70)]
    assert statuses[0] == 401
    assert statuses[-1] == 429
    assert (await (await vendor.router()).request("GET", "/v1/state")).status_code == 200, "others go on"


async def test_what_is_not_for_routers_does_not_exist(vendor: Vendor) -> None:
    router = await vendor.router()
    others = {one.name for one in api} - set(METHODS)
    assert {"refund", "grant", "revoke", "provision", "set_keys", "setup_webhook"} <= others
    for name in [*sorted(others), "__init__"]:
        reply = await router.request("POST", f"/v1/methods/{name}", {"payment_id": "pi_1"})
        assert (reply.status_code, reply.json()["error"]["code"]) == (404, "unknown_method")


URLS: dict[str, object] = {"success_url": "http://192.168.1.1/ok", "cancel_url": "http://192.168.1.1/no"}

ERRORS: list[tuple[str, dict[str, object], str]] = [
    ("create_checkout_session", {"price_id": "price_of_nobody", **URLS}, "unknown_price"),
    ("create_checkout_session", {"price_id": "x" * 5000, **URLS}, "invalid_argument"),
    ("create_checkout_session", URLS, "invalid_argument"),
    ("create_checkout_session", {"price_id": ["premium_monthly"], **URLS}, "invalid_argument"),
    ("create_checkout_session", {"price_id": "premium_monthly"}, "invalid_argument"),
    (
        "create_checkout_session",
        {"price_id": "premium_monthly", **URLS, "cancel_url": "/no"},
        "invalid_argument",
    ),
    ("cancel_subscription", {"subscription": "sub_of_others"}, "subscription_not_found"),
    ("change_plan", {"subscription": "sub_x", "price_id": "premium_monthly"}, "subscription_not_found"),
    ("payment_status", {"payment_id": "cus_1"}, "invalid_argument"),
    ("payment_status", {"payment_id": "pi_of_others"}, "payment_not_found"),
    ("portal", {"return_url": "http://192.168.1.1/"}, "nothing_bought"),
    ("portal", {}, "invalid_argument"),
]


async def test_errors_are_those_of_the_bus(vendor: Vendor) -> None:
    router = await vendor.router()
    for method, arguments, code in ERRORS:
        reply = await router.request("POST", f"/v1/methods/{method}", arguments, accept_language="it")
        error = reply.json()["error"]
        assert error["code"] == code
        assert 400 <= reply.status_code < 500
        assert error["message"]
        assert error["user_hint"]


async def test_nothing_that_a_router_sends_changes_a_price(vendor: Vendor) -> None:
    router = await vendor.router()
    for extra in ("amount", "discounts", "trial_period_days", "customer", "metadata", "price"):
        arguments = {
            "price_id": "premium_monthly",
            "success_url": f"http://192.168.1.1/{extra}",
            "cancel_url": "http://192.168.1.1/no",
            extra: 1,
        }
        reply = await router.request("POST", "/v1/methods/create_checkout_session", arguments)
        session = vendor.cloud.account.get("checkout.session", reply.json()["session_id"])
        assert (session["amount_total"], session["currency"]) == (499, "eur")
        assert session["metadata"]["router_id"] != router.id, "the account's, which a router does not know"


async def test_an_object_of_another_router_is_not_found(vendor: Vendor) -> None:
    owner, other = await vendor.router(), await vendor.router()
    session = await owner.checkout("premium_monthly")
    vendor.cloud.pay(session)

    async def bought() -> bool:
        return bool((await owner.state())["en"]["subscriptions"])

    await eventually(bought, "bought")
    (plan,) = (await owner.state())["en"]["subscriptions"]
    before = await other.state()
    for method, arguments in (
        ("payment_status", {"payment_id": session}),
        ("payment_status", {"payment_id": plan["id"]}),
        ("cancel_subscription", {"subscription": plan["id"], "at_period_end": False}),
        ("change_plan", {"subscription": plan["id"], "price_id": "business_monthly"}),
    ):
        foreign = await other.request("POST", f"/v1/methods/{method}", arguments)
        absent = await other.request(
            "POST", f"/v1/methods/{method}", {name: _absent(value) for name, value in arguments.items()}
        )
        assert foreign.status_code == absent.status_code == 404
        assert foreign.json()["error"]["code"] == absent.json()["error"]["code"]
    after = await other.state()
    assert {**after, "statement": ""} == {**before, "statement": ""}
    assert (await owner.state())["en"]["subscriptions"][0]["status"] == "active"


def _absent(value: object) -> object:
    """An id of the same kind that Stripe does not have."""
    if isinstance(value, str) and value.startswith(("cs_", "sub_")):
        return value[:-6] + "zzzzzz"
    return value


async def test_an_idempotency_key_is_the_routers_own(vendor: Vendor) -> None:
    one, two = await vendor.router(), await vendor.router()
    order = {"price_id": "premium_monthly", **URLS}
    first = await one.request("POST", "/v1/methods/create_checkout_session", order, idempotency_key="k")
    again = await one.request("POST", "/v1/methods/create_checkout_session", order, idempotency_key="k")
    assert again.json() == first.json()
    assert again.headers["idempotent-replayed"] == "true"
    other = await two.request("POST", "/v1/methods/create_checkout_session", order, idempotency_key="k")
    assert other.json()["session_id"] != first.json()["session_id"]
    reused = await one.request("POST", "/v1/methods/sync", {}, idempotency_key="k")
    assert (reused.status_code, reused.json()["error"]["code"]) == (409, "idempotency_key_reused")


async def test_a_statement_is_for_one_audience_and_ten_minutes(vendor: Vendor) -> None:
    router = await vendor.router()
    vendor.cloud.pay(await router.checkout("lifetime_once"))

    async def bought() -> bool:
        return bool(await router.unlocked())

    await eventually(bought, "bought")
    reply = await router.request("POST", "/v1/statements", {"audience": "https://backup.example.org"})
    token = reply.json()["statement"]
    keys = jwt.PyJWKSet.from_dict((await vendor.http.get("/.well-known/jwks.json")).json())
    key = keys[jwt.get_unverified_header(token)["kid"]]
    claims = jwt.decode(token, key, ["ES256"], audience="https://backup.example.org")
    assert claims["features"] == ["backups", "updates"]
    assert (claims["sub"], claims["iss"]) == (router.id, "https://hub.example.org")
    assert claims["exp"] - claims["iat"] == 600
    with pytest.raises(jwt.InvalidAudienceError):
        jwt.decode(token, key, ["ES256"], audience="https://other.example.org")
    for audience in ("", "a b", "x" * 300, 5, None):
        refused = await router.request("POST", "/v1/statements", {"audience": audience})
        assert refused.status_code == 400


async def test_a_rotated_key_verifies_what_the_one_before_signed(tmp_path: Path) -> None:
    from payments_hub.statements import Signer

    file = tmp_path / "keys.json"
    began = int(time.time())
    rotate_keys(file)
    os.utime(file, (5, 5))  # a copy of the file says nothing about the key
    assert began <= Signer.load(file, "i").created <= time.time()
    token = Signer.load(file, "i").statement("r", "a", {})
    rotate_keys(file)
    assert file.stat().st_mode & 0o077 == 0
    for _ in range(2):
        keys = jwt.PyJWKSet.from_dict(Signer.load(file, "i").jwks())
        assert len(keys.keys) == 2
        jwt.decode(token, keys[jwt.get_unverified_header(token)["kid"]], ["ES256"], audience="a")
    rotate_keys(file)
    keys = jwt.PyJWKSet.from_dict(Signer.load(file, "i").jwks())
    with pytest.raises(KeyError):
        keys[jwt.get_unverified_header(token)["kid"]]


async def test_a_malformed_body_is_an_error_with_words(vendor: Vendor) -> None:
    router = await vendor.router()
    headers = {"authorization": f"Bearer {router.secret}"}
    for body in (b"{", b"[]", b"5", b"\xff", b'{"a":' * 5000):
        reply = await vendor.http.post("/v1/methods/sync", content=body, headers=headers)
        assert (reply.status_code, reply.json()["error"]["code"]) == (400, "invalid_json")


async def test_a_body_that_is_too_large_is_refused(vendor: Vendor) -> None:
    router = await vendor.router()
    headers = {"authorization": f"Bearer {router.secret}"}
    reply = await vendor.http.post("/v1/methods/sync", content=b" " * 70_000, headers=headers)
    assert reply.status_code == 413


async def _deliver(vendor: Vendor, event: dict[str, object], *, secret: str, age: int = 0) -> httpx.Response:
    body = json.dumps(event).encode()
    now = int(time.time()) - age
    header = f"t={now},v1={sign(body, secret, now)}"
    return await vendor.http.post("/stripe/webhook", content=body, headers={"stripe-signature": header})


async def test_only_stripes_own_deliveries_are_taken(vendor: Vendor, database_url: str) -> None:
    event: dict[str, object] = {
        "id": "evt_forged",
        "type": "charge.refunded",
        "livemode": False,
        "data": {"object": {"id": "ch_1"}},
    }
    secret = vendor.hub.config.webhook_secret
    assert (await _deliver(vendor, event, secret="whsec_of_somebody_else")).status_code == 400
    assert (await _deliver(vendor, event, secret=secret, age=3600)).status_code == 400
    assert (await vendor.http.post("/stripe/webhook", json=event)).status_code == 400
    assert await vendor.hub.inbox.still_waiting(["evt_forged"]) == []
    live = {**event, "id": "evt_live", "livemode": True}
    unused = {**event, "id": "evt_unused", "type": "entitlements.created"}
    nothing: dict[str, object] = {"id": "evt_none", "type": "charge.refunded"}
    for ignored in (live, unused, nothing):
        assert (await _deliver(vendor, ignored, secret=secret)).json() == {"received": True}
    assert await vendor.hub.inbox.still_waiting(["evt_live", "evt_unused", "evt_none"]) == []


async def test_all_events_of_a_payment_name_the_payment(database_url: str, tmp_path: Path) -> None:
    """One fetch follows them; others name their own object."""
    of_payment = {"customer": "cus_1", "payment_intent": "pi_1", "metadata": {"router_id": "0" * 32}}
    async with Vendor.open(database_url, tmp_path, working=False) as vendor:
        for number, (kind, subject) in enumerate(
            (
                ("charge.refunded", {"id": "ch_1", **of_payment}),
                ("charge.dispute.created", {"id": "du_1", **of_payment}),
                ("payment_intent.succeeded", {"id": "pi_1", "customer": "cus_1", "metadata": {}}),
                ("charge.refunded", {"id": "ch_2", "customer": "cus_1", "payment_intent": None}),
                ("charge.refunded", {"id": "ch_3", "payment_intent": {"id": "pi_3"}}),
                ("invoice.paid", {"id": "in_1", "payment_intent": "pi_4"}),
            )
        ):
            event = {"id": f"evt_{number}", "type": kind, "livemode": False, "data": {"object": subject}}
            reply = await _deliver(vendor, event, secret=vendor.hub.config.webhook_secret)
            assert reply.json() == {"received": True}
        async with vendor.hub.inbox.claim(10) as found:
            due = {waiting.object_id: waiting for waiting in found}
    assert {name: len(waiting.event_ids) for name, waiting in due.items()} == {
        "pi_1": 3,
        "ch_2": 1,
        "ch_3": 1,
        "in_1": 1,
    }
    assert (due["pi_1"].owner, due["pi_1"].customer) == ("0" * 32, "cus_1")


async def test_the_key_is_in_no_answer(vendor: Vendor) -> None:
    router = await vendor.router()
    await router.checkout("premium_monthly")
    seen = ""
    for verb, path, body in (
        ("GET", "/v1/state", None),
        ("GET", "/v1/catalog", None),
        ("GET", "/readyz", None),
        ("GET", "/healthz", None),
        ("GET", "/.well-known/jwks.json", None),
        ("POST", "/v1/statements", {"audience": "a"}),
        ("POST", "/v1/methods/transactions", {}),
        ("POST", "/v1/methods/nothing", {}),
    ):
        seen += (await router.request(verb, path, body)).text
    assert KEY not in seen
    assert vendor.hub.config.webhook_secret not in seen
    assert '"d"' not in seen, "a private key's number"


async def test_ready_says_what_is_missing(database_url: str, tmp_path: Path) -> None:
    async with Vendor.open(database_url, tmp_path, catalog=None) as vendor:
        reply = await vendor.http.get("/readyz")
        assert (reply.status_code, reply.json()["problems"]) == (503, ["no_catalog"])
        router = await vendor.router()
        refused = await router.request("GET", "/v1/state")
        assert (refused.status_code, refused.json()["error"]["code"]) == (503, "no_catalog")
        assert refused.headers["retry-after"]


async def test_a_host_whose_clock_is_wrong_is_not_ready(vendor: Vendor) -> None:
    for ahead, problems in ((100, ["clock"]), (-100, ["clock"]), (0, [])):
        vendor.cloud.set_faults(date_ahead=ahead)
        await vendor.hub.stripe.list("product", {"limit": 1})
        reply = await vendor.http.get("/readyz")
        assert (reply.status_code, reply.json()["problems"]) == (503 if problems else 200, problems)
