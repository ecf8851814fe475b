"""Idempotency keys: the same key and parameters get the stored answer again.
https://docs.stripe.com/api/idempotent_requests
"""

from __future__ import annotations

from dataclasses import dataclass

from .api_errors import StripeApiError, invalid
from .clock import DAY, Clock

MAX_KEY_LENGTH = 255
KEPT_FOR = DAY


@dataclass
class _Stored:
    fingerprint: str
    status: int
    body: bytes
    request_id: str
    stored_at: int


class IdempotencyStore:
    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._stored: dict[tuple[bool, str], _Stored] = {}
        self._running: set[tuple[bool, str]] = set()

    def begin(self, livemode: bool, key: str) -> None:
        """Reserve the key while its request runs; 409 if another request with it is running."""
        if len(key) > MAX_KEY_LENGTH:
            raise invalid(f"Idempotency keys can be at most {MAX_KEY_LENGTH} characters long.")
        if (livemode, key) in self._running:
            raise StripeApiError(
                409,
                "There is currently another in-progress request using this Idempotent Key (that probably "
                "means you submitted "
                f"twice, and the other request is still going through): {key}. Please try again later.",
                kind="idempotency_error",
                code="idempotency_key_in_use",
            )
        self._running.add((livemode, key))

    def end(self, livemode: bool, key: str) -> None:
        self._running.discard((livemode, key))

    def recall(self, livemode: bool, key: str, fingerprint: str) -> tuple[int, bytes, str] | None:
        """(status, body, request id) of the first request with this key; 400 if the parameters differ."""
        stored = self._stored.get((livemode, key))
        if stored is None or stored.stored_at + KEPT_FOR < self._clock.now():
            return None
        if stored.fingerprint != fingerprint:
            raise StripeApiError(
                400,
                f"Keys for idempotent requests can only be used with the same parameters they were first "
                f"used with. Try using "
                f"a key other than '{key}' if you meant to execute a different request.",
                kind="idempotency_error",
            )
        return stored.status, stored.body, stored.request_id

    def remember(
        self, livemode: bool, key: str, fingerprint: str, status: int, body: bytes, request_id: str
    ) -> None:
        self._stored[livemode, key] = _Stored(fingerprint, status, body, request_id, self._clock.now())
