"""The method `request` of `stripe-payments.http`: the table of paths, and errors as JSON or as a page."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final

from stripe_payments.errors import PaymentError
from stripe_payments.http_api.auth import Gatekeeper
from stripe_payments.http_api.checkout import CheckoutEndpoint
from stripe_payments.http_api.health import HealthEndpoint
from stripe_payments.http_api.http import Request, Response
from stripe_payments.http_api.pages import OutcomePages, page_language
from stripe_payments.http_api.rate_limit import Budget
from stripe_payments.http_api.routes import BODY_LIMIT, Handler, Route, Routes
from stripe_payments.http_api.session import SessionEndpoint
from stripe_payments.http_api.status import StatusEndpoint
from stripe_payments.http_api.templating import Pages
from stripe_payments.http_api.webhook import WebhookEndpoint
from stripe_payments.log import Log
from stripe_payments.startup_gate import StartupGate
from ubus_py import Call, Client, Encodable

_log = Log("http")

#: Requests that may fail at once for one address, and seconds until the next.
_WEBHOOK_FAILURES: Final = (60, 1.0)
_UNKNOWN_IDS: Final = (60, 1.0)


class HttpApp:
    """Answers whatever a web server was sent; nothing gets out of `answer` but a `Response`. `routes` is what
    it serves.
    """

    def __init__(self, gate: StartupGate, bus: Client) -> None:
        self._gate = gate
        self._pages = Pages()
        gatekeeper = Gatekeeper(bus)
        misses = Budget(burst=_UNKNOWN_IDS[0], refill=_UNKNOWN_IDS[1])
        failures = Budget(burst=_WEBHOOK_FAILURES[0], refill=_WEBHOOK_FAILURES[1])
        outcome = OutcomePages(gate, self._pages, misses)
        session = SessionEndpoint(gatekeeper)
        self.routes = Routes(
            (
                _route(
                    "/api/payments/create-checkout-session",
                    POST=CheckoutEndpoint(gate, gatekeeper).create,
                ),
                _route(
                    r"/api/payments/status/(?P<payment_id>[A-Za-z0-9_]{1,255})",
                    GET=StatusEndpoint(gate, misses).show,
                ),
                _route("/api/payments/webhook", BODY_LIMIT, POST=WebhookEndpoint(gate, failures).receive),
                _route("/api/payments/session", POST=session.hand_over, DELETE=session.clear),
                _route("/api/payments/health", GET=HealthEndpoint(gate).show),
                Route(re.compile("(?:/api/payments)?/payment-success"), {"GET": outcome.success}, "page"),
                Route(re.compile("(?:/api/payments)?/payment-cancel"), {"GET": outcome.cancel}, "page"),
            )
        )

    async def request(self, call: Call) -> Mapping[str, Encodable]:
        """The method `request`: HTTP in, HTTP out; whatever went wrong is in the HTTP answer."""
        request = Request.from_bus(call.args)
        response = await self.answer(request)
        return response.as_reply(head=request.method == "HEAD")

    async def answer(self, request: Request) -> Response:
        try:
            return await self.routes.answer(request)
        except PaymentError as error:
            return await self._refusal(request, error)
        except Exception as error:  # noqa: BLE001 - its trace is for the log, never for the caller
            _log.error("a request failed", exc=error, method=request.method, path=request.path)
            return await self._refusal(request, PaymentError("internal_error"))

    async def _refusal(self, request: Request, error: PaymentError) -> Response:
        locale = page_language(request, self._gate.locale)
        found = self.routes.find(request.path)
        retry_after = _retry_after(error)
        if found is not None and found[0].kind == "page":
            content = {
                "code": error.code,
                "message": error.message_in(locale),
                "hint": error.hint_in(locale),
                "retry_after": retry_after,
            }
            response = await self._pages.render("error.html", locale, content, status=error.http_status)
        else:
            body = {"error": {"code": error.code, "message": error.message_in(locale)}}
            response = Response.json(body, error.http_status)
        if retry_after:
            response.headers["Retry-After"] = str(retry_after)
        if error.http_status == 401:
            response.headers["WWW-Authenticate"] = 'Bearer realm="Router OS"'
        if error.code == "method_not_allowed":
            response.headers["Allow"] = str(error.details["allowed"])
        return response


def _route(path: str, body_limit: int = 16 * 1024, **handlers: Handler) -> Route:
    return Route(re.compile(path), handlers, body_limit=body_limit)


def _retry_after(error: PaymentError) -> int | None:
    seconds = error.details.get("retry_after")
    if isinstance(seconds, (int, float)) and seconds > 0:
        return round(seconds)
    return 3 if error.code in ("starting", "timeout") else None
