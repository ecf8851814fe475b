"""Background tasks that use the database, ended for certain."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any, Final

__all__ = ["run_all"]

_CANCEL_AGAIN_S: Final = 2.0


async def run_all(*coroutines: Coroutine[Any, Any, None]) -> None:
    """Run them at the same time until one ends or this is cancelled; then all of them have ended. Raises what
    the one raised.

    A task is cancelled as often as it takes: `asyncio.wait_for` of Python 3.11 swallows a cancellation that
    comes when what it waits for is there, and psycopg_pool waits for a connection in it (psycopg #1413).
    """
    tasks = [asyncio.create_task(coroutine) for coroutine in coroutines]
    try:
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    finally:
        running = {task for task in tasks if not task.done()}
        while running:
            for task in running:
                task.cancel()
            _ended, running = await asyncio.wait(running, timeout=_CANCEL_AGAIN_S)
        results = await asyncio.gather(*tasks, return_exceptions=True)
    for result in results:
        if isinstance(result, BaseException) and not isinstance(result, asyncio.CancelledError):
            raise result
