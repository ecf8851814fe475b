"""Workers that must not stay down: one that breaks is logged and started again, ever less eagerly."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Awaitable, Callable
from typing import Final

from stripe_payments.errors import PaymentError
from stripe_payments.log import Log

_log = Log("service")

FIRST_DELAY_S: Final = 1.0
LONGEST_DELAY_S: Final = 60.0
#: A worker that ran this long had recovered: its next fault starts from the first delay again.
_HEALTHY_AFTER_S: Final = 300.0


class Supervisor:
    """Runs workers until `stop`. A worker is a coroutine function that ends when cancelled."""

    def __init__(self, *, first_delay: float = FIRST_DELAY_S) -> None:
        self._first_delay = first_delay
        self._tasks: dict[str, asyncio.Task[None]] = {}

    def start(self, name: str, run: Callable[[], Awaitable[None]], *, once: bool = False) -> None:
        """`once`: its work may be done one day; then it is left alone."""
        self._tasks[name] = asyncio.create_task(self._keep(name, run, once), name=name)

    async def stop(self, patience: float) -> None:
        """Cancel all workers and wait at most `patience` seconds for them."""
        tasks = list(self._tasks.values())
        self._tasks.clear()
        for task in tasks:
            task.cancel()
        if tasks:
            _, stuck = await asyncio.wait(tasks, timeout=patience)
            for task in stuck:
                _log.warning("a worker does not end", worker=task.get_name())

    async def _keep(self, name: str, run: Callable[[], Awaitable[None]], once: bool) -> None:
        delay = self._first_delay
        while True:
            started = time.monotonic()
            try:
                await run()
                if once:
                    return
                _log.warning("a worker ended by itself", worker=name)
            except PaymentError as error:  # known, and told to whoever asks: no fault of the program's
                _log.error("a worker cannot go on for now and is started again", worker=name, reason=error)
            except Exception as error:  # noqa: BLE001 - whatever it was, the worker has to run
                _log.error("a worker broke and is started again", exc=error, worker=name)
            if time.monotonic() - started >= _HEALTHY_AFTER_S:
                delay = self._first_delay
            await asyncio.sleep(delay * random.uniform(0.75, 1.0))  # noqa: S311 - spreads load, keeps no secret
            delay = min(delay * 2, LONGEST_DELAY_S)
