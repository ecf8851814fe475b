"""The time as Stripe tells it: no router has a battery-backed clock, and its wall clock may say 1970 or last
month.

Stripe's ``Date`` header gives the time of an answer; from then on the monotonic clock carries it. What was
once told is never taken back: the clock never runs backwards, and never falls below the floor that the ledger
remembers from before the restart.
"""

import threading
import time
from collections.abc import Callable
from typing import Final

__all__ = ["TrustedClock"]

_TOLERANCE: Final = 300
"""Seconds. An answer may be this much older than the clock (a proxy's cache, a slow line) and is simply not
needed.
"""
_EARLIEST: Final = 1_704_067_200
"""2024-01-01: nothing that speaks for Stripe says an earlier time."""
_LATEST: Final = 4_102_444_800
"""2100-01-01."""


class TrustedClock:
    """Trusted UTC in whole epoch seconds, None until Stripe has been heard. Safe to use from any thread.

    `floor` is the latest trusted time of an earlier run: a lower bound only, for it says nothing of how long
    the router was off.
    """

    def __init__(self, floor: int | None, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._monotonic = monotonic
        self._floor = floor
        self._offset: float | None = None  # trusted time minus monotonic time
        self._lock = threading.Lock()

    @property
    def trusted(self) -> bool:
        """Whether Stripe has told the time since the start."""
        return self._offset is not None

    @property
    def floor(self) -> int | None:
        """What to remember for the next run: the latest trusted time, or what was given at the start."""
        now = self.now()
        return now if now is not None else self._floor

    def now(self) -> int | None:
        """The trusted time, epoch seconds; None until there is one."""
        offset = self._offset
        return None if offset is None else int(self._monotonic() + offset)

    def observe(self, date: int) -> bool:
        """Take the time of an answer from Stripe (its Date header, epoch seconds); False if it was not
        believed.

        A time below the floor or far behind the running clock is ignored, so that an old answer out of a
        cache sets nothing back.
        """
        if not _EARLIEST <= date < _LATEST or (self._floor is not None and date < self._floor - _TOLERANCE):
            return False
        with self._lock:  # answers arrive in several threads; the later time must win, not the later thread
            monotonic = self._monotonic()
            offset = max(date, self._floor or 0) - monotonic
            current = self._offset
            if current is None or offset > current:
                self._offset = offset
                return True
            return current - offset <= _TOLERANCE
