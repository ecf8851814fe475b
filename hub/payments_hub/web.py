"""The HTTP interface: what routers call, Stripe's webhook, the public keys, health.

Errors have the body of the bus: ``{"error": {"code", "message", "hint", "user_hint"}}``, in the language of
Accept-Language. Nothing here answers for another router's account: the credential alone says whose it is.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager, suppress
from typing import Any, Final, Literal

import psycopg
from psycopg_pool import PoolTimeout
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp

from payments_hub.answers import failed, failure, locale_of, read_body
from payments_hub.attempt_limits import AttemptLimits, household
from payments_hub.background import run_all
from payments_hub.bare_routes import BareRoutes
from payments_hub.callers import Callers, address
from payments_hub.codes import is_code, is_secret
from payments_hub.deliveries import Deliveries
from payments_hub.errors import HubError
from payments_hub.hub import Hub
from payments_hub.methods import Methods
from payments_hub.metrics import Measured
from payments_hub.openapi import document
from payments_hub.polls import Polls
from payments_hub.statements import AUDIENCE
from payments_hub.states import States
from stripe_payments.errors import PaymentError
from stripe_payments.http_api.rate_limit import RateLimit

__all__ = ["Part", "create_app"]

_LONGEST_BODY: Final = 64 * 1024
_SKEW_S: Final = 30
_SEEN_EVERY_S: Final = 60.0
_ENROLLMENTS: Final = 10
_ENROLLMENT_EVERY_S: Final = 60.0
"""By address: a household enrols one router. What this process refuses by itself costs no query; the limit of
all instances together is in `attempt_limits`.
"""

_Handler = Callable[["_Calls", Request], Awaitable[Response]]


Part = Literal["routers", "webhook", "console"]
"""What an instance serves where each has a database role of its own."""


def create_app(hub: Hub, only: Part | None = None) -> Starlette:
    """The application of an open hub; `only`: one part of it, with health and readiness."""
    calls = _Calls(hub)

    @asynccontextmanager
    async def lifespan(_app: Starlette) -> AsyncIterator[None]:
        background = asyncio.create_task(run_all(hub.changes.run(), calls.record_contacts()))
        try:
            yield
        finally:
            background.cancel()
            await asyncio.gather(background, return_exceptions=True)
            await calls.methods.close()

    direct: list[tuple[str, str, ASGIApp]] = [
        ("GET", "/v1/state", States(hub, calls.callers, calls.polls)),
        ("POST", "/stripe/webhook", Deliveries(hub)),
    ]
    routes: list[tuple[str, str, _Handler]] = [
        ("POST", "/v1/enrollments", _Calls.enroll),
        ("GET", "/v1/catalog", _Calls.catalog),
        ("POST", "/v1/methods/{name}", _Calls.method),
        ("POST", "/v1/statements", _Calls.statement),
        ("POST", "/v1/credentials/rotate", _Calls.rotate),
        ("POST", "/v1/recovery-codes", _Calls.new_recovery_code),
        ("POST", "/v1/recovery", _Calls.recover),
        ("GET", "/.well-known/jwks.json", _Calls.jwks),
        ("GET", "/healthz", _Calls.health),
        ("GET", "/readyz", _Calls.ready),
        ("GET", "/openapi.json", _Calls.openapi),
    ]
    endpoints: list[tuple[str, str, Callable[..., Any]]] = [
        *direct,
        *[(verb, path, calls.answering(handler)) for verb, path, handler in routes],
    ]
    served = {
        (verb, path): Route(path, endpoint, methods=[verb])
        for verb, path, endpoint in endpoints
        if only is None or _part_of(path) in (only, None)
    }
    past = {(verb, path): served[verb, path] for verb, path, _endpoint in direct if (verb, path) in served}
    app = _Application(
        past,
        routes=list(served.values()),
        lifespan=lifespan,
        exception_handlers={404: _unknown("not_found"), 405: _unknown("method_not_allowed")},
    )
    app.router.redirect_slashes = False  # the address would be made from the caller's Host
    return app


def _part_of(path: str) -> Part | None:
    """None for what every instance serves."""
    if path == "/stripe/webhook":
        return "webhook"
    return "routers" if path.startswith("/v1/") or path == "/.well-known/jwks.json" else None


class _Application(Starlette):
    """`past`: routes that are served past all of the framework, its error handling included: each poll that
    waits would keep that, too.
    """

    def __init__(self, past: Mapping[tuple[str, str], Route], **settings: Any) -> None:
        super().__init__(**settings)
        self._past = past

    def build_middleware_stack(self) -> ASGIApp:
        return Measured(BareRoutes(super().build_middleware_stack(), self._past))


class _Calls:
    """One method for each route."""

    def __init__(self, hub: Hub) -> None:
        self._hub = hub
        self.methods = Methods(hub.database, hub.accounts)
        self.callers = Callers(hub.routers)
        self.polls = Polls(hub.config.poll_after)
        self._enrollments = RateLimit(burst=_ENROLLMENTS, refill_s=_ENROLLMENT_EVERY_S)
        self._all_enrollments = AttemptLimits(hub.database, "enrollment_attempts")

    def answering(self, handler: _Handler) -> Callable[[Request], Awaitable[Response]]:
        """The handler, with its errors as responses."""

        async def answer(request: Request) -> Response:
            try:
                return await handler(self, request)
            except Exception as error:  # noqa: BLE001 - every failure has a response
                return failure(error, request.url.path, locale_of(request.scope))

        return answer

    async def record_contacts(self) -> None:
        """Until cancelled: when routers were last heard of, once a minute, so that a poll writes nothing."""
        while True:
            await asyncio.sleep(_SEEN_EVERY_S)
            seen, self.callers.seen = self.callers.seen, set()
            with suppress(psycopg.Error, PoolTimeout):
                if seen:
                    await self._hub.routers.seen(seen)

    # -- routers ----------------------------------------------------------------------------------

    async def enroll(self, request: Request) -> Response:
        """``{secret, code?, board, version}`` → ``{router_id}``."""
        caller = household(address(request.scope))
        wait = self._enrollments.take(caller) or await self._all_enrollments.take("address", caller)
        if wait:
            raise PaymentError("rate_limited", retry_after=wait)
        given = await _json(request)
        secret, code = given.get("secret"), given.get("code")
        if not is_secret(secret):
            raise PaymentError("invalid_argument", argument="secret")
        if code is not None and not is_code(code):
            raise PaymentError("invalid_argument", argument="code")
        texts = {name: given.get(name) for name in ("board", "version")}
        for name, value in texts.items():
            if not isinstance(value, str) or not value.isprintable() or len(value) > 128:
                raise PaymentError("invalid_argument", argument=name)
        given_code = None if code is None else str(code)
        router = await self._hub.routers.enroll(
            str(secret), given_code, str(texts["board"]), str(texts["version"])
        )
        return JSONResponse({"router_id": router}, 201)

    async def catalog(self, request: Request) -> Response:
        """Plans, products and prices in both languages."""
        with self.polls.answering():
            router = await self.callers.router(request.scope)
            catalog = await self._hub.catalogs.current(router.catalog)
        etag = f'"catalog-{catalog.version}"'
        if request.headers.get("if-none-match") == etag:
            return Response(status_code=304, headers={"ETag": etag})
        return JSONResponse(catalog.view(), headers={"ETag": etag})

    async def method(self, request: Request) -> Response:
        """A bus method: the same arguments, reply and errors."""
        router = await self.callers.router(request.scope)
        await self._hub.catalogs.current(router.catalog)
        reply = await self.methods.call(
            router,
            request.path_params["name"],
            await _json(request),
            locale_of(request.scope),
            request.headers.get("idempotency-key"),
        )
        headers = {"Idempotent-Replayed": "true"} if reply.replayed else None
        return JSONResponse(dict(reply.body), reply.status, headers)

    async def statement(self, request: Request) -> Response:
        """``{audience}`` → ``{statement}``, a JWT for that audience."""
        router = await self.callers.router(request.scope)
        audience = (await _json(request)).get("audience")
        if not isinstance(audience, str) or not AUDIENCE.fullmatch(audience):
            raise PaymentError("invalid_argument", argument="audience")
        await self._hub.catalogs.current(router.catalog)
        async with self._hub.accounts.view(router.account) as account:
            entitlements = account.reconciler.state.entitlements
        return JSONResponse({"statement": self._hub.signer.statement(router.id, audience, entitlements)})

    async def rotate(self, request: Request) -> Response:
        """``{secret}``: the credential that the router uses from now on."""
        router = await self.callers.router(request.scope)
        secret = (await _json(request)).get("secret")
        if not is_secret(secret):
            raise PaymentError("invalid_argument", argument="secret")
        await self._hub.routers.rotate(router, str(secret))
        return JSONResponse({"router_id": router.id})

    async def new_recovery_code(self, request: Request) -> Response:
        """``{code}``: moves what was bought to another router, once. Earlier codes end."""
        router = await self.callers.router(request.scope)
        return JSONResponse({"code": await self._hub.routers.new_recovery_code(router.account)}, 201)

    async def recover(self, request: Request) -> Response:
        """``{code}``: everything that was bought with that account is this router's from now on."""
        router = await self.callers.router(request.scope)
        if wait := self.callers.bad_credentials.take(router.id):
            raise PaymentError("rate_limited", retry_after=wait)
        code = (await _json(request)).get("code")
        if not is_code(code):
            raise PaymentError("invalid_argument", argument="code")
        moved = await self._hub.routers.recover(router, str(code))
        return JSONResponse({"router_id": moved.id})

    # -- others -----------------------------------------------------------------------------------

    async def jwks(self, _request: Request) -> Response:
        """The public keys of statements."""
        return JSONResponse(self._hub.signer.jwks(), headers={"Cache-Control": "max-age=300"})

    async def openapi(self, _request: Request) -> Response:
        """What this interface consists of."""
        return JSONResponse(document(), headers={"Cache-Control": "max-age=300"})

    async def health(self, _request: Request) -> Response:
        """200 while the process runs."""
        return JSONResponse({"ok": True})

    async def ready(self, _request: Request) -> Response:
        """200 if requests can be served: the database answers, a catalog is in force, the clock is right."""
        problems: list[str] = []
        try:
            await self._hub.catalogs.current()
        except HubError as error:
            problems.append(error.code)
        except (psycopg.Error, PoolTimeout):
            problems.append("database")
        skew = self._hub.clock.skew
        if skew is not None and abs(skew) > _SKEW_S:
            problems.append("clock")
        return JSONResponse({"ok": not problems, "problems": problems}, 503 if problems else 200)


def _unknown(code: str) -> Callable[[Request, Exception], Awaitable[Response]]:
    async def answer(request: Request, _error: Exception) -> Response:
        error = PaymentError(code)
        return failed(error.http_status, error.body(locale_of(request.scope)), None)

    return answer


async def _json(request: Request) -> dict[str, object]:
    """The object in the body; an empty body is an empty object."""
    body = await read_body(request.receive, _LONGEST_BODY)
    try:
        given = json.loads(body) if body else {}
    except (ValueError, RecursionError):
        raise PaymentError("invalid_json") from None
    if not isinstance(given, dict):
        raise PaymentError("invalid_json")
    return given
