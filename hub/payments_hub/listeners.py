"""Listeners of one process: what routers and Stripe reach, and what only operators do."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any

import uvicorn
from starlette.types import ASGIApp

__all__ = ["serve_beside", "server"]


def server(app: ASGIApp, host: str, port: int) -> uvicorn.Server:
    """Not started yet."""
    return uvicorn.Server(uvicorn.Config(app, host=host, port=port, log_config=None, access_log=False))


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
