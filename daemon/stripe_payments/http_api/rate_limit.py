"""A token bucket for each client address, against guessing of ids and signatures."""

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


class RateLimit:
    """`burst` tokens for each key, one more every `refill_s` seconds.

    Only the `capacity` keys used last are kept: addresses that an attacker invents use a bounded amount of
    memory.
    """

    def __init__(
        self,
        *,
        burst: int,
        refill_s: float,
        capacity: int = 1024,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._burst = burst
        self._refill_s = refill_s
        self._capacity = capacity
        self._monotonic = monotonic
        self._buckets: OrderedDict[str, _Bucket] = OrderedDict()

    def take(self, key: str) -> int:
        """Take a token of `key`: return 0, or the seconds until the next one where none is left."""
        bucket = self._buckets.pop(key, None) or _Bucket(float(self._burst), self._monotonic())
        bucket.tokens, bucket.at = self._refilled(bucket), self._monotonic()
        self._buckets[key] = bucket
        while len(self._buckets) > self._capacity:
            self._buckets.popitem(last=False)
        if bucket.tokens >= 1:
            bucket.tokens -= 1
            return 0
        return math.ceil((1 - bucket.tokens) * self._refill_s)

    def _refilled(self, bucket: _Bucket) -> float:
        return min(float(self._burst), bucket.tokens + (self._monotonic() - bucket.at) / self._refill_s)
