"""`POST /api/payments/webhook`: deliveries of Stripe's, and forged ones."""

import json
from typing import Any

import pytest

from stripe_payments.stripe_api import sign
from tests.unit.stripe_payments.harness import Harness, Reply, Shop

WEBHOOK = "/api/payments/webhook"
SECRET = "whsec_thisRoutersOwnSecret"


@pytest.fixture
async def listening(harness: Harness) -> Harness:
    """A daemon with a webhook secret and a trusted clock."""
    await harness.call("set_keys", secret_key="sk_test_51ForTheMode", webhook_secret=SECRET)
    await harness.trust_the_clock()
    return harness


def event(event_id: str = "evt_1", **changes: Any) -> dict[str, Any]:
    return {
        "id": event_id,
        "object": "event",
        "type": "checkout.session.completed",
        "livemode": False,
        "data": {"object": {"id": "cs_test_1", "object": "checkout.session"}},
        **changes,
    }


async def deliver(harness: Harness, content: object, *, age: int = 0, secret: str = SECRET) -> Reply:
    body = content if isinstance(content, bytes) else json.dumps(content).encode()
    now = (await harness.parts()).clock.now() or 0
    header = f"t={now - age},v1={sign(body, secret, now - age)}"
    return await harness.http("POST", WEBHOOK, body, stripe_signature=header, content_type="application/json")


async def accepted(harness: Harness) -> list[str]:
    """Return the ids of the events in the inbox; without Stripe nothing leaves it."""
    events = await (await harness.parts()).ledger.read(lambda tx: tx.inbox.due(2**40, 100))
    return sorted(event.event_id for event in events)


async def test_a_signed_event_is_durable_before_the_response(listening: Harness) -> None:
    reply = await deliver(listening, event())
    assert (reply.status, reply.json()) == (200, {"received": True})
    assert await accepted(listening) == ["evt_1"]
    await listening.stop_daemon()
    await listening.start_daemon()
    assert await accepted(listening) == ["evt_1"]


async def test_a_duplicate_event_is_stored_once(listening: Harness) -> None:
    for _ in range(3):
        assert (await deliver(listening, event())).status == 200
    assert await accepted(listening) == ["evt_1"]


@pytest.mark.parametrize(
    "content",
    [
        event(livemode=True),
        event(data={}),
        event(data={"object": "gone"}),
        event(data={"object": {"id": 7}}),
        event(data={"object": {"id": "../../etc"}}),
        event(type=None),
        event("evt\n1"),
        {"object": "v2.core.event", "id": "evt_2", "type": "v1.billing.meter"},
        event(data={"object": {"id": "cs_test_1", "metadata": {"router_id": "f" * 32}}}),
        {},
    ],
)
async def test_an_event_not_for_this_router_is_answered_200_and_not_stored(
    listening: Harness, content: dict[str, Any]
) -> None:
    reply = await deliver(listening, content)
    assert (reply.status, reply.json()) == (200, {"received": True})
    assert await accepted(listening) == []


async def test_an_event_of_an_unused_type_is_not_stored(listening: Harness) -> None:
    for number, kind in enumerate(("invented.tomorrow", "entitlements.active_entitlement_summary.updated")):
        assert (await deliver(listening, event(f"evt_{number}", type=kind))).status == 200
    assert await accepted(listening) == []


async def test_an_event_of_this_router_or_without_owner_is_stored(listening: Harness) -> None:
    router_id = (await listening.call("status"))["router_id"]
    own = {"id": "cs_test_2", "metadata": {"router_id": router_id}}
    kept: list[dict[str, Any]] = [{}, {"data": {"object": own}}]
    for number, changes in enumerate(kept):
        assert (await deliver(listening, event(f"evt_{number}", **changes))).status == 200
    assert await accepted(listening) == ["evt_0", "evt_1"]


async def test_a_reencoded_body_fails_verification(listening: Harness) -> None:
    body = b'{"id":"evt_1","note":"\\u00e8  \xc3\xa8"}'
    now = await listening.trust_the_clock()
    header = f"t={now},v1={sign(body, SECRET, now)}"
    changed = json.dumps(json.loads(body)).encode()
    assert (await listening.http("POST", WEBHOOK, changed, stripe_signature=header)).error == (
        400,
        "invalid_signature",
    )
    assert (await listening.http("POST", WEBHOOK, body, stripe_signature=header)).status == 200


async def test_bytes_that_are_not_utf8_are_verified_unchanged(listening: Harness) -> None:
    assert (await deliver(listening, b"\xff\xfe{}")).error == (400, "invalid_json")


@pytest.mark.parametrize("body", [b"", b"null", b"[]", b"{", b"[" * 100_000])
async def test_a_signed_body_that_is_not_an_event(listening: Harness, body: bytes) -> None:
    assert (await deliver(listening, body)).error == (400, "invalid_json")


@pytest.mark.parametrize(
    "header", ["", "t=1", "v1=00", "t=x,v1=00", "t=1,v1=é", "," * 500, "t=1," + "v1=0," * 900]
)
async def test_a_malformed_signature_header(listening: Harness, header: str) -> None:
    assert (await listening.http("POST", WEBHOOK, event(), stripe_signature=header)).error == (
        400,
        "invalid_signature",
    )


@pytest.mark.parametrize("age", [301, 10**6])
async def test_an_old_signature_is_stale(listening: Harness, age: int) -> None:
    assert (await deliver(listening, event(), age=age)).error == (400, "stale_timestamp")
    assert await accepted(listening) == []


@pytest.mark.parametrize("ahead", [301, 90 * 86_400])
async def test_a_signature_from_the_future_is_accepted(listening: Harness, ahead: int) -> None:
    forged = await deliver(listening, event("evt_forged"), age=-ahead, secret="whsec_guess")
    assert forged.error == (400, "invalid_signature")
    assert (await deliver(listening, event(), age=-ahead)).status == 200
    assert await accepted(listening) == ["evt_1"]


async def test_a_slow_clock_is_corrected_after_a_webhook(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    harness = shop.harness
    await harness.call("set_keys", webhook_secret=SECRET)
    await harness.call("sync")
    parts = await harness.parts()
    clock, poll_now = parts.clock, parts.poller.poll_now
    reasons: list[str] = []

    def record(reason: str) -> None:
        reasons.append(reason)
        poll_now(reason)

    monkeypatch.setattr(parts.poller, "poll_now", record)
    before = clock.now() or 0
    shop.stripe.advance(90 * 86_400)  # the router was asleep meanwhile; no poll corrects the clock now
    assert (await deliver(harness, event(), age=-90 * 86_400)).status == 200

    async def caught_up() -> bool:
        return (clock.now() or 0) >= before + 90 * 86_400

    await harness.until(caught_up)
    assert len(reasons) == 1


async def test_forged_requests_are_rate_limited_and_genuine_ones_are_not(listening: Harness) -> None:
    statuses = [(await deliver(listening, event(), secret="whsec_guess")).status for _ in range(90)]
    assert statuses[0] == 400
    assert statuses[-1] == 429
    refused = await deliver(listening, event(), secret="whsec_guess")
    assert refused.error == (429, "rate_limited")
    assert int(refused.headers["Retry-After"]) > 0
    assert (await deliver(listening, event("evt_real"))).status == 200


async def test_without_a_secret_every_webhook_is_refused(harness: Harness) -> None:
    await harness.trust_the_clock()
    assert (await deliver(harness, event())).error == (503, "webhook_not_configured")


async def test_with_an_untrusted_clock_only_a_genuine_webhook_polls_stripe(
    harness: Harness, monkeypatch: pytest.MonkeyPatch
) -> None:
    await harness.call("set_keys", webhook_secret=SECRET)
    reasons: list[str] = []
    monkeypatch.setattr((await harness.parts()).poller, "poll_now", reasons.append)
    for secret in ("whsec_guess", ""):
        assert (await deliver(harness, event(), secret=secret)).error == (503, "clock_not_trusted")
    assert reasons == []
    assert (await deliver(harness, event())).error == (503, "clock_not_trusted")
    assert len(reasons) == 1


async def test_with_an_untrusted_clock_stripe_has_to_retry(harness: Harness) -> None:
    await harness.call("set_keys", webhook_secret=SECRET)
    reply = await harness.http("POST", WEBHOOK, event(), stripe_signature="t=1,v1=00")
    assert reply.error == (503, "clock_not_trusted")
    assert int(reply.headers["Retry-After"]) > 0
