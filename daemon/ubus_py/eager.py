"""Tasks that take their first step at once: what never has to wait costs no task and no turn of the loop.

Python 3.12 has them (``eager_start``). For 3.11 they are made here of documented parts: a task is kept ready
that waits to be handed a coroutine. A coroutine takes its first step as that task (``current_task()`` says
so, hence ``asyncio.timeout()`` works in it); if it has to wait, the task goes on with it, and another one is
made ready. https://docs.python.org/3.11/library/asyncio-extending.html#task-lifetime-support
"""

from __future__ import annotations

import asyncio
import contextvars
import sys
import types
from asyncio.tasks import _enter_task, _leave_task, current_task
from collections.abc import Coroutine, Generator
from typing import Any, Generic, TypeAlias, TypeVar

T = TypeVar("T")
Work: TypeAlias = "Coroutine[Any, Any, T]"


class EagerTasks:
    """Starts coroutines on one event loop."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._ready: _Ready[Any] | None = None

    if sys.version_info >= (3, 12):

        def start(self, work: Work[T]) -> asyncio.Task[T] | T:
            """What it gives, if it never had to wait; otherwise the task that goes on with it. Raises what
            it raises in its first step.
            """
            task = asyncio.Task(work, loop=self._loop, eager_start=True)
            return task.result() if task.done() else task

    else:

        def start(self, work: Work[T]) -> asyncio.Task[T] | T:
            """As above."""
            ready, loop = self._ready, self._loop
            if ready is None or ready.done() or ready.cancelling() or ready.context != ready.untouched:
                self.close()
                self._ready = _Ready(loop)
                return loop.create_task(work)
            if not ready.waiting or current_task(loop) is not None:  # none may begin inside another's step
                return loop.create_task(work)
            task = ready.task
            _enter_task(loop, task)
            try:
                waited_for = ready.run(work.send, None)
            except StopIteration as end:
                if ready.cancelling():  # by itself: as a task, it is cancelled then, whatever it returns
                    raise asyncio.CancelledError from None
                value: T = end.value
                return value
            finally:
                _leave_task(loop, task)
            self._ready = None
            ready.handed.set_result((work, waited_for))
            return task

    def close(self) -> None:
        """End the task that is kept ready."""
        if self._ready is not None:
            self._ready.task.cancel()
            self._ready = None


class _Ready(Generic[T]):
    """A task that waits for a coroutine which has begun."""

    __slots__ = ("cancelling", "context", "done", "handed", "run", "task", "untouched", "waiting")

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self.handed: asyncio.Future[tuple[Work[T], Any]] = loop.create_future()
        self.context = contextvars.copy_context()
        self.untouched = self.context.copy()
        """What the context was like before a coroutine may have left a variable behind in it."""
        self.run = self.context.run
        self.waiting = False
        self.task: asyncio.Task[T] = loop.create_task(self._go_on(), context=self.context)
        self.done, self.cancelling = self.task.done, self.task.cancelling

    async def _go_on(self) -> T:
        refusal: BaseException | None = None
        self.waiting = True  # a task that has not begun would not hear of its cancellation
        try:
            await self.handed
        except asyncio.CancelledError as error:
            if not self.handed.done() or self.handed.cancelled():
                raise
            refusal = error  # cancelled between the first step and now: it is the coroutine's to hear of it
        work, waited_for = self.handed.result()
        return await _continued(work, waited_for, refusal)


@types.coroutine
def _continued(work: Work[T], waited_for: Any, refusal: BaseException | None) -> Generator[Any, Any, T]:
    """What is left of a coroutine that waits for `waited_for`, as the task that awaits this."""
    while True:
        if refusal is None:
            try:
                yield waited_for
            except BaseException as error:  # noqa: BLE001 - the coroutine's, whatever it is
                refusal = error
        try:
            waited_for = work.send(None) if refusal is None else work.throw(refusal)
        except StopIteration as end:
            value: T = end.value
            return value
        refusal = None
