"""``/ubus``: JSON-RPC 2.0 onto the bus, answered as uhttpd's ubus plugin (``uhttpd/ubus.c``) answers.

Only what a browser's LuCI uses of it: single calls, batches, ``list``, and the ``/ubus/list`` look-up. Worth
knowing, since callers come to depend on it:

- the object is looked up first (-32000), then ``session access`` is asked (-32002), then the call is made
  with ``ubus_rpc_session`` added; an argument of that name from outside is refused (-32602);
- ``result`` is ``[status]`` or, where the reply has members, ``[status, data]``: data comes also beside an
  error, and an empty table is indistinguishable from none;
- a batch is worked off one call after the other;
- the plugin never connects again: after a restart of ubusd every object is "not found" until uhttpd restarts.
"""

import json
from collections.abc import Mapping
from typing import Any, Final

from aiohttp import web

from ubus_py import ArgType, CallTimeout, Client, ConnectionLost, Status, StatusError, UbusError

MAX_BODY: Final = 65536
"""UH_UBUS_MAX_POST_SIZE: a longer body is a parse error."""

CALL_TIMEOUT: Final = 60.0
"""uhttpd's ``script_timeout`` as OpenWrt ships it, seconds."""

ERRORS: Final = {
    -32700: "Parse error",
    -32600: "Invalid request",
    -32601: "Method not found",
    -32602: "Invalid parameters",
    -32603: "Internal error",
    -32000: "Object not found",
    -32001: "Session not found",
    -32002: "Access denied",
    -32003: "ubus request timed out",
}

_TYPE_NAMES: Final[Mapping[int, str]] = {
    ArgType.INT8: "boolean",
    ArgType.INT32: "number",
    ArgType.STRING: "string",
    ArgType.ARRAY: "array",
    ArgType.TABLE: "object",
}


class JsonRpc:
    """Answers requests below ``/ubus`` over one bus client."""

    def __init__(self, bus: Client) -> None:
        self._bus = bus

    async def handle(self, request: web.Request, tail: str) -> web.Response:
        """Answer one HTTP request; ``tail`` is its path after ``/ubus``."""
        if request.method == "OPTIONS":
            return web.Response(content_type="application/json")
        if request.method in ("GET", "HEAD"):
            if tail == "/list" or tail.startswith("/list/"):
                found = await self._signatures(tail.removeprefix("/list").removeprefix("/") or "*", True)
                return _json(found) if found else _protocol_error(Status.NOT_FOUND, "Not found")
            return web.Response(status=404)
        if request.method != "POST" or tail not in ("", "/"):
            return web.Response(status=404)
        body = await request.content.read(MAX_BODY + 1)
        while len(body) <= MAX_BODY and not request.content.at_eof():
            body += await request.content.read(MAX_BODY + 1 - len(body))
        try:
            message = json.loads(body) if len(body) <= MAX_BODY else None
        except ValueError:
            message = None
        if isinstance(message, list):
            return _json([await self._answer(part) for part in message])
        response = _json(await self._answer(message))
        if len(body) > MAX_BODY:
            response.force_close()
        return response

    async def _answer(self, message: Any) -> dict[str, Any]:
        if not isinstance(message, dict):
            return _error(None, -32700)
        identity = message.get("id")
        method = message.get("method")
        if message.get("jsonrpc") != "2.0" or not isinstance(method, str):
            return _error(identity, -32700)
        if method == "list":
            params = message.get("params")
            if not isinstance(params, list):
                names = sorted(entry.name for entry in await self._bus.lookup("*"))
                return {"jsonrpc": "2.0", "id": identity, "result": names}
            found: dict[str, Any] = {}
            for pattern in params:
                found.update(await self._signatures(str(pattern), False))
            return {"jsonrpc": "2.0", "id": identity, "result": found}
        if method == "call":
            return await self._call(identity, message.get("params"))
        return _error(identity, -32601)

    async def _call(self, identity: Any, params: Any) -> dict[str, Any]:
        if not isinstance(params, list) or len(params) < 4:
            return _error(identity, -32700)
        session, name, method, arguments = params[:4]
        if not (isinstance(session, str) and isinstance(name, str) and isinstance(method, str)):
            return _error(identity, -32700)
        if not isinstance(arguments, dict):
            return _error(identity, -32700)
        try:
            if not await self._bus.lookup(name):
                return _error(identity, -32000)
            if not await self.allowed(session, name, method):
                return _error(identity, -32002)
            if "ubus_rpc_session" in arguments:
                return _error(identity, -32602)
            data = await self._bus.call(
                name, method, {**arguments, "ubus_rpc_session": session}, timeout=CALL_TIMEOUT
            )
            status = 0
        except StatusError as error:
            status, data = int(error.status), dict(error.data or {})
        except CallTimeout:
            return _error(identity, -32003)
        except ConnectionLost:
            return _error(identity, -32603)
        except UbusError:
            return _error(identity, -32602)
        return {"jsonrpc": "2.0", "id": identity, "result": [status, data] if data else [status]}

    async def allowed(self, session: str, name: str, method: str) -> bool:
        """Ask rpcd whether ``session`` may call ``method`` of object ``name``."""
        try:
            reply = await self._bus.call(
                "session", "access", {"ubus_rpc_session": session, "object": name, "function": method}
            )
        except StatusError:
            return False
        return bool(reply.get("access"))

    async def _signatures(self, pattern: str, qualified: bool) -> dict[str, Any]:
        del qualified  # both shapes name the object; the plugin differs only in the HTTP framing
        try:
            entries = await self._bus.lookup(pattern)
        except StatusError as error:
            if error.status is Status.NOT_FOUND:
                return {}
            raise
        return {
            entry.name: {
                method: {name: _TYPE_NAMES.get(kind, "unknown") for name, kind in arguments.items()}
                for method, arguments in entry.methods.items()
            }
            for entry in entries
        }


def no_bus(request: web.Request) -> web.Response:
    """The answer of the plugin whose connection to the bus has ended."""
    if request.method in ("GET", "HEAD"):
        return _protocol_error(Status.INVALID_ARGUMENT, "Invalid argument")
    return _json(_error(None, -32000))


def _protocol_error(status: Status, message: str) -> web.Response:
    return web.json_response(
        {"code": int(status), "message": message}, status=500, reason="Ubus Protocol Error"
    )


def _error(identity: Any, code: int) -> dict[str, Any]:
    return {"jsonrpc": "2.0", "id": identity, "error": {"code": code, "message": ERRORS[code]}}


def _json(value: Any) -> web.Response:
    return web.Response(text=json.dumps(value, ensure_ascii=False), content_type="application/json")
