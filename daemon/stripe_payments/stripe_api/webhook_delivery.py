"""A webhook delivery: whether Stripe sent it, and what the event in it names.

The signature's scheme is v1: HMAC-SHA256 over `<timestamp>.<raw body>`. Standard library only, so that a
flood of forged deliveries never loads the SDK. It is over the bytes as received: a body that was decoded and
encoded again has another one. Source: Stripe's documentation, "Verify webhook signatures manually"; a test
compares with the SDK's own implementation.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass

from stripe_payments.errors import PaymentError

TOLERANCE = 300
"""Age of a timestamp, in seconds, up to which a delivery is accepted (Stripe's default)."""

_ID = re.compile(r"[A-Za-z0-9_]{3,255}")
_MAX_HEADER = 4096
_DIGITS = hashlib.sha256().digest_size * 2
_MAX_SIGNATURES = 16  # one per secret while a secret is being rolled: in practice two at most


@dataclass(frozen=True, slots=True)
class Hint:
    """The object that an event says has changed. `owner`, `customer`: the router id and the customer that the
    object in the payload names, None where it does not; fetching the object shows whose it is.
    """

    event_id: str
    type: str
    object_id: str
    owner: str | None
    customer: str | None


def sign(body: bytes, secret: str, timestamp: int) -> str:
    """The hexadecimal v1 signature of a body delivered at `timestamp` (epoch seconds)."""
    signed = str(timestamp).encode("ascii") + b"." + body
    return hmac.new(secret.encode("utf-8"), signed, hashlib.sha256).hexdigest()


def verify(body: bytes, header: str | None, secret: str | None, now: int) -> int:
    """Check a delivery's signature and return its timestamp (epoch seconds).

    `now` is trusted epoch seconds. Raises PaymentError `webhook_not_configured` without a secret (a delivery
    is never accepted then), `invalid_signature`, or `stale_timestamp` for a valid signature that is too old.
    The signature is checked first: an attacker learns nothing about our clock.

    The timestamp prevents the replay of old deliveries. One from the future is not a replay, but shows that
    our clock is behind (the monotonic clock stands still while a machine is suspended): it is accepted, as by
    the SDK, and the caller can see by the timestamp that the clock has to be corrected.
    """
    if not secret or not secret.strip():
        raise PaymentError("webhook_not_configured")
    timestamp, signatures = _parse(header)
    expected = sign(body, secret, timestamp).encode("ascii")
    valid = False
    for signature in signatures:  # all of them, so that the time taken does not reveal which one matched
        valid |= hmac.compare_digest(expected, signature.encode("ascii"))
    if not valid:
        raise PaymentError("invalid_signature")
    if now - timestamp > TOLERANCE:
        raise PaymentError("stale_timestamp")
    return timestamp


def _parse(header: str | None) -> tuple[int, list[str]]:
    if not header or len(header) > _MAX_HEADER:
        raise PaymentError("invalid_signature")
    timestamp: int | None = None
    signatures: list[str] = []
    for item in header.split(","):
        name, _, value = item.strip().partition("=")
        if name == "t" and timestamp is None:
            if not (value.isascii() and value.isdigit() and len(value) <= 12):
                raise PaymentError("invalid_signature")
            timestamp = int(value)
        elif name == "v1" and len(signatures) < _MAX_SIGNATURES and len(value) == _DIGITS and value.isascii():
            signatures.append(value)  # others are not even compared: nothing to time
    if timestamp is None or not signatures:
        raise PaymentError("invalid_signature")
    return timestamp, signatures


def read_event(body: bytes) -> dict[str, object]:
    """The event in the body of a delivery. Raises PaymentError ``invalid_json``."""
    try:
        event = json.loads(body)
    except (ValueError, RecursionError):
        raise PaymentError("invalid_json") from None
    if not isinstance(event, dict):
        raise PaymentError("invalid_json")
    return event


def hint_in(event: Mapping[str, object]) -> Hint | None:
    """What an event names; None if it names no object."""
    data = event.get("data")
    subject = data.get("object") if isinstance(data, dict) else None
    if not isinstance(subject, dict):
        return None
    event_id, kind, object_id = event.get("id"), event.get("type"), subject.get("id")
    if not isinstance(event_id, str) or not isinstance(kind, str) or not isinstance(object_id, str):
        return None
    if not (_ID.fullmatch(event_id) and _ID.fullmatch(object_id)) or len(kind) > 255:
        return None
    metadata = subject.get("metadata")
    owner = metadata.get("router_id") if isinstance(metadata, dict) else None
    return Hint(event_id, kind, object_id, _id(owner), _id(subject.get("customer")))


def is_id(text: str) -> bool:
    """Whether it has the shape of an id of Stripe's."""
    return _ID.fullmatch(text) is not None


def _id(value: object) -> str | None:
    return value if isinstance(value, str) and is_id(value) else None
