"""Trusted time, from Stripe: routers have no battery-backed clock, and the wall clock may say 1970 or last
month.

The ``Date`` header of a response sets the time; from then on the monotonic clock carries it. It never runs
backwards, nor falls below the floor that the ledger recorded before the restart.

But a single wrong response (a broken proxy, the clock of a test environment) that says next year must not
keep the router there until next year. So responses that contradict the clock are recorded: if CONTRADICTIONS
of them in a row, over CONTRADICTED_FOR at least, agree with each other on a time that advances as time does,
and no response in between agrees with the clock, then the clock was wrong, and is set back. An old response
from a cache cannot do that: its time does not advance.
"""

import threading
import time
from collections.abc import Callable
from email.utils import parsedate_to_datetime
from typing import Final

from stripe_payments.log import Log

__all__ = ["CONTRADICTED_FOR", "CONTRADICTIONS", "META_CLOCK_FLOOR", "TrustedClock", "http_date"]

_log = Log("clock")

META_CLOCK_FLOOR: Final = "clock_floor"
"""Ledger meta: the latest trusted time, for the next run."""
_TOLERANCE: Final = 300
"""Seconds by which a response may lag behind the clock (a proxy's cache, a slow line) and is just ignored."""
CONTRADICTIONS: Final = 5
"""Responses in a row that have to contradict the clock, and agree, before it is set back."""
CONTRADICTED_FOR: Final = 3600
"""Seconds between the first of them and the last."""
_AGREEING: Final = 60
"""Seconds by which such responses may differ from each other: the delay of a slow line."""
_EARLIEST: Final = 1_704_067_200
"""2024-01-01: Stripe cannot say an earlier time."""
_LATEST: Final = 4_102_444_800
"""2100-01-01."""


def http_date(value: str | None) -> int | None:
    """Epoch seconds of an HTTP date (RFC 9110), or None if it is not one."""
    if not value:
        return None
    try:
        return int(parsedate_to_datetime(value).timestamp())
    except (ValueError, TypeError, OverflowError):
        return None


class TrustedClock:
    """Trusted UTC in whole epoch seconds, None until the first response of Stripe. Thread-safe.

    `floor` is the latest trusted time of an earlier run: only a lower bound, because it is unknown how long
    the router was off.
    """

    def __init__(self, floor: int | None, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._monotonic = monotonic
        self._floor = floor
        self._offset: float | None = None  # trusted time minus monotonic time
        self._against: list[tuple[float, float]] = []  # (monotonic time, offset) of contradicting responses
        self._lock = threading.Lock()

    @property
    def trusted(self) -> bool:
        """Whether a response of Stripe has set the time since the start."""
        return self._offset is not None

    @property
    def floor(self) -> int | None:
        """The floor to record for the next run: the latest trusted time, or the floor of this run."""
        now = self.now()
        return now if now is not None else self._floor

    def now(self) -> int | None:
        """The trusted time, epoch seconds; None until there is one."""
        offset = self._offset
        return None if offset is None else int(self._monotonic() + offset)

    def observe(self, date: int) -> bool:
        """Take the time of a response of Stripe (its Date header, epoch seconds); return False if it was
        ignored.

        A time below the floor or far behind the running clock is ignored, so that an old response from a
        cache does not set the clock back; only many such responses that agree do.
        """
        if not _EARLIEST <= date < _LATEST:
            return False
        with self._lock:  # responses arrive in several threads; the later time must win, not the later thread
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

    def observe_header(self, date: str | None) -> None:
        """As `observe`, for a Date header as it came; one that is missing or malformed is ignored."""
        if (seconds := http_date(date)) is not None:
            self.observe(seconds)

    def _contradicted(self, monotonic: float, offset: float) -> bool:
        """Record a response with an earlier time; return True if the clock was set back."""
        if self._against and abs(offset - self._against[-1][1]) > _AGREEING:
            self._against.clear()  # they disagree with each other
        self._against.append((monotonic, offset))
        since = monotonic - self._against[0][0]
        if len(self._against) < CONTRADICTIONS or since < CONTRADICTED_FOR:
            # the first one has the start; of the others only their number counts
            del self._against[1:-CONTRADICTIONS]
            return False
        offset = max(offset for _, offset in self._against)
        _log.warning("clock was ahead of Stripe, set back", now=int(monotonic + offset))
        self._floor = None
        self._offset = offset
        self._against.clear()
        return True
