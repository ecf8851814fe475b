"""The daemon as a process of its own, started, killed and respawned as procd does it."""

import asyncio
import contextlib
import os
import re
import resource
import signal
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import ClassVar

from simulator.warm_start import ForkedDaemon, WarmStarts
from tools import msgfmt

REPOSITORY = Path(__file__).resolve().parent.parent
RESPAWN_DELAY_S = 1.0
INIT_SCRIPT = REPOSITORY / "files/etc/init.d/stripe-payments"
LOGD_BYTES = 1024
"""LOG_LINE_SIZE of ubox: with the time, the service's name and its pid, which are not in this file."""


def reload_signal() -> signal.Signals:
    """The one that the shipped init script sends."""
    (name,) = re.findall(r"^RELOAD=(\w+)$", INIT_SCRIPT.read_text(), re.MULTILINE)
    return signal.Signals[f"SIG{name}"]


class DaemonProcess:
    """One instance of `python -m stripe_payments`.

    `log` receives its standard error (the system log on a router). With `respawn` a process that ended by
    itself is started again after a second, as procd's `respawn` does; one that was stopped or killed through
    this class is not. `environment` counts from the next start on. `private`: for the seller's socket and the
    mark of a managed router; none of both without it. `log_times`: whether the lines in `log` have the time.
    """

    warm_starts: ClassVar[WarmStarts | None] = None
    """Set by tests that start many; otherwise each start is a new interpreter."""

    def __init__(
        self,
        *,
        bus: Path,
        state: Path,
        log: Path,
        environment: Mapping[str, str],
        respawn: bool = False,
        private: Path | None = None,
        log_times: bool = False,
    ) -> None:
        self._bus = bus
        self._state = state
        self._log = log
        self.environment = dict(environment)
        self._respawn = respawn
        self._options = [*(("--private", str(private)) if private is not None else ())]
        if log_times:
            self._options.append("--log-times")
        self._process: asyncio.subprocess.Process | ForkedDaemon | None = None
        self._keeper: asyncio.Task[None] | None = None

    @property
    def pid(self) -> int | None:
        """The process id while it runs."""
        if self._process is None or self._process.returncode is not None:
            return None
        return self._process.pid

    def limit_files(self, size: int | None) -> None:
        """Let the kernel refuse what makes a file of the daemon's larger than `size` bytes; None: no more."""
        if self.pid is not None:
            _, hard = resource.prlimit(self.pid, resource.RLIMIT_FSIZE)
            resource.prlimit(self.pid, resource.RLIMIT_FSIZE, (hard if size is None else size, hard))

    async def start(self) -> None:
        """Starts the process; returns at once, before it has registered on the bus."""
        inherited = {
            name: value
            for name, value in os.environ.items()
            if not name.startswith(("STRIPE_", "COV_", "PYTHONPATH", "TMPDIR"))
        }
        msgfmt.compile_daemon_catalog()
        arguments = ["--bus", str(self._bus), "--state", str(self._state), *self._options]
        environment = {
            **inherited,
            "PYTHONPATH": str(REPOSITORY / "daemon"),
            "PYTHONUNBUFFERED": "1",
            **self.environment,
        }
        with self._log.open("ab") as log:
            if self.warm_starts is not None and self.warm_starts.starts(environment):
                self._process = await self.warm_starts.start(arguments, environment, self._log)
            else:
                self._process = await asyncio.create_subprocess_exec(
                    sys.executable,
                    *("-m", "stripe_payments", *arguments),
                    stdin=asyncio.subprocess.DEVNULL,
                    stdout=log,
                    stderr=log,
                    env=environment,
                    start_new_session=True,
                )
        if self._respawn:
            self._keeper = asyncio.create_task(self._keep_alive(self._process))

    async def _keep_alive(self, process: asyncio.subprocess.Process | ForkedDaemon) -> None:
        await process.wait()
        await asyncio.sleep(RESPAWN_DELAY_S)
        await self.start()

    def reload(self) -> None:
        """The signal of the init script's reload; nothing where it does not run."""
        if self._process is not None and self._process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                self._process.send_signal(reload_signal())

    async def ended(self) -> int:
        """Waits until the process that runs now has ended; its exit status, or minus the signal's number."""
        if self._process is None:
            raise RuntimeError("the daemon has not been started")
        return await self._process.wait()

    async def kill(self) -> None:
        """A power cut: SIGKILL, and gone when this returns."""
        await self._end(signal.SIGKILL)

    async def stop(self, *, patience_s: float = 10.0) -> None:
        """SIGTERM, as procd does it; SIGKILL where that was not heard in time."""
        try:
            await asyncio.wait_for(self._end(signal.SIGTERM), patience_s)
        except TimeoutError:
            await self._end(signal.SIGKILL)

    async def _end(self, how: signal.Signals) -> None:
        if self._keeper is not None:
            self._keeper.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._keeper
            self._keeper = None
        process = self._process
        if process is None:
            return
        if process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                process.send_signal(how)
        await process.wait()
        self._process = None

    def log_text(self) -> str:
        """What it has logged so far, as logd keeps it: of each line the first 1024 bytes."""
        lines = self._log.read_bytes().splitlines(keepends=True) if self._log.exists() else []
        kept = (line if len(line) <= LOGD_BYTES else line[:LOGD_BYTES] + b"\n" for line in lines)
        return b"".join(kept).decode(errors="replace")
