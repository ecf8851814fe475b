"""Workers that break, end, and are stopped."""

import asyncio

import pytest

from stripe_payments.errors import PaymentError
from stripe_payments.supervisor import Supervisor


async def _fails_twice(error: Exception) -> None:
    """A worker that raises `error` at its first two starts has been started three times."""
    starts = 0
    running = asyncio.Event()

    async def fragile() -> None:
        nonlocal starts
        starts += 1
        if starts < 3:
            raise error
        running.set()
        await asyncio.Event().wait()

    supervisor = Supervisor(first_delay=0.001)
    supervisor.start("fragile", fragile)
    await asyncio.wait_for(running.wait(), 10)
    assert starts == 3
    await supervisor.stop(10)


async def test_a_crashed_worker_is_restarted() -> None:
    await _fails_twice(RuntimeError("broken"))


async def test_a_worker_that_cannot_store_is_restarted_without_a_traceback(
    caplog: pytest.LogCaptureFixture,
) -> None:
    await _fails_twice(PaymentError("ledger_unavailable", reason="the storage is full"))
    assert len(caplog.records) == 2
    assert not any(record.exc_info for record in caplog.records)
    assert all("the storage is full" in str(record.journal_fields) for record in caplog.records)  # type: ignore[attr-defined]


async def test_a_finished_worker_is_not_restarted() -> None:
    runs: list[str] = []
    often = asyncio.Event()

    async def once() -> None:
        runs.append("once")

    async def again() -> None:
        runs.append("again")
        if runs.count("again") == 4:
            often.set()

    supervisor = Supervisor(first_delay=0.001)
    supervisor.start("once", once, once=True)
    supervisor.start("again", again)
    await asyncio.wait_for(often.wait(), 10)
    await supervisor.stop(10)
    assert runs.count("once") == 1


async def test_a_worker_that_ignores_cancellation_does_not_delay_the_stop() -> None:
    release = asyncio.Event()
    started = asyncio.Event()

    async def stubborn() -> None:
        started.set()
        while not release.is_set():
            try:
                await release.wait()
            except asyncio.CancelledError:
                continue

    supervisor = Supervisor()
    supervisor.start("stubborn", stubborn, once=True)
    await started.wait()
    (task,) = [task for task in asyncio.all_tasks() if task.get_name() == "stubborn"]
    await supervisor.stop(0.05)
    assert not task.done()
    release.set()
    await asyncio.wait({task}, timeout=10)
    assert task.done()
