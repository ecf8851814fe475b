"""Starts the programs that are measured as processes of their own, and asks the kernel about them."""

import asyncio
import contextlib
import os
import signal
import socket
import sys
from collections.abc import AsyncIterator, Iterator, Mapping
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[2]


@contextlib.asynccontextmanager
async def running(
    *command: str, log: Path, environment: Mapping[str, str] | None = None
) -> AsyncIterator[asyncio.subprocess.Process]:
    """A child for as long as the block lasts, with the repository on its path unless `environment` has
    another one.
    """
    with log.open("ab") as sink:
        process = await asyncio.create_subprocess_exec(
            *command,
            stdout=sink,
            stderr=sink,
            env={
                **os.environ,
                "PYTHONPATH": f"{REPOSITORY}:{REPOSITORY / 'daemon'}",
                **(environment or {}),
            },
        )
    try:
        yield process
    finally:
        with contextlib.suppress(ProcessLookupError):
            process.send_signal(signal.SIGTERM)
        await process.wait()


def python(module: str, *arguments: str) -> tuple[str, ...]:
    """The command line that runs `module` with this interpreter."""
    return (sys.executable, "-m", module, *arguments)


def resident_mib(pid: int) -> float:
    """Resident memory of a process in MiB (VmRSS of /proc/PID/status)."""
    return _status_mib(pid, "VmRSS")


def most_resident_mib(pid: int) -> float:
    """The most resident memory since its start (VmHWM)."""
    return _status_mib(pid, "VmHWM")


def _status_mib(pid: int, name: str) -> float:
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith(f"{name}:"):
            return int(line.split()[1]) / 1024
    raise RuntimeError(f"process {pid} has no memory")


def cpu_seconds(pid: int) -> float:
    """CPU time of a process, of its descendants, and of those that have ended and were waited for."""
    ticks = 0
    for process in _with_descendants(pid):
        with contextlib.suppress(OSError):
            fields = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
            ticks += sum(int(fields[index]) for index in range(11, 15))
    return ticks / os.sysconf("SC_CLK_TCK")


def _with_descendants(pid: int) -> Iterator[int]:
    yield pid
    with contextlib.suppress(OSError):
        for thread in Path(f"/proc/{pid}/task").iterdir():
            for child in (thread / "children").read_text().split():
                yield from _with_descendants(int(child))


async def appears(path: Path, *, patience_s: float = 10.0) -> None:
    """Waits for a socket to be there."""
    async with asyncio.timeout(patience_s):
        while not path.exists():
            await asyncio.sleep(0.01)


def spare_port() -> int:
    """A TCP port on loopback that nothing listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
