"""Requests that wait together share one query, and none is answered by one that began before it."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import pytest

from payments_hub.batching import BatchedQuery


class Queries:
    """Records the keys of each query; they end once `go` is set."""

    def __init__(self) -> None:
        self.keys: list[list[int]] = []
        self.go = asyncio.Event()
        self.failing = False

    async def __call__(self, keys: Sequence[int]) -> list[int]:
        self.keys.append(list(keys))
        await self.go.wait()
        if self.failing:
            raise OSError("away")
        return [key * 10 for key in keys]


async def _while_one_runs(queries: Queries, batched: BatchedQuery[int, int]) -> list[asyncio.Task[int]]:
    """The first query runs for key 1; the requests for the other keys wait."""
    first = asyncio.create_task(batched.get(1))
    while not queries.keys:
        await asyncio.sleep(0)
    others = [asyncio.create_task(batched.get(key)) for key in (2, 2, 3, 4)]
    await asyncio.sleep(0)
    return [first, *others]


async def test_what_arrives_while_a_query_runs_is_in_the_next_one() -> None:
    queries = Queries()
    tasks = await _while_one_runs(queries, BatchedQuery(queries, most=3))
    tasks[3].cancel()
    queries.go.set()
    answers = await asyncio.gather(*tasks, return_exceptions=True)
    assert [answers[number] for number in (0, 1, 2, 4)] == [10, 20, 20, 40]
    assert isinstance(answers[3], asyncio.CancelledError), "the others have their answers"
    assert queries.keys == [[1], [2, 2, 3], [4]]


async def test_each_request_gets_the_failure_and_the_next_one_is_served() -> None:
    queries = Queries()
    batched = BatchedQuery(queries)
    tasks = await _while_one_runs(queries, batched)
    queries.failing = True
    queries.go.set()
    for task in tasks:
        with pytest.raises(OSError, match="away"):
            await task
    queries.failing = False
    assert await batched.get(5) == 50
