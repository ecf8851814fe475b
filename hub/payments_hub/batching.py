"""Requests that wait together share one query: those that arrive while one runs are in the next.

Nothing is cached: a request is answered by a query that began after it arrived.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Final, Generic, TypeVar

__all__ = ["BatchedQuery"]

_K = TypeVar("_K")
_V = TypeVar("_V")

_MOST: Final = 256


class BatchedQuery(Generic[_K, _V]):
    """`query`: the results for so many keys, in their order. Of a query that fails each caller gets the
    exception.
    """

    def __init__(self, query: Callable[[Sequence[_K]], Awaitable[Sequence[_V]]], most: int = _MOST) -> None:
        self._query = query
        self._most = most
        self._arrived: list[tuple[_K, asyncio.Future[_V]]] = []
        self._running: asyncio.Task[None] | None = None

    async def get(self, key: _K) -> _V:
        result: asyncio.Future[_V] = asyncio.get_running_loop().create_future()
        self._arrived.append((key, result))
        if self._running is None:
            self._running = asyncio.create_task(self._run())
        return await result

    async def _run(self) -> None:
        try:
            while self._arrived:
                batch, self._arrived = self._arrived[: self._most], self._arrived[self._most :]
                try:
                    results = await self._query([key for key, _result in batch])
                except Exception as error:  # noqa: BLE001 - each of the callers gets it
                    for _key, result in batch:
                        if not result.done():
                            result.set_exception(error)
                    continue
                for (_key, result), found in zip(batch, results, strict=True):
                    if not result.done():
                        result.set_result(found)
        finally:
            self._running = None
            for _key, result in self._arrived:
                result.cancel()
            self._arrived = []
