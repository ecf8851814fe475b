"""A daemon that hangs ends, so that procd starts another one: procd sees a crash, but no hang.

As long as the event loop turns, it keeps pushing back the moment at which faulthandler, in a thread of its
own that needs nothing of Python, writes to the log what every thread is doing (file names and lines, no
values) and ends the process. What the daemon had promised to anybody is on disk (`ledger`).

A process that something has stopped (SIGSTOP) cannot even do that. For it the loop leaves a sign of life in a
file; `/usr/share/stripe-payments/watch.sh` ends the daemon when it stays the same.
"""

from __future__ import annotations

import asyncio
import faulthandler
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Final

__all__ = ["Watchdog"]

PATIENCE_S: Final = 5.0
"""How long the event loop may not have its turn. With procd's delay before a respawn and the start, a daemon
that hangs is replaced within ten seconds; nothing that it does in the loop takes a tenth of one.
"""

STARTING_PATIENCE_S: Final = 60.0
"""Until it is ready: right after an installation all code is compiled, on a router that is booting."""

_BEAT_S: Final = 0.5


class Watchdog:
    """For a process that is the daemon's own: whoever else shared it would be ended, too.

    `sign_of_life`: a file on a tmpfs, or None where nobody looks at one.
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
        """Until cancelled. `ready`: whether the start is over; before, there is no sign of life."""
        try:
            while True:
                started = ready()
                patience = self._patience_s if started else self._starting_patience_s
                faulthandler.dump_traceback_later(patience, exit=True, file=sys.stderr)
                if started and self._sign_of_life is not None:
                    with suppress(OSError):  # a full tmpfs: then nobody looks after us
                        self._sign_of_life.write_text(f"{time.monotonic_ns()}\n")
                await asyncio.sleep(min(_BEAT_S, self._patience_s / 4))
        finally:
            faulthandler.cancel_dump_traceback_later()
            self._remove_sign()

    def _remove_sign(self) -> None:
        if self._sign_of_life is not None:
            with suppress(OSError):
                self._sign_of_life.unlink()
