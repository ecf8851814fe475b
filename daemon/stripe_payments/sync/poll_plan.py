"""When this router polls Stripe next, and which objects. Pure: time comes in as seconds of the monotonic
clock, randomness as a `random.Random`, events as method calls.

While a checkout is open the buyer is waiting for an unlock: every 2 s for the first minutes, then less and
less often down to once a minute. Otherwise once per poll_interval, ± 20 %; the first poll after a start or an
outage comes anywhere within most of it, so that the routers of a town whose power came back do not call
Stripe in the same second. Shortly after a period, a trial or a grace period ends, Stripe is polled whatever
the interval is; what ends by itself locks on time, whether or not Stripe can be reached.

The poller drives a `Plan` on a router. The fleet simulation (`make fleet`, docs/fleet.md), where the figures
below come from, drives as many of them as a fleet has routers, which is why they are small.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from random import Random
from typing import Final, Literal

from stripe_payments.entitlements import Entitlement, Subscription
from stripe_payments.sync.poll_round import OF_A_PERIOD, Agenda, Round, plan_round
from stripe_payments.sync.poll_timing import (
    DAY,
    FIRST_RETRY,
    JITTER,
    SLOWEST_OPEN,
    Boundaries,
    OpenCheckouts,
    PollBackoff,
    first_routine_delay,
    routine_delay,
    usual_interval,
)

FOLLOW_UP: Final = 5.0
"""Seconds between rounds while objects are still unpolled after a start, an outage or `poll_now`."""

SPACING: Final = 1.0
"""Seconds between the end of a round and the next one, whatever requested it."""

PATIENT_RETRY: Final = 30
"""The first retry comes after this part of poll_interval where no buyer waits: after a short outage the
routers that ran into it must not all come back in the same seconds.
"""

RETRY_WITHIN: Final = 0.95
"""Fraction of poll_interval: the longest wait between two attempts, so that after an outage everything has
been polled within one interval.
"""

SLOWER: Final = 2.0
FASTER: Final = 0.95
"""What a rate-limited round, and a successful one, do to the pace: a fleet that is too large for its
poll_interval slows down, to one poll a day at most, until about one request in fifteen is refused, and buyers
get through.
"""

WIDELY: Final = 0.8
"""Jitter of the retry after a rate limit: routers that were refused together would otherwise double their
delays in step, and be refused together again.
"""

Fault = Literal["transient", "rate_limited", "unconfigured", "refused", "broken"]
"""Why a round failed: Stripe was unreachable, the account's routers together exceeded its rate limit, there
is no key, Stripe refuses until an administrator changes something, or an answer could not be processed.
"""


class Plan:
    """The plan of one router. `interval` returns poll_interval in seconds."""

    __slots__ = (
        "_agenda",
        "_backoff",
        "_boundaries",
        "_chance",
        "_checkouts",
        "_customer",
        "_interval",
        "_pace",
        "_routine_at",
        "_starting",
        "_timed_for",
    )

    def __init__(self, interval: Callable[[], float], chance: Random) -> None:
        self._interval = interval
        self._chance = chance
        self._timed_for = interval()
        self._agenda = Agenda()
        self._backoff = PollBackoff()
        self._checkouts = OpenCheckouts()
        self._boundaries = Boundaries(first_routine_delay(self._timed_for, chance))
        self._routine_at = 0.0
        self._pace = 1.0
        self._customer = True
        self._starting = True

    # -- events -----------------------------------------------------------------------------------

    def started(self, now: float, *, urgent: bool = False) -> None:
        """`urgent`: a purchase is not unlocked, or not known, here and now."""
        self._retimed(now)
        if urgent:
            self._routine_at = now
        else:
            self._spread_out(now)

    def poll_now(self, now: float) -> None:
        """Something happened to this router alone: poll everything, from now on."""
        self._routine_at = now
        self._agenda.mark_all_missing()
        self._backoff.reset(now)

    def poll_soon(self, now: float, *, urgent: bool = False) -> None:
        """Something happened that may have happened to many routers at once: the network has come up, or the
        clock was set. If Stripe was unreachable, reset our backoff, but spread the retry; if nothing was
        missed, the next poll comes as planned. `urgent` as in `started`.
        """
        if urgent:
            self.poll_now(now)
        elif self._backoff.failures:
            self._notice_outage(now)
            self._backoff.reset(now)
            self._checkouts.spread(now, self._chance)
            if self._routine_at <= now:
                self._spread_out(now)

    def poll_everything(self) -> None:
        """In the rounds that come next."""
        self._agenda.mark_all_missing()

    def account_changed(self) -> None:
        """The keys may belong to another account: nothing found so far is trusted."""
        self._agenda.account_changed()

    def set_open_checkouts(
        self, now: float, trusted: int | None, open_ones: Iterable[tuple[int, int]]
    ) -> None:
        """All open checkouts that have a session: local id, and the epoch seconds at which they were opened.
        `trusted`: epoch seconds, or None.
        """
        if self._checkouts.update(now, trusted, open_ones, self._chance, starting=self._starting):
            # Stripe answered just now, whatever the backoff, and this router's next poll is no longer idle
            self._backoff.reset(now)
            self._routine_at = min(self._routine_at, now + routine_delay(self._interval(), self._chance))
        self._starting = False

    def checkout_polled(self, now: float, local_id: int) -> None:
        """Outside a round: its next poll comes as after one within a round."""
        self._checkouts.reschedule(local_id, now)
        self._checkouts.polled(local_id, now)

    def check_boundaries(
        self,
        now: float,
        trusted: int | None,
        subscriptions: Iterable[Subscription],
        features: Iterable[Entitlement],
    ) -> tuple[bool, float | None]:
        """Return whether something has just ended by itself, so that entitlements must be recomputed, and in
        how many seconds something will end or may have changed.
        """
        self._retimed(now)
        due = self._boundaries.due(trusted, subscriptions, features)
        if due.poll:
            self._routine_at = min(self._routine_at, now)
            self._agenda.mark_missing(OF_A_PERIOD)
        return due.recompute, due.next_in

    # -- when -------------------------------------------------------------------------------------

    @property
    def failing(self) -> bool:
        """Whether the last round failed."""
        return bool(self._backoff.failures)

    @property
    def done(self) -> bool:
        """Whether everything has been polled that was to be."""
        return self._agenda.done

    @property
    def complete(self) -> bool:
        """Whether everything has been polled but the outcome of open disputes."""
        return not self._agenda.missing

    @property
    def older_than(self) -> str | None:
        """The session from which on older ones are listed."""
        return self._agenda.older_than

    def retry_after(self, now: float) -> float:
        """Seconds for which a Retry-After of Stripe's is still pending, 0 without one."""
        return max(0.0, self._backoff.retry_after_until - now)

    def wake_at(self) -> float:
        """When a round is due: monotonic seconds."""
        return max(min(self._routine_at, self._checkouts.next_at), self._backoff.until)

    def due(self, now: float, *, customer: bool) -> Round | None:
        """The round that is due now."""
        if now < self._backoff.until:
            return None
        self._notice_outage(now)
        routine, checkouts = now >= self._routine_at, self._checkouts.due(now)
        if not routine and not checkouts:
            return None
        return self.round(now, checkouts, routine=routine, customer=customer)

    # -- rounds -----------------------------------------------------------------------------------

    def round(self, now: float, checkouts: Iterable[int], *, routine: bool, customer: bool) -> Round:
        """At most REQUESTS: for everything, if `routine`, and for open `checkouts` (local ids). `customer`:
        whether ours is known.
        """
        self._customer = customer
        return plan_round(
            self._agenda,
            self._checkouts,
            now,
            list(checkouts),
            customer=customer,
            on_routine=self._plan_routine if routine else None,
        )

    def succeeded(self) -> None:
        """A round completed."""
        self._backoff.succeeded()

    def failed(self, now: float, fault: Fault, retry_after: float | None = None) -> None:
        """A round failed; `retry_after`: seconds of Stripe's Retry-After."""
        interval = self._interval()
        ceiling, first = RETRY_WITHIN * interval, max(FIRST_RETRY, interval / PATIENT_RETRY)
        if fault == "rate_limited":
            if self._pace == 1.0:
                self._backoff.reset(now)  # Stripe answers: whatever failed before has ended
            self._pace = min(self._pace * SLOWER, max(SLOWER, DAY / interval))
            ceiling = self._paced()
        if fault == "broken" or (self._checkouts and fault in ("transient", "rate_limited")):
            ceiling, first = SLOWEST_OPEN, FIRST_RETRY
        jitter = WIDELY if fault == "rate_limited" else JITTER
        self._backoff.failed(now, ceiling, self._chance, retry_after, first=first, jitter=jitter)

    # -- inside -----------------------------------------------------------------------------------

    def _spread_out(self, now: float) -> None:
        self._routine_at = now + first_routine_delay(self._interval(), self._chance)

    def _notice_outage(self, now: float) -> None:
        """If a routine poll was missed, poll everything; a single failure is only retried."""
        if self._backoff.failing_for(now) >= self._interval():
            self._agenda.mark_all_missing()
            self._routine_at = min(self._routine_at, now)

    def _retimed(self, now: float) -> None:
        """A new poll_interval counts at once, not after the old one has passed."""
        interval = self._interval()
        if interval != self._timed_for:
            self._boundaries.spread *= interval / self._timed_for
            self._timed_for = interval
            self._routine_at = min(self._routine_at, now + first_routine_delay(interval, self._chance))

    def _paced(self) -> float:
        """Seconds between two routine polls at the present pace."""
        usual = usual_interval(self._interval(), customer=self._customer)
        return max(usual, min(DAY, usual * self._pace))

    def _plan_routine(self, now: float, *, customer: bool) -> None:
        if not self._agenda.done:
            self._routine_at = now + FOLLOW_UP
            return
        self._customer = customer
        self._routine_at = now + routine_delay(self._paced(), self._chance)
        self._pace = max(1.0, self._pace * FASTER)
