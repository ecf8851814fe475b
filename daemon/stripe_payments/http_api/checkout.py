"""`POST /api/payments/create-checkout-session`: the guide's own request, for a LuCI user who may buy."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import NoReturn

from stripe_payments.arguments import Arguments
from stripe_payments.errors import PaymentError
from stripe_payments.http_api.auth import Gatekeeper
from stripe_payments.http_api.http import Request, Response
from stripe_payments.i18n import Text
from stripe_payments.startup_gate import StartupGate

_NO_OBJECT = Text("it must be a JSON object", "deve essere un oggetto JSON")


class CheckoutEndpoint:
    def __init__(self, gate: StartupGate, gatekeeper: Gatekeeper) -> None:
        self._gate = gate
        self._gatekeeper = gatekeeper

    async def create(self, request: Request, _fields: Mapping[str, str]) -> Response:
        """`{"price_id", "success_url", "cancel_url"}` (and perhaps `locale`) → `{"session_id",
        "checkout_url"}`.
        """
        await self._gatekeeper.require(request, "create_checkout_session")
        order = Arguments(json_object(request))
        origin = request.origin
        if origin is None:
            raise PaymentError("invalid_argument", argument="Host")
        parts = await self._gate.parts()
        created = await parts.checkout.create(
            order.text("price_id", required=True),
            success_url=order.text("success_url"),
            cancel_url=order.text("cancel_url"),
            locale=order.text("locale"),
            origin=origin,
        )
        return Response.json({"session_id": created["session_id"], "checkout_url": created["checkout_url"]})


def json_object(request: Request) -> dict[str, object]:
    """The body as a JSON object. Raises `unsupported_media_type`, `invalid_json` or `invalid_argument`."""
    media_type, _, parameters = request.headers.get("content-type", "").partition(";")
    if media_type.strip().lower() != "application/json":
        raise PaymentError("unsupported_media_type")
    charset = parameters.strip().lower().removeprefix("charset=").strip('"')
    if charset not in ("", "utf-8", "utf8"):
        raise PaymentError("unsupported_media_type")
    try:
        content = json.loads(request.body.decode("utf-8"), parse_constant=_no_json)
    except (ValueError, RecursionError):
        raise PaymentError("invalid_json") from None
    if not isinstance(content, dict):
        raise PaymentError("invalid_argument", argument="body", reason=_NO_OBJECT)
    return content


def _no_json(constant: str) -> NoReturn:
    raise ValueError(f"{constant} is no JSON")
