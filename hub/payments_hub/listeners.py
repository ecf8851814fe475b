"""Two listeners of one process: what routers and Stripe reach, and what only operators do."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any

import uvicorn
from starlette.types import ASGIApp

__all__ = ["serve_beside", "serve_both", "server"]


def server(app: ASGIApp, host: str, port: int) -> uvicorn.Server:
    """Not started yet."""
    return uvicorn.Server(uvicorn.Config(app, host=host, port=port, log_config=None, access_log=False))


async def serve_both(first: uvicorn.Server, second: uvicorn.Server | None) -> None:
    """Serve until the process is stopped by a signal, which `first` receives."""
    if second is None:
        await first.serve()
        return
    await serve_beside(first.serve(), second)


async def serve_beside(work: Coroutine[Any, Any, None], server: uvicorn.Server) -> None:
    """Serve until other work of the process has ended, or is cancelled."""
    beside = asyncio.create_task(server._serve())  # `serve` would take the process's signals
    try:
        await work
    finally:
        server.should_exit = True
        await asyncio.gather(beside, return_exceptions=True)
