"""When to ask Stripe next. Pure: time comes in as seconds of the monotonic clock, chance as a
`random.Random`.

While a checkout is open the buyer is waiting for an unlock: every 2 s for the first minutes, then ever more
slowly to once a minute. Else once in poll_interval, give or take 20 %, and the first time anywhere within it,
so that a street whose power came back does not call Stripe in the same second.
"""

from __future__ import annotations

from dataclasses import dataclass
from random import Random
from typing import Final

FAST: Final = 2.0
"""Seconds between two looks at a checkout that was opened lately."""

FAST_FOR: Final = 300.0
"""Seconds that a buyer usually needs on Checkout, looked at every 2 s all along."""

SLOWEST_OPEN: Final = 60.0
"""Seconds between two looks at a checkout that somebody seems to have walked away from."""

JITTER: Final = 0.2

FIRST_RETRY: Final = 2.0
MAX_EVENT_RETRY: Final = 3600.0


def open_checkout_delay(age: float) -> float:
    """Seconds until the next look at an open checkout that we have known for `age` seconds.

    A tenth of the time beyond the fast phase, so that the answer is never late by more than about a tenth.
    """
    return min(SLOWEST_OPEN, max(FAST, FAST + (age - FAST_FOR) / 10))


def routine_delay(poll_interval: float, chance: Random) -> float:
    return poll_interval * chance.uniform(1 - JITTER, 1 + JITTER)


def first_routine_delay(poll_interval: float, chance: Random) -> float:
    return chance.uniform(0, poll_interval)


def failure_delay(failures: int, ceiling: float, chance: Random) -> float:
    """Seconds to wait after the given number of failures in a row: doubling from 2 s up to `ceiling`, with
    jitter.
    """
    delay = min(ceiling, FIRST_RETRY * 2.0 ** min(max(failures - 1, 0), 30))
    return delay * chance.uniform(1 - JITTER, 1.0)


def event_retry_delay(attempts: int, chance: Random) -> float:
    """Seconds until an accepted event is tried again: 1 s doubling to 1 h, jittered downwards so that 1 h is
    the most.
    """
    delay = min(MAX_EVENT_RETRY, 2.0 ** min(max(attempts - 1, 0), 30))
    return delay * chance.uniform(1 - JITTER, 1.0)


@dataclass(slots=True)
class Backoff:
    """No request before `until`: what Stripe asked for (Retry-After) and our own restraint after failures."""

    failures: int = 0
    until: float = 0.0
    asked_until: float = 0.0

    def failed(self, now: float, ceiling: float, chance: Random, retry_after: float | None = None) -> None:
        self.failures += 1
        delay = failure_delay(self.failures, ceiling, chance)
        if retry_after is not None:
            # never sooner than asked, and not all routers at the very same second
            asked = retry_after * chance.uniform(1.0, 1.0 + JITTER / 2)
            self.asked_until = max(self.asked_until, now + asked)
            delay = max(delay, asked)
        self.until = max(self.until, now + delay)

    def forgive(self, now: float) -> None:
        """Somebody says that things have changed: our own restraint ends, what Stripe asked for does not."""
        self.failures = 0
        self.until = self.asked_until if self.asked_until > now else 0.0

    def succeeded(self) -> None:
        self.failures = 0
        self.until = 0.0
