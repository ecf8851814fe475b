"""Who is logged in: rpcd sessions behind LuCI's cookie."""

import secrets
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from aiohttp import web

from ubus_py import Client, StatusError

COOKIE: Final = "sysauth_http"
SCRIPT_NAME: Final = "/cgi-bin/luci"
COOKIE_PATH: Final = f"{SCRIPT_NAME}/"


@dataclass(frozen=True)
class Session:
    """A live rpcd session that LuCI made (it carries LuCI's token)."""

    id: str
    token: str
    username: str
    groups: Mapping[str, list[str]] = field(default_factory=dict)
    """ACL group -> ``read`` and/or ``write``, as rpcd's scope ``access-group`` says."""


class Sessions:
    """Logs in and out through rpcd's ``session`` object, as LuCI's dispatcher does."""

    def __init__(self, bus: Client) -> None:
        self._bus = bus

    async def of(self, request: web.Request) -> Session | None:
        """Return the session that the request's cookie names, if it is alive."""
        session = request.cookies.get(COOKIE)
        return await self._retrieve(session) if session else None

    async def login(self, username: str, password: str) -> Session | None:
        """Start a session, or return None where rpcd refuses the login."""
        try:
            reply = await self._bus.call("session", "login", {"username": username, "password": password})
        except StatusError:
            return None
        session = str(reply["ubus_rpc_session"])
        await self._bus.call(
            "session", "set", {"ubus_rpc_session": session, "values": {"token": secrets.token_hex(16)}}
        )
        return await self._retrieve(session)

    async def logout(self, session: Session) -> None:
        """End a session; one that is gone already is fine."""
        try:
            await self._bus.call("session", "destroy", {"ubus_rpc_session": session.id})
        except StatusError:
            return

    async def _retrieve(self, session: str) -> Session | None:
        try:
            values: Any = (await self._bus.call("session", "get", {"ubus_rpc_session": session})).get(
                "values"
            )
            access: Any = await self._bus.call("session", "access", {"ubus_rpc_session": session})
        except StatusError:
            return None
        token = values.get("token") if isinstance(values, dict) else None
        if not isinstance(token, str):
            return None
        return Session(session, token, str(values.get("username", "")), access.get("access-group") or {})


def set_cookie(response: web.Response, session: Session) -> None:
    """Hand the browser LuCI's cookie, with the attributes that LuCI sets."""
    response.headers.add(
        "Set-Cookie", f"{COOKIE}={session.id}; path={COOKIE_PATH}; SameSite=strict; HttpOnly"
    )


def clear_cookie(response: web.Response) -> None:
    """Take LuCI's cookie back."""
    response.headers.add(
        "Set-Cookie", f"{COOKIE}=; expires=Thu, 01 Jan 1970 01:00:00 GMT; path={COOKIE_PATH}"
    )
