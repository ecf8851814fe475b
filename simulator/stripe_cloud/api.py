"""The HTTP side of /v1: authentication, version, idempotency, parameters, handler, answer.

Everything between reading the request and writing the answer happens without yielding to another request,
so that handlers need no locks.  Faults (latency, lost answers) are around that, as on a real network.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import time
import typing
from dataclasses import dataclass, field

from aiohttp import web
from stripe.params import WebhookEndpointCreateParams

from . import parameters, resource_shapes, timeline
from .account import API_VERSION, Account, Cause
from .api_errors import Json, StripeApiError, invalid, redact_key
from .api_keys import ApiKeys
from .clock import Clock
from .faults import Fault, Faults
from .form_encoding import decode
from .idempotency import IdempotencyStore
from .mangling import MANGLED
from .rendering import render
from .request_log import LoggedRequest, RequestLog
from .routes import Route, find_route
from .simulated import check_simulated, no_endpoint

FORM = "application/x-www-form-urlencoded"
VERSIONS = frozenset(typing.get_args(parameters.declared(WebhookEndpointCreateParams)["api_version"])) | {
    API_VERSION
}


@dataclass
class Answer:
    status: int
    body: bytes
    headers: dict[str, str] = field(default_factory=dict)
    error: Json | None = None


class StripeApi:
    """`validate_answers`: compare every answer with the SDK's resource types; differences become a 500 and
    `drift`.
    """

    def __init__(
        self, accounts: dict[bool, Account], clock: Clock, faults: Faults, *, validate_answers: bool
    ) -> None:
        self.accounts = accounts
        self.clock = clock
        self.faults = faults
        self.keys = ApiKeys()
        self.log = RequestLog()
        self.idempotency = IdempotencyStore(clock)
        self.drift: list[str] = []
        self._validate_answers = validate_answers

    async def handle(self, request: web.Request) -> web.StreamResponse:
        started = time.perf_counter()
        raw = (await request.read()).decode("utf-8", "replace")
        entry = LoggedRequest(
            id="req_" + self.accounts[False].token(14),
            at=self.clock.now(),
            method=request.method,
            path=request.path,
            idempotency_key=request.headers.get("Idempotency-Key"),
            version=request.headers.get("Stripe-Version"),
            user_agent=request.headers.get("User-Agent"),
        )
        self.log.add(entry)
        fault = self.faults.take(request.method, request.path)
        try:
            answer = await self._with_idempotency(request, raw, entry, fault)
        except StripeApiError as error:
            answer = _refusal(error)
        entry.status, entry.error = answer.status, answer.error
        entry.duration_ms = round((time.perf_counter() - started) * 1000, 1)
        return await self._send(request, answer, entry, fault)

    async def _with_idempotency(
        self, request: web.Request, raw: str, entry: LoggedRequest, fault: Fault | None
    ) -> Answer:
        key, livemode = self.keys.authenticate(request.headers.get("Authorization"))
        entry.key = redact_key(key)
        idempotency_key = entry.idempotency_key if request.method == "POST" else None
        if idempotency_key is not None:
            self.idempotency.begin(livemode, idempotency_key)
        try:
            if fault is not None:
                entry.fault = _named(fault)
                await asyncio.sleep(fault.latency_ms / 1000)
                if fault.when == "before":
                    if fault.drop_connection:
                        return Answer(0, b"")
                    if (instead := _instead(fault)) is not None:
                        self._store(fault, instead, livemode, request, raw, entry)
                        return instead
            answer = self._carry_out(request, raw, entry, self.accounts[livemode], key)
            if fault is None:
                return answer
            if fault.mangle is not None and answer.status == 200:
                answer.body = json.dumps(MANGLED[fault.mangle](json.loads(answer.body))).encode()
            if fault.when == "after" and (instead := _instead(fault)) is not None:
                self._store(fault, instead, livemode, request, raw, entry)
                return instead
            return answer
        finally:
            if idempotency_key is not None:
                self.idempotency.end(livemode, idempotency_key)

    def _store(
        self,
        fault: Fault,
        answer: Answer,
        livemode: bool,
        request: web.Request,
        raw: str,
        entry: LoggedRequest,
    ) -> None:
        """Keep a failure under the idempotency key.  https://docs.stripe.com/api/idempotent_requests"""
        if fault.stored and entry.idempotency_key is not None and request.method == "POST":
            self.idempotency.remember(
                livemode,
                entry.idempotency_key,
                _fingerprint(request, raw),
                answer.status,
                answer.body,
                entry.id,
            )

    def _carry_out(
        self, request: web.Request, raw: str, entry: LoggedRequest, account: Account, key: str
    ) -> Answer:
        if entry.version is not None and entry.version not in VERSIONS:
            raise invalid(f"Invalid Stripe API version: {entry.version}.")
        found = find_route(request.method, request.path)
        if found is None:
            raise no_endpoint(request.method, request.path)
        route, ids = found
        if request.method == "POST" and raw and request.content_type != FORM:
            raise invalid(f"Invalid request (check that your POST content type is {FORM}).")
        self.keys.authorize(key, route, account.ACCOUNT_ID)
        given = decode("&".join(part for part in (request.query_string, raw) if part))
        entry.params = given
        livemode, idempotency_key = (
            account.livemode,
            entry.idempotency_key if request.method == "POST" else None,
        )
        fingerprint = _fingerprint(request, raw)
        if idempotency_key is not None:
            stored = self.idempotency.recall(livemode, idempotency_key, fingerprint)
            if stored is not None:
                entry.replayed = True
                status, body, original = stored
                return Answer(status, body, {"Idempotent-Replayed": "true", "Original-Request": original})
        params = parameters.validate(given, route.shape)
        timeline.run_due(account)
        answer = self._run(route, ids, params, account, entry)
        if idempotency_key is not None:
            self.idempotency.remember(
                livemode, idempotency_key, fingerprint, answer.status, answer.body, entry.id
            )
        return answer

    def _run(
        self, route: Route, ids: tuple[str, ...], params: Json, account: Account, entry: LoggedRequest
    ) -> Answer:
        account.cause = Cause(entry.id, entry.idempotency_key)
        expand = params.get("expand", [])
        try:
            check_simulated(route.method, route.path, params)
            obj = route.handler(account, params, *ids)
            if obj["object"] not in {"list", "search_result"}:
                obj = render(account, obj, expand)
        except StripeApiError as error:
            return _refusal(self._explained(error, account))
        finally:
            account.cause = Cause()
        if self._validate_answers and (problems := resource_shapes.violations(obj, None, str(obj["object"]))):
            self.drift.extend(problems)
            raise StripeApiError(
                500, "The simulator drifted from the SDK: " + "; ".join(problems), kind="api_error"
            )
        return Answer(200, json.dumps(obj, indent=2).encode())

    def _explained(self, error: StripeApiError, account: Account) -> StripeApiError:
        """Stripe says so when an id exists on the other side of test and live mode."""
        if error.code == "resource_missing" and error.message.count("'") == 2:
            other = self.accounts[not account.livemode].find(error.message.split("'")[1])
            if other is not None:
                there, here = ("test", "live") if account.livemode else ("live", "test")
                error.message += (
                    f"; a similar object exists in {there} mode, but a {here} mode key was used to make this "
                    "request."
                )
        return error

    async def _send(
        self, request: web.Request, answer: Answer, entry: LoggedRequest, fault: Fault | None
    ) -> web.StreamResponse:
        headers = {
            "Content-Type": "application/json",
            "Date": self.clock.http_date(fault.date_ahead if fault is not None else 0),
            "Request-Id": entry.id,
            "Stripe-Version": API_VERSION,
            "Cache-Control": "no-cache, no-store",
            **answer.headers,
        }
        if entry.idempotency_key is not None and request.method == "POST":
            headers["Idempotency-Key"] = entry.idempotency_key
        if fault is not None and request.transport is not None:
            if fault.drop_connection:
                request.transport.abort()
            elif fault.truncate:
                response = web.StreamResponse(headers={**headers, "Content-Length": str(len(answer.body))})
                await response.prepare(request)
                await response.write(answer.body[: len(answer.body) // 2])
                request.transport.close()
                return response
        return web.Response(status=answer.status or 500, body=answer.body, headers=headers)


def _fingerprint(request: web.Request, raw: str) -> str:
    return hashlib.sha256(f"{request.method} {request.path} {raw}".encode()).hexdigest()


def _refusal(error: StripeApiError) -> Answer:
    body = error.body()
    return Answer(error.status, json.dumps(body, indent=2).encode(), dict(error.headers), body["error"])


def _instead(fault: Fault) -> Answer | None:
    """What is sent in the place of the real answer; None if that is."""
    if fault.body is not None:
        return Answer(fault.status or 200, fault.body.encode(), {"Content-Type": fault.content_type})
    return None if fault.status is None else _refusal(_injected(fault))


def _injected(fault: Fault) -> StripeApiError:
    status = fault.status or 500
    headers = {} if fault.retry_after is None else {"Retry-After": str(fault.retry_after)}
    if fault.stored:
        headers["Stripe-Should-Retry"] = "false"
    if status == 429:
        return StripeApiError(
            429,
            "Too many requests hit the API too quickly. We recommend an exponential backoff of your "
            "requests.",
            code="rate_limit",
            headers={"Stripe-Rate-Limited-Reason": "global-rate", **headers},
        )
    return StripeApiError(
        status, "An unknown error occurred (injected by the simulator).", kind="api_error", headers=headers
    )


def _named(fault: Fault) -> str:
    parts = [f"{fault.latency_ms} ms"] if fault.latency_ms else []
    parts += [str(fault.status)] if fault.status else []
    parts += ["dropped"] if fault.drop_connection else []
    parts += ["truncated"] if fault.truncate else []
    parts += [f"dated {fault.date_ahead:+d} s"] if fault.date_ahead else []
    parts += ["another body"] if fault.body is not None else []
    parts += [fault.mangle] if fault.mangle is not None else []
    return ", ".join(parts)
