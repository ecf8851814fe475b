"""Budgets against guessing: so many failures for an address, refilled with time."""

from __future__ import annotations

import math
import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass


@dataclass(slots=True)
class _Bucket:
    tokens: float
    at: float


class Budget:
    """A token bucket for each key, e.g. a client's address.

    `burst` failures at once, one more every `refill` seconds. Only the `capacity` keys seen last are kept, so
    that addresses invented by a stranger cost a bounded amount of memory.
    """

    def __init__(
        self,
        *,
        burst: int,
        refill: float,
        capacity: int = 1024,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._burst = burst
        self._refill = refill
        self._capacity = capacity
        self._monotonic = monotonic
        self._buckets: OrderedDict[str, _Bucket] = OrderedDict()

    def spend(self, key: str) -> int:
        """Take one from the budget of `key`; the seconds to wait where there was nothing left to take."""
        bucket = self._buckets.pop(key, None) or _Bucket(float(self._burst), self._monotonic())
        bucket.tokens, bucket.at = self._refilled(bucket), self._monotonic()
        self._buckets[key] = bucket
        while len(self._buckets) > self._capacity:
            self._buckets.popitem(last=False)
        if bucket.tokens >= 1:
            bucket.tokens -= 1
            return 0
        return math.ceil((1 - bucket.tokens) * self._refill)

    def _refilled(self, bucket: _Bucket) -> float:
        return min(float(self._burst), bucket.tokens + (self._monotonic() - bucket.at) / self._refill)
