"""The time as Stripe tells it: no router has a battery-backed clock, and its wall clock may say 1970 or last
month.

Stripe's ``Date`` header gives the time of an answer; from then on the monotonic clock carries it. What was
once told is never taken back lightly: the clock does not run backwards, nor fall below the floor that the
ledger remembers from before the restart.

But a single wrong answer (a broken proxy, the clock of a test environment) that says next year must not
hold the router there until next year. So answers that contradict the clock are remembered: where
CONTRADICTIONS of them in a row, over CONTRADICTED_FOR at least, agree with each other on one time that goes
on as time does, and no answer in between agrees with the clock, then the clock was wrong, and is set back to
what they say. An old answer out of a cache cannot do that: its time stands still.
"""

import threading
import time
from collections.abc import Callable
from typing import Final

from stripe_payments.log import Log

__all__ = ["CONTRADICTED_FOR", "CONTRADICTIONS", "TrustedClock"]

_log = Log("clock")

_TOLERANCE: Final = 300
"""Seconds. An answer may be this much older than the clock (a proxy's cache, a slow line) and is simply not
needed.
"""
CONTRADICTIONS: Final = 5
"""Answers in a row that have to agree against the clock before it is set back."""
CONTRADICTED_FOR: Final = 3600
"""Seconds between the first of them and the last."""
_AGREEING: Final = 60
"""Seconds that such answers may differ by from each other; what a slow line adds."""
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
        self._against: list[tuple[float, float]] = []  # (monotonic time, offset) of contradicting answers
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
        cache sets nothing back; only many such answers that agree do.
        """
        if not _EARLIEST <= date < _LATEST:
            return False
        with self._lock:  # answers arrive in several threads; the later time must win, not the later thread
            monotonic = self._monotonic()
            offset = date - monotonic
            current = self._offset
            if current is None:
                lags = self._floor is not None and date < self._floor - _TOLERANCE
            else:
                lags = current - offset > _TOLERANCE
            if lags:
                return self._contradicted(monotonic, offset)
            self._against.clear()
            if self._floor is not None:
                offset = max(offset, self._floor - monotonic)
            if current is None or offset > current:
                self._offset = offset
            return True

    def _contradicted(self, monotonic: float, offset: float) -> bool:
        """Another answer that says an earlier time; True if it was the one that decided."""
        if self._against and abs(offset - self._against[-1][1]) > _AGREEING:
            self._against.clear()  # they do not even agree with each other
        self._against.append((monotonic, offset))
        since = monotonic - self._against[0][0]
        if len(self._against) < CONTRADICTIONS or since < CONTRADICTED_FOR:
            # the first one says since when; of the others only their number counts
            del self._against[1:-CONTRADICTIONS]
            return False
        offset = max(offset for _, offset in self._against)
        _log.warning("the clock was ahead of Stripe and is set back", now=int(monotonic + offset))
        self._floor = None
        self._offset = offset
        self._against.clear()
        return True
