"""The simulator's clock: the wall clock plus however far it was advanced.

All times at Stripe are whole seconds since the Unix epoch, UTC.  The clock keeps running between two calls of
`advance`, so that a demo behaves like the real service until a person decides to jump a month ahead.
"""

from __future__ import annotations

import time
from email.utils import formatdate

MINUTE = 60
HOUR = 3_600
DAY = 86_400


class Clock:
    """`now()` is an int (seconds); `offset` is how many seconds ahead of the wall clock it runs."""

    def __init__(self, offset: float = 0.0) -> None:
        self.offset = offset

    def now(self) -> int:
        return int(self.precise())

    def precise(self) -> float:
        return time.time() + self.offset

    def advance(self, seconds: float) -> None:
        """Jump ahead.  Time never runs backwards: Stripe's test clocks refuse that as well."""
        if seconds < 0:
            raise ValueError("the clock only moves forward")
        self.offset += seconds

    def move_to(self, moment: float) -> None:
        """Jump to `moment` if that lies ahead; stay otherwise."""
        self.advance(max(0.0, moment - self.precise()))

    def http_date(self, ahead: float = 0.0) -> str:
        """The value of a `Date` header (RFC 9110), wrong by `ahead` seconds."""
        return formatdate(self.precise() + ahead, usegmt=True)


class StandingClock(Clock):
    """A clock that stands until it is advanced: the same history happens at the same seconds each time.
    `offset` is the time itself, in seconds since the epoch.
    """

    def precise(self) -> float:
        return self.offset
