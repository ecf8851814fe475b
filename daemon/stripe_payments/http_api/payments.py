"""The JSON endpoints below `/api/payments/`, except the webhook."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping
from typing import Final, NoReturn

from stripe_payments.arguments import Arguments
from stripe_payments.errors import PaymentError
from stripe_payments.http_api.auth import Authorizer, cookie_header, require_same_origin
from stripe_payments.http_api.http import Request, Response
from stripe_payments.http_api.rate_limit import RateLimit
from stripe_payments.i18n import _
from stripe_payments.startup_gate import Served, StartupGate

_NO_OBJECT = _("it must be a JSON object")

_PUBLIC: Final = ("status", "amount", "currency", "payment_date")
"""The documented members of a status; receipts, names and failure reasons need a login."""
_STATUS_TIMEOUT_S: Final = 10.0


class PaymentsApi:
    """`unknown_ids` limits for each client address how many ids it may guess."""

    def __init__(self, gate: StartupGate, authorizer: Authorizer, unknown_ids: RateLimit) -> None:
        self._gate = gate
        self._authorizer = authorizer
        self._unknown_ids = unknown_ids

    async def create_checkout_session(self, request: Request, _fields: Mapping[str, str]) -> Response:
        """`POST create-checkout-session`, for a LuCI user with the right to buy.

        `{"price_id", "success_url", "cancel_url"}` (`locale` optional) → `{"session_id", "checkout_url"}`.
        """
        await self._authorizer.require(request, "create_checkout_session")
        order = Arguments(_json_object(request))
        origin = request.origin
        if origin is None:
            raise PaymentError("invalid_argument", argument="Host")
        parts = await self._gate.served()
        created = await parts.checkout.create(
            order.text("price_id", required=True),
            success_url=order.text("success_url"),
            cancel_url=order.text("cancel_url"),
            locale=order.text("locale"),
            origin=origin,
        )
        return Response.json({"session_id": created["session_id"], "checkout_url": created["checkout_url"]})

    async def status(self, request: Request, fields: Mapping[str, str]) -> Response:
        """`GET status/{payment_id}` for the ids of this router's checkout sessions, which cannot be guessed.

        `{"status", "amount", "currency", "payment_date"}`. Raises `payment_not_found` for any other id, and
        `rate_limited` for an address with too many of those. A session of ours is answered always, because
        many clients may share one address.
        """
        parts = await self._gate.served()
        session_id = fields["payment_id"]
        if not await _is_our_session(parts, session_id):
            if wait := self._unknown_ids.take(request.remote):
                raise PaymentError("rate_limited", retry_after=wait)
            raise PaymentError("payment_not_found")
        try:
            payment = await asyncio.wait_for(parts.payment_status.show(session_id), _STATUS_TIMEOUT_S)
        except TimeoutError:
            raise PaymentError("timeout") from None
        return Response.json({name: payment.get(name) for name in _PUBLIC})

    async def open_session(self, request: Request, _fields: Mapping[str, str]) -> Response:
        """`POST session` with `Authorization: Bearer SID`: set our cookie for a LuCI session.

        With it the guide's plain `fetch` works in a LuCI page. A read-only login is accepted: each request
        checks its own right.
        """
        if request.bearer is None:
            raise PaymentError("login_required")
        session_id = await self._authorizer.require(request, "create_checkout_session", "status")
        return _session_cookie(session_id, request)

    async def close_session(self, request: Request, _fields: Mapping[str, str]) -> Response:
        """`DELETE session`: remove the cookie; 200 also without one."""
        if request.bearer is None:
            require_same_origin(request)
        return _session_cookie(None, request)

    async def health(self, _request: Request, _fields: Mapping[str, str]) -> Response:
        """`GET health`, for a monitor: `{"status": "ok"}`, or at once the error that prevents payments."""
        if self._gate.now is None:
            raise self._gate.refusal or PaymentError("starting")
        return Response.json({"status": "ok"})


async def _is_our_session(parts: Served, session_id: str) -> bool:
    """Whether this router created that checkout session."""
    if not session_id.startswith("cs_"):
        return False
    return await parts.ledger.read(lambda tx: tx.checkouts.by_session(session_id)) is not None


def _session_cookie(session_id: str | None, request: Request) -> Response:
    cookie = cookie_header(session_id, secure=request.secure)
    return Response.json({"logged_in": session_id is not None}, 200, **{"Set-Cookie": cookie})


def _json_object(request: Request) -> dict[str, object]:
    """Return the body. Raises `unsupported_media_type`, `invalid_json` or `invalid_argument`."""
    media_type, _, parameters = request.headers.get("content-type", "").partition(";")
    if media_type.strip().lower() != "application/json":
        raise PaymentError("unsupported_media_type")
    charset = parameters.strip().lower().removeprefix("charset=").strip('"')
    if charset not in ("", "utf-8", "utf8"):
        raise PaymentError("unsupported_media_type")
    try:
        content = json.loads(request.body.decode("utf-8"), parse_constant=_refuse_constant)
    except (ValueError, RecursionError):
        raise PaymentError("invalid_json") from None
    if not isinstance(content, dict):
        raise PaymentError("invalid_argument", argument="body", reason=_NO_OBJECT)
    return content


def _refuse_constant(constant: str) -> NoReturn:
    """`json` accepts NaN and Infinity, which are not JSON."""
    raise ValueError(f"not JSON: {constant}")
