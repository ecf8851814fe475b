"""What every endpoint answers with and reads: errors as responses, and bodies up to a limit."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any, Final

import psycopg
from psycopg_pool import PoolTimeout
from starlette.responses import JSONResponse, Response
from starlette.types import Receive, Scope

from payments_hub.errors import HubError
from stripe_payments.errors import PaymentError
from stripe_payments.i18n import accepted_language
from stripe_payments.log import Log

__all__ = ["failed", "failure", "header", "locale_of", "read_body"]

_log = Log("web")

_RETRY_AFTER_S: Final = 5
_BODY_S: Final = 20.0
"""Seconds in which a body has to arrive."""


def header(scope: Scope, name: bytes) -> str | None:
    """The first of that name, which is in lower case."""
    for found, value in scope["headers"]:
        if found == name:
            text: str = value.decode("latin-1")
            return text
    return None


def locale_of(scope: Scope) -> str:
    """The language of a request's errors."""
    return accepted_language(header(scope, b"accept-language") or "") or "en"


def failure(error: Exception, path: str, locale: str) -> Response:
    """The response to a request that failed. What is unknown is logged, and its trace never sent."""
    if isinstance(error, HubError):
        return failed(error.http_status, error.body(locale), error.retry_after)
    if isinstance(error, PaymentError):
        return failed(error.http_status, error.body(locale), error.details.get("retry_after"))
    if isinstance(error, (psycopg.Error, PoolTimeout)):
        _log.error("database failed", path=path, reason=type(error).__name__)
        busy = HubError("busy", retry_after=_RETRY_AFTER_S)
        return failed(busy.http_status, busy.body(locale), busy.retry_after)
    _log.error("request failed", path=path, exc=error)
    unknown = PaymentError("internal_error")
    return failed(unknown.http_status, unknown.body(locale), None)


def failed(status: int, body: Mapping[str, Any], retry_after: object) -> Response:
    """An error's response."""
    if status == 503 and not isinstance(retry_after, int):
        retry_after = _RETRY_AFTER_S
    headers = {"Retry-After": str(retry_after)} if isinstance(retry_after, int) else {}
    if status == 401:
        headers["WWW-Authenticate"] = "Bearer"
    return JSONResponse(dict(body), status, headers)


async def read_body(receive: Receive, limit: int) -> bytes:
    """Raises PaymentError ``body_too_large``, or ``timeout`` where it does not arrive."""
    received: list[bytes] = []
    size = 0
    try:
        async with asyncio.timeout(_BODY_S):
            more = True
            while more:
                message = await receive()
                if message["type"] == "http.disconnect":
                    raise PaymentError("timeout")
                received.append(message.get("body", b""))
                size += len(received[-1])
                if size > limit:
                    raise PaymentError("body_too_large")
                more = message.get("more_body", False)
    except TimeoutError:
        raise PaymentError("timeout") from None
    return received[0] if len(received) == 1 else b"".join(received)
