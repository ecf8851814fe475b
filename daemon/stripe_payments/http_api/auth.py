"""Authorization: LuCI sessions checked by rpcd, our own cookie, and the same-origin rule for it.

LuCI's login cookie is limited to `/cgi-bin/luci/` and is not sent here, so a LuCI page sends its session id
once (`POST /api/payments/session`) and receives a cookie of ours. Browsers send a cookie also with requests
that another site's page makes; a request with our cookie therefore has to prove that a page of this origin
made it. A bearer credential is set by code that knows it and needs no such proof.
"""

from __future__ import annotations

import re

from stripe_payments.errors import PaymentError
from stripe_payments.http_api.http import HOST, Request
from stripe_payments.return_urls import origin_of
from ubus_py import CallTimeout, Client, ConnectionLost, Status, StatusError

COOKIE = "stripe_payments_session"

#: rpcd's session ids: 128 random bits in hexadecimal.
_SESSION_ID = re.compile(r"[0-9a-f]{32}")
#: rpcd's session of clients that are not logged in (RPC_DEFAULT_SESSION_ID).
_ANONYMOUS = "0" * 32
_ACCESS_TIMEOUT_S = 5.0


class Authorizer:
    """Checks with rpcd what a LuCI session is allowed to call."""

    def __init__(self, bus: Client) -> None:
        self._bus = bus

    async def require(self, request: Request, *methods: str) -> str:
        """Return the id of the request's session, if rpcd grants it one of `methods` of `stripe-payments`.

        Raises `PaymentError`: `cross_origin` for another site's page, `login_required` without a session or
        with an expired one, `permission_denied` if it is granted none of them, `starting` while rpcd is not
        on the bus.
        """
        session_id = credential(request)
        for method in methods:
            if await self._granted(session_id, method):
                return session_id
        raise PaymentError("permission_denied")

    async def _granted(self, session_id: str, method: str) -> bool:
        try:
            reply = await self._bus.call(
                "session",
                "access",
                {
                    "ubus_rpc_session": session_id,
                    "scope": "ubus",
                    "object": "stripe-payments",
                    "function": method,
                },
                timeout=_ACCESS_TIMEOUT_S,
            )
        except StatusError as error:
            # NOT_FOUND comes from rpcd for an unknown or expired session, and from ubusd while there is no
            # rpcd; for a known session rpcd always returns `access`.
            if error.status is Status.NOT_FOUND and await self._bus.lookup("session"):
                raise PaymentError("login_required") from None
            raise PaymentError("starting") from error
        except (CallTimeout, ConnectionLost) as error:
            raise PaymentError("starting") from error
        return reply.get("access") is True


def credential(request: Request) -> str:
    """Return the session id sent with `request`. Raises `login_required` or `cross_origin`."""
    session_id = request.bearer
    if session_id is None:
        same_origin = _same_origin(request)
        if same_origin is False:
            raise PaymentError("cross_origin")
        session_id = request.cookie(COOKIE)
        if session_id is not None and same_origin is None:
            raise PaymentError("cross_origin")
    if session_id is None or not _SESSION_ID.fullmatch(session_id) or session_id == _ANONYMOUS:
        raise PaymentError("login_required")
    return session_id


def require_same_origin(request: Request) -> None:
    """Raises `cross_origin` unless the request proves that a page of this origin made it."""
    if _same_origin(request) is not True:
        raise PaymentError("cross_origin")


def cookie_header(session_id: str | None, *, secure: bool) -> str:
    """Return the Set-Cookie value that sets our cookie, or with None removes it."""
    value = f"{COOKIE}={session_id or ''}; Path=/api/payments; HttpOnly; SameSite=Strict"
    if session_id is None:
        value += "; Max-Age=0"
    return value + ("; Secure" if secure else "")


def _same_origin(request: Request) -> bool | None:
    """Whether a page of this origin made the request; None where the browser does not tell.

    `Sec-Fetch-Site` is set by the browser and not by pages; where it is missing (plain HTTP to a LAN address,
    older browsers) `Origin` is compared.
    """
    site = request.headers.get("sec-fetch-site")
    if site:
        return site == "same-origin"
    origin = request.headers.get("origin")
    if not origin:
        return None
    if not HOST.fullmatch(origin.partition("://")[2]):
        return False
    return origin_of(origin) is not None and origin_of(origin) == request.origin
