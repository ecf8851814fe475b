"""``admin/uci/*``: applying staged configuration changes, as LuCI's controller answers.

A checked apply is undone by rpcd unless it is confirmed in time with the token that it gave.
"""

import secrets
from typing import Final

from aiohttp import web

from simulator.browser_front.sessions import Session
from ubus_py import Client, Status, StatusError

ROLLBACK_S: Final = 90

_HTTP: Final = {Status.NO_DATA: 204, Status.PERMISSION_DENIED: 403, Status.NOT_FOUND: 404}


class StagedChanges:
    """Applies, confirms and reverts what a session has staged."""

    def __init__(self, bus: Client) -> None:
        self._bus = bus
        self._token: str | None = None

    async def handle(self, request: web.Request, action: list[str], session: Session) -> web.Response:
        """Answer one POST; all but ``confirm`` need LuCI's token, against other sites' forms."""
        owner = {"ubus_rpc_session": session.id}
        given = request.query.get("token")
        try:
            if action == ["confirm"]:
                if given is None or given != self._token:
                    return web.Response(status=403)
                await self._bus.call("uci", "confirm", {**owner})
                self._token = None
                return web.Response(status=200)
            if given != session.token:
                return web.Response(status=403)
            if action == ["apply_rollback"]:
                await self._bus.call("uci", "apply", {**owner, "rollback": True, "timeout": ROLLBACK_S})
                self._token = secrets.token_hex(16)
                return web.json_response({"token": self._token})
            if action == ["apply_unchecked"]:
                await self._bus.call("uci", "apply", {**owner, "rollback": False})
                return web.Response(status=204)
            if action == ["revert"]:
                changes = (await self._bus.call("uci", "changes", {**owner})).get("changes")
                for config in changes if isinstance(changes, dict) else ():
                    await self._bus.call("uci", "revert", {**owner, "config": config})
                return web.Response(status=204)
        except StatusError as error:
            return web.Response(status=_HTTP.get(error.status, 500), text=error.status.name)
        return web.Response(status=404)
