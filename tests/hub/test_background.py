"""Background tasks end, whatever happens to a cancellation."""

import asyncio

import pytest

from payments_hub.background import run_all


async def test_a_task_that_loses_a_cancellation_ends() -> None:
    """As psycopg_pool's wait for a connection does on Python 3.11, here with certainty."""
    lost = asyncio.Event()

    async def loses_one() -> None:
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            lost.set()
        await asyncio.Event().wait()

    running = asyncio.create_task(run_all(loses_one(), loses_one()))
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    assert lost.is_set()


async def test_a_failure_ends_the_others_and_is_raised() -> None:
    ended = asyncio.Event()

    async def waits() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            ended.set()

    async def fails() -> None:
        raise ValueError("broken")

    with pytest.raises(ValueError, match="broken"):
        await run_all(waits(), fails())
    assert ended.is_set()
