"""A daemon that hangs is ended by the kernel, so that procd starts another one.

procd sees a crash, but no hang: a process that waits for itself, or that something has stopped, lives. So the
event loop keeps pushing back a POSIX timer whose signal is SIGKILL. When it stops doing so, whatever the
reason, the kernel ends the process, also one that is stopped and cannot handle any signal; what it had
promised to anybody is on disk (`ledger`). No second process is needed for it, and no right on the bus.

A second before, SIGALRM has faulthandler write what every thread was doing to stderr, hence to the system
log: file names and line numbers, no values.

timer_create(2), faulthandler.register.
"""

from __future__ import annotations

import asyncio
import ctypes
import faulthandler
import signal
import sys
import time
from collections.abc import Callable
from typing import Final

from stripe_payments.journal import Journal

__all__ = ["Watchdog"]

_journal = Journal("watchdog")

PATIENCE_S: Final = 5.0
"""How long the event loop may not have its turn. With procd's delay before a respawn and the start, a daemon
that hangs is replaced within ten seconds; nothing that it does in the loop takes a tenth of one.
"""

STARTING_PATIENCE_S: Final = 60.0
"""Until it is ready: right after an installation all code is compiled, on a router that is booting."""

_BEAT_S: Final = 0.5
_WARNED_BEFORE_S: Final = 1.0
_SIGEV_SIGNAL: Final = 0
_SIGEV_SIZE: Final = 64
"""sizeof(struct sigevent), on Linux everywhere the same (asm-generic/siginfo.h)."""


class _SigEvent(ctypes.Structure):
    _fields_ = (
        ("value", ctypes.c_void_p),
        ("signo", ctypes.c_int),
        ("notify", ctypes.c_int),
        (
            "rest",
            ctypes.c_char * (_SIGEV_SIZE - ctypes.sizeof(ctypes.c_void_p) - 2 * ctypes.sizeof(ctypes.c_int)),
        ),
    )


class _ITimerSpec(ctypes.Structure):
    _fields_ = (
        ("interval_s", ctypes.c_long),
        ("interval_ns", ctypes.c_long),
        ("value_s", ctypes.c_long),
        ("value_ns", ctypes.c_long),
    )


class Watchdog:
    """For the main thread of a process that is the daemon's own; `keep` in its event loop."""

    def __init__(
        self, *, patience_s: float = PATIENCE_S, starting_patience_s: float = STARTING_PATIENCE_S
    ) -> None:
        self._patience_s = patience_s
        self._starting_patience_s = starting_patience_s
        self._libc = ctypes.CDLL(None, use_errno=True)
        self._timer = ctypes.c_void_p()
        self._armed = False

    async def keep(self, ready: Callable[[], bool]) -> None:
        """Arm it, and push it back for as long as the event loop turns; cancelled, it disarms it. `ready`:
        whether the start is over.
        """
        if not self._create():
            return
        faulthandler.register(signal.SIGALRM, file=sys.stderr, all_threads=True)
        try:
            while True:
                self._push_back(self._patience_s if ready() else self._starting_patience_s)
                await asyncio.sleep(min(_BEAT_S, self._patience_s / 4))
        finally:
            self._push_back(0.0)
            faulthandler.unregister(signal.SIGALRM)

    def _create(self) -> bool:
        event = _SigEvent(signo=signal.SIGKILL, notify=_SIGEV_SIGNAL)
        # On 32 bits the C library has two shapes of a time; no board that this is made for has.
        if ctypes.sizeof(ctypes.c_long) < 8 or self._libc.timer_create(
            time.CLOCK_MONOTONIC, ctypes.byref(event), ctypes.byref(self._timer)
        ):
            _journal.warning("nobody will notice if this process hangs", errno=ctypes.get_errno())
            return False
        return True

    def _push_back(self, seconds: float) -> None:
        """End the process in so many seconds; 0 is never."""
        whole, nanoseconds = int(seconds), int(seconds % 1 * 1e9)
        end = _ITimerSpec(0, 0, whole, nanoseconds)
        self._libc.timer_settime(self._timer, 0, ctypes.byref(end), None)
        warning = max(seconds - _WARNED_BEFORE_S, seconds / 2)
        signal.setitimer(signal.ITIMER_REAL, warning)
