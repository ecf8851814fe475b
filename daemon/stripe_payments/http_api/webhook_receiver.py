"""`POST /api/payments/webhook`: verify the signature over the raw bytes, store the event, answer 200.

An event only says that an object may have changed: its id and the object's id are stored, and the inbox
worker fetches the object. A request with a genuine signature is answered 200 whatever it contains, because
Stripe would repeat it for days otherwise.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from stripe_payments.diagnostics.probes import RefusedWebhooks
from stripe_payments.errors import PaymentError
from stripe_payments.http_api.http import Request, Response
from stripe_payments.http_api.rate_limit import RateLimit
from stripe_payments.log import Log
from stripe_payments.startup_gate import Parts, StartupGate
from stripe_payments.stripe_api.webhook_delivery import TOLERANCE, Hint, hint_in, read_event, verify
from stripe_payments.sync.events import EVENT_TYPES

_log = Log("webhook")

_RECEIVED: Final = {"received": True}
_CLOCK_RETRY_S: Final = 60
"""`Retry-After` while the clock is not trusted; the poller corrects it from Stripe's response long before."""


class WebhookReceiver:
    """`failures` limits refused requests for each address. A genuine signature is always accepted: behind a
    reverse proxy Stripe and an attacker have the same address.
    """

    def __init__(self, gate: StartupGate, failures: RateLimit) -> None:
        self._gate = gate
        self._failures = failures
        self.refused: RefusedWebhooks | None = None
        """In memory only: anyone can send bad signatures, and flash wears."""

    async def receive(self, request: Request, _fields: Mapping[str, str]) -> Response:
        """`{"received": true}` once the event is durable.

        Raises `webhook_not_configured`, `clock_not_trusted`, `invalid_signature`, `stale_timestamp`,
        `rate_limited`, `invalid_json`, `ledger_unavailable`.
        """
        parts = await self._gate.parts()
        keys = parts.keys.current()
        if not keys.webhook_secret:
            raise self._refuse("webhook_not_configured")
        now = self._trusted_now(parts, request, keys.webhook_secret)
        self._verify(parts, request, keys.webhook_secret, now)
        event = read_event(request.body)
        hint = hint_in(event)
        if hint is None:
            _log.debug("event ignored: it names no object", event=event.get("id"), type=event.get("type"))
        elif hint.type not in EVENT_TYPES:
            _log.debug("event ignored: unused type", event=hint.event_id, type=hint.type)
        elif event.get("livemode") is not (keys.mode == "live"):
            _log.warning("event ignored: other mode", event=hint.event_id, livemode=event.get("livemode"))
        elif hint.owner is not None and hint.owner != parts.identity.load().router_id:
            # with many routers on one account most events are, and none of those is worth a write to flash
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
            raise self._refuse("clock_not_trusted", retry_after=_CLOCK_RETRY_S)
        return now

    def _verify(self, parts: Parts, request: Request, secret: str, now: int) -> None:
        try:
            signed_at = verify(request.body, request.headers.get("stripe-signature"), secret, now)
        except PaymentError as error:
            self._refuse(error.code)
            wait = self._failures.take(request.remote)
            if wait:
                raise PaymentError("rate_limited", retry_after=wait) from error
            _log.warning("webhook refused", code=error.code, remote=request.remote)
            raise
        self.refused = None
        if signed_at - now > TOLERANCE:
            # not a replay (`verify` explains why): our clock is slow, and any response of Stripe corrects it
            _log.warning("clock is slow: polling Stripe for the time", seconds=signed_at - now)
            parts.poller.poll_now("webhook signed in the future")

    def _refuse(self, code: str, **details: object) -> PaymentError:
        """Count a refused delivery for diagnostics; return the error to raise."""
        self.refused = RefusedWebhooks(code, self.refused.count + 1 if self.refused is not None else 1)
        return PaymentError(code, **details)

    @staticmethod
    async def _accept(parts: Parts, hint: Hint, now: int) -> None:
        fresh = await parts.inbox.accept(hint.event_id, hint.type, hint.object_id, now)
        _log.debug("event stored" if fresh else "duplicate event", event=hint.event_id, type=hint.type)


def _is_genuine(request: Request, secret: str) -> bool:
    """Whether Stripe signed it, at whatever time."""
    try:
        verify(request.body, request.headers.get("stripe-signature"), secret, 0)
    except PaymentError:
        return False
    return True
