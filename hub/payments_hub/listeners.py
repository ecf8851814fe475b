"""Listeners of one process: what routers and Stripe reach, and what only operators do."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any, Final

import uvicorn
from starlette.types import ASGIApp
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

__all__ = ["BoundedProtocol", "serve_beside", "server"]

_LONGEST_HEAD: Final = 32 * 1024
"""Bytes of a request besides its body. nginx takes four headers of 8 KiB."""


class BoundedProtocol(HttpToolsProtocol):
    """uvicorn's protocol on httptools, with a bound of the hub's own for the head of a request."""

    _head = 0

    def data_received(self, data: bytes) -> None:
        self._head += len(data)
        super().data_received(data)
        if self._head > _LONGEST_HEAD and not self.transport.is_closing():
            self.send_400_response("The head of the request is too long.")

    def on_message_begin(self) -> None:
        self._head = 0
        super().on_message_begin()

    def on_body(self, body: bytes) -> None:
        self._head -= len(body)
        super().on_body(body)


def server(app: ASGIApp, host: str, port: int) -> uvicorn.Server:
    """Not started yet."""
    config = uvicorn.Config(
        app,
        host=host,
        port=port,
        http=BoundedProtocol,
        ws="none",
        server_header=False,
        log_config=None,
        access_log=False,
    )
    return uvicorn.Server(config)


async def serve_beside(work: Coroutine[Any, Any, None], *servers: uvicorn.Server) -> None:
    """Serve until the work of the process has ended, or is cancelled."""
    # `serve` would take the process's signals, which are for the work
    beside = [asyncio.create_task(server._serve()) for server in servers]
    try:
        await work
    finally:
        for server in servers:
            server.should_exit = True
        await asyncio.gather(*beside, return_exceptions=True)
