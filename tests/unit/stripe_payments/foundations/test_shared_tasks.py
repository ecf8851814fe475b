from __future__ import annotations

import asyncio

import pytest

from stripe_payments.shared_tasks import SharedTasks


async def test_equal_keys_share_a_task_that_outlives_a_cancelled_caller() -> None:
    shared: SharedTasks[str, int] = SharedTasks()
    started: list[str] = []
    go = asyncio.Event()

    async def work() -> int:
        started.append("x")
        await go.wait()
        return len(started)

    first, second = (asyncio.create_task(shared.run("a", work)) for _ in range(2))
    await asyncio.sleep(0)
    first.cancel()
    await asyncio.gather(first, return_exceptions=True)
    go.set()
    assert await second == 1
    assert await shared.run("a", work) == 2  # the next one is a task of its own


async def test_every_caller_gets_the_error_and_closing_cancels() -> None:
    shared: SharedTasks[str, None] = SharedTasks()

    async def fail() -> None:
        await asyncio.sleep(0)
        raise ZeroDivisionError

    results = await asyncio.gather(*(shared.run("a", fail) for _ in range(2)), return_exceptions=True)
    assert [type(result) for result in results] == [ZeroDivisionError] * 2
    waiting = asyncio.create_task(shared.run("b", lambda: asyncio.sleep(3600)))
    await asyncio.sleep(0)
    await shared.close()
    with pytest.raises(asyncio.CancelledError):
        await waiting


async def test_a_fresh_result_is_shared_and_a_failure_is_not() -> None:
    shared: SharedTasks[str, int] = SharedTasks(fresh_for=30.0)
    runs: list[str] = []

    async def run(name: str) -> int:
        runs.append(name)
        if name == "fails":
            raise ValueError(name)
        return len(runs)

    for _ in range(2):
        with pytest.raises(ValueError, match="fails"):
            await shared.run("key", lambda: run("fails"))
    assert await shared.run("key", lambda: run("succeeds")) == 3
    assert await shared.run("key", lambda: run("never")) == 3
    assert "key" in shared
    assert "other" not in shared


async def test_a_stale_result_is_not_shared() -> None:
    shared: SharedTasks[str, int] = SharedTasks(fresh_for=0.01)
    runs: list[int] = []

    async def run() -> int:
        runs.append(1)
        return len(runs)

    assert await shared.run("key", run) == 1
    async with asyncio.timeout(30):
        while "key" in shared:
            await asyncio.sleep(0.01)
    assert await shared.run("key", run) == 2
