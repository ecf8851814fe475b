"""An interpreter that has imported the modules of the daemon and forks for each start: run by `warm_start`.

It serves a Unix socket that it inherits. A connection is one start: a line of JSON (`arguments`,
`environment`, `log`) is answered with the process id, and with the exit status when the process has ended.
It ends when its standard input does.
"""

from __future__ import annotations

import contextlib
import gc
import importlib
import json
import os
import pkgutil
import runpy
import selectors
import signal
import socket
import sys
import time
from pathlib import Path
from typing import Any, Final

MODULE: Final = "stripe_payments"
LOADED_LATER: Final = (
    *("_sqlite3", "concurrent.futures.thread", "faulthandler", "platform", "sqlite3", "uuid"),
    *("stripe._oauth_service", "stripe._event_notification_handler", "stripe._stripe_client"),
)
"""What the daemon and the Stripe SDK import when they first need it."""


def load() -> None:
    """Import what the daemon imports, under its own rules. On a router in hub mode what needs the Stripe SDK
    fails to import, and stays out.
    """
    main = importlib.import_module(f"{MODULE}.__main__")
    for name in main.NOT_LOADED:
        sys.modules[name] = None  # type: ignore[assignment]
    package = importlib.import_module(MODULE)
    parts = (part.name for part in pkgutil.walk_packages(package.__path__, f"{MODULE}."))
    for name in (*parts, *LOADED_LATER):
        with contextlib.suppress(ImportError):
            importlib.import_module(name)
    del sys.modules[f"{MODULE}.__main__"]  # each start runs it
    gc.collect()
    gc.freeze()


class ForkingInterpreter:
    """Forks, and tells the one who wanted it how a process ended."""

    def __init__(self, listener: socket.socket) -> None:
        self._listener = listener
        self._selector = selectors.DefaultSelector()
        self._running: dict[int, tuple[int, socket.socket]] = {}

    def serve(self) -> None:
        self._selector.register(self._listener, selectors.EVENT_READ)
        self._selector.register(0, selectors.EVENT_READ)
        while True:
            for key, _events in self._selector.select():
                if key.fd == 0:
                    return
                if key.fd == self._listener.fileno():
                    connection, _address = self._listener.accept()
                    self._start(connection)
                else:
                    self._ended(key.fd)

    def _start(self, connection: socket.socket) -> None:
        with connection.makefile("rb") as lines:
            wanted = json.loads(lines.readline())
        pid = os.fork()
        if pid == 0:
            self._leave()
            become(wanted, connection)
        pidfd = os.pidfd_open(pid)
        self._running[pidfd] = (pid, connection)
        self._selector.register(pidfd, selectors.EVENT_READ)

    def _ended(self, pidfd: int) -> None:
        self._selector.unregister(pidfd)
        pid, connection = self._running.pop(pidfd)
        status = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
        os.close(pidfd)
        with connection, contextlib.suppress(OSError):
            connection.sendall(f"{status}\n".encode())

    def _leave(self) -> None:
        """In the fork: nothing of this interpreter's stays open."""
        self._selector.close()
        self._listener.close()
        for pidfd, (_pid, other) in self._running.items():
            os.close(pidfd)
            other.close()


def become(wanted: dict[str, Any], connection: socket.socket) -> None:
    """Be the daemon: the process id is said when nothing but its main module is missing. Does not return."""
    os.setsid()
    null, log = os.open(os.devnull, os.O_RDONLY), os.open(wanted["log"], os.O_WRONLY | os.O_APPEND)
    os.dup2(null, 0)
    os.dup2(log, 1)
    os.dup2(log, 2)
    os.close(null)
    os.close(log)
    os.environ.clear()
    os.environ.update(wanted["environment"])
    time.tzset()
    with connection:
        connection.sendall(f"{os.getpid()}\n".encode())
    sys.argv = [MODULE, *wanted["arguments"]]
    try:
        runpy.run_module(MODULE, run_name="__main__", alter_sys=True)
    except SystemExit as ended:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(ended.code if isinstance(ended.code, int) else 1)
    finally:
        os._exit(70)  # the daemon's main module ends the process itself


if __name__ == "__main__":
    sys.path[0] = str(Path.cwd())  # as `python -m` has it, instead of this file's folder
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    load()
    with socket.socket(fileno=int(sys.argv[1])) as inherited:
        ForkingInterpreter(inherited).serve()
