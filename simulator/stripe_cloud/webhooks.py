"""Deliveries to webhook endpoints: signed, retried with growing pauses, and misbehaving when a fault says so.

Sources: https://docs.stripe.com/webhooks#verify-manually (signature),
https://docs.stripe.com/webhooks#retries
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import hmac
import json
from collections import deque
from collections.abc import Coroutine
from dataclasses import dataclass, field

import aiohttp

from .account import Account
from .api_errors import Json
from .clock import DAY, HOUR, MINUTE, Clock
from .faults import Faults
from .rendering import render

TIMEOUT = 20.0
"""Seconds an endpoint has to answer."""

RETRY_AFTER = (1, 3, 10, MINUTE, 5 * MINUTE, 30 * MINUTE, 2 * HOUR, 5 * HOUR, *(10 * HOUR,) * 6)
"""Pauses on the simulator's clock, about three days in all.  The first ones are shorter than Stripe's, for
people who wait.
"""

GIVE_UP_AFTER = 3 * DAY
REORDER_WINDOW = 0.5
"""Real seconds without a new event after which held deliveries go out, the newest first."""

KEPT = 1_000


@dataclass
class Delivery:
    """One event for one endpoint.  `state`: pending, delivered, failed (given up), dropped (by a fault),
    canceled. `next_attempt` is None while an attempt is under way: when the next one is due is not known yet.
    """

    id: str
    event_id: str
    event_type: str
    endpoint_id: str
    url: str
    created: int
    state: str = "pending"
    next_attempt: float | None = None
    attempts: list[Json] = field(default_factory=list)
    copies: int = 1
    in_flight: bool = False

    def describe(self) -> Json:
        return {
            "id": self.id,
            "event": self.event_id,
            "type": self.event_type,
            "endpoint": self.endpoint_id,
            "url": self.url,
            "created": self.created,
            "state": self.state,
            "next_attempt": self.next_attempt,
            "attempts": self.attempts,
        }


def signature_header(payload: bytes, secret: str, timestamp: int) -> str:
    """`Stripe-Signature`: HMAC-SHA256 over `timestamp.payload`."""
    digest = hmac.new(secret.encode(), f"{timestamp}.".encode() + payload, hashlib.sha256).hexdigest()
    return f"t={timestamp},v1={digest}"


def wants(endpoint: Json, event_type: str) -> bool:
    return endpoint["status"] == "enabled" and any(
        kind in {"*", event_type} for kind in endpoint["enabled_events"]
    )


class WebhookSender:
    """Lives on the event loop between `start` and `stop`; `enqueue` is called for every event."""

    def __init__(self, account: Account, clock: Clock, faults: Faults) -> None:
        self._account = account
        self._clock = clock
        self._faults = faults
        self._deliveries: deque[Delivery] = deque(maxlen=KEPT)
        self._held: list[Delivery] = []
        self._hold_until = 0.0
        self._wake = asyncio.Event()
        self._tasks: set[asyncio.Task[None]] = set()
        self._session: aiohttp.ClientSession | None = None

    async def start(self) -> None:
        self._session = aiohttp.ClientSession(
            timeout=aiohttp.ClientTimeout(total=TIMEOUT),
            auto_decompress=False,
            cookie_jar=aiohttp.DummyCookieJar(),
        )
        self._spawn(self._run())

    async def stop(self) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        self._tasks.clear()
        if self._session is not None:
            await self._session.close()

    def describe(self) -> list[Json]:
        """Every delivery still recorded, oldest first."""
        return [delivery.describe() for delivery in self._deliveries]

    def wake(self) -> None:
        """The clock jumped, or an endpoint came back: look at what is due."""
        self._wake.set()

    def enqueue(self, event: Json) -> None:
        for endpoint in list(self._account.newest_first("webhook_endpoint")):
            if not wants(endpoint, event["type"]):
                continue
            delivery = Delivery(
                id=self._account.new_id("whd", 14),
                event_id=event["id"],
                event_type=event["type"],
                endpoint_id=endpoint["id"],
                url=endpoint["url"],
                created=self._clock.now(),
            )
            self._deliveries.append(delivery)
            mode = self._faults.webhooks
            if mode == "drop":
                delivery.state = "dropped"
                continue
            event["pending_webhooks"] += 1
            delivery.copies = 2 if mode == "duplicate" else 1
            if mode == "reorder":
                self._held.append(delivery)
                self._hold_until = asyncio.get_running_loop().time() + REORDER_WINDOW
            else:
                delivery.next_attempt = self._clock.precise()
        self._wake.set()

    def resend(self, event_id: str) -> int:
        """Deliver an event again, as the Dashboard's "Resend" does; returns to how many endpoints."""
        event = self._account.get("event", event_id)
        before = len(self._deliveries)
        self.enqueue(event)
        return len(self._deliveries) - before

    async def _run(self) -> None:
        while True:
            pause = 0.2 if self._held or any(d.state == "pending" for d in self._deliveries) else None
            # Not `wait_for`: before Python 3.12 it loses a cancellation that comes together with the event.
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(pause):
                    await self._wake.wait()
            self._wake.clear()
            now = self._clock.precise()
            for delivery in self._deliveries:
                due = delivery.next_attempt is not None and delivery.next_attempt <= now
                if due and delivery.state == "pending" and not delivery.in_flight:
                    delivery.in_flight, delivery.next_attempt = True, None
                    self._spawn(self._attempt(delivery))
            if self._held and asyncio.get_running_loop().time() >= self._hold_until:
                held, self._held = self._held[::-1], []
                self._spawn(self._in_order(held))

    async def _in_order(self, deliveries: list[Delivery]) -> None:
        for delivery in deliveries:
            delivery.in_flight = True
            await self._attempt(delivery)

    async def _attempt(self, delivery: Delivery) -> None:
        try:
            endpoint = self._account.find(delivery.endpoint_id)
            event = self._account.find(delivery.event_id)
            if (
                endpoint is None
                or event is None
                or endpoint.get("deleted")
                or endpoint["status"] != "enabled"
            ):
                delivery.state, delivery.next_attempt = "canceled", None
                return
            copies, delivery.copies = delivery.copies, 1
            results = await asyncio.gather(*(self._post(delivery, event) for _ in range(copies)))
            if all(200 <= result["status"] < 300 for result in results):
                delivery.state, delivery.next_attempt = "delivered", None
                event["pending_webhooks"] = max(0, event["pending_webhooks"] - 1)
                return
            tried = len(delivery.attempts) - copies
            if tried >= len(RETRY_AFTER) or self._clock.now() - delivery.created > GIVE_UP_AFTER:
                delivery.state, delivery.next_attempt = "failed", None
            else:
                delivery.next_attempt = self._clock.precise() + RETRY_AFTER[tried]
        finally:
            delivery.in_flight = False
            self._wake.set()

    async def _post(self, delivery: Delivery, event: Json) -> Json:
        assert self._session is not None
        payload = json.dumps(render(self._account, event), indent=2).encode()
        secret = self._account.behind(delivery.endpoint_id)["secret"]
        timestamp = self._clock.now()
        headers = {
            "Content-Type": "application/json; charset=utf-8",
            "Stripe-Signature": signature_header(payload, secret, timestamp),
            "User-Agent": "Stripe/1.0 (+https://stripe.com/docs/webhooks)",
            "Accept": "*/*; q=0.5, application/xml",
        }
        attempt: Json = {"at": timestamp, "status": 0, "body": ""}
        try:
            async with self._session.post(
                delivery.url, data=payload, headers=headers, allow_redirects=False
            ) as response:
                attempt["status"] = response.status
                attempt["body"] = (await response.content.read(2_000)).decode("utf-8", "replace")
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            attempt["body"] = f"{type(error).__name__}: {error}"
        delivery.attempts.append(attempt)
        return attempt

    def _spawn(self, coroutine: Coroutine[None, None, None]) -> None:
        task = asyncio.create_task(coroutine)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
