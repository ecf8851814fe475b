"""`/api/payments/session`: a LuCI page hands its login over, so that the guide's plain `fetch` works."""

from __future__ import annotations

from collections.abc import Mapping

from stripe_payments.errors import PaymentError
from stripe_payments.http_api.auth import Gatekeeper, cookie_header, require_same_origin
from stripe_payments.http_api.http import Request, Response


class SessionEndpoint:
    def __init__(self, gatekeeper: Gatekeeper) -> None:
        self._gatekeeper = gatekeeper

    async def hand_over(self, request: Request, _fields: Mapping[str, str]) -> Response:
        """With `Authorization: Bearer SID`, sets our cookie. A user who may only look is let in as well:
        what the session may do is asked again at each request.
        """
        if request.bearer is None:
            raise PaymentError("login_required")
        session_id = await self._gatekeeper.require(request, "create_checkout_session", "status")
        return self._answer(session_id, request)

    async def clear(self, request: Request, _fields: Mapping[str, str]) -> Response:
        """Removes the cookie; without one, nothing to do and all the same 200."""
        if request.bearer is None:
            require_same_origin(request)
        return self._answer(None, request)

    @staticmethod
    def _answer(session_id: str | None, request: Request) -> Response:
        cookie = cookie_header(session_id, secure=request.secure)
        return Response.json({"logged_in": session_id is not None}, 200, **{"Set-Cookie": cookie})
