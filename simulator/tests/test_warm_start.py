"""A fork of the prepared interpreter is the daemon: its arguments, environment, log and end are its own."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from simulator.daemon_process import REPOSITORY
from simulator.warm_start import ForkedDaemon, WarmStarts
from stripe_payments import __version__

DAEMON = str(REPOSITORY / "daemon")


@pytest.fixture(scope="module")
def starts() -> Iterator[WarmStarts]:
    starts = WarmStarts({DAEMON})
    yield starts
    starts.close()


@pytest.fixture
def log(tmp_path: Path) -> Path:
    log = tmp_path / "log"
    log.touch()
    return log


async def start(starts: WarmStarts, log: Path, *arguments: str, **environment: str) -> ForkedDaemon:
    return await starts.start(arguments, {**os.environ, "PYTHONPATH": DAEMON, **environment}, log)


async def test_its_arguments_and_its_exit_status(starts: WarmStarts, log: Path) -> None:
    assert await (await start(starts, log, "--version")).wait() == 0
    assert log.read_text() == f"{__version__}\n"
    assert await (await start(starts, log, "--nonsense")).wait() == 2
    assert "usage: stripe-payments" in log.read_text()


async def test_its_environment(starts: WarmStarts, log: Path) -> None:
    assert await (await start(starts, log, STRIPE_API_BASE="ftp://127.0.0.1")).wait() == 2
    assert "STRIPE_API_BASE is not accepted" in log.read_text()


async def test_it_runs_until_it_is_ended(starts: WarmStarts, log: Path, tmp_path: Path) -> None:
    bus = str(tmp_path / "bus")
    states = [str(tmp_path / name) for name in ("first", "second")]
    daemon, beside = [await start(starts, log, "--bus", bus, "--state", state) for state in states]
    assert os.getsid(daemon.pid) == daemon.pid
    assert daemon.returncode is None
    daemon.send_signal(signal.SIGKILL)
    assert await daemon.wait() == daemon.returncode == -signal.SIGKILL
    assert not Path(f"/proc/{daemon.pid}").exists()
    assert beside.returncode is None
    beside.send_signal(signal.SIGTERM)
    assert await beside.wait() in (0, -signal.SIGTERM), "the second before the handler is installed"


@pytest.mark.parametrize(
    ("environment", "can"),
    [
        ({}, True),
        ({"PYTHONUNBUFFERED": "1", "STRIPE_API_BASE": "http://127.0.0.1:9"}, True),
        ({"PYTHONPATH": f"/nowhere:{DAEMON}"}, False),
        ({"PYTHONPROFILEIMPORTTIME": "1"}, False),
        ({"LD_PRELOAD": "/nowhere/preload.so"}, False),
    ],
)
def test_what_counts_at_the_start_of_an_interpreter_is_not_lost(
    starts: WarmStarts, environment: dict[str, str], can: bool
) -> None:
    assert starts.starts({**os.environ, "PYTHONPATH": DAEMON, **environment}) is can
