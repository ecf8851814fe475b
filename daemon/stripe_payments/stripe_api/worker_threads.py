"""A few daemon threads that carry blocking calls for an event loop.

`concurrent.futures` joins its threads when the interpreter ends; a call that waits 30 s for Stripe would then
hold up the stop of the service until procd kills it. These threads are daemons: `close()` lets the idle ones
leave and abandons a call in flight (it is repeated under the same idempotency key after the restart).
"""

from __future__ import annotations

import asyncio
import queue
import threading
from collections.abc import Callable
from contextlib import suppress
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

    def run(self) -> None:
        if self.future.cancelled():  # the caller left while this waited its turn
            return
        try:
            result = self.call()
        except BaseException as error:  # noqa: BLE001 - whatever it is belongs to the caller, not to the thread
            self._settle(None, error)
        else:
            self._settle(result, None)

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
        self._jobs: queue.SimpleQueue[_Job | None] = queue.SimpleQueue()
        self._threads: list[threading.Thread] = []
        self._unfinished = 0
        self._lock = threading.Lock()
        self._closed = False

    async def run(self, call: Callable[[], T]) -> T:
        """Run `call` in a thread and give its result; cancelling the waiter drops a call that has not
        begun.
        """
        loop = asyncio.get_running_loop()
        future: asyncio.Future[T] = loop.create_future()
        with self._lock:
            if self._closed:
                raise RuntimeError(f"{self._name} threads are closed")
            if self._unfinished >= self._count + self._max_waiting:
                raise OverloadError
            self._unfinished += 1
            if len(self._threads) < min(self._count, self._unfinished):
                thread = threading.Thread(
                    target=self._work, name=f"{self._name}-{len(self._threads) + 1}", daemon=True
                )
                self._threads.append(thread)
                thread.start()
        self._jobs.put(_Job(call, loop, future))
        return await future

    def _work(self) -> None:
        try:
            while (job := self._jobs.get()) is not None:
                try:
                    job.run()
                finally:
                    with self._lock:
                        self._unfinished -= 1
                    del job
        finally:
            if self._on_exit is not None:
                self._on_exit()

    def close(self, timeout: float = 1.0) -> None:
        """Let the threads leave; wait at most `timeout` seconds in all for those that are idle.
        Idempotent.
        """
        with self._lock:
            if self._closed:
                return
            self._closed = True
            threads = list(self._threads)
        for _ in threads:
            self._jobs.put(None)
        for thread in threads:
            thread.join(timeout / len(threads))
