"""A process that hangs ends, whatever holds it; one that does not is left alone."""

import asyncio
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.unit.stripe_payments.app.test_process import empty_harness, ended, running
from tests.unit.stripe_payments.harness import PATIENCE_S, Harness

__all__ = ["empty_harness"]

REPOSITORY = Path(__file__).resolve().parents[4]
WATCH = REPOSITORY / "files/usr/share/stripe-payments/watch.sh"
SHELLS = [["sh"], *([["busybox", "sh"]] if shutil.which("busybox") else [])]
PROGRAM = """
import asyncio, sys, time
from pathlib import Path
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
    time.sleep(2.5)  # nothing is watching any more

asyncio.run(main())
"""


async def _run(what: str) -> tuple[int, str]:
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-c",
        PROGRAM,
        what,
        env={"PATH": os.environ["PATH"], "PYTHONPATH": str(REPOSITORY / "daemon")},
        stderr=asyncio.subprocess.PIPE,
    )
    _, errors = await asyncio.wait_for(process.communicate(), PATIENCE_S)
    assert process.returncode is not None
    return process.returncode, errors.decode()


@pytest.mark.parametrize("what", ["a_long_computation", "a_lock_nobody_gives_back"])
async def test_a_hang_ends_the_process_and_logs_the_stack(what: str) -> None:
    code, log = await _run(what)
    assert code == 1
    assert f"in {what}" in log


@pytest.mark.parametrize("what", ["nothing_bad", "a_slow_start"])
async def test_a_process_that_does_not_hang_is_left_alone(what: str) -> None:
    assert await _run(what) == (0, "")


async def test_a_running_daemon_writes_heartbeats_and_a_stopped_one_none(
    empty_harness: Harness, tmp_path: Path
) -> None:
    alive = tmp_path / "alive"
    alive.write_text("an earlier daemon's\n")
    async with running(empty_harness, "--alive", str(alive)) as process:
        await empty_harness.bus.wait_for("stripe-payments", timeout=PATIENCE_S)
        await empty_harness.call("status")
        signs: set[str] = set()
        async with asyncio.timeout(PATIENCE_S):
            while len(signs) < 3:
                signs |= {alive.read_text()} if alive.exists() else set()
                await asyncio.sleep(0.05)
        assert "an earlier daemon's\n" not in signs
        process.send_signal(signal.SIGTERM)
        assert (await ended(process))[0] == 0
        assert not alive.exists()


WITHOUT_ROOM = """
import asyncio, resource, sys
from pathlib import Path
from stripe_payments.watchdog import Watchdog

async def main():
    alive = Path(sys.argv[1])
    beats = 0

    def ready():
        nonlocal beats
        beats += 1
        return True

    watching = asyncio.create_task(Watchdog(alive, patience_s=60.0).keep(ready))
    while beats < 1:
        await asyncio.sleep(0)
    before = alive.read_text()
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, resource.RLIM_INFINITY))
    while beats < 3:
        await asyncio.sleep(0.05)
    print(before != "", alive.read_text() == before)
    watching.cancel()

asyncio.run(main())
"""


def test_a_heartbeat_replaces_the_last_one_without_an_empty_file_between(tmp_path: Path) -> None:
    """`watch.sh` sees no daemon where the file is empty, and one that was stopped then is never ended."""
    done = subprocess.run(
        [sys.executable, "-c", WITHOUT_ROOM, str(tmp_path / "alive")],
        capture_output=True,
        text=True,
        timeout=PATIENCE_S,
        check=False,
        env={**os.environ, "PYTHONPATH": str(REPOSITORY / "daemon")},
    )
    assert (done.stdout, done.stderr) == ("True True\n", "")


LIVING = """
import sys, time
from pathlib import Path
from stripe_payments.watchdog import _overwrite
while True:
    _overwrite(Path(sys.argv[1]), f"{time.monotonic_ns():020}\\n".encode())
    time.sleep(0.2)
"""
WORLD = """
alive=$1; living=$2; python=$3; watch=$4; shift 4
"$python" -c "$living" "$alive" stripe_payments & daemon=$!
"$@" "$watch" "$alive" & watch=$!
state() { sed -n 's/^State:[[:space:]]*\\(.\\).*/\\1/p' /proc/$1/status; }
runs() { case "$(state $1)" in [SRD]) ;; *) return 1;; esac; }
sleep 8
runs $daemon && echo "left alone while it lives"
kill -STOP $daemon
for second in $(seq 60); do
    case "$(state $daemon 2>/dev/null)" in ''|Z) [ -e "$alive" ] || break;; esac
    sleep 1
done
case "$(state $daemon 2>/dev/null)" in ''|Z) echo "ended when it was stopped";; esac
[ -e "$alive" ] || echo "its sign is gone"
runs $watch && echo "the watch goes on"
"""


@pytest.mark.skipif(
    os.geteuid() != 0, reason="a PID namespace, which keeps other tests' daemons safe, needs root"
)
@pytest.mark.parametrize("shell", SHELLS, ids=lambda shell: shell[0])
def test_a_process_without_heartbeats_is_killed(shell: list[str], tmp_path: Path) -> None:
    alone = ["unshare", "--pid", "--fork", "--kill-child", "--mount-proc"]
    done = subprocess.run(
        [
            *alone,
            "sh",
            "-c",
            WORLD,
            "sh",
            str(tmp_path / "alive"),
            LIVING,
            sys.executable,
            str(WATCH),
            *shell,
        ],
        capture_output=True,
        text=True,
        timeout=PATIENCE_S * 3,
        check=False,
        env={**os.environ, "PYTHONPATH": str(REPOSITORY / "daemon")},
    )
    assert done.stdout.splitlines() == [
        "left alone while it lives",
        "ended when it was stopped",
        "its sign is gone",
        "the watch goes on",
    ], done.stderr
