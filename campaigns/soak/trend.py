"""Whether a series of samples grows: the slope of a straight line through it, and how far it may be off."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean, median
from typing import Final

BLOCKS: Final = 20
"""The samples are taken together in so many blocks: a second's is not independent of the second's before."""

SURE: Final = 2.1
"""Standard errors on either side that hold the true slope 95 times in 100 (Student's t, 18 degrees)."""


@dataclass(frozen=True)
class Trend:
    """slope: units of y for one of x; error: what it may be off by, 95 times in 100."""

    slope: float
    error: float

    @property
    def at_least(self) -> float:
        """What the growth is if the error is in its favour; 0 if it may be none."""
        return max(0.0, self.slope - self.error)

    def __mul__(self, factor: float) -> Trend:
        return Trend(self.slope * factor, self.error * abs(factor))


def trend(xs: Sequence[float], ys: Sequence[float]) -> Trend:
    """By least squares through the medians of blocks. Fewer than three samples say nothing: an infinite
    error.
    """
    size = max(1, math.ceil(len(xs) / BLOCKS))
    middle = [
        (fmean(xs[at : at + size]), median(ys[at : at + size])) for at in range(0, len(xs) - size + 1, size)
    ]
    if len(middle) < 3:
        return Trend(0.0, math.inf)
    centre_x, centre_y = (fmean(one[axis] for one in middle) for axis in (0, 1))
    spread = sum((x - centre_x) ** 2 for x, _ in middle)
    if spread == 0.0:
        return Trend(0.0, math.inf)
    slope = sum((x - centre_x) * (y - centre_y) for x, y in middle) / spread
    rest = sum((y - centre_y - slope * (x - centre_x)) ** 2 for x, y in middle)
    return Trend(slope, SURE * math.sqrt(rest / (len(middle) - 2) / spread))
