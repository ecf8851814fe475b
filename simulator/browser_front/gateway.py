"""The gateway to the daemon's HTTP face: it carries bytes and decides nothing, as the router's ucode gateway.

Every request below one of the mounted paths becomes one bus call ``stripe-payments.http request {method,
path, query, headers, body}`` whose reply ``{status, reason, headers, body}`` becomes the response. What the
gateway itself answers, since the bus cannot carry it or the daemon is not there: a body over 512 KiB (413), a
body that is no text (400), the daemon away or silent (503).

``tests/conformance/gateway_cases.py`` states all this as data; the ucode gateway is held to the same table.
"""

import asyncio
import json
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Final

from aiohttp import web

from simulator.browser_front.script_slots import NO_RESPONSE, ScriptSlots
from ubus_py import Client, Encodable, StatusError, Table, UbusError

MOUNTS: Final = ("/api/payments", "/payment-success", "/payment-cancel")
"""The prefixes that uhttpd hands to the gateway, matched against the path as the client wrote it."""

PAGES: Final = ("/payment-success", "/payment-cancel")
"""Mounts that people look at: their errors are pages, not JSON."""

MAX_BODY: Final = 512 * 1024
LONG_REQUEST: Final = 12 * 1024
"""Longer ones are carried one at a time: ubusd drops what is more than 1 MiB on its way to one process."""

OBJECT: Final = "stripe-payments.http"
BODY_TIMEOUT: Final = 5.0
TURN_TIMEOUT: Final = 5.0
CALL_TIMEOUT: Final = 28.0
"""Seconds: for the body, for the turn of a long one, for the daemon's reply."""

_NOT_FORWARDED: Final = frozenset(
    {"x-remote-addr", "connection", "transfer-encoding", "content-length", "expect"}
)
"""Headers about the connection, or that only the gateway may say."""

_SHIPPED: Final = Path(__file__).parents[2] / "files/usr/share/stripe-payments"
_AWAY_PAGE: Final = (_SHIPPED / "away.html").read_text("utf-8")


def mounted(path: str) -> bool:
    """Tell whether uhttpd hands the raw ``path`` to the gateway: a mount itself, or something below it."""
    return any(path == mount or path.startswith(f"{mount}/") for mount in MOUNTS)


async def in_a_slot(
    slots: ScriptSlots, script: Callable[[], Awaitable[web.StreamResponse]]
) -> web.StreamResponse:
    """The response of a script that takes one of uhttpd's slots."""
    try:
        async with slots.held():
            return await script()
    except TimeoutError:
        return silent()


def silent() -> web.Response:
    """uhttpd's own words for a script that ends without an answer."""
    response = web.Response(status=502, text=NO_RESPONSE)
    response.force_close()
    return response


class Gateway:
    """Carries requests to the bus object ``stripe-payments.http`` and its replies back."""

    def __init__(self, bus: Client) -> None:
        self._bus = bus
        self._turn = asyncio.Lock()

    async def handle(self, request: web.Request) -> web.Response:
        """Carry one request."""
        path, _, query = request.raw_path.partition("?")
        page = path.split("/")[1:2] in ([mount.strip("/")] for mount in PAGES)
        try:
            async with asyncio.timeout(BODY_TIMEOUT):
                body = await self._body(request)
        except (TimeoutError, ConnectionResetError):
            return silent()
        if body is None:
            return _refusal(413, "Payload Too Large", "body_too_large", "The body is longer than 512 KiB.")
        try:
            text = body.decode("utf-8")
        except UnicodeDecodeError:
            text = "\0"
        if "\0" in text:  # a bus string ends at the first NUL: the rest would be lost in silence
            return _refusal(400, "Bad Request", "invalid_json", "The body is not UTF-8 text.")
        try:
            request.raw_path.encode("utf-8")
        except UnicodeEncodeError:  # the server keeps bytes that are no UTF-8 as surrogates
            return _refusal(400, "Bad Request", "invalid_argument", "The address is not UTF-8 text.")
        call: dict[str, Encodable] = {
            "method": request.method,
            "path": path,
            "query": query,
            "headers": self._headers(request),
            "body": text,
        }
        size = len(body) + len(request.raw_path) + len(json.dumps(call["headers"]))
        try:
            if size <= LONG_REQUEST:
                reply = await self._call(call)
            else:
                async with asyncio.timeout(TURN_TIMEOUT):
                    await self._turn.acquire()
                try:
                    reply = await self._call(call)
                finally:
                    self._turn.release()
        except (UbusError, StatusError, TimeoutError):
            return _away(page)
        return _response(dict(reply))

    async def _call(self, request: dict[str, Encodable]) -> Table:
        return await self._bus.call(OBJECT, "request", request, timeout=CALL_TIMEOUT)

    async def _body(self, request: web.Request) -> bytes | None:
        """Read the whole body, or drain it and return None where it is over the cap."""
        body = bytearray()
        over = False
        async for chunk in request.content.iter_any():
            over = over or len(body) + len(chunk) > MAX_BODY
            if not over:
                body += chunk
        return None if over else bytes(body)

    def _headers(self, request: web.Request) -> dict[str, str]:
        headers: dict[str, str] = {}
        for raw_name, raw_value in request.raw_headers:
            name = raw_name.decode("latin-1").lower()
            if name in _NOT_FORWARDED or name.startswith("x-forwarded-"):
                continue
            try:
                headers[name] = raw_value.decode("utf-8")
            except UnicodeDecodeError:
                continue
        headers["x-remote-addr"] = request.remote or ""
        return headers


def _response(reply: dict[str, object]) -> web.Response:
    status = reply.get("status")
    if not isinstance(status, int) or not 200 <= status <= 599:
        return _refusal(502, "Bad Gateway", "bad_gateway", "The payment service gave no valid answer.")
    headers = reply.get("headers")
    reason = reply.get("reason")
    response = web.Response(
        status=status,
        reason=reason if isinstance(reason, str) and reason else None,
        body=str(reply.get("body") or "").encode(),
    )
    for name, value in (headers if isinstance(headers, dict) else {}).items():
        if name.lower() not in ("content-length", "transfer-encoding", "connection"):
            response.headers[name] = str(value)
    return response


def _refusal(status: int, reason: str, code: str, message: str) -> web.Response:
    return web.Response(
        status=status,
        reason=reason,
        text=json.dumps({"error": {"code": code, "message": message}}),
        content_type="application/json",
        headers={"Cache-Control": "no-store"},
    )


def _away(page: bool) -> web.Response:
    if page:
        response = web.Response(
            status=503,
            reason="Service Unavailable",
            text=_AWAY_PAGE,
            content_type="text/html",
            headers={"Cache-Control": "no-store"},
        )
    else:
        response = _refusal(
            503,
            "Service Unavailable",
            "service_unavailable",
            "The payment service is not running. Try again soon.",
        )
    response.headers["Retry-After"] = "5"
    return response
