"""When to ask Stripe next. Pure: time comes in as seconds of the monotonic clock, chance as a
`random.Random`.

While a checkout is open the buyer is waiting for an unlock: every 2 s for the first minutes, then ever more
slowly to once a minute. Else once in poll_interval, give or take 20 %; the first time after a start or an
outage anywhere within most of it, so that a street whose power came back does not call Stripe in the
same second. The figures come from the simulation of a fleet (`make fleet`, docs/fleet.md).
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

SPREAD: Final = 0.85
"""Of poll_interval: over so much of it routers are spread to which the same thing happened in the same
second. The rest is for what follows the first look, and for a second try.
"""

SEARCHES: Final = 24
"""A router that never bought anything asks so many times more rarely: only somebody who gives it a customer
by hand, or an old backup, can change anything, and Stripe allows an account 20 searches a second.
"""

DAY: Final = 86_400.0

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
    return chance.uniform(0, SPREAD * poll_interval)


def usual_interval(poll_interval: float, *, customer: bool) -> float:
    """Seconds between two rounds of a router that is a `customer` of Stripe's already, or not yet."""
    return poll_interval if customer else max(poll_interval, min(SEARCHES * poll_interval, DAY))


def failure_delay(
    failures: int, ceiling: float, chance: Random, first: float = FIRST_RETRY, jitter: float = JITTER
) -> float:
    """Seconds to wait after the given number of failures in a row: doubling from `first` up to `ceiling`,
    and up to the part `jitter` less than that.
    """
    delay = min(ceiling, first * 2.0 ** min(max(failures - 1, 0), 30))
    return delay * chance.uniform(1 - jitter, 1.0)


def event_retry_delay(attempts: int, chance: Random) -> float:
    """Seconds until an accepted event is tried again: 1 s doubling to 1 h, jittered downwards so that 1 h is
    the most.
    """
    delay = min(MAX_EVENT_RETRY, 2.0 ** min(max(attempts - 1, 0), 30))
    return delay * chance.uniform(1 - JITTER, 1.0)


@dataclass(slots=True)
class Backoff:
    """No request before `until`: what Stripe asked for (Retry-After) and our own restraint after failures.

    `since`: when the first of the `failures` in a row was.
    """

    failures: int = 0
    until: float = 0.0
    asked_until: float = 0.0
    since: float = 0.0

    def failed(
        self,
        now: float,
        ceiling: float,
        chance: Random,
        retry_after: float | None = None,
        *,
        first: float = FIRST_RETRY,
        jitter: float = JITTER,
    ) -> None:
        if not self.failures:
            self.since = now
        self.failures += 1
        delay = failure_delay(self.failures, ceiling, chance, first, jitter)
        if retry_after is not None:
            # never sooner than asked, and not all routers at the very same second
            asked = retry_after * chance.uniform(1.0, 1.0 + JITTER / 2)
            self.asked_until = max(self.asked_until, now + asked)
            delay = max(delay, asked)
        self.until = max(self.until, now + delay)

    def lasts(self, now: float) -> float:
        """Seconds for which nothing has succeeded."""
        return now - self.since if self.failures else 0.0

    def forgive(self, now: float) -> None:
        """Somebody says that things have changed: our own restraint ends, what Stripe asked for does not."""
        self.failures = 0
        self.until = self.asked_until if self.asked_until > now else 0.0

    def succeeded(self) -> None:
        self.failures = 0
        self.until = 0.0
