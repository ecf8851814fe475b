"""The HTTP routes, and the method `request` of `stripe-payments.http` that dispatches to them.

Paths are compared as they were sent. A percent-encoded or doubled slash, a dot segment or a trailing slash
is not found, so nothing that a proxy or a web server in front normalises differently can reach a handler
under another name.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Awaitable, Callable, Mapping
from typing import TYPE_CHECKING, Final

from stripe_payments.errors import PaymentError
from stripe_payments.http_api.auth import Authorizer
from stripe_payments.http_api.http import Request, Response
from stripe_payments.http_api.pages import ReturnPages, page_language
from stripe_payments.http_api.payments import PaymentsApi
from stripe_payments.http_api.rate_limit import RateLimit
from stripe_payments.http_api.templating import Templates
from stripe_payments.log import Log
from stripe_payments.startup_gate import CALL_TIMEOUT_S, StartupGate
from ubus_py import Call, Client, Encodable

if TYPE_CHECKING:
    from stripe_payments.diagnostics.probes import RefusedWebhooks
    from stripe_payments.http_api.webhook_receiver import WebhookReceiver

_log = Log("http")

Handler = Callable[[Request, Mapping[str, str]], Awaitable[Response]]

GATEWAY_BODY_LIMIT: Final = 512 * 1024
"""Bytes that the gateway accepts; the webhook is allowed as much."""
BODY_LIMIT: Final = 16 * 1024
STARTING_RETRY_S: Final = 3
"""`Retry-After` of an error that passes by itself."""

_FIELD = "[A-Za-z0-9_]{1,255}"  # an id of Stripe's


class Route:
    """One path and its handlers by HTTP method.

    `path` may contain `{field}`, which matches an id of Stripe's and is passed to the handler; `page`: errors
    are an HTML page instead of JSON; `body_limit` in bytes.
    """

    def __init__(
        self, path: str, *, page: bool = False, body_limit: int = BODY_LIMIT, **handlers: Handler
    ) -> None:
        self.path = path
        self.page = page
        self.body_limit = body_limit
        self.handlers: Mapping[str, Handler] = handlers
        self._pattern = re.compile(re.sub(r"\{(\w+)\}", rf"(?P<\1>{_FIELD})", path))

    def match(self, path: str) -> Mapping[str, str] | None:
        """Return the fields of `path`, or None for a path of another route."""
        found = self._pattern.fullmatch(path)
        return found.groupdict() if found else None

    @property
    def allowed(self) -> str:
        """The value of an `Allow` header."""
        methods = set(self.handlers) | {"OPTIONS"}
        if "GET" in methods:
            methods.add("HEAD")
        return ", ".join(sorted(methods))


class HttpApp:
    """Answers every HTTP request; whatever fails becomes a `Response`."""

    def __init__(self, gate: StartupGate, bus: Client) -> None:
        self._gate = gate
        self._templates = Templates()
        unknown_ids = RateLimit(burst=60, refill_s=1.0)
        payments = PaymentsApi(gate, Authorizer(bus), unknown_ids)
        self._webhook: WebhookReceiver | None = None
        pages = ReturnPages(gate, self._templates, unknown_ids)
        self.routes: Final = (
            Route("/api/payments/create-checkout-session", POST=payments.create_checkout_session),
            Route("/api/payments/status/{payment_id}", GET=payments.status),
            Route("/api/payments/webhook", POST=self._receive_webhook, body_limit=GATEWAY_BODY_LIMIT),
            Route("/api/payments/session", POST=payments.open_session, DELETE=payments.close_session),
            Route("/api/payments/health", GET=payments.health),
            Route("/payment-success", GET=pages.success, page=True),
            Route("/api/payments/payment-success", GET=pages.success, page=True),
            Route("/payment-cancel", GET=pages.cancel, page=True),
            Route("/api/payments/payment-cancel", GET=pages.cancel, page=True),
        )

    @property
    def refused_webhooks(self) -> RefusedWebhooks | None:
        """The deliveries that were refused since the last one that was accepted; None: there are none."""
        return self._webhook.refused if self._webhook is not None else None

    async def request(self, call: Call) -> Mapping[str, Encodable]:
        """The ubus method `request`: an HTTP request in its arguments, the HTTP response in its reply."""
        request = Request.from_bus(call.args)
        response = await self.answer(request)
        return response.as_reply(head=request.method == "HEAD")

    async def answer(self, request: Request) -> Response:
        route, fields = self._find(request.path)
        try:
            return await self._in_time(_dispatch(route, request, fields))
        except PaymentError as error:
            return await self._error(route, request, error)
        except Exception as error:  # noqa: BLE001 - the trace is for the log, never for the client
            _log.error("a request failed", exc=error, method=request.method, path=request.path)
            return await self._error(route, request, PaymentError("internal_error"))

    async def _in_time(self, answer: Awaitable[Response]) -> Response:
        """The answer within the time that the bus has, too. What was begun at Stripe continues.

        Raises `stripe_unreachable` or `timeout` afterwards, and `starting` where a stop ended what the caller
        waited for: the next daemon continues it.
        """
        try:
            async with asyncio.timeout(CALL_TIMEOUT_S):
                return await answer
        except TimeoutError:
            raise self._gate.overdue() from None
        except asyncio.CancelledError:
            task = asyncio.current_task()
            if task is None or task.cancelling():
                raise
            raise PaymentError("starting") from None

    async def _receive_webhook(self, request: Request, fields: Mapping[str, str]) -> Response:
        """Raises `not_found` in hub mode, where the payment rules that this imports are not in memory."""
        await self._gate.parts()
        if self._webhook is None:
            from stripe_payments.http_api.webhook_receiver import WebhookReceiver

            self._webhook = WebhookReceiver(self._gate, RateLimit(burst=60, refill_s=1.0))
        return await self._webhook.receive(request, fields)

    def _find(self, path: str) -> tuple[Route | None, Mapping[str, str]]:
        for route in self.routes:
            fields = route.match(path)
            if fields is not None:
                return route, fields
        return None, {}

    async def _error(self, route: Route | None, request: Request, error: PaymentError) -> Response:
        locale = page_language(request, self._gate.locale)
        retry_after = _retry_after(error)
        if route is not None and route.page:
            content = {
                "code": error.code,
                "message": error.message_in(locale),
                "hint": error.user_hint_in(locale),
                "retry_after": retry_after,
            }
            response = await self._templates.render("error.html", locale, content, status=error.http_status)
        else:
            body = {"error": {"code": error.code, "message": error.message_in(locale)}}
            response = Response.json(body, error.http_status)
        if retry_after:
            response.headers["Retry-After"] = str(retry_after)
        if error.http_status == 401:
            response.headers["WWW-Authenticate"] = 'Bearer realm="payments"'
        if error.code == "method_not_allowed":
            response.headers["Allow"] = str(error.details["allowed"])
        return response


async def _dispatch(route: Route | None, request: Request, fields: Mapping[str, str]) -> Response:
    """Raises PaymentError: `not_found`, `body_too_large`, `method_not_allowed`, or the handler's."""
    if route is None:
        raise PaymentError("not_found")
    if len(request.body) > route.body_limit:
        raise PaymentError("body_too_large")
    if request.method == "OPTIONS":
        # No Access-Control header: another site's preflight fails, and with it the request.
        return Response(200, headers={"Allow": route.allowed})
    handler = route.handlers.get("GET" if request.method == "HEAD" else request.method)
    if handler is None:
        raise PaymentError("method_not_allowed", method=request.method, allowed=route.allowed)
    return await handler(request, fields)


def _retry_after(error: PaymentError) -> int | None:
    seconds = error.details.get("retry_after")
    if isinstance(seconds, (int, float)) and seconds > 0:
        return round(seconds)
    return STARTING_RETRY_S if error.code in ("starting", "timeout") else None
