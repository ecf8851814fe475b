"""A process that hangs is ended, whatever holds it; one that does not is left alone."""

import asyncio
import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.unit.stripe_payments.house import PATIENCE_S, House
from tests.unit.stripe_payments.service.test_process import empty_house, ended, running

__all__ = ["empty_house"]

DAEMON = Path(__file__).resolve().parents[4] / "daemon"
PROGRAM = """
import asyncio, signal, sys, time
from stripe_payments.watchdog import Watchdog

async def a_long_computation():
    await asyncio.sleep(0.2)
    while True:
        pass

async def a_lock_nobody_gives_back():
    import threading
    lock = threading.Lock()
    lock.acquire()
    lock.acquire()

async def nothing_bad():
    for _ in range(20):
        await asyncio.sleep(0.1)

async def sleeping():
    print("sleeping", flush=True)
    await asyncio.sleep(3600)

async def a_slow_start():
    time.sleep(1.5)

async def main():
    ready = sys.argv[1] != "a_slow_start"
    watching = asyncio.create_task(
        Watchdog(patience_s=1.0, starting_patience_s=60.0).keep(lambda: ready)
    )
    await asyncio.sleep(0.1)
    await globals()[sys.argv[1]]()
    watching.cancel()
    await asyncio.gather(watching, return_exceptions=True)
    time.sleep(2.5)  # nobody is watching any more

asyncio.run(main())
"""


async def _run(what: str, meanwhile: Callable[[int], None] | None = None) -> tuple[int, str]:
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-c",
        PROGRAM,
        what,
        env={"PATH": os.environ["PATH"], "PYTHONPATH": str(DAEMON)},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    if meanwhile is not None:
        assert process.stdout is not None
        assert await process.stdout.readline() == b"sleeping\n"
        meanwhile(process.pid)
    _, errors = await asyncio.wait_for(process.communicate(), PATIENCE_S)
    assert process.returncode is not None
    return process.returncode, errors.decode()


@pytest.mark.parametrize("what", ["a_long_computation", "a_lock_nobody_gives_back"])
async def test_a_hang_ends_the_process_and_the_log_says_where_it_was(what: str) -> None:
    code, log = await _run(what)
    assert code == -signal.SIGKILL
    assert f"in {what}" in log


async def test_a_process_that_was_stopped_is_ended() -> None:
    code, _ = await _run("sleeping", lambda pid: os.kill(pid, signal.SIGSTOP))
    assert code == -signal.SIGKILL


@pytest.mark.parametrize("what", ["nothing_bad", "a_slow_start"])
async def test_whoever_does_not_hang_is_left_alone(what: str) -> None:
    assert await _run(what) == (0, "")


async def test_a_daemon_that_was_stopped_is_ended(empty_house: House) -> None:
    async with running(empty_house) as process:
        await empty_house.bus.wait_for("stripe-payments", timeout=PATIENCE_S)
        await empty_house.call("status")
        await asyncio.sleep(3)  # from now on it has no more time than one that runs
        os.kill(process.pid, signal.SIGSTOP)
        code, _ = await ended(process)
        assert code == -signal.SIGKILL
