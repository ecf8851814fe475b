"""The ubus objects ``hotplug.SUBSYSTEM``: procd runs the scripts of ``/etc/hotplug.d/SUBSYSTEM`` one after
the other.

Facts from procd's hotplug-dispatch.c: the call answers at once, without what the scripts did;
variables with an unfit name, ``PATH`` and ``LD_…`` are dropped, those of procd's own environment cannot be
changed; ``ASYNC=0`` is not supported. What a script finds below ``/`` on a router it finds below
``$IPKG_INSTROOT`` here.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import re
import shlex
import signal
import time
from collections.abc import Iterable
from pathlib import Path

from ubus_py import ARRAY, Call, Method, Object, Status, StatusError, Value

log = logging.getLogger(__name__)

HOTPLUG_DIR = "etc/hotplug.d"
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_PATH = "/usr/sbin:/usr/bin:/sbin:/bin"


class Hotplug:
    """Runs the scripts below ``root``; nothing of this process's own environment reaches them."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self._runs: set[asyncio.Task[None]] = set()
        self._running: dict[int, tuple[str, float]] = {}

    def objects(self) -> list[Object]:
        """An object for every folder of scripts (``button`` has one always)."""
        folder = self._root / HOTPLUG_DIR
        names = {entry.name for entry in folder.iterdir() if entry.is_dir()} if folder.is_dir() else set()
        names = {name for name in names if not name.startswith(".")} | {"button"}
        return [self._object(name) for name in sorted(names)]

    def _object(self, subsystem: str) -> Object:
        async def call_scripts(call: Call) -> None:
            given = call.args.get("env")
            if not isinstance(given, list):
                raise StatusError(Status.INVALID_ARGUMENT)
            self._start(subsystem, given)

        return Object(f"hotplug.{subsystem}", [Method("call", call_scripts, {"env": ARRAY})])

    def _start(self, subsystem: str, given: Iterable[Value]) -> None:
        environment = {"PATH": _PATH, "HOME": "/", "IPKG_INSTROOT": str(self._root)}
        for name, value in _variables(given):
            if (name, value) == ("ASYNC", "0"):
                raise StatusError(Status.NOT_SUPPORTED)
            environment.setdefault(name, value)
        run = asyncio.get_running_loop().create_task(self._run(subsystem, environment))
        self._runs.add(run)
        run.add_done_callback(self._runs.discard)

    async def _run(self, subsystem: str, environment: dict[str, str]) -> None:
        folder = self._root / HOTPLUG_DIR / subsystem
        for script in sorted(entry for entry in folder.glob("[!.]*") if entry.is_file()):
            library = self._root / "lib/functions.sh"
            sources = [path for path in (library, script) if path.exists()]
            text = "\n".join(f". {shlex.quote(str(path))}" for path in sources)
            process = await asyncio.create_subprocess_exec(
                "/bin/sh",
                "-c",
                text,
                stdin=asyncio.subprocess.DEVNULL,
                stdout=asyncio.subprocess.DEVNULL,
                stderr=asyncio.subprocess.DEVNULL,
                cwd=self._root,
                env=environment,
                start_new_session=True,
            )
            self._running[process.pid] = (f"/{script.relative_to(self._root)}", time.monotonic())
            try:
                code = await process.wait()
            except asyncio.CancelledError:
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(process.pid, signal.SIGKILL)
                await process.wait()
                raise
            finally:
                del self._running[process.pid]
            if code:
                log.warning("hotplug script %s ended with %d", script, code)

    def running(self) -> list[tuple[str, float]]:
        """The scripts that run, as the router names them, each with its age in seconds."""
        now = time.monotonic()
        return [(script, now - began) for script, began in self._running.values()]

    async def settled(self) -> None:
        """Wait until every script that was started has ended."""
        while self._runs:
            await asyncio.wait(self._runs)

    async def close(self) -> None:
        """End the scripts that still run."""
        for run in list(self._runs):
            run.cancel()
        await asyncio.gather(*self._runs, return_exceptions=True)


def _variables(given: Iterable[Value]) -> Iterable[tuple[str, str]]:
    for entry in given:
        if not isinstance(entry, str) or len(entry) < 3 or "=" not in entry:
            continue
        name, _, value = entry.partition("=")
        if _NAME.fullmatch(name) and name != "PATH" and not name.startswith("LD_"):
            yield name, value
