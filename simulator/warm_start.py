"""Starts of the daemon that do not import its modules again, for tests that start hundreds of daemons.

Each start is a fork of a `forking_interpreter`. It runs `python -m stripe_payments` from its first line on,
with arguments, environment, log and session of its own. It differs from a new process in that the modules are
loaded already, and that /proc/PID/cmdline, /proc/PID/environ and its parent are the interpreter's.
"""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import socket
import subprocess
import sys
import tempfile
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Final

__all__ = ["ForkedDaemon", "WarmStarts"]

_AT_ITS_START: Final = ("PYTHON", "LD_")
_OF_ALL: Final = {"PYTHONPATH", "PYTHONUNBUFFERED"}
_PROGRAM: Final = Path(__file__).with_name("forking_interpreter.py")


class ForkedDaemon:
    """One process; as much of `asyncio.subprocess.Process` as is needed."""

    def __init__(self, pid: int, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.pid = pid
        self.returncode: int | None = None
        self._reader = reader
        self._writer = writer
        self._ended = asyncio.create_task(self._end())

    async def _end(self) -> int:
        self.returncode = int(await self._reader.readline())
        self._writer.close()
        return self.returncode

    async def wait(self) -> int:
        """The exit status, or minus the signal's number."""
        return await asyncio.shield(self._ended)

    def send_signal(self, number: int) -> None:
        """Raises ProcessLookupError."""
        if self.returncode is None:
            os.kill(self.pid, number)


class _Interpreter:
    def __init__(self, environment: Mapping[str, str]) -> None:
        self._folder = Path(tempfile.mkdtemp(prefix="warm-"))
        self.socket = self._folder / "starts.sock"
        with socket.socket(socket.AF_UNIX) as listener:
            listener.bind(str(self.socket))
            listener.listen()
            self._process = subprocess.Popen(
                [sys.executable, str(_PROGRAM), str(listener.fileno())],
                stdin=subprocess.PIPE,
                pass_fds=[listener.fileno()],
                env=environment,
            )

    def close(self) -> None:
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._process.wait()
        shutil.rmtree(self._folder)


class WarmStarts:
    """One interpreter for each of `paths`, a PYTHONPATH; started when it is first needed."""

    def __init__(self, paths: Collection[str]) -> None:
        self._paths = paths
        self._interpreters: dict[str, _Interpreter] = {}

    def starts(self, environment: Mapping[str, str]) -> bool:
        """Whether a daemon with this environment can be started from here: what counts only at the start of
        an interpreter is the same.
        """
        own = {name for name in environment if name.startswith(_AT_ITS_START)} - _OF_ALL
        return environment.get("PYTHONPATH") in self._paths and all(
            environment[name] == os.environ.get(name) for name in own
        )

    async def start(
        self, arguments: Sequence[str], environment: Mapping[str, str], log: Path
    ) -> ForkedDaemon:
        path = environment["PYTHONPATH"]
        if path not in self._interpreters:
            self._interpreters[path] = _Interpreter(environment)
        reader, writer = await asyncio.open_unix_connection(self._interpreters[path].socket)
        wanted = {"arguments": arguments, "environment": dict(environment), "log": str(log)}
        writer.write(json.dumps(wanted).encode() + b"\n")
        return ForkedDaemon(int(await reader.readline()), reader, writer)

    def close(self) -> None:
        """End the interpreters; daemons that they have started stay."""
        for interpreter in self._interpreters.values():
            interpreter.close()
