"""The HTTP interface: what routers call, Stripe's webhook, the public keys, health.

Errors have the body of the bus: ``{"error": {"code", "message", "hint", "user_hint"}}``, in the language of
Accept-Language. Nothing here answers for another router's account: the credential alone says whose it is.
"""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager, suppress
from typing import Any, Final, Literal

import psycopg
from psycopg_pool import PoolTimeout
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from payments_hub.accounts import Account
from payments_hub.background import run_all
from payments_hub.catalog import Catalog
from payments_hub.errors import HubError
from payments_hub.hub import Hub
from payments_hub.methods import Methods, view
from payments_hub.metrics import WEBHOOK_EVENTS, Measured
from payments_hub.openapi import document
from payments_hub.outbox import SHOWN
from payments_hub.polls import Polls
from payments_hub.routers import Router, is_code, is_secret
from payments_hub.statements import AUDIENCE
from stripe_payments.bus_api import api
from stripe_payments.errors import PaymentError
from stripe_payments.http_api.rate_limit import RateLimit
from stripe_payments.i18n import LANGUAGES, accepted_language
from stripe_payments.log import Log
from stripe_payments.stripe_api.webhook_delivery import hint_in, read_event, verify
from stripe_payments.sync.events import EVENT_TYPES

__all__ = ["Part", "create_app"]

_log = Log("web")

_LONGEST_BODY: Final = 64 * 1024
_LONGEST_EVENT: Final = 1024 * 1024
_WAIT: Final = re.compile(r"(?:^|[,;\s])wait=(\d{1,3})\b")
"""RFC 7240: seconds that the client is willing to wait."""
_LONGEST_WAIT_S: Final = 25
_SKEW_S: Final = 30
_RETRY_AFTER_S: Final = 5
_SEEN_EVERY_S: Final = 60.0
_ENROLLMENTS: Final = 10
_ENROLLMENT_EVERY_S: Final = 60.0
"""By address: a household enrols one router."""
_BAD_CREDENTIALS: Final = 60
_BAD_CREDENTIAL_EVERY_S: Final = 1.0
_REQUESTS: Final = 240
_REQUEST_EVERY_S: Final = 0.5
"""By router: a page that a buyer waits at sends two in a second."""
_ROUTERS_COUNTED: Final = 10_000
_BODY_S: Final = 20.0
"""Seconds in which a body has to arrive."""

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

    routes: list[tuple[str, str, _Handler]] = [
        ("POST", "/v1/enrollments", _Calls.enroll),
        ("GET", "/v1/state", _Calls.state),
        ("GET", "/v1/catalog", _Calls.catalog),
        ("POST", "/v1/methods/{name}", _Calls.method),
        ("POST", "/v1/statements", _Calls.statement),
        ("POST", "/v1/credentials/rotate", _Calls.rotate),
        ("POST", "/v1/recovery-codes", _Calls.new_recovery_code),
        ("POST", "/v1/recovery", _Calls.recover),
        ("POST", "/stripe/webhook", _Calls.webhook),
        ("GET", "/.well-known/jwks.json", _Calls.jwks),
        ("GET", "/healthz", _Calls.health),
        ("GET", "/readyz", _Calls.ready),
        ("GET", "/openapi.json", _Calls.openapi),
    ]
    app = Starlette(
        routes=[
            Route(path, calls.answering(handler), methods=[verb])
            for verb, path, handler in routes
            if only is None or _part_of(path) in (only, None)
        ],
        lifespan=lifespan,
        middleware=[Middleware(Measured)],
        exception_handlers={404: _unknown("not_found"), 405: _unknown("method_not_allowed")},
    )
    app.router.redirect_slashes = False  # the address would be made from the caller's Host
    return app


def _part_of(path: str) -> Part | None:
    """None for what every instance serves."""
    if path == "/stripe/webhook":
        return "webhook"
    return "routers" if path.startswith("/v1/") or path == "/.well-known/jwks.json" else None


class _Calls:
    """One method for each route."""

    def __init__(self, hub: Hub) -> None:
        self._hub = hub
        self.methods = Methods(hub.database, hub.accounts)
        self._polls = Polls(hub.config.poll_after)
        self._seen: set[str] = set()
        self._enrollments = RateLimit(burst=_ENROLLMENTS, refill_s=_ENROLLMENT_EVERY_S)
        self._bad_credentials = RateLimit(burst=_BAD_CREDENTIALS, refill_s=_BAD_CREDENTIAL_EVERY_S)
        self._requests = RateLimit(burst=_REQUESTS, refill_s=_REQUEST_EVERY_S, capacity=_ROUTERS_COUNTED)

    def answering(self, handler: _Handler) -> Callable[[Request], Awaitable[Response]]:
        """The handler, with its errors as responses."""

        async def answer(request: Request) -> Response:
            locale = _locale(request)
            try:
                return await handler(self, request)
            except HubError as error:
                return _failed(error.http_status, error.body(locale), error.retry_after)
            except PaymentError as error:
                return _failed(error.http_status, error.body(locale), error.details.get("retry_after"))
            except (psycopg.Error, PoolTimeout) as error:
                _log.error("database failed", path=request.url.path, reason=type(error).__name__)
                busy = HubError("busy", retry_after=5)
                return _failed(busy.http_status, busy.body(locale), busy.retry_after)
            except Exception as error:  # noqa: BLE001 - the trace is for the log, never for the caller
                _log.error("request failed", path=request.url.path, exc=error)
                failure = PaymentError("internal_error")
                return _failed(failure.http_status, failure.body(locale), None)

        return answer

    async def record_contacts(self) -> None:
        """Until cancelled: when routers were last heard of, once a minute, so that a poll writes nothing."""
        while True:
            await asyncio.sleep(_SEEN_EVERY_S)
            seen, self._seen = self._seen, set()
            with suppress(psycopg.Error, PoolTimeout):
                if seen:
                    await self._hub.routers.seen(seen)

    # -- routers ----------------------------------------------------------------------------------

    async def enroll(self, request: Request) -> Response:
        """``{secret, code?, board, version}`` → ``{router_id}``."""
        if wait := self._enrollments.take(_address(request)):
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

    async def state(self, request: Request) -> Response:
        """Everything the router shows, or 304 if it has that; ``Prefer: wait=20`` waits for a change
        first.
        """
        wait = _WAIT.search(request.headers.get("prefer", ""))
        if wait is not None:
            return await self._state_answer(request, min(int(wait[1]), _LONGEST_WAIT_S))
        with self._polls.answering():
            return await self._state_answer(request, None)

    async def _state_answer(self, request: Request, wait: int | None) -> Response:
        """`wait`: seconds that a buyer's router waits for a change; None for a poll of the fleet."""
        router = await self._router(request)
        catalog = await self._hub.catalogs.current()
        known = request.headers.get("if-none-match")
        if wait is not None and known == _etag(router, catalog.version):
            await self._hub.changes.wait(router.account, router.version, wait)
            router = await self._router(request)
        poll_after = self._polls.poll_after()
        headers = {
            "ETag": _etag(router, catalog.version),
            "Poll-After": str(poll_after),
            "Cache-Control": "no-store",
        }
        if known == headers["ETag"]:
            return Response(status_code=304, headers=headers)
        async with self._hub.accounts.view(router.account, poll=wait is None) as account:
            body = await self._state(router, account, catalog, poll_after)
        return JSONResponse(body, headers=headers)

    async def catalog(self, request: Request) -> Response:
        """Plans, products and prices in both languages."""
        with self._polls.answering():
            await self._router(request)
            catalog = await self._hub.catalogs.current()
        etag = f'"catalog-{catalog.version}"'
        if request.headers.get("if-none-match") == etag:
            return Response(status_code=304, headers={"ETag": etag})
        return JSONResponse(catalog.view(), headers={"ETag": etag})

    async def method(self, request: Request) -> Response:
        """A bus method: the same arguments, reply and errors."""
        router = await self._router(request)
        await self._hub.catalogs.current()
        reply = await self.methods.call(
            router,
            request.path_params["name"],
            await _json(request),
            _locale(request),
            request.headers.get("idempotency-key"),
        )
        headers = {"Idempotent-Replayed": "true"} if reply.replayed else None
        return JSONResponse(dict(reply.body), reply.status, headers)

    async def statement(self, request: Request) -> Response:
        """``{audience}`` → ``{statement}``, a JWT for that audience."""
        router = await self._router(request)
        audience = (await _json(request)).get("audience")
        if not isinstance(audience, str) or not AUDIENCE.fullmatch(audience):
            raise PaymentError("invalid_argument", argument="audience")
        await self._hub.catalogs.current()
        async with self._hub.accounts.view(router.account) as account:
            entitlements = account.reconciler.state.entitlements
        return JSONResponse({"statement": self._hub.signer.statement(router.id, audience, entitlements)})

    async def rotate(self, request: Request) -> Response:
        """``{secret}``: the credential that the router uses from now on."""
        router = await self._router(request)
        secret = (await _json(request)).get("secret")
        if not is_secret(secret):
            raise PaymentError("invalid_argument", argument="secret")
        await self._hub.routers.rotate(router, str(secret))
        return JSONResponse({"router_id": router.id})

    async def new_recovery_code(self, request: Request) -> Response:
        """``{code}``: moves what was bought to another router, once. Earlier codes end."""
        router = await self._router(request)
        return JSONResponse({"code": await self._hub.routers.new_recovery_code(router.account)}, 201)

    async def recover(self, request: Request) -> Response:
        """``{code}``: everything that was bought with that account is this router's from now on."""
        router = await self._router(request)
        if wait := self._bad_credentials.take(router.id):
            raise PaymentError("rate_limited", retry_after=wait)
        code = (await _json(request)).get("code")
        if not is_code(code):
            raise PaymentError("invalid_argument", argument="code")
        moved = await self._hub.routers.recover(router, str(code))
        return JSONResponse({"router_id": moved.id})

    # -- others -----------------------------------------------------------------------------------

    async def webhook(self, request: Request) -> Response:
        """A delivery of Stripe's, verified over the raw bytes; 200 once the event is durable."""
        body = await _body(request, _LONGEST_EVENT)
        config = self._hub.config
        signature = request.headers.get("stripe-signature")
        verify(body, signature, config.webhook_secret, self._hub.clock.now())
        event = read_event(body)
        hint = hint_in(event)
        result = "ignored"
        if hint is None or hint.type not in EVENT_TYPES:
            _log.debug("event ignored: unused type", event=event.get("id"), type=event.get("type"))
        elif event.get("livemode") is not (self._hub.mode == "live"):
            _log.warning("event ignored: other mode", event=hint.event_id)
        else:
            fresh = await self._hub.inbox.accept(hint)
            message = "event accepted" if fresh else "duplicate event"
            result = "accepted" if fresh else "duplicate"
            _log.info(message, event=hint.event_id, type=hint.type)
        WEBHOOK_EVENTS.labels(result).inc()
        return JSONResponse({"received": True})

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

    # -- parts of the answers ---------------------------------------------------------------------

    async def _router(self, request: Request) -> Router:
        """The caller. Guessing is slowed down by address."""
        scheme, _blank, secret = request.headers.get("authorization", "").partition(" ")
        try:
            router = await self._hub.routers.authenticate(
                secret.strip() if scheme.lower() == "bearer" else None
            )
        except HubError as error:
            if error.http_status == 401 and (wait := self._bad_credentials.take(_address(request))):
                raise PaymentError("rate_limited", retry_after=wait) from error
            raise
        if wait := self._requests.take(router.id):
            raise PaymentError("rate_limited", retry_after=wait)
        self._seen.add(router.id)
        return router

    async def _state(
        self, router: Router, account: Account, catalog: Catalog, poll_after: int
    ) -> dict[str, Any]:
        features = await api["features"].handler(view(account, "en"))
        body: dict[str, Any] = {
            "router_id": router.id,
            "catalog_version": catalog.version,
            "poll_after": poll_after,
            "mode": self._hub.mode,
            "seller": dict(catalog.seller),
            "offline_days": catalog.settings.offline_days,
            "events": await account.ledger.read(lambda tx: tx.outbox.latest(SHOWN)),
            **features,
        }
        for locale in LANGUAGES:
            call = view(account, locale)
            body[locale] = {
                **await api["subscriptions"].handler(call),
                **await api["transactions"].handler(call),
                "catalog": await api["catalog"].handler(call),
            }
        entitlements = account.reconciler.state.entitlements
        body["statement"] = self._hub.signer.statement(router.id, self._hub.config.hub_url, entitlements)
        return body


def _unknown(code: str) -> Callable[[Request, Exception], Awaitable[Response]]:
    async def answer(request: Request, _error: Exception) -> Response:
        error = PaymentError(code)
        return _failed(error.http_status, error.body(_locale(request)), None)

    return answer


def _locale(request: Request) -> str:
    return accepted_language(request.headers.get("accept-language", "")) or "en"


def _etag(router: Router, catalog_version: int) -> str:
    """Another account (a replaced router) is another state, whatever its number."""
    return f'"{router.account[:8]}-{router.version}-{catalog_version}"'


def _address(request: Request) -> str:
    return request.client.host if request.client is not None else ""


def _failed(status: int, body: Mapping[str, Any], retry_after: object) -> Response:
    if status == 503 and not isinstance(retry_after, int):
        retry_after = _RETRY_AFTER_S
    headers = {"Retry-After": str(retry_after)} if isinstance(retry_after, int) else {}
    if status == 401:
        headers["WWW-Authenticate"] = "Bearer"
    return JSONResponse(dict(body), status, headers)


async def _body(request: Request, limit: int) -> bytes:
    received = bytearray()
    try:
        async with asyncio.timeout(_BODY_S):
            async for chunk in request.stream():
                received += chunk
                if len(received) > limit:
                    raise PaymentError("body_too_large")
    except (TimeoutError, ClientDisconnect):
        raise PaymentError("timeout") from None
    return bytes(received)


async def _json(request: Request) -> dict[str, object]:
    """The object in the body; an empty body is an empty object."""
    body = await _body(request, _LONGEST_BODY)
    try:
        given = json.loads(body) if body else {}
    except (ValueError, RecursionError):
        raise PaymentError("invalid_json") from None
    if not isinstance(given, dict):
        raise PaymentError("invalid_json")
    return given
