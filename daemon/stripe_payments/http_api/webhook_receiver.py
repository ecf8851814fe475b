"""`POST /api/payments/webhook`: verify the signature over the raw bytes, store the event, answer 200.

An event only says that an object may have changed: its id and the object's id are stored, and the inbox
worker fetches the object. A request with a genuine signature is answered 200 whatever it contains, because
Stripe would repeat it for days otherwise.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from stripe_payments.errors import PaymentError
from stripe_payments.http_api.http import Request, Response
from stripe_payments.http_api.rate_limit import RateLimit
from stripe_payments.log import Log
from stripe_payments.startup_gate import Parts, StartupGate
from stripe_payments.stripe_api.webhook_signature import TOLERANCE, verify
from stripe_payments.sync.events import EVENT_TYPES

_log = Log("webhook")

_ID = re.compile(r"[A-Za-z0-9_]{3,255}")
_RECEIVED: Final = {"received": True}
_CLOCK_RETRY_S: Final = 60
"""`Retry-After` while the clock is not trusted; the poller corrects it from Stripe's response long before."""


@dataclass(frozen=True, slots=True)
class Hint:
    """The object that an event says has changed."""

    event_id: str
    type: str
    object_id: str


class WebhookReceiver:
    """`failures` limits refused requests for each address. A genuine signature is always accepted: behind a
    reverse proxy Stripe and an attacker have the same address.
    """

    def __init__(self, gate: StartupGate, failures: RateLimit) -> None:
        self._gate = gate
        self._failures = failures

    async def receive(self, request: Request, _fields: Mapping[str, str]) -> Response:
        """`{"received": true}` once the event is durable.

        Raises `webhook_not_configured`, `clock_not_trusted`, `invalid_signature`, `stale_timestamp`,
        `rate_limited`, `invalid_json`, `ledger_unavailable`.
        """
        parts = await self._gate.parts()
        keys = parts.keys.current()
        if not keys.webhook_secret:
            parts.refused_webhooks.record("webhook_not_configured", parts.clock.now())
            raise PaymentError("webhook_not_configured")
        now = self._trusted_now(parts, request, keys.webhook_secret)
        self._verify(parts, request, keys.webhook_secret, now)
        event = _event(request.body)
        hint = _hint(event)
        if hint is None:
            _log.info("event ignored: it names no object", event=event.get("id"), type=event.get("type"))
        elif hint.type not in EVENT_TYPES:
            _log.info("event ignored: unused type", event=hint.event_id, type=hint.type)
        elif event.get("livemode") is not (keys.mode == "live"):
            _log.warning("event ignored: other mode", event=hint.event_id, livemode=event.get("livemode"))
        elif _is_of_another_router(event, parts):
            _log.debug("event ignored: other router", event=hint.event_id, type=hint.type)
        else:
            await self._accept(parts, hint, now)
        return Response.json(_RECEIVED)

    def _trusted_now(self, parts: Parts, request: Request, secret: str) -> int:
        """Return the trusted time. Without one, a genuine request causes a poll, which corrects the clock."""
        now = parts.clock.now()
        if now is None:
            if _is_genuine(request, secret):  # a request without signature must not cause traffic to Stripe
                parts.poller.poll_now("webhook before the clock was trusted")
            parts.refused_webhooks.record("clock_not_trusted", None)
            raise PaymentError("clock_not_trusted", retry_after=_CLOCK_RETRY_S)
        return now

    def _verify(self, parts: Parts, request: Request, secret: str, now: int) -> None:
        try:
            signed_at = verify(request.body, request.headers.get("stripe-signature"), secret, now)
        except PaymentError as error:
            parts.refused_webhooks.record(error.code, now)
            wait = self._failures.take(request.remote)
            if wait:
                raise PaymentError("rate_limited", retry_after=wait) from error
            _log.warning("webhook refused", code=error.code, remote=request.remote)
            raise
        parts.refused_webhooks.clear()
        if signed_at - now > TOLERANCE:
            # not a replay (`verify` explains why): our clock is slow, and any response of Stripe corrects it
            _log.warning("clock is slow: polling Stripe for the time", seconds=signed_at - now)
            parts.poller.poll_now("webhook signed in the future")

    @staticmethod
    async def _accept(parts: Parts, hint: Hint, now: int) -> None:
        fresh = await parts.ledger.write(
            lambda tx: tx.inbox.accept(hint.event_id, hint.type, hint.object_id, now)
        )
        _log.info("event accepted" if fresh else "duplicate event", event=hint.event_id, type=hint.type)
        if fresh:
            parts.inbox.kick()


def _is_genuine(request: Request, secret: str) -> bool:
    """Whether Stripe signed it, at whatever time."""
    try:
        verify(request.body, request.headers.get("stripe-signature"), secret, 0)
    except PaymentError:
        return False
    return True


def _event(body: bytes) -> dict[str, object]:
    try:
        event = json.loads(body)
    except (ValueError, RecursionError):
        raise PaymentError("invalid_json") from None
    if not isinstance(event, dict):
        raise PaymentError("invalid_json")
    return event


def _hint(event: Mapping[str, object]) -> Hint | None:
    subject = _subject(event)
    event_id, kind, object_id = event.get("id"), event.get("type"), subject.get("id")
    if not isinstance(event_id, str) or not isinstance(kind, str) or not isinstance(object_id, str):
        return None
    if not (_ID.fullmatch(event_id) and _ID.fullmatch(object_id)) or len(kind) > 255:
        return None
    return Hint(event_id, kind, object_id)


def _subject(event: Mapping[str, object]) -> Mapping[str, object]:
    data = event.get("data")
    subject = data.get("object") if isinstance(data, dict) else None
    return subject if isinstance(subject, dict) else {}


def _is_of_another_router(event: Mapping[str, object], parts: Parts) -> bool:
    """Whether the event itself names another router.

    With many routers on one account most events do, and none of those is worth a write to flash. An event
    without an owner is kept; fetching its object shows whose it is.
    """
    metadata = _subject(event).get("metadata")
    owner = metadata.get("router_id") if isinstance(metadata, dict) else None
    return isinstance(owner, str) and owner != "" and owner != parts.identity.load().router_id
