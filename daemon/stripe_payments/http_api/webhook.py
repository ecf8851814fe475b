"""`POST /api/payments/webhook`: verify over the raw bytes, make the event durable, answer 200. Nothing
else.

An event is only a hint that an object changed (DESIGN.md): what is stored is its id and the object's id.
Everything that carries a genuine signature is answered 200, because Stripe would only send it again for
days.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from stripe_payments.errors import PaymentError
from stripe_payments.http_api.http import Request, Response
from stripe_payments.http_api.rate_limit import Budget
from stripe_payments.log import Log
from stripe_payments.startup_gate import Parts, StartupGate
from stripe_payments.stripe_api.webhook_signature import TOLERANCE, verify
from stripe_payments.sync.events import EVENT_TYPES

_log = Log("webhook")

_ID = re.compile(r"[A-Za-z0-9_]{3,255}")
_RECEIVED: Final = {"received": True}
#: Seconds after which Stripe may try again while the clock is not trusted: the poller asks Stripe long
#: before.
_CLOCK_RETRY_S: Final = 60


@dataclass(frozen=True, slots=True)
class Hint:
    """What an event says to look at."""

    event_id: str
    type: str
    object_id: str


class WebhookEndpoint:
    """Failures are budgeted for each address, but a genuine signature always passes: behind a reverse
    proxy Stripe and whoever guesses at signatures have the same address.
    """

    def __init__(self, gate: StartupGate, failures: Budget) -> None:
        self._gate = gate
        self._failures = failures

    async def receive(self, request: Request, _fields: Mapping[str, str]) -> Response:
        """`{"received": true}` once the event is durable. Raises `webhook_not_configured`,
        `clock_not_trusted`, `invalid_signature`, `stale_timestamp`, `rate_limited`, `invalid_json`,
        `ledger_unavailable`.
        """
        parts = await self._gate.parts()
        keys = parts.keys.current()
        if not keys.webhook_secret:
            parts.refused_webhooks.note("webhook_not_configured", parts.clock.now())
            raise PaymentError("webhook_not_configured")
        now = parts.clock.now()
        signature = request.headers.get("stripe-signature")
        if now is None:
            if _is_genuine(request.body, signature, keys.webhook_secret):
                # a stranger must not be able to have Stripe asked
                parts.poller.poll_now("a webhook came before the time was known")
            parts.refused_webhooks.note("clock_not_trusted", None)
            raise PaymentError("clock_not_trusted", retry_after=_CLOCK_RETRY_S)
        try:
            signed_at = verify(request.body, signature, keys.webhook_secret, now)
        except PaymentError as error:
            parts.refused_webhooks.note(error.code, now)
            wait = self._failures.spend(request.remote)
            if wait:
                raise PaymentError("rate_limited", retry_after=wait) from error
            _log.warning("a webhook was refused", code=error.code, remote=request.remote)
            raise
        parts.refused_webhooks.clear()
        if signed_at - now > TOLERANCE:
            # no replay (`verify` says why): it is our clock that lags, and any answer of Stripe's corrects it
            _log.warning("the clock lags: Stripe is asked for the time", seconds=signed_at - now)
            parts.poller.poll_now("a webhook came from the future")
        event = _event(request.body)
        hint = _hint(event)
        if hint is None:
            _log.info("an event that names no object", event=event.get("id"), type=event.get("type"))
        elif hint.type not in EVENT_TYPES:
            _log.info("an event that means nothing here", event=hint.event_id, type=hint.type)
        elif event.get("livemode") is not (keys.mode == "live"):
            _log.warning("an event of the other mode", event=hint.event_id, livemode=event.get("livemode"))
        elif _is_of_another_router(event, parts):
            _log.debug("an event of another router", event=hint.event_id, type=hint.type)
        else:
            await self._accept(parts, hint, now)
        return Response.json(_RECEIVED)

    @staticmethod
    async def _accept(parts: Parts, hint: Hint, now: int) -> None:
        fresh = await parts.ledger.write(
            lambda tx: tx.inbox.accept(hint.event_id, hint.type, hint.object_id, now)
        )
        _log.info(
            "an event was accepted" if fresh else "an event came again", event=hint.event_id, type=hint.type
        )
        if fresh:
            parts.inbox.kick()


def _is_genuine(body: bytes, signature: str | None, secret: str) -> bool:
    """Whether Stripe signed it, whenever that was."""
    try:
        verify(body, signature, secret, 0)
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
    """Whether the event itself names another router: with many routers on one account most events do,
    and none of those is worth a write to flash. An event that does not say is kept; `sync` finds out
    whose it is.
    """
    metadata = _subject(event).get("metadata")
    owner = metadata.get("router_id") if isinstance(metadata, dict) else None
    return isinstance(owner, str) and owner != "" and owner != parts.identity.load().router_id
