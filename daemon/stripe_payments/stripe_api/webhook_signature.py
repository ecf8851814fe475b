"""Stripe's webhook signature, scheme v1: HMAC-SHA256 over `<timestamp>.<raw body>`.

Standard library only, so that a flood of forged deliveries never loads the SDK, and over the bytes as
received: a body that was decoded and encoded again no longer carries the same signature. Source: Stripe's
documentation, "Verify webhook signatures manually"; a test holds it against the SDK's own implementation.
"""

from __future__ import annotations

import hashlib
import hmac

from stripe_payments.errors import PaymentError

TOLERANCE = 300
"""Seconds that a timestamp may lie in the past (Stripe's default tolerance)."""

_MAX_HEADER = 4096
_DIGITS = hashlib.sha256().digest_size * 2
_MAX_SIGNATURES = 16  # Stripe sends one for every secret that is being rolled: two at most in practice


def sign(body: bytes, secret: str, timestamp: int) -> str:
    """The hexadecimal v1 signature of a body delivered at `timestamp` (epoch seconds)."""
    signed = str(timestamp).encode("ascii") + b"." + body
    return hmac.new(secret.encode("utf-8"), signed, hashlib.sha256).hexdigest()


def verify(body: bytes, header: str | None, secret: str | None, now: int, tolerance: int = TOLERANCE) -> int:
    """Accept a delivery, or say why not; gives its timestamp (epoch seconds).

    `now` is trusted epoch seconds. Raises PaymentError `webhook_not_configured` without a secret (a webhook
    without one must never be believed), `invalid_signature`, or `stale_timestamp` for a genuine signature
    that is too old. The signature is looked at first: an attacker learns nothing about our clock.

    The timestamp keeps old deliveries from being replayed, and no replay comes from the future: a genuine one
    that does says that our own clock lags (the monotonic clock stands still while a machine is suspended).
    It is accepted, as the SDK does; the caller sees by the timestamp that the clock needs a look.
    """
    if not secret or not secret.strip():
        raise PaymentError("webhook_not_configured")
    timestamp, signatures = _parse(header)
    expected = sign(body, secret, timestamp).encode("ascii")
    genuine = False
    for signature in signatures:  # all of them, so that the time taken does not tell which one matched
        genuine |= hmac.compare_digest(expected, signature.encode("ascii"))
    if not genuine:
        raise PaymentError("invalid_signature")
    if now - timestamp > tolerance:
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
            signatures.append(value)  # of another length none is compared at all: that leaves nothing to time
    if timestamp is None or not signatures:
        raise PaymentError("invalid_signature")
    return timestamp, signatures
