"""Restarts crashed workers with exponential backoff."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import Final

from stripe_payments.backoff import Backoff
from stripe_payments.errors import PaymentError
from stripe_payments.log import Log

_log = Log("service")

FIRST_DELAY_S: Final = 1.0
LONGEST_DELAY_S: Final = 60.0
_HEALTHY_AFTER_S: Final = 300.0
"""A worker that ran this long has recovered: its backoff is reset."""


class Supervisor:
    """Runs workers until `stop`. A worker is a coroutine function that runs until it is cancelled."""

    def __init__(self, *, first_delay: float = FIRST_DELAY_S) -> None:
        self._first_delay = first_delay
        self._tasks: dict[str, asyncio.Task[None]] = {}

    def start(self, name: str, run: Callable[[], Awaitable[None]], *, once: bool = False) -> None:
        """`once`: a worker that may finish; it is not restarted then."""
        self._tasks[name] = asyncio.create_task(self._keep(name, run, once), name=name)

    async def stop(self, patience: float) -> None:
        """Cancel all workers and wait at most `patience` seconds for them to end."""
        tasks = list(self._tasks.values())
        self._tasks.clear()
        for task in tasks:
            task.cancel()
        if tasks:
            _, stuck = await asyncio.wait(tasks, timeout=patience)
            for task in stuck:
                _log.warning("worker does not stop", worker=task.get_name())

    async def _keep(self, name: str, run: Callable[[], Awaitable[None]], once: bool) -> None:
        backoff = Backoff(self._first_delay, LONGEST_DELAY_S)
        while True:
            started = time.monotonic()
            try:
                await run()
                if once:
                    return
                _log.warning("worker exited unexpectedly", worker=name)
            except PaymentError as error:  # a known condition, not a fault of the program: no trace
                _log.error("worker failed, restarting", worker=name, reason=error)
            except Exception as error:  # noqa: BLE001 - the worker has to run
                _log.error("worker crashed, restarting", exc=error, worker=name)
            if time.monotonic() - started >= _HEALTHY_AFTER_S:
                backoff.reset()
            await asyncio.sleep(backoff.next_delay())
