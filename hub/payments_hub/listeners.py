"""Two listeners of one process: what routers and Stripe reach, and what only operators do."""

from __future__ import annotations

import asyncio

import uvicorn
from starlette.types import ASGIApp

__all__ = ["serve_both", "server"]


def server(app: ASGIApp, host: str, port: int) -> uvicorn.Server:
    """Not started yet."""
    return uvicorn.Server(uvicorn.Config(app, host=host, port=port, log_config=None, access_log=False))


async def serve_both(first: uvicorn.Server, second: uvicorn.Server | None) -> None:
    """Serve until the process is stopped by a signal, which `first` receives."""
    if second is None:
        await first.serve()
        return
    beside = asyncio.create_task(second._serve())  # `serve` would take the signals from the first
    try:
        await first.serve()
    finally:
        second.should_exit = True
        await asyncio.gather(beside, return_exceptions=True)
