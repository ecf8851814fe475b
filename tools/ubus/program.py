"""A program's event loop, and the signal that ends it."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Coroutine
from typing import Any, TypeVar

_T = TypeVar("_T")


def run(main: Coroutine[Any, Any, _T]) -> _T:
    """Run a program's main coroutine on an event loop of its own. Raises ``KeyboardInterrupt`` on SIGINT.

    (``asyncio.run`` alone sleeps over one that comes in the moment before the loop begins to wait: its own
    handler needs Python to run, and only a handler of the loop's wakes it.)
    """
    interrupted = False

    async def interruptible() -> _T:
        task = asyncio.current_task()

        def interrupt() -> None:
            nonlocal interrupted
            interrupted = True
            if task is not None:
                task.cancel()

        asyncio.get_running_loop().add_signal_handler(signal.SIGINT, interrupt)
        return await main

    try:
        return asyncio.run(interruptible())
    except asyncio.CancelledError:
        if interrupted:
            raise KeyboardInterrupt from None
        raise
