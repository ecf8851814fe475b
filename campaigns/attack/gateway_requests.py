"""What the gateway hands over: `stripe-payments.http request` with anything in it that a bus can carry."""

from __future__ import annotations

import json
from random import Random
from typing import Any, Self

from campaigns.attack.complaints import listening
from campaigns.attack.fuzzing import Target
from campaigns.attack.hostile_texts import HEADER_BREAKS
from campaigns.attack.json_mutations import JUNK, mutated
from stripe_payments.errors import CODES
from tests.unit.stripe_payments.harness import Harness, open_harness
from ubus_py import StatusError

__all__ = ["GatewayRequests", "fault_of", "sendable"]

_METHODS = ("GET", "POST", "HEAD", "OPTIONS", "DELETE", "PUT", "get", "GETGET", "POST\r\nX: y", "", "ß")
_PATHS = (
    "/api/payments/health",
    "/api/payments/webhook",
    "/api/payments/status/cs_test_1",
    "/api/payments/session",
    "/api/payments/create-checkout-session",
    "/payment-success",
    "/api/payments/payment-cancel",
    "/",
    "*",
    "http://evil.example/payment-success",
    "/payment-success/../api/payments/health",
    "/payment-success%00",
    "/payment-success;x",
    "//payment-success",
)
_NAMES = (
    "host",
    "origin",
    "cookie",
    "authorization",
    "content-type",
    "stripe-signature",
    "accept-language",
    "sec-fetch-site",
    "x-forwarded-proto",
    "x-remote-addr",
    "",
    "é",
)
_WORDS = (
    "Bearer " + "a" * 32,
    "stripe_payments_session=" + "b" * 32,
    "application/json",
    "t=1,v1=00",
    "it;q=nan,en;q=1e999",
    "session_id=cs_test_1&locale=it",
    "session_id=%ff%00%0d%0a",
    "&".join("a=1" for _ in range(100)),
    "same-origin",
    "192.168.1.1",
    "[::1]:443",
    '{"price_id":"price_premium_onetime"}',
    "x" * 70_000,
    *HEADER_BREAKS,
)


class GatewayRequests(Target):
    """An input is the JSON of the method's arguments. The daemon answers it with one of its documented
    answers, which any HTTP server can send; it never fails.
    """

    name = "gateway-requests"

    async def __aenter__(self) -> Self:
        self._complaints = self.stack.enter_context(listening())
        opening = open_harness(self.folder, STRIPE_API_BASE="http://127.0.0.1:9")
        self._harness: Harness = await self.stack.enter_async_context(opening)
        await self._harness.add_checkout("cs_test_1")
        return self

    async def attempt(self, given: bytes) -> str | None:
        arguments = sendable(json.loads(given))
        if not isinstance(arguments, dict):
            return None
        try:
            reply: Any = await self._harness.bus.call("stripe-payments.http", "request", arguments)
        except StatusError as refused:
            wrong = isinstance(arguments.get("method"), str) and isinstance(arguments.get("path"), str)
            refusal = f"refused on the bus: {refused.status.name}" if wrong else None
            return self._complaints.taken() or refusal
        return self._complaints.taken() or fault_of(reply)

    def mutate(self, chance: Random, given: bytes) -> bytes:
        arguments = json.loads(given)
        if isinstance(arguments, dict):
            match chance.randrange(6):
                case 0:
                    arguments["method"] = chance.choice(_METHODS)
                case 1:
                    arguments["path"] = chance.choice(_PATHS)
                case 2:
                    arguments[chance.choice(("query", "body"))] = chance.choice(_WORDS)
                case 3 if isinstance(arguments.get("headers"), dict):
                    arguments["headers"][chance.choice(_NAMES)] = chance.choice(_WORDS)
                case _:
                    arguments = mutated(chance, arguments, (*JUNK, *_WORDS, "\udcff\udc80 no text"))
        return json.dumps(arguments).encode()


def sendable(value: Any) -> Any:
    """The nearest thing that a bus can carry: no NUL, no half character, numbers of 64 bits, 60 levels."""
    return _sendable(value, 0)


def _sendable(value: Any, depth: int) -> Any:
    if isinstance(value, str):
        text = value.replace("\0", "\ufffd")
        return text.encode("utf-8", "surrogateescape" if _is_escaped(text) else "replace").decode(
            "utf-8", "surrogateescape"
        )
    if isinstance(value, int) and not isinstance(value, bool):
        return max(-(1 << 63), min(value, (1 << 63) - 1))
    if isinstance(value, dict) and depth < 60:
        return {_sendable(name, depth): _sendable(inner, depth + 1) for name, inner in value.items()}
    if isinstance(value, list) and depth < 60:
        return [_sendable(inner, depth + 1) for inner in value]
    return value if isinstance(value, float | bool) else None


def _is_escaped(text: str) -> bool:
    """Whether its half characters all stand for bytes that are no UTF-8."""
    return all(0xDC80 <= ord(char) <= 0xDCFF for char in text if 0xD800 <= ord(char) <= 0xDFFF)


def fault_of(reply: Any) -> str | None:
    """What is wrong with an answer of the HTTP face; None for one that is documented and safe to send."""
    if not isinstance(reply, dict) or set(reply) != {"status", "reason", "headers", "body"}:
        return f"no answer of HTTP: {reply!r:.200}"
    status, body, headers = reply["status"], reply["body"], reply["headers"]
    for name, value in (*headers.items(), ("reason", reply["reason"])):
        if not (name.isascii() and str(value).isascii() and str(value).isprintable()):
            return f"a header that breaks the answer: {name}: {value!r:.200}"
    if status == 500 or "internal_error" in body:
        return f"an internal error: {body:.300}"
    try:
        body.encode("utf-8")
    except UnicodeEncodeError:
        return f"a body that is no text: {body!r:.200}"
    if status >= 400 and headers["Content-Type"] == "application/json" and body:
        error = json.loads(body)["error"]
        if error["code"] not in CODES or CODES[error["code"]].http != status or not error["message"]:
            return f"an error that is not documented: {status} {body:.200}"
    return None
