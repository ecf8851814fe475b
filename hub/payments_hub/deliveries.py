"""Stripe's deliveries: `POST /stripe/webhook`, past the framework.

A delivery is verified over its bytes as received, parsed once, and answered when the transaction that stores
it and all that arrived with it is durable.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, Final

import msgspec
from starlette.types import Receive, Scope, Send

from payments_hub.answers import failure, header, locale_of, read_body
from payments_hub.hub import Hub
from payments_hub.inbox import Payload
from payments_hub.metrics import WEBHOOK_EVENTS
from payments_hub.payloads import APPLICABLE
from stripe_payments.log import Log
from stripe_payments.stripe_api.validation import LAST_TIMESTAMP
from stripe_payments.stripe_api.webhook_delivery import Hint, hint_in, is_id, read_event, verify
from stripe_payments.sync.events import EVENT_TYPES

__all__ = ["Deliveries"]

_log = Log("web")

_LONGEST_EVENT: Final = 1024 * 1024
_ACCEPTED: Final = WEBHOOK_EVENTS.labels("accepted")
_DUPLICATE: Final = WEBHOOK_EVENTS.labels("duplicate")
_IGNORED: Final = WEBHOOK_EVENTS.labels("ignored")
_RECEIVED: Final = b'{"received":true}'
_HEADERS: Final = [(b"content-type", b"application/json"), (b"content-length", b"%d" % len(_RECEIVED))]


class _Object(msgspec.Struct):
    id: Any = None
    customer: Any = None
    metadata: Any = None
    payment_intent: Any = None


class _Data(msgspec.Struct):
    object: msgspec.Raw


class _Event(msgspec.Struct):
    """What is read of an event; the rest is skipped, at a fifth of what parsing it costs."""

    data: _Data
    id: Any = None
    type: Any = None
    livemode: Any = None
    created: Any = None
    api_version: Any = None


_decode: Final = msgspec.json.Decoder(_Event).decode
_decode_object: Final = msgspec.json.Decoder(_Object).decode
_OF_A_PAYMENT: Final = "charge."
"""Charges and disputes: the worker fetches their payment, which never changes. So all events of a payment are
one fetch, without the request that finds it.
"""


class Deliveries:
    """An ASGI endpoint."""

    def __init__(self, hub: Hub) -> None:
        self._hub = hub
        self._live = hub.mode == "live"

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            await self._accept(scope, receive)
        except Exception as error:  # noqa: BLE001 - every failure has a response
            await failure(error, scope["path"], locale_of(scope))(scope, receive, send)
            return
        await send({"type": "http.response.start", "status": 200, "headers": _HEADERS})
        await send({"type": "http.response.body", "body": _RECEIVED})

    async def _accept(self, scope: Scope, receive: Receive) -> None:
        """Returns once the event is durable, or is of no use. Raises PaymentError if it is not Stripe's."""
        body = await read_body(receive, _LONGEST_EVENT)
        hub = self._hub
        verify(body, header(scope, b"stripe-signature"), hub.config.webhook_secret, hub.clock.now())
        event, payload = _read(body)
        hint = _hint(event)
        if hint is None or hint.type not in EVENT_TYPES:
            _log.debug("event ignored: unused type", event=event.get("id"), type=event.get("type"))
            _IGNORED.inc()
        elif event.get("livemode") is not self._live:
            _log.warning("event ignored: other mode", event=hint.event_id)
            _IGNORED.inc()
        elif await hub.inbox.accept(hint, payload):
            _ACCEPTED.inc()
        else:
            _DUPLICATE.inc()


def _read(body: bytes) -> tuple[Mapping[str, Any], Payload | None]:
    """The event in a body, and its payload where that may serve. Raises PaymentError ``invalid_json``."""
    try:
        event = _decode(body)
        subject = _decode_object(event.data.object)
    except msgspec.MsgspecError:
        return read_event(body), None  # no event of an object, or no JSON
    read = {
        "id": event.id,
        "type": event.type,
        "livemode": event.livemode,
        "data": {"object": msgspec.structs.asdict(subject)},
    }
    return read, _payload(event)


def _payload(event: _Event) -> Payload | None:
    created, version = event.created, event.api_version
    if event.type not in APPLICABLE or type(created) is not int or not isinstance(version, str):
        return None
    try:
        text = bytes(event.data.object).decode()
    except UnicodeDecodeError:
        return None
    storable = "\0" not in text and 0 < created <= LAST_TIMESTAMP and version.isascii() and len(version) < 100
    return Payload(created, version, text) if storable else None


def _hint(event: Mapping[str, Any]) -> Hint | None:
    """What the event names, or the payment that it belongs to."""
    hint = hint_in(event)
    if hint is None or not hint.type.startswith(_OF_A_PAYMENT):
        return hint
    intent = event["data"]["object"].get("payment_intent")
    return replace(hint, object_id=intent) if isinstance(intent, str) and is_id(intent) else hint
