"""A router that owns a credential and tries everything: each attempt gets its documented error, nothing
leaks, nothing changes in the database or at Stripe.
"""

from __future__ import annotations

import asyncio
import base64
import hmac
import importlib
import json
import logging
import re
import secrets
from collections.abc import AsyncIterator, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jwt
import psycopg
import pytest
from psycopg.conninfo import conninfo_to_dict

from payments_hub import answers, callers, web
from payments_hub.routers import new_secret
from simulator.postgres import PostgreSQL
from stripe_payments.ledger.packing import unpack
from tests.hub.vendor import KEY, PATIENCE_S, Caller, Vendor, eventually

URLS = {"success_url": "http://192.168.1.1/ok", "cancel_url": "http://192.168.1.1/no"}
ORDER = {"price_id": "premium_monthly", **URLS}

FORGED_TERMS: tuple[dict[str, Any], ...] = (
    {"amount": 1, "unit_amount": 1, "currency": "jpy"},
    {"price_data": {"unit_amount": 1, "currency": "eur", "product": "prod_x"}},
    {"line_items": [{"price_data": {"unit_amount": 1, "currency": "eur"}, "quantity": 1}]},
    {"line_items[0][price_data][unit_amount]": 1, "discounts[0][coupon]": "FREE"},
    {"discounts": [{"coupon": "FREE"}], "coupon": "FREE", "allow_promotion_codes": True},
    {"trial_days": 730, "trial_end": "now", "subscription_data": {"trial_period_days": 730}},
    {
        "proration_behavior": "none",
        "billing_cycle_anchor": "unchanged",
        "payment_behavior": "default_incomplete",
    },
    {"expand": ["customer", "data.customer.subscriptions", "line_items.data.price.product"]},
    {"metadata": {"router_id": "f" * 32}, "client_reference_id": "f" * 32},
    {
        "customer": "cus_of_others",
        "customer_email": "victim@example.org",
        "customer_update": {"name": "auto"},
    },
    {"quantity": 0, "automatic_tax": {"enabled": False}, "mode": "setup", "ui_mode": "embedded"},
    {"application_fee_percent": 99, "transfer_data": {"destination": "acct_1"}, "on_behalf_of": "acct_1"},
    {"idempotency_key": "of-others", "stripe_account": "acct_1", "api_key": "sk_test_1"},
    {
        "features": ["backups"],
        "feature": "backups",
        "unlocked": True,
        "until": 4_000_000_000,
        "router": "f" * 32,
    },
)


THREATS: dict[str, tuple[str, ...]] = {
    "a stolen router": ("test_enrollment.test_a_blocked_router_is_refused_by_the_next_request",),
    "root on a router: price, discount, trial, proration, customer, expand, metadata": (
        "test_hostile_router.test_no_term_of_a_purchase_is_the_routers",
        "test_hostile_router.test_no_term_of_a_change_is_the_routers",
        "test_web.test_nothing_that_a_router_sends_changes_a_price",
    ),
    "a cloned credential": (
        "test_hostile_router.test_a_copied_credential_is_seen_whoever_rotates_first",
        "test_enrollment.test_the_old_credential_works_until_the_new_one_was_used",
    ),
    "an enrolment code: replayed, guessed, leaked": (
        "test_enrollment.test_a_used_code_with_another_secret_is_refused_and_counted",
        "test_enrollment.test_enrolling_is_limited_by_address",
        "test_hostile_router.test_a_leaked_code_is_worth_one_empty_router",
    ),
    "a claim on another router's identity": (
        "test_enrollment.test_a_credential_of_another_router_cannot_be_taken_over",
        "test_hostile_router.test_no_token_is_a_credential",
        "test_hostile_router.test_headers_do_not_make_another_router_of_it",
    ),
    "a flood": (
        "test_hostile_router.test_a_flood_is_slowed_down_for_the_one_that_floods",
        "test_stripe_budget.test_a_router_that_floods_takes_one_connection",
        "test_polls.test_an_overload_refuses_polls_and_serves_buyers",
        "test_hostile_router.test_a_slow_body_ends_and_smuggled_requests_are_not_served",
    ),
    "ids that are not its own": (
        "test_hostile_router.test_ids_of_others_are_like_ids_of_nobody",
        "test_hostile_router.test_everything_that_is_not_the_routers_own_is_refused",
    ),
    "another router's idempotency key": ("test_web.test_an_idempotency_key_is_the_routers_own",),
    "a leaked database": (
        "test_hostile_router.test_a_dump_of_the_database_lets_nobody_in",
        "test_enrollment.test_only_digests_are_stored",
    ),
    "a compromised instance": (
        "test_database_roles.test_a_role_is_refused_what_it_does_not_need",
        "test_database_roles.test_a_taken_over_instance_cannot_look_at_all_accounts_at_once",
    ),
    "a service that replays a statement": (
        "test_web.test_a_statement_is_for_one_audience_and_ten_minutes",
        "test_hostile_router.test_no_token_is_a_credential",
    ),
    "keys in answers, logs, tables, process lists": (
        "test_command.test_one_process_serves_its_listeners_apart_and_stops",
        "test_web.test_the_key_is_in_no_answer",
    ),
}
"""What the hub has to contain, and where each is tried. The searches of `assert_no_secret` follow every test
of this file.
"""


OWN_CONTACT = re.compile(r"meta \(\w+,(clock_floor|last_contact|last_seen),")
"""When Stripe last answered for an account: any call that reaches Stripe may write it to the caller's own."""


@dataclass
class Scene:
    """A hostile router beside a victim that has a plan, and a purchase for ever in dispute with nobody."""

    vendor: Vendor
    hostile: Caller
    victim: Caller
    of_victim: Mapping[str, str]
    """Ids of the victim's objects, by kind."""
    superuser: str
    answers: list[str]

    async def try_it(
        self, verb: str, path: str, body: Any = None, **headers: str
    ) -> tuple[int, str, dict[str, Any]]:
        """Status, error code (empty without one), body."""
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        named = {"authorization": f"Bearer {self.hostile.secret}", **named}
        content = None if body is None else json.dumps(body).encode()  # half a surrogate pair as an escape
        reply = await self.vendor.http.request(verb, path, content=content, headers=named, timeout=PATIENCE_S)
        found = reply.json() if reply.content else {}
        return reply.status_code, found.get("error", {}).get("code", ""), found

    def everything(self) -> list[str]:
        """All rows of all tables but what counts requests, and all of Stripe's objects."""
        with psycopg.connect(self.superuser) as connection:
            tables = [
                row[0]
                for row in connection.execute("SELECT tablename FROM pg_tables WHERE schemaname = 'public'")
            ]
            assert {"credentials", "objects", "replies", "inbox"} <= set(tables)
            rows = [
                f"{table} {row[0]}"
                for table in sorted(set(tables) - {"stripe_budget", "cursors", "enrollment_attempts"})
                for row in connection.execute(f"SELECT t::text FROM {table} t".encode()).fetchall()
            ]
        objects = self.vendor.cloud.state()["objects"]
        rows = [row for row in rows if not OWN_CONTACT.match(row)]
        return sorted(rows) + [json.dumps(one) for kind in objects.values() for one in kind]

    def changed(self, before: list[str]) -> set[str]:
        """The rows and objects that differ from before."""
        return set(before) ^ set(self.everything())


@pytest.fixture
async def scene(
    database_url: str, tmp_path: Path, postgres: PostgreSQL, caplog: pytest.LogCaptureFixture
) -> AsyncIterator[Scene]:
    caplog.set_level(logging.DEBUG)
    async with Vendor.open(database_url, tmp_path, working=False) as vendor:
        hostile, victim = await vendor.router(), await vendor.router()
        session = await victim.checkout("premium_monthly")
        vendor.cloud.pay(session)

        async def bought() -> bool:
            return bool(await victim.unlocked())

        async with vendor.worker():  # only here: a sweep or the walk must not change anything later
            await eventually(bought, "the victim has a plan")
            await settled(database_url)
        objects = vendor.cloud.state()["objects"]
        of_victim = {
            "session": session,
            **{
                kind: objects[kind][0]["id"]
                for kind in ("subscription", "customer", "charge", "payment_intent", "invoice")
            },
        }
        answers: list[str] = []

        async def keep(reply: Any) -> None:
            answers.append(str(reply.headers) + (await reply.aread()).decode(errors="replace"))

        vendor.http.event_hooks["response"].append(keep)
        superuser = postgres.url(str(conninfo_to_dict(database_url)["dbname"]))
        scene = Scene(vendor, hostile, victim, of_victim, superuser, answers)
        yield scene
        assert_no_secret(scene, caplog.text)


def test_each_threat_is_tried() -> None:
    for threat, tests in THREATS.items():
        for test in tests:
            module, _dot, name = test.partition(".")
            assert hasattr(importlib.import_module(f"tests.hub.{module}"), name), (threat, test)


def assert_no_secret(scene: Scene, log: str) -> None:
    """After whatever a test tried."""
    config = scene.vendor.hub.config
    pem = "".join(json.loads(config.signing_key_file.read_bytes())["keys"][0]["pem"].split("\n")[1:-2])
    places = {
        "an answer": "".join(scene.answers),
        "the log": log,
        "the database": "".join(scene.everything()),
        "a command line": "".join(_command_lines()),
    }
    hidden = {
        "Stripe's key": KEY,
        "the webhook's secret": config.webhook_secret,
        "the signing key": pem[40:80],
    }
    hidden |= {"a credential": scene.victim.secret, "its own credential": scene.hostile.secret}
    for place, text in places.items():
        for name, value in hidden.items():
            assert value not in text, f"{name} is in {place}"
        assert "Traceback" not in text


def _command_lines() -> Iterator[str]:
    for process in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            yield process.read_text(errors="replace")
        except OSError:
            continue


async def settled(database_url: str) -> None:
    """No event waits any more."""

    async def empty() -> bool:
        with psycopg.connect(database_url) as connection:
            return connection.execute("SELECT 1 FROM inbox WHERE outcome IS NULL").fetchone() is None

    await eventually(empty, "events are worked off")


async def test_no_term_of_a_purchase_is_the_routers(scene: Scene) -> None:
    """What is forged never reaches Stripe: the session is the one of an honest order."""
    sent = "/v1/checkout/sessions"
    for forged in FORGED_TERMS:
        status, _code, _body = await scene.try_it(
            "POST", "/v1/methods/create_checkout_session", {**forged, **ORDER}
        )
        assert status == 200, forged
    (made,) = {one["id"]: one for one in _sessions(scene) if one["status"] == "open"}.values()
    assert (made["amount_total"], made["currency"], made["mode"]) == (499, "eur", "subscription")
    assert made["metadata"]["router_id"] != "f" * 32
    assert made["customer"] != scene.of_victim["customer"]
    text = json.dumps(scene.vendor.cloud.requests(method="POST", path=sent))
    for term in ("FREE", "cus_of_others", "acct_1", "ffffffff", '"730"', ": 730", "of-others"):
        assert term not in text
    assert await scene.hostile.unlocked() == set()


async def test_no_term_of_a_change_is_the_routers(scene: Scene) -> None:
    """What reaches Stripe of a change, a cancellation and the portal is what an honest router sends."""
    scene.vendor.cloud.pay(await scene.hostile.checkout("premium_monthly"))

    async def bought() -> bool:
        return bool((await scene.hostile.state())["en"]["subscriptions"])

    async with scene.vendor.worker():
        await eventually(bought, "the hostile router has a plan of its own")
        await settled(scene.superuser)
    plan = (await scene.hostile.state())["en"]["subscriptions"][0]["id"]
    calls: tuple[tuple[str, dict[str, Any]], ...] = (
        ("preview_change", {"subscription": plan, "price_id": "business_monthly"}),
        ("cancel_subscription", {"subscription": plan, "at_period_end": True}),
        ("resume_subscription", {"subscription": plan}),
        ("portal", {"return_url": URLS["success_url"]}),
        ("change_plan", {"subscription": plan, "price_id": "business_monthly"}),
    )
    forged = {key: value for terms in FORGED_TERMS for key, value in terms.items()}
    for name, honest in calls:
        status, _code, body = await scene.try_it("POST", f"/v1/methods/{name}", {**forged, **honest})
        assert status == 200, (name, body)
    text = json.dumps(scene.vendor.cloud.requests(method="POST"))
    for term in (
        "FREE",
        "cus_of_others",
        "acct_1",
        "ffffffff",
        '"730"',
        ": 730",
        "of-others",
        "default_incomplete",
    ):
        assert term not in text
    changes = json.dumps(scene.vendor.cloud.requests(method="POST", path=f"/v1/subscriptions/{plan}"))
    assert changes.count("proration_behavior") == changes.count("always_invoice") == 1, changes
    (held,) = (await scene.hostile.state())["en"]["subscriptions"]
    assert (held["id"], held["amount"], held["currency"]) == (plan, 1499, "eur")
    assert await scene.victim.unlocked() == {"backups", "updates"}


async def test_a_copied_credential_is_seen_whoever_rotates_first(scene: Scene) -> None:
    """The copy looks like the router until one of them rotates: then the vendor sees it."""
    copy, secret = scene.vendor.caller(), scene.victim.secret
    copy.secret = secret
    assert (await copy.state())["router_id"] == scene.victim.id
    taken = new_secret()
    assert (await copy.request("POST", "/v1/credentials/rotate", {"secret": taken})).status_code == 200
    copy.secret = taken
    assert (await copy.request("GET", "/v1/state")).status_code == 200
    refused = await scene.victim.request("GET", "/v1/state")
    assert refused.json()["error"]["code"] == "credential_refused"
    (row,) = await scene.vendor.hub.routers.find(scene.victim.id)
    assert (row["flags"], row["status"]) == (["clone"], "active"), "the vendor decides"
    _router, code = await scene.vendor.hub.routers.prepare(row["account"])
    scene.victim.secret = new_secret()
    assert (await scene.victim.enroll(code)).status_code == 201
    assert await scene.victim.unlocked() == {"backups", "updates"}
    ended = await copy.request("GET", "/v1/state")
    assert ended.json()["error"]["code"] == "router_replaced", "the copy ends with the router that it was"


async def test_a_leaked_code_is_worth_one_empty_router(scene: Scene) -> None:
    """Nothing of other routers; the one it was meant for is refused, and the vendor sees why."""
    code = await scene.vendor.hub.routers.new_enrollment_code("serial 4711")
    thief, owner = scene.vendor.caller(), scene.vendor.caller()
    assert (await thief.enroll(code)).status_code == 201
    assert await thief.unlocked() == set()
    assert (await owner.enroll(code)).json()["error"]["code"] == "code_used"
    (row,) = await scene.vendor.hub.routers.find("4711")
    assert (row["id"], row["flags"]) == (thief.id, ["code_reused"])


async def test_a_dump_of_the_database_lets_nobody_in(scene: Scene) -> None:
    """No text of it is a credential or a code; not in what is compressed either."""
    codes = [
        await scene.vendor.hub.routers.new_enrollment_code(),
        (await scene.victim.request("POST", "/v1/recovery-codes")).json()["code"],
    ]
    dump = "\n".join(scene.everything())
    with psycopg.connect(scene.superuser) as connection:
        packed = connection.execute("SELECT packed FROM objects").fetchall()
        digests = connection.execute("SELECT encode(digest, 'hex') FROM credentials").fetchall()
    dump += "".join(unpack(bytes(row[0])).decode() for row in packed)
    assert len(packed) > 3
    config = scene.vendor.hub.config
    secrets_of_all = [KEY, config.webhook_secret, scene.victim.secret, scene.hostile.secret, *codes]
    for secret in secrets_of_all:
        bare = secret.replace("-", "") if secret in codes else secret
        for form in (secret, bare, secret.encode().hex(), base64.b64encode(secret.encode()).decode()):
            assert form not in dump
    for (found,) in digests:
        for token in (found, base64.urlsafe_b64encode(bytes.fromhex(found)).rstrip(b"=").decode()):
            reply = await scene.vendor.http.get("/v1/state", headers={"authorization": f"Bearer {token}"})
            assert reply.status_code == 401


def _sessions(scene: Scene) -> list[dict[str, Any]]:
    sessions: list[dict[str, Any]] = scene.vendor.cloud.state()["objects"]["checkout.session"]
    return sessions


def attempts(scene: Scene) -> list[tuple[str, str, Any, dict[str, str], int, str]]:
    """Verb, path, body, headers, status and code of what must fail."""
    ids = scene.of_victim
    cases: list[tuple[str, str, Any, dict[str, str], int, str]] = []

    def case(verb: str, path: str, body: Any, status: int, code: str, **headers: str) -> None:
        cases.append((verb, path, body, headers, status, code))

    def method(name: str, body: Any, status: int, code: str) -> None:
        case("POST", f"/v1/methods/{name}", body, status, code)

    for price in (
        "price_1ABC",
        "premium_yearly_1_cent",
        "../prices",
        "",
        " ",
        "premium_monthly\0",
        {"id": "x"},
    ):
        status, code = (404, "unknown_price") if isinstance(price, str) and price.strip("\0 ") else (400, "")
        if price == "premium_monthly\0":
            status, code = 400, "invalid_argument"
        if price == " ":
            status, code = 404, "unknown_price"
        method("create_checkout_session", {**ORDER, "price_id": price}, status, code or "invalid_argument")
    for url in (
        "javascript:alert(1)",
        "//evil.example",
        "file:///etc/passwd",
        "http://a\nb",
        "http://x" * 900,
        5,
    ):
        method("create_checkout_session", {**ORDER, "success_url": url}, 400, "invalid_argument")
    for name in ("cancel_subscription", "resume_subscription"):
        method(name, {"subscription": ids["subscription"]}, 404, "subscription_not_found")
    for name in ("change_plan", "preview_change"):
        body = {"subscription": ids["subscription"], "price_id": "business_monthly"}
        method(name, body, 404, "subscription_not_found")
    for kind in ("session", "payment_intent", "charge"):
        method("payment_status", {"payment_id": ids[kind]}, 404, "payment_not_found")
    for given in (ids["customer"], "cs_x/../../customers", "pi_x?expand[]=customer", "cs_" + "x" * 3000, [1]):
        method("payment_status", {"payment_id": given}, 400, "invalid_argument")
    method("portal", {"return_url": URLS["success_url"], "customer": ids["customer"]}, 404, "nothing_bought")
    method("transactions", {"limit": 10**9}, 400, "invalid_argument")
    for name in (
        "refund",
        "grant",
        "revoke",
        "provision",
        "set_keys",
        "setup_webhook",
        "status",
        "check",
        "%2e%2e",
    ):
        method(name, {"payment_id": ids["session"], "feature": "backups"}, 404, "unknown_method")
    for path in (
        "/v1/methods//refund",
        "/v1/methods/sync%2f..%2frefund",
        "/v1/methods/sync/",
        "/v1//methods/sync",
        "//v1/methods/sync",
        "/v1/state/",
        "/v1/routers/" + scene.victim.id,
        "/V1/STATE",
        "/v1/state%00",
        "/v1/state;x=1",
        "/console",
        "/metrics",
        "/.well-known/../v1/routers",
    ):
        case("POST", path, {}, 404, "not_found")
    for verb in ("PUT", "DELETE", "PATCH"):
        case(verb, "/v1/state", None, 405, "method_not_allowed")
    case("POST", "/v1/state", {}, 405, "method_not_allowed", x_http_method_override="GET")
    case("POST", "/v1/router", {}, 404, "not_found", x_original_url="/v1/state", x_rewrite_url="/v1/state")
    for key in ("x" * 256, "a\tb"):
        case("POST", "/v1/methods/sync", {}, 400, "invalid_argument", idempotency_key=key)
    for guess in ("AAAAA-BBBBB-CCCCC-DDDDD", scene.victim.id, "' OR 1=1 --", scene.victim.secret):
        case("POST", "/v1/recovery", {"code": guess}, 403, "code_refused")
    for no_code in ("", "x" * 65, "\ud800", 7, ["A"], None):
        case("POST", "/v1/recovery", {"code": no_code}, 400, "invalid_argument")
    case("POST", "/v1/credentials/rotate", {"secret": scene.victim.secret}, 401, "credential_refused")
    for secret in ("short", "x" * 44, "é" * 43, None, 5, {"a": 1}):
        case("POST", "/v1/credentials/rotate", {"secret": secret}, 400, "invalid_argument")
    for audience in ("a b", "x" * 300, "https://a\nb", ["a", "b"], {"aud": "x"}, "\ud800"):
        case("POST", "/v1/statements", {"audience": audience}, 400, "invalid_argument")
    for board in ("\ud800", "a\0b", "x" * 129, 5, None):
        enrollment = {"secret": new_secret(), "code": "A", "board": board, "version": "1"}
        case("POST", "/v1/enrollments", enrollment, 400, "invalid_argument")
    return cases


async def test_everything_that_is_not_the_routers_own_is_refused(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(web, "_ENROLLMENTS", 1000)
    before, wrong = scene.everything(), list[object]()
    for verb, path, body, headers, status, code in attempts(scene):
        got = await scene.try_it(verb, path, body, **headers)
        if got[:2] != (status, code) or not got[2]["error"]["user_hint"]:
            wrong.append((verb, path, body, got))
        if changed := scene.changed(before):
            wrong.append((verb, path, body, changed))
            before = scene.everything()
    assert not wrong
    state = await scene.hostile.state()
    assert (state["en"]["subscriptions"], state["en"]["transactions"]) == ([], [])
    assert await scene.victim.unlocked() == {"backups", "updates"}


async def test_ids_of_others_are_like_ids_of_nobody(scene: Scene) -> None:
    """To the letter, so that nothing can be learned of them."""
    for name, argument, kind in (
        ("payment_status", "payment_id", "session"),
        ("payment_status", "payment_id", "payment_intent"),
        ("payment_status", "payment_id", "charge"),
        ("cancel_subscription", "subscription", "subscription"),
        ("resume_subscription", "subscription", "subscription"),
        ("change_plan", "subscription", "subscription"),
        ("preview_change", "subscription", "subscription"),
    ):
        theirs = scene.of_victim[kind]
        nobodys = theirs[:-8] + "zzzzzzzz"
        answers = [
            json.dumps(
                await scene.try_it(
                    "POST", f"/v1/methods/{name}", {argument: one, "price_id": "business_monthly"}
                )
            ).replace(one, "X")
            for one in (theirs, nobodys)
        ]
        assert answers[0] == answers[1]


def _tokens(scene: Scene, statement: str, jwks: Mapping[str, Any]) -> Iterator[str]:
    """What might pass for a credential."""

    def part(value: object) -> str:
        return base64.urlsafe_b64encode(json.dumps(value).encode()).rstrip(b"=").decode()

    claims = {"sub": scene.victim.id, "iss": "https://hub.example.org", "features": ["backups"]}
    yield f"{part({'alg': 'none', 'typ': 'JWT'})}.{part(claims)}."
    key = jwks["keys"][0]
    signed = f"{part({'alg': 'HS256', 'kid': key['kid']})}.{part(claims)}"
    mac = hmac.new(json.dumps(key).encode(), signed.encode(), "sha256").digest()
    yield f"{signed}.{base64.urlsafe_b64encode(mac).rstrip(b'=').decode()}"
    yield statement
    yield statement.rpartition(".")[0] + "." + "A" * 86
    yield scene.victim.id
    yield secrets.token_urlsafe(32)
    yield scene.victim.secret[:-1]
    yield scene.victim.secret + "="
    yield scene.victim.secret.swapcase()
    yield "' OR '1'='1"
    yield "*" * 43


async def test_no_token_is_a_credential(scene: Scene) -> None:
    statement = (await scene.hostile.state())["statement"]
    jwks = (await scene.vendor.http.get("/.well-known/jwks.json")).json()
    before = scene.everything()
    for token in _tokens(scene, statement, jwks):
        for path in ("/v1/state", "/v1/catalog"):
            reply = await scene.vendor.http.get(path, headers={"authorization": f"Bearer {token}"})
            assert (reply.status_code, reply.json()["error"]["code"]) == (401, "credential_refused")
    assert not scene.changed(before)
    claims = jwt.decode(statement, options={"verify_signature": False})
    assert (claims["sub"], claims["features"]) == (scene.hostile.id, [])


async def test_headers_do_not_make_another_router_of_it(scene: Scene) -> None:
    for headers in (
        {"host": "evil.example"},
        {"x_router_id": scene.victim.id, "x_account": scene.victim.id},
        {
            "x_forwarded_for": "127.0.0.1",
            "x_forwarded_host": "evil.example",
            "forwarded": "host=evil.example",
        },
        {"cookie": f"router={scene.victim.id}"},
        {"if_none_match": "*"},
        {"prefer": "wait=999999999999"},
        {"accept_language": "../../etc/passwd"},
    ):
        status, _code, body = await scene.try_it("GET", "/v1/state", **headers)
        assert (status, body["router_id"]) == (200, scene.hostile.id), headers
        assert "evil.example" not in json.dumps(body)


BODIES = (
    b"\xff\xfe",
    b'{"a":' * 20_000,
    b"[" * 60_000,
    b"1" * 6_000,
    b'"text"',
    b"null",
    b'{"secret": NaN',
    b"\0",
)


@pytest.mark.parametrize("path", ["/v1/enrollments", "/v1/recovery", "/v1/statements", "/v1/methods/sync"])
async def test_bodies_that_are_no_objects(scene: Scene, path: str) -> None:
    headers = {"authorization": f"Bearer {scene.hostile.secret}"}
    for body in BODIES:
        reply = await scene.vendor.http.post(path, content=body, headers=headers)
        assert (reply.status_code, reply.json()["error"]["code"]) in (
            (400, "invalid_json"),
            (413, "body_too_large"),
        ), body[:20]


async def _raw(vendor: Vendor, request: bytes) -> bytes:
    """Everything that comes back until the hub closes the connection."""
    host, _colon, port = vendor.url.removeprefix("http://").partition(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    writer.write(request)
    answer = await reader.read()
    writer.close()
    return answer


async def test_a_slow_body_ends_and_smuggled_requests_are_not_served(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(answers, "_BODY_S", 0.2)
    own = f"Host: x\r\nConnection: close\r\nAuthorization: Bearer {scene.hostile.secret}\r\n".encode()
    smuggled = b"GET /v1/state HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer " + scene.victim.secret.encode()
    smuggled += b"\r\n\r\n"
    before = scene.everything()
    slow = await _raw(
        scene.vendor, b"POST /v1/methods/sync HTTP/1.1\r\n" + own + b"Content-Length: 5000\r\n\r\n{"
    )
    assert slow.startswith(b"HTTP/1.1 503 ")
    for lengths in (
        b"Content-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        b"Content-Length: 2\r\nContent-Length: 5\r\n\r\n{}",
        b"Transfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n\r\n0\r\n\r\n",
        b"Content-Length: -1\r\n\r\n",
        b"Content-Length: 2, 3\r\n\r\n{}",
    ):
        answer = await _raw(scene.vendor, b"POST /v1/methods/sync HTTP/1.1\r\n" + own + lengths + smuggled)
        assert answer.count(b"HTTP/1.1 ") <= 1, lengths
        assert scene.victim.id.encode() not in answer
    assert not scene.changed(before)


async def test_a_flood_is_slowed_down_for_the_one_that_floods(
    database_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(callers, "_REQUESTS", 20)
    async with Vendor.open(database_url, tmp_path, working=False) as vendor:
        hostile, other = await vendor.router(), await vendor.router()
        etag = (await hostile.request("GET", "/v1/state")).headers["etag"]

        async def poll() -> tuple[int, str]:
            reply = await hostile.request("GET", "/v1/state", if_none_match=etag)
            return reply.status_code, reply.headers.get("retry-after", "")

        flood = await asyncio.gather(*[poll() for _ in range(40)])
        assert {status for status, _after in flood} == {304, 429}
        assert all(after.isdigit() for status, after in flood if status == 429)
        assert (await other.request("GET", "/v1/state")).status_code == 200
