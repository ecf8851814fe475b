"""One task for concurrent callers that want the same thing (a double click does it once), and waiting."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Hashable
from typing import Any, Generic, TypeVar

K = TypeVar("K", bound=Hashable)
T = TypeVar("T")


class SharedTasks(Generic[K, T]):
    """`run` joins the task of an equal key. A caller that is cancelled does not interrupt it: the request may
    have reached Stripe already.

    `fresh_for`: seconds after its start in which the result of a task that succeeded is still returned.
    """

    def __init__(self, fresh_for: float = 0.0) -> None:
        self._fresh_for = fresh_for
        self._tasks: dict[K, asyncio.Task[T]] = {}

    def __contains__(self, key: K) -> bool:
        """Whether `run` would join a task."""
        return key in self._tasks

    async def run(self, key: K, start: Callable[[], Coroutine[Any, Any, T]]) -> T:
        task = self._tasks.get(key)
        if task is None:
            stale_at = asyncio.get_running_loop().time() + self._fresh_for
            task = self._tasks[key] = asyncio.create_task(start())
            task.add_done_callback(lambda done: self._done(key, done, stale_at))
        return await asyncio.shield(task)

    def _done(self, key: K, task: asyncio.Task[T], stale_at: float) -> None:
        loop = asyncio.get_running_loop()
        # the exception is retrieved, because all callers may have gone away
        if task.cancelled() or task.exception() is not None or loop.time() >= stale_at:
            self._tasks.pop(key, None)
        else:
            loop.call_at(stale_at, self._tasks.pop, key, None)

    async def close(self) -> None:
        """Cancel the tasks in progress."""
        tasks = list(self._tasks.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def first_of(*events: asyncio.Event) -> None:
    """Return when one of them is set."""
    waiting = [asyncio.create_task(event.wait()) for event in events]
    try:
        await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in waiting:
            task.cancel()
