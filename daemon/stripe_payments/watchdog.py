"""Ends a daemon that hangs, so that procd restarts it: procd notices a crash, but no hang.

While the event loop runs, it keeps postponing the moment at which faulthandler, in a C thread that does not
need the interpreter, writes the stack of every thread to the log (file names and lines, no values) and ends
the process. State is on disk by then (`ledger`).

A stopped process (SIGSTOP) cannot do that either. For this case the loop writes a heartbeat file;
`/usr/share/stripe-payments/watch.sh` kills the daemon when it stays the same.
"""

from __future__ import annotations

import asyncio
import faulthandler
import os
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Final

__all__ = ["Watchdog"]

PATIENCE_S: Final = 5.0
"""How long the event loop may be blocked. With procd's respawn delay and the start, a daemon that hangs is
replaced within ten seconds; nothing blocks the loop for a tenth of a second.
"""

STARTING_PATIENCE_S: Final = 60.0
"""During the start: right after an installation all code is compiled, on a router that is booting."""

_BEAT_S: Final = 0.5


class Watchdog:
    """Only for a process of the daemon's own: it is ended as a whole.

    `sign_of_life`: the heartbeat file, on a tmpfs; None: no heartbeat.
    """

    def __init__(
        self,
        sign_of_life: Path | None = None,
        *,
        patience_s: float = PATIENCE_S,
        starting_patience_s: float = STARTING_PATIENCE_S,
    ) -> None:
        self._sign_of_life = sign_of_life
        self._patience_s = patience_s
        self._starting_patience_s = starting_patience_s
        self._remove_sign()  # an earlier daemon's

    async def keep(self, ready: Callable[[], bool]) -> None:
        """Run until cancelled. `ready`: whether the start is over; before that there is no heartbeat."""
        try:
            while True:
                started = ready()
                patience = self._patience_s if started else self._starting_patience_s
                faulthandler.dump_traceback_later(patience, exit=True, file=sys.stderr)
                if started and self._sign_of_life is not None:
                    with suppress(OSError):  # a full tmpfs: then the daemon runs without this protection
                        _overwrite(self._sign_of_life, f"{time.monotonic_ns():020}\n".encode())
                await asyncio.sleep(min(_BEAT_S, self._patience_s / 4))
        finally:
            faulthandler.cancel_dump_traceback_later()
            self._remove_sign()

    def _remove_sign(self) -> None:
        if self._sign_of_life is not None:
            with suppress(OSError):
                self._sign_of_life.unlink()


def _overwrite(path: Path, heartbeat: bytes) -> None:
    """Each is as long as the one before: nothing is truncated. A daemon that is stopped beside an empty file
    would never be ended.
    """
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT, 0o644)
    try:
        os.write(descriptor, heartbeat)
    finally:
        os.close(descriptor)
