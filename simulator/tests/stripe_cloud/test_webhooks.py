"""Deliveries: verified with the SDK, retried, doubled, reordered, lost."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest
import stripe
from aiohttp import web

from simulator.stripe_cloud.webhooks import signature_header

from .conftest import Shop, until


class Receiver:
    """A webhook endpoint that verifies what it gets with the SDK."""

    def __init__(self) -> None:
        self.url = ""
        self.secret = ""
        self.events: list[dict[str, Any]] = []
        self.answers: list[int] = []
        """Statuses to answer first; 200 afterwards."""

    async def handle(self, request: web.Request) -> web.Response:
        payload = await request.read()
        status = self.answers.pop(0) if self.answers else 200
        if status == 200:
            stripe.Webhook.construct_event(payload, request.headers["Stripe-Signature"], self.secret)
            self.events.append(json.loads(payload))
        return web.Response(status=status)

    def types(self) -> list[str]:
        return [event["type"] for event in self.events]


@pytest.fixture
async def receiver(shop: Shop) -> AsyncIterator[Receiver]:
    receiver = Receiver()
    app = web.Application()
    app.router.add_post("/webhook", receiver.handle)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    receiver.url = f"http://127.0.0.1:{runner.addresses[0][1]}/webhook"
    yield receiver
    await runner.cleanup()


async def register(shop: Shop, receiver: Receiver, *events: str) -> stripe.WebhookEndpoint:
    create: Callable[..., stripe.WebhookEndpoint] = shop.client.v1.webhook_endpoints.create
    endpoint = await shop.call(
        create,
        {"url": receiver.url, "enabled_events": list(events) or ["*"], "api_version": stripe.api_version},
    )
    assert endpoint.secret is not None
    receiver.secret = endpoint.secret
    return endpoint


async def test_events_arrive_signed_and_only_those_asked_for(shop: Shop, receiver: Receiver) -> None:
    endpoint = await register(shop, receiver, "checkout.session.completed", "charge.refunded")
    session = await shop.session(await shop.price())
    shop.cloud.pay(session.id)
    await until(lambda: receiver.events)
    assert receiver.types() == ["checkout.session.completed"]
    event = receiver.events[0]
    assert (event["data"]["object"]["id"], event["api_version"]) == (session.id, stripe.api_version)

    again = await shop.call(shop.client.v1.webhook_endpoints.retrieve, endpoint.id)
    assert "secret" not in again.to_dict(), "the secret is shown once"
    await until(lambda: shop.cloud.account.get("event", event["id"])["pending_webhooks"] == 0)
    listed = await shop.call(shop.client.v1.events.list, {"types": ["checkout.session.completed"]})
    assert [found.id for found in listed.data] == [event["id"]]


async def test_a_refusing_endpoint_is_tried_again(shop: Shop, receiver: Receiver) -> None:
    await register(shop, receiver, "customer.created")
    receiver.answers = [500, 302]
    customer = await shop.customer()
    await until(lambda: receiver.events)
    assert receiver.events[0]["data"]["object"]["id"] == customer
    await until(lambda: shop.cloud.deliveries()[0]["state"] == "delivered")
    assert [attempt["status"] for attempt in shop.cloud.deliveries()[0]["attempts"]] == [500, 302, 200]


async def test_retries_follow_the_simulators_clock_for_three_days(shop: Shop, receiver: Receiver) -> None:
    await register(shop, receiver, "customer.created")
    receiver.answers = [503] * 100
    await shop.customer()

    def waits_or_failed() -> bool:
        """A pause that begins after the clock was advanced would last until it is advanced again."""
        (delivery,) = shop.cloud.deliveries()
        return delivery["state"] == "failed" or bool(delivery["attempts"] and delivery["next_attempt"])

    await until(waits_or_failed)
    for _ in range(20):
        before = len(shop.cloud.deliveries()[0]["attempts"])
        shop.cloud.advance(11 * 3600)
        await until(lambda before=before: len(shop.cloud.deliveries()[0]["attempts"]) > before)  # type: ignore[misc]
        await until(waits_or_failed)
        if shop.cloud.deliveries()[0]["state"] == "failed":
            break
    assert shop.cloud.deliveries()[0]["state"] == "failed"


async def test_lost_webhooks_stay_lost(shop: Shop, receiver: Receiver) -> None:
    await register(shop, receiver, "customer.created")
    shop.cloud.set_faults(webhooks="drop")
    await shop.customer()
    assert shop.cloud.deliveries()[0]["state"] == "dropped"
    shop.cloud.set_faults()
    kept = await shop.customer()
    await until(lambda: receiver.events)
    assert [event["data"]["object"]["id"] for event in receiver.events] == [kept]


async def test_doubled_webhooks_arrive_twice(shop: Shop, receiver: Receiver) -> None:
    await register(shop, receiver, "customer.created")
    shop.cloud.set_faults(webhooks="duplicate")
    await shop.customer()
    await until(lambda: len(receiver.events) == 2)
    assert receiver.events[0] == receiver.events[1]


async def test_reordered_webhooks_arrive_newest_first(shop: Shop, receiver: Receiver) -> None:
    await register(shop, receiver)
    shop.cloud.set_faults(webhooks="reorder")
    session = await shop.session(await shop.price())
    before = len(receiver.events)
    shop.cloud.pay(session.id)
    await until(lambda: "payment_intent.created" in receiver.types())
    arrived = receiver.types()[before:]
    assert arrived.index("checkout.session.completed") < arrived.index("payment_intent.created")


async def test_a_disabled_or_deleted_endpoint_gets_nothing(shop: Shop, receiver: Receiver) -> None:
    endpoint = await register(shop, receiver, "customer.created")
    await shop.call(shop.client.v1.webhook_endpoints.update, endpoint.id, {"disabled": True})
    await shop.customer()
    assert shop.cloud.deliveries() == []
    updated = await shop.call(
        shop.client.v1.webhook_endpoints.update,
        endpoint.id,
        {"disabled": False, "enabled_events": ["product.created"]},
    )
    assert (updated.status, updated.enabled_events) == ("enabled", ["product.created"])
    await shop.call(shop.client.v1.webhook_endpoints.delete, endpoint.id)
    assert (await shop.call(shop.client.v1.webhook_endpoints.list)).data == []
    error = await shop.refused(shop.client.v1.webhook_endpoints.retrieve, endpoint.id)
    assert error.http_status == 404


async def test_an_event_can_be_sent_again(shop: Shop, receiver: Receiver) -> None:
    await register(shop, receiver, "customer.created")
    await shop.customer()
    await until(lambda: receiver.events)
    assert shop.cloud.resend(receiver.events[0]["id"]) == 1
    await until(lambda: len(receiver.events) == 2)


async def test_an_endpoint_that_is_away_delays_no_other(shop: Shop, receiver: Receiver) -> None:
    receiver.url = "http://127.0.0.1:9/"
    await register(shop, receiver)
    await asyncio.wait_for(shop.customer(), 10)
    await until(lambda: shop.cloud.deliveries()[0]["attempts"])
    assert shop.cloud.deliveries()[0]["attempts"][0]["status"] == 0


@pytest.mark.parametrize("events", [["no.such.event"], []])
async def test_endpoints_are_checked(shop: Shop, events: list[str]) -> None:
    params: Any = {"url": "http://127.0.0.1/", "enabled_events": events}
    assert (await shop.refused(shop.client.v1.webhook_endpoints.create, params)).http_status == 400
    params = {"url": "not a url", "enabled_events": ["*"]}
    assert (await shop.refused(shop.client.v1.webhook_endpoints.create, params)).code == "url_invalid"


def test_the_signature_is_what_the_sdk_computes() -> None:
    payload = '{"ü": 1}'.encode()
    header = signature_header(payload, "whsec_x", 1_700_000_000)
    verify: Any = stripe.WebhookSignature.verify_header
    assert verify(payload.decode(), header, "whsec_x", None)
    with pytest.raises(stripe.SignatureVerificationError):
        verify(payload.decode() + " ", header, "whsec_x", None)
    with pytest.raises(stripe.SignatureVerificationError):
        verify(payload.decode(), header, "whsec_x", 300)
