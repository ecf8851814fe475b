"""The timing rules of polling: intervals, backoff, open checkouts, the ends of periods. Pure, as `poll_plan`,
which combines them: time comes in as seconds of the monotonic clock, randomness as a `random.Random`. The
figures come from the simulation of a fleet (`make fleet`, docs/fleet.md).
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from random import Random
from typing import Final

from stripe_payments.backoff import delay_after
from stripe_payments.entitlements import Entitlement, Subscription, announced_end, period_end_of

FAST: Final = 2.0
"""Seconds between two polls of a checkout that was opened recently."""

FAST_FOR: Final = 300.0
"""Seconds that a buyer usually spends on Checkout, polled every 2 s throughout."""

SLOWEST_OPEN: Final = 60.0
"""Seconds between two polls of a checkout that seems abandoned."""

JITTER: Final = 0.2

SPREAD: Final = 0.85
"""Fraction of poll_interval over which routers are spread to which the same thing happened in the same
second. The rest is for the rounds that follow the first one, and for a retry.
"""

WITHIN: Final = 5.0
"""Seconds over which routers are spread that find an open checkout at a start or after an outage: a buyer who
waited for a router to boot does not notice them.
"""

SEARCHES: Final = 24
"""A router without a customer at Stripe polls so many times less often: only a customer that was assigned by
hand, or an old backup, can change anything, and Stripe allows an account 20 searches a second.
"""

DAY: Final = 86_400.0

FIRST_RETRY: Final = 2.0

SETTLED_AFTER: Final = 60
"""Seconds that Stripe is given for what it does at the end of a period or trial."""

CHARGED_AFTER: Final = 3900
"""Seconds after which a renewal has been charged: its invoice stays a draft for about an hour.
https://docs.stripe.com/billing/subscriptions/webhooks#understand
"""

_AHEAD: Final = 2 * CHARGED_AFTER
"""Seconds for which a moment stays known although the subscription no longer mentions it: until the renewal
has been charged, for a router that polls once an hour.
"""

_RUNNING: Final = frozenset({"active", "trialing", "past_due"})


def open_checkout_delay(age: float) -> float:
    """Seconds until the next poll of an open checkout that has been known for `age` seconds.

    A tenth of the time beyond the fast phase, so that the result is never late by more than about a tenth.
    """
    return min(SLOWEST_OPEN, max(FAST, FAST + (age - FAST_FOR) / 10))


def routine_delay(poll_interval: float, chance: Random) -> float:
    return poll_interval * chance.uniform(1 - JITTER, 1 + JITTER)


def first_routine_delay(poll_interval: float, chance: Random) -> float:
    return chance.uniform(0, SPREAD * poll_interval)


def usual_interval(poll_interval: float, *, customer: bool) -> float:
    """Seconds between two rounds of a router that is, or is not yet, a `customer` at Stripe."""
    return poll_interval if customer else max(poll_interval, min(SEARCHES * poll_interval, DAY))


@dataclass(slots=True)
class PollBackoff:
    """No request before `until`: Stripe's Retry-After and our own backoff after failures.

    `since`: when the first of the `failures` in a row happened.
    """

    failures: int = 0
    until: float = 0.0
    retry_after_until: float = 0.0
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
        delay = delay_after(self.failures, chance, first=first, ceiling=ceiling, jitter=jitter)
        if retry_after is not None:
            # never sooner than Stripe allows, and not all routers in the very same second
            allowed_in = retry_after * chance.uniform(1.0, 1.0 + JITTER / 2)
            self.retry_after_until = max(self.retry_after_until, now + allowed_in)
            delay = max(delay, allowed_in)
        self.until = max(self.until, now + delay)

    def failing_for(self, now: float) -> float:
        """Seconds for which nothing has succeeded."""
        return now - self.since if self.failures else 0.0

    def reset(self, now: float) -> None:
        """Reset our backoff; keep a pending Retry-After."""
        self.failures = 0
        self.until = self.retry_after_until if self.retry_after_until > now else 0.0

    def succeeded(self) -> None:
        self.failures = 0
        self.until = 0.0


@dataclass(slots=True)
class _Waiting:
    """Monotonic seconds: when the checkout was opened, when its next poll is due, when the last one was.
    found: it was open before the daemon started, so its age is known only once the time is.
    """

    since: float
    due: float
    found: bool
    polled_at: float = 0.0


class OpenCheckouts:
    """The schedule of the open checkouts, by their local ids."""

    __slots__ = ("_waiting",)

    def __init__(self) -> None:
        self._waiting: dict[int, _Waiting] = {}

    def __bool__(self) -> bool:
        return bool(self._waiting)

    @property
    def next_at(self) -> float:
        """When the first of them is due; infinity without any."""
        if not self._waiting:
            return math.inf
        return min(one.due for one in self._waiting.values())

    def update(
        self,
        now: float,
        trusted: int | None,
        open_ones: Iterable[tuple[int, int]],
        chance: Random,
        *,
        starting: bool,
    ) -> bool:
        """Set all that are open: local id and the epoch seconds at which they were opened. Return whether one
        of them is new. `starting`: they may have been open before the daemon started.
        """
        current = dict(open_ones)
        opened = False
        for gone in self._waiting.keys() - current.keys():
            del self._waiting[gone]
        for local_id, opened_at in current.items():
            one = self._waiting.get(local_id)
            if one is None:
                # just opened: no one pays within 2 s; found at the start: it may have been paid meanwhile
                due = now + (chance.uniform(0, WITHIN) if starting else FAST)
                one = self._waiting[local_id] = _Waiting(now, due, starting)
                opened |= not starting
            if one.found and trusted is not None:
                one.since = now - max(0, trusted - opened_at)
                one.found = False
        return opened

    def due(self, now: float) -> list[int]:
        return [local_id for local_id, one in self._waiting.items() if one.due <= now]

    def least_recently_polled(self, local_ids: Iterable[int]) -> list[int]:
        """The same ids, the one whose last poll is longest ago first."""

        def polled_at(local_id: int) -> float:
            one = self._waiting.get(local_id)
            return one.polled_at if one is not None else 0.0

        return sorted(local_ids, key=polled_at)

    def reschedule(self, local_id: int, now: float) -> None:
        """Set the next poll by the checkout's age."""
        if (one := self._waiting.get(local_id)) is not None:
            one.due = now + open_checkout_delay(now - one.since)

    def polled(self, local_id: int, now: float) -> None:
        if (one := self._waiting.get(local_id)) is not None:
            one.polled_at = now

    def spread(self, now: float, chance: Random) -> None:
        """Poll all of them soon, but not in the same second as other routers."""
        for one in self._waiting.values():
            one.due = now + chance.uniform(0, WITHIN)


def expected_changes(subscriptions: Iterable[Subscription]) -> list[int]:
    """When these subscriptions will have changed at Stripe; epoch seconds."""
    moments = []
    for held in subscriptions:
        if held.status not in _RUNNING:
            continue
        end, announced = period_end_of(held), announced_end(held)
        if announced is not None:
            moments.append(announced + SETTLED_AFTER)
        if end is not None and (announced is None or end < announced):
            moments += [end + SETTLED_AFTER, end + CHARGED_AFTER]
    return moments


@dataclass(frozen=True, slots=True)
class Due:
    """What is due now, and in how many seconds something will be (None: nothing is known of)."""

    poll: bool
    recompute: bool
    next_in: float | None


class Boundaries:
    """Moments that are known in advance: a period, a trial, a cancellation or a grace period ends.

    Keeps up to when they have been handled. `spread`: seconds by which this router is later than others whose
    periods end at the same moment.
    """

    __slots__ = ("_ahead", "_done", "spread")

    def __init__(self, spread: float) -> None:
        self.spread = spread
        self._done: float | None = None
        self._ahead: tuple[int, ...] = ()

    def due(
        self, now: int | None, subscriptions: Iterable[Subscription], features: Iterable[Entitlement]
    ) -> Due:
        """`now`: trusted epoch seconds; nothing is due while it is unknown. What is returned as due counts as
        done.
        """
        if now is None:
            return Due(poll=False, recompute=False, next_in=None)
        if self._done is None or self._done > now:
            self._done = now  # the first round after a start polls everything anyway
        moments = {*expected_changes(subscriptions), *self._ahead}
        ends = [float(held.until) for held in features if held.unlocked and held.until is not None]
        polls = [moment + self.spread for moment in moments]
        poll = any(self._done < moment <= now for moment in polls)
        recompute = any(self._done < moment <= now for moment in ends)
        self._done = now
        # one that has renewed mentions its next end only; the charge for this one is still to come
        self._ahead = tuple(sorted(m for m in moments if m + self.spread > now and m <= now + _AHEAD))
        return Due(poll, recompute, min((m - now for m in (*ends, *polls) if m > now), default=None))
