"""Exponential backoff with jitter, the only implementation in the daemon. Pure: randomness comes in as a
`random.Random`.
"""

from __future__ import annotations

from random import Random
from typing import Final

__all__ = ["Backoff", "delay_after"]

_LARGEST_EXPONENT: Final = 30
"""2 ** 30 seconds are 34 years: beyond it only the ceiling counts, and floats do not overflow."""


def delay_after(
    failures: int, chance: Random, *, first: float, ceiling: float, jitter: float = 0.25
) -> float:
    """Seconds to wait after that many `failures` in a row: `first`, doubled with each one up to `ceiling`,
    then shortened by up to the fraction `jitter`, so that many routers do not retry in the same second.
    """
    delay = min(ceiling, first * 2.0 ** min(max(failures - 1, 0), _LARGEST_EXPONENT))
    return delay * chance.uniform(1 - jitter, 1.0)


class Backoff:
    """The delays of one retry loop: `next_delay` after each failure, `reset` after a success."""

    __slots__ = ("_ceiling", "_chance", "_first", "_jitter", "failures")

    def __init__(self, first: float, ceiling: float, *, jitter: float = 0.25) -> None:
        self._first = first
        self._ceiling = ceiling
        self._jitter = jitter
        self._chance = Random()  # noqa: S311 - spreads load, keeps no secret
        self.failures = 0
        """In a row."""

    def next_delay(self) -> float:
        """Count a failure; return the seconds to wait before the next attempt."""
        self.failures += 1
        return delay_after(
            self.failures, self._chance, first=self._first, ceiling=self._ceiling, jitter=self._jitter
        )

    def reset(self) -> None:
        self.failures = 0
