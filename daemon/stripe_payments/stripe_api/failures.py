"""A failed call to Stripe, as `PaymentError`.

DNS, TLS, a wrong clock and a refused connection look alike to the SDK ("network error"), but need different
help, so the causes below the SDK's exception are examined.
"""

from __future__ import annotations

import socket
import ssl
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Final

from stripe_payments.clock import http_date
from stripe_payments.errors import PaymentError
from stripe_payments.i18n import _
from stripe_payments.log import redact
from stripe_payments.stripe_api.permissions import missing_permission

if TYPE_CHECKING:
    from stripe import StripeError

MAX_RETRY_AFTER = 3600
"""Seconds. A longer Retry-After is a mistake or a maintenance page; one request an hour is no load."""

_LONGEST_TEXT: Final = 1000
"""Characters of a reason that are kept: a proxy's page can be of any length."""

_TRANSIENT_CODES = frozenset(
    {"stripe_unreachable", "rate_limited", "timeout", "ledger_unavailable", "starting"}
)


def is_transient(error: PaymentError) -> bool:
    """Whether the same call may succeed later without any change here."""
    return error.code in _TRANSIENT_CODES or bool(error.details.get("transient"))


def is_missing(error: PaymentError) -> bool:
    """Whether Stripe says that the object (or one named in the parameters) does not exist."""
    return bool(error.details.get("missing"))


def is_replayed(error: PaymentError) -> bool:
    """Whether the failure is that of an earlier request, which Stripe stored under the idempotency key: for a
    day the same key gets the same answer. Whether the earlier request took effect is not known.
    https://docs.stripe.com/api/idempotent_requests
    """
    return bool(error.details.get("replayed"))


def retry_after(headers: Mapping[str, str] | None, now: int | None) -> int | None:
    """Seconds that Stripe requires us to wait: a number, or a date relative to the response's own Date
    header. Stripe itself sends `Stripe-Should-Retry` (the SDK follows it) and no Retry-After; a proxy may.
    """
    value = _header(headers, "retry-after")
    if value is None:
        return None
    value = value.strip()
    if value.isascii() and value.isdigit() and len(value) <= 9:
        return min(int(value), MAX_RETRY_AFTER)
    until, start = http_date(value), http_date(_header(headers, "date")) or now
    if until is None or start is None:
        return None
    return max(0, min(until - start, MAX_RETRY_AFTER))


def _header(headers: Mapping[str, str] | None, name: str) -> str | None:
    if not headers:
        return None
    for key, value in headers.items():
        if key.lower() == name:
            return str(value)
    return None


def connection_failure(error: BaseException) -> str:
    """One of dns, tls, clock, timeout, refused, network."""
    causes = list(_causes(error))
    for cause in causes:
        if isinstance(cause, ssl.SSLCertVerificationError):
            text = f"{cause} {getattr(cause, 'verify_message', '')}"
            # with a clock that is behind, every certificate seems to begin in the future
            return "clock" if "not yet valid" in text else "tls"
        if isinstance(cause, ssl.SSLError):
            return "tls"
    for cause in causes:
        if isinstance(cause, socket.gaierror) or type(cause).__name__ == "NameResolutionError":
            return "dns"
    for cause in causes:
        if isinstance(cause, TimeoutError) or "Timeout" in type(cause).__name__:
            return "timeout"
        if isinstance(cause, ConnectionRefusedError):
            return "refused"
    return "network"


def _causes(error: BaseException) -> Iterator[BaseException]:
    """The exception, its causes, and what urllib3 wraps in `args` and `reason`, outermost first."""
    seen: set[int] = set()
    waiting: list[BaseException] = [error]
    while waiting:
        current = waiting.pop(0)
        if id(current) in seen:
            continue
        seen.add(id(current))
        yield current
        inner = [current.__cause__, current.__context__, getattr(current, "reason", None), *current.args]
        waiting.extend(item for item in inner if isinstance(item, BaseException))


def malformed(where: str, request_id: str | None) -> PaymentError:
    """For a response that is not what Stripe documents; `where`: `charge.created`."""
    reason = _("unexpected response ({where})", where=where)
    return PaymentError("stripe_error", reason=reason, request_id=request_id, transient=True)


def translate(error: StripeError, now: int | None) -> PaymentError:
    """The SDK's exception as ours. The original stays the cause; its text reaches callers only redacted.

    The code is read from the response's body: the SDK (16.1.0) leaves `error.code` None for 401, 403, 409,
    429 and 5xx.
    """
    import stripe

    body = _error_in(error.json_body)
    facts: dict[str, object] = {
        "stripe_code": _text(body.get("code")),
        "param": _text(body.get("param")),
        "request_id": _text(error.request_id),
        "http_status": error.http_status,
        "reason": redact(_text(error.user_message) or type(error).__name__),
    }
    if isinstance(error, stripe.InvalidRequestError):
        # said by Stripe: a 404 that is a page of something in between says nothing about any object
        facts["missing"] = facts["stripe_code"] == "resource_missing" or error.http_status == 404
    if isinstance(error, stripe.CardError):
        facts["decline_code"] = _text(body.get("decline_code"))
    if isinstance(error, stripe.APIConnectionError):
        return PaymentError("stripe_unreachable", **{**facts, "reason": connection_failure(error)})
    if isinstance(error, stripe.AuthenticationError):
        return PaymentError("stripe_key_invalid", **facts)
    if isinstance(error, stripe.PermissionError):
        permission = missing_permission(str(facts["reason"])) or facts["reason"]
        return PaymentError("stripe_key_permission", **facts, permission=permission)
    # where the body is not JSON, the SDK (16.1.0) passes the headers as json_body
    headers = error.headers or (error.json_body if isinstance(error.json_body, Mapping) else None)
    if isinstance(error, stripe.RateLimitError) or error.http_status == 429:
        return PaymentError("rate_limited", **facts, retry_after=retry_after(headers, now))
    if facts["stripe_code"] == "idempotency_key_in_use":
        # an earlier request with this key, whose response was too late for us, is still in progress; it is a
        # 409, which the SDK raises as APIError
        return PaymentError("stripe_unreachable", **{**facts, "reason": "timeout"})
    if isinstance(error, stripe.IdempotencyError):
        facts["stripe_code"] = facts["stripe_code"] or "idempotency_error"
        return PaymentError("stripe_error", **facts)
    if error.http_status is not None and error.http_status >= 500:
        facts["replayed"] = _header(headers, "idempotent-replayed") == "true"
    if isinstance(error, stripe.APIError):
        # a 5xx of Stripe's, or a page of some proxy in between: nothing we sent was wrong
        return PaymentError("stripe_error", **facts, transient=True, retry_after=retry_after(headers, now))
    return PaymentError("stripe_error", **facts)


def _error_in(body: object) -> Mapping[str, object]:
    """The `error` of a response's body; empty where there is none."""
    error = body.get("error") if isinstance(body, Mapping) else None
    return error if isinstance(error, Mapping) else {}


def _text(value: object) -> str | None:
    """A part of an error that is text as it should be; anything else is of no use."""
    return value[:_LONGEST_TEXT] if isinstance(value, str) else None
