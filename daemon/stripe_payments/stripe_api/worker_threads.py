"""A few daemon threads that carry blocking calls for an event loop.

`concurrent.futures` joins its threads when the interpreter ends; a call that waits 30 s for Stripe would then
hold up the stop of the service until procd kills it. These threads are daemons: `close()` lets the idle ones
leave and abandons a call in flight (it is repeated under the same idempotency key after the restart).
"""

from __future__ import annotations

import asyncio
import threading
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from typing import Any, TypeVar

T = TypeVar("T")


class OverloadError(Exception):
    """More calls wait for a thread than could be answered in any useful time."""


class _Job:
    __slots__ = ("call", "future", "loop")

    def __init__(
        self, call: Callable[[], Any], loop: asyncio.AbstractEventLoop, future: asyncio.Future[Any]
    ) -> None:
        self.call = call
        self.loop = loop
        self.future = future

    def run(self) -> Callable[[], None]:
        """What tells the caller how it went, whoever that is by then."""
        try:
            result = self.call()
        except BaseException as error:  # noqa: BLE001 - whatever it is belongs to the caller, not to the thread
            return partial(self._settle, None, error)
        return partial(self._settle, result, None)

    def _settle(self, result: Any, error: BaseException | None) -> None:
        def settle() -> None:
            if self.future.done():
                return
            if error is not None:
                self.future.set_exception(error)
            else:
                self.future.set_result(result)

        with suppress(RuntimeError):  # the loop has been closed: nobody is left to tell
            self.loop.call_soon_threadsafe(settle)


class WorkerThreads:
    """At most `count` threads, started when first needed, with at most `max_waiting` calls queued behind
    them.
    """

    def __init__(
        self, count: int, name: str, *, on_exit: Callable[[], None] | None = None, max_waiting: int = 64
    ) -> None:
        self._count = count
        self._name = name
        self._on_exit = on_exit
        self._max_waiting = max_waiting
        self._changed = threading.Condition()
        self._waiting: deque[_Job] = deque()
        self._running = 0
        self._threads: list[threading.Thread] = []
        self._closed = False

    async def run(self, call: Callable[[], T]) -> T:
        """Run `call` in a thread and give its result; cancelling the waiter drops a call that has not
        begun.
        """
        loop = asyncio.get_running_loop()
        future: asyncio.Future[T] = loop.create_future()
        job = _Job(call, loop, future)
        with self._changed:
            if self._closed:
                raise RuntimeError(f"{self._name} threads are closed")
            if self._running + len(self._waiting) >= self._count + self._max_waiting:
                raise OverloadError
            self._waiting.append(job)
            if len(self._threads) < min(self._count, self._running + len(self._waiting)):
                thread = threading.Thread(
                    target=self._work, name=f"{self._name}-{len(self._threads) + 1}", daemon=True
                )
                self._threads.append(thread)
                thread.start()
            self._changed.notify()
        try:
            return await future
        except asyncio.CancelledError:
            with self._changed, suppress(ValueError):
                self._waiting.remove(job)
            raise

    def _work(self) -> None:
        try:
            while (job := self._next()) is not None:
                tell = job.run()
                with self._changed:
                    self._running -= 1  # first: whoever hears the answer may ask the next thing at once
                tell()
                del job, tell
        finally:
            if self._on_exit is not None:
                self._on_exit()

    def _next(self) -> _Job | None:
        """Waits; None once there will be nothing more to do."""
        with self._changed:
            while not self._waiting:
                if self._closed:
                    return None
                self._changed.wait()
            self._running += 1
            return self._waiting.popleft()

    def close(self, timeout: float = 1.0) -> None:
        """Let the threads leave; wait at most `timeout` seconds in all for those that are idle.
        Idempotent.
        """
        with self._changed:
            if self._closed:
                return
            self._closed = True
            threads = list(self._threads)
            self._changed.notify_all()
        for thread in threads:
            thread.join(timeout / len(threads))
