"""The seller's commands: a UNIX socket through which root's shell calls every method of the daemon.

Why a socket: with `managed` on, the seller's methods are on no bus (`bus_object`), and what remains has to
distinguish root from everybody else without ubusd and rpcd, since a login with `'*'` has all of their rights.
The kernel does that: the directory is 0700, the socket 0600, and the peer's user id is checked (SO_PEERCRED).
A second program that works on the files would not do, because the ledger and the requests to Stripe belong to
one process. The methods, their checks and their errors are those of the bus: `Dispatcher.command` runs the
same table.

One request and one response a connection, each a line of JSON:

    {"method": "refund", "words": ["pi_123", "amount=500"], "locale": "en"}
    {"status": 0, "data": {…}}        # as on the bus: ubus status, and the reply or {"error": {…}}

The client is /usr/share/stripe-payments/command.uc. Keys are sent here, so that they are in no command line.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import socket
import struct
from typing import TYPE_CHECKING, Final

from stripe_payments.log import Log
from ubus_py import Status, StatusError

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from stripe_payments.bus_method import Dispatcher

_log = Log("shell")

LONGEST_REQUEST: Final = 64 * 1024
_REQUEST_TIMEOUT_S: Final = 5.0
_CREDENTIALS: Final = struct.Struct("iII")  # struct ucred: pid, uid, gid (unix(7), SO_PEERCRED)


class SellerSocket:
    """Serves `path` from `open` to `close`."""

    def __init__(self, dispatcher: Dispatcher, path: Path) -> None:
        self._dispatcher = dispatcher
        self._path = path
        self._server: asyncio.Server | None = None

    async def open(self) -> None:
        """Without the socket the daemon works on: a failure is logged."""
        try:
            self._path.unlink(missing_ok=True)  # of a daemon that was killed
            self._server = await asyncio.start_unix_server(
                self._serve, self._path, limit=LONGEST_REQUEST, start_serving=False
            )
            self._path.chmod(0o600)
            await self._server.start_serving()
        except OSError as error:
            _log.error("seller's commands are not available", path=self._path, reason=error.strerror or error)

    def close(self) -> None:
        if self._server is not None:
            self._server.close()
            self._server = None
            with contextlib.suppress(OSError):
                self._path.unlink(missing_ok=True)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            if _user_of(writer) in (0, os.geteuid()):
                response = await self._response(reader)
                writer.write(json.dumps(response, separators=(",", ":")).encode() + b"\n")
                await writer.drain()
        except (OSError, TimeoutError):
            pass  # the client has left, or sends nothing
        finally:
            writer.close()

    async def _response(self, reader: asyncio.StreamReader) -> Mapping[str, object]:
        try:
            async with asyncio.timeout(_REQUEST_TIMEOUT_S):
                request = json.loads(await reader.readline())
            method, words, locale = request["method"], request["words"], request.get("locale")
        except (ValueError, TypeError, KeyError):
            return {"status": Status.INVALID_ARGUMENT.value, "data": None}
        if not isinstance(method, str) or not isinstance(words, list) or not isinstance(locale, str | None):
            return {"status": Status.INVALID_ARGUMENT.value, "data": None}
        _log.info("seller's command", method=method)
        try:
            return {
                "status": 0,
                "data": await self._dispatcher.command(method, [str(w) for w in words], locale),
            }
        except StatusError as error:
            return {"status": error.code, "data": error.data}


def _user_of(writer: asyncio.StreamWriter) -> int:
    peer = writer.get_extra_info("socket").getsockopt(
        socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size
    )
    _pid, user, _group = _CREDENTIALS.unpack(peer)
    return int(user)
