"""The webhook: at Stripe's side and at ours."""

from __future__ import annotations

import json
from typing import Any

import pytest

from stripe_payments.stripe_api import sign
from tests.unit.stripe_payments.diagnostics.rows import finding, fine
from tests.unit.stripe_payments.harness import Harness, Shop

URL = "http://127.0.0.1:8080/api/payments/webhook"
SECRET = "whsec_ofThisRouter"


@pytest.fixture
async def listening(shop: Shop) -> Shop:
    await shop.harness.call("setup_webhook", url=URL)
    return shop


def endpoint(shop: Shop) -> dict[str, Any]:
    (found,) = shop.stripe.account.newest_first("webhook_endpoint")
    return found


async def deliver(harness: Harness, *, secret: str, age: int = 0) -> int:
    event = {
        "id": "evt_1",
        "object": "event",
        "type": "checkout.session.completed",
        "livemode": False,
        "data": {"object": {"id": "cs_test_1", "object": "checkout.session"}},
    }
    body = json.dumps(event).encode()
    at = ((await harness.parts()).clock.now() or 0) - age
    reply = await harness.http(
        "POST", "/api/payments/webhook", body, stripe_signature=f"t={at},v1={sign(body, secret, at)}"
    )
    return reply.status


async def test_nothing_is_wrong(listening: Shop) -> None:
    await fine(listening.harness, "webhook_endpoint")


async def test_status_names_the_address_and_the_last_delivery(listening: Shop) -> None:
    harness = listening.harness

    async def webhook() -> tuple[Any, Any]:
        status = await harness.call("status")
        return status["webhook_url"], status["webhook_last_delivery"]

    assert await webhook() == (URL, None)
    moved = URL.replace("8080", "8081")
    assert (await harness.call("setup_webhook", url=moved))["action"] == "updated"
    secret = (await harness.parts()).keys.current().webhook_secret
    assert await deliver(harness, secret=secret or "") == 200
    address, delivered = await webhook()
    assert (address, delivered[-1:]) == (moved, "Z")
    await harness.call("set_keys", webhook_secret=SECRET)
    assert (await webhook())[0] is None


async def test_no_webhook_is_no_fault(shop: Shop) -> None:
    await finding(shop.harness, "webhook_endpoint", "info", says="No webhook", hint="setup_webhook")
    await finding(shop.harness, "webhook_deliveries", "info", says="yet")


async def test_a_secret_entered_by_hand(shop: Shop) -> None:
    await shop.harness.call("set_keys", webhook_secret=SECRET)
    await finding(shop.harness, "webhook_endpoint", "info", says="entered manually")


async def test_deleted(listening: Shop) -> None:
    await listening.account.request("DELETE", f"webhook_endpoints/{endpoint(listening)['id']}")
    await finding(
        listening.harness, "webhook_endpoint", "warning", says="no longer exists", hint="setup_webhook"
    )


async def test_disabled(listening: Shop) -> None:
    await listening.account.request("POST", f"webhook_endpoints/{endpoint(listening)['id']}", disabled=True)
    await finding(listening.harness, "webhook_endpoint", "warning", says="disabled", hint="setup_webhook")


async def test_wrong_events(listening: Shop) -> None:
    await listening.account.request(
        "POST", f"webhook_endpoints/{endpoint(listening)['id']}", enabled_events=["invoice.paid"]
    )
    await finding(
        listening.harness,
        "webhook_endpoint",
        "warning",
        says="checkout.session.completed",
        hint="setup_webhook",
    )


async def test_another_version(listening: Shop) -> None:
    endpoint(listening)["api_version"] = "2023-10-16"
    await finding(listening.harness, "webhook_endpoint", "warning", says="2023-10-16", hint="setup_webhook")


async def test_another_secret(listening: Shop) -> None:
    await listening.harness.call("set_keys", webhook_secret=SECRET)
    await finding(listening.harness, "webhook_endpoint", "warning", says="secret", hint="setup_webhook")


async def test_the_secret_of_the_other_mode(listening: Shop) -> None:
    await listening.harness.call("set_keys", secret_key="sk_live_1234567890abcdef")
    await finding(listening.harness, "key_mode", "error", says="webhook secret", hint="setup_webhook")


async def test_a_key_that_may_not_look(listening: Shop) -> None:
    key = "rk_test_noWebhooks"
    listening.stripe.api.keys.restrict(key, ["rak_webhook_read"])
    await listening.harness.call("set_keys", secret_key=key)
    await finding(listening.harness, "webhook_endpoint", "info", says="lacks permission")


async def test_deliveries(shop: Shop) -> None:
    harness = shop.harness
    await harness.trust_the_clock()
    assert await deliver(harness, secret=SECRET) == 503
    await finding(harness, "webhook_deliveries", "warning", says="no webhook secret", hint="setup_webhook")
    await harness.call("set_keys", webhook_secret=SECRET)
    assert await deliver(harness, secret="whsec_another") == 400
    await finding(harness, "webhook_deliveries", "warning", says="does not match", hint="another endpoint")
    assert await deliver(harness, secret=SECRET, age=3600) == 400
    await finding(harness, "webhook_deliveries", "warning", says="too old", hint="proxy")
    assert await deliver(harness, secret=SECRET) == 200

    async def worked_off() -> bool:
        return (await (await harness.parts()).ledger.read(lambda tx: tx.inbox.pending_count())) == 0

    await harness.until(worked_off)
    await fine(harness, "webhook_deliveries")


async def test_events_that_cannot_be_worked_off(shop: Shop) -> None:
    harness = shop.harness
    await harness.trust_the_clock()
    await harness.call("set_keys", webhook_secret=SECRET)
    shop.stripe.set_faults(status=503)
    assert await deliver(harness, secret=SECRET) == 200

    async def failed() -> bool:
        waiting = await (await harness.parts()).ledger.read(lambda tx: tx.inbox.due(2**40, 10))
        return any(one.error for one in waiting)

    await harness.until(failed)
    await finding(harness, "events", "warning", says="1", hint="retried")
    await finding(harness, "webhook_deliveries", "warning", says="checkout.session.completed", hint="retried")


async def test_a_webhook_before_the_time_is_known(offline: Harness) -> None:
    await offline.call("set_keys", webhook_secret=SECRET)
    assert await deliver(offline, secret=SECRET) == 503
    await finding(offline, "webhook_deliveries", "info", says="before the clock")
