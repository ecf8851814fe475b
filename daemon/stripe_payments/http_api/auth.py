"""Who may: LuCI sessions as rpcd knows them, our own cookie, and the same-origin rule that goes with it.

LuCI's login cookie is bound to `/cgi-bin/luci/` and never arrives here, so a LuCI page hands its session
over once (`POST /api/payments/session`) and gets a cookie of ours. A cookie is sent by the browser
whoever wrote the page; therefore a request that relies on it must show that it comes from this very
origin. A bearer credential is put there by code that knows it, so it needs no such proof.
"""

from __future__ import annotations

import re

from stripe_payments.billing.return_urls import origin_of
from stripe_payments.errors import PaymentError
from stripe_payments.http_api.http import HOST, Request
from ubus_py import CallTimeout, Client, ConnectionLost, Status, StatusError

COOKIE = "stripe_payments_session"

#: rpcd's session ids: 128 random bits in hexadecimal.
_SESSION_ID = re.compile(r"[0-9a-f]{32}")
#: rpcd's session of everybody who has not logged in (RPC_DEFAULT_SESSION_ID).
_NOBODY = "0" * 32
_ACCESS_TIMEOUT_S = 5.0


class Gatekeeper:
    """Asks rpcd what a LuCI session may."""

    def __init__(self, bus: Client) -> None:
        self._bus = bus

    async def require(self, request: Request, *methods: str) -> str:
        """The id of the session behind `request`, which rpcd grants at least one of `methods` of the ubus
        object `stripe-payments`.

        Raises `PaymentError`: `cross_origin` for another site's page, `login_required` where there is no
        session or it has expired, `permission_denied` where it may none of them, `starting` while rpcd
        is away.
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
            # rpcd says Not found for a session it does not know (or no longer), and always answers `access`
            # for a known one; ubusd says Not found while there is no rpcd.
            if error.status is Status.NOT_FOUND and await self._bus.lookup("session"):
                raise PaymentError("login_required") from None
            raise PaymentError("starting") from error
        except (CallTimeout, ConnectionLost) as error:
            raise PaymentError("starting") from error
        return reply.get("access") is True


def credential(request: Request) -> str:
    """The session id that came with `request`; raises `login_required` or `cross_origin`."""
    session_id = request.bearer
    if session_id is None:
        evidence = _same_origin(request)
        if evidence is False:
            raise PaymentError("cross_origin")
        session_id = request.cookie(COOKIE)
        if session_id is not None and evidence is None:
            raise PaymentError("cross_origin")
    if session_id is None or not _SESSION_ID.fullmatch(session_id) or session_id == _NOBODY:
        raise PaymentError("login_required")
    return session_id


def require_same_origin(request: Request) -> None:
    """Raises `cross_origin` unless the request shows that a page of this very origin made it."""
    if _same_origin(request) is not True:
        raise PaymentError("cross_origin")


def cookie_header(session_id: str | None, *, secure: bool) -> str:
    """The Set-Cookie value that hands a session over, or that clears it with None."""
    value = f"{COOKIE}={session_id or ''}; Path=/api/payments; HttpOnly; SameSite=Strict"
    if session_id is None:
        value += "; Max-Age=0"
    return value + ("; Secure" if secure else "")


def _same_origin(request: Request) -> bool | None:
    """What the browser says of the page behind the request; None where it says nothing.

    `Sec-Fetch-Site` is the browser's own verdict and pages cannot set it; where it is missing (plain
    HTTP to a LAN address, older browsers) `Origin` is compared.
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
