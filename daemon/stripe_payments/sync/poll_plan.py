"""When this router asks Stripe next, and what: polling's decisions, without its IO.

Pure: time comes in as seconds of the monotonic clock, chance as a `random.Random`, what happens as calls.
The poller drives a plan with what happens on a router; `bench/fleet.py` drives as many of the very same
objects as a fleet has routers, which is why they are small.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from random import Random
from typing import Final, Literal

from stripe_payments.entitlements import Entitlement, Subscription
from stripe_payments.sync.boundaries import Boundaries
from stripe_payments.sync.open_checkouts import OpenCheckouts
from stripe_payments.sync.questions import OF_A_PERIOD, Agenda, Round, round_about
from stripe_payments.sync.schedule import (
    DAY,
    FIRST_RETRY,
    JITTER,
    SLOWEST_OPEN,
    Backoff,
    first_routine_delay,
    routine_delay,
    usual_interval,
)

FOLLOW_UP: Final = 5.0
"""Seconds between rounds while there is still to be asked after a start, an outage or a kick."""

SPACING: Final = 1.0
"""Seconds between the end of a round and the next one, whoever asks for it."""

PATIENT_RETRY: Final = 30
"""The first retry comes after this part of poll_interval where nobody waits: after a short outage the routers
that ran into it must not come back all in the same seconds.
"""

RETRY_WITHIN: Final = 0.95
"""Of poll_interval: the longest wait between two tries, so that after an outage everything has been looked at
within one.
"""

SLOWER: Final = 2.0
FASTER: Final = 0.95
"""What a refusal for too many requests, and a round that was let through, do to the pace: a fleet that is too
large for its poll_interval slows down, to one look a day at most, until about one request in fifteen is
refused, and buyers get through.
"""

WIDELY: Final = 0.8
"""The part by which a try after too many requests may be earlier: routers that were refused together would
else double their waits in step, and be refused together again.
"""

Fault = Literal["transient", "rate_limited", "unconfigured", "refused", "broken"]
"""Why a round failed: Stripe could not be asked just now, has been asked too much by all of its account's
routers, there is no key, Stripe will not answer until somebody changes something, or an answer was more than
we could bear.
"""


class Plan:
    """One router's. `interval` gives poll_interval in seconds."""

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
        self._backoff = Backoff()
        self._checkouts = OpenCheckouts()
        self._boundaries = Boundaries(first_routine_delay(self._timed_for, chance))
        self._routine_at = 0.0
        self._pace = 1.0
        self._customer = True
        self._starting = True

    # -- what happens -----------------------------------------------------------------------------

    def started(self, now: float, *, urgent: bool = False) -> None:
        """`urgent`: something was bought that is not unlocked, or not known, here and now."""
        self._retimed(now)
        if urgent:
            self._routine_at = now
        else:
            self._spread_out(now)

    def kicked(self, now: float) -> None:
        """Something happened that happened to this router alone: everything is looked at, from now on."""
        self._routine_at = now
        self._agenda.all_is_missing()
        self._backoff.forgive(now)

    def nudged(self, now: float, *, urgent: bool = False) -> None:
        """Something happened that may have happened to a whole street: the way to Stripe has come up, or the
        clock was set. Where Stripe could not be asked our own restraint ends, but not in this second. Where
        nothing was missed, the next look comes as planned. `urgent` as in `started`.
        """
        if urgent:
            self.kicked(now)
        elif self._backoff.failures:
            self._notice_outage(now)
            self._backoff.forgive(now)
            self._checkouts.spread(now, self._chance)
            if self._routine_at <= now:
                self._spread_out(now)

    def look_at_everything(self) -> None:
        """In the rounds that come next."""
        self._agenda.all_is_missing()

    def account_changed(self) -> None:
        """The keys may be of another account: nothing that was found is taken for granted."""
        self._agenda.account_changed()

    def checkouts_are(self, now: float, trusted: int | None, open_ones: Iterable[tuple[int, int]]) -> None:
        """All open checkouts that have a session: local id, and the epoch seconds at which they were opened.
        `trusted`: epoch seconds, or None.
        """
        if self._checkouts.note(now, trusted, open_ones, self._chance, starting=self._starting):
            # Stripe was there just now, whatever we thought, and this router's next look is no longer idle
            self._backoff.forgive(now)
            self._routine_at = min(self._routine_at, now + routine_delay(self._interval(), self._chance))
        self._starting = False

    def time_passed(
        self,
        now: float,
        trusted: int | None,
        subscriptions: Iterable[Subscription],
        features: Iterable[Entitlement],
    ) -> tuple[bool, float | None]:
        """Whether something has just ended by itself, so that entitlements are to be computed anew; and in
        how many seconds something will end, or may have news.
        """
        self._retimed(now)
        due = self._boundaries.due(trusted, subscriptions, features)
        if due.look:
            self._routine_at = min(self._routine_at, now)
            self._agenda.is_missing(OF_A_PERIOD)
        return due.recompute, due.next_in

    # -- when -------------------------------------------------------------------------------------

    @property
    def failing(self) -> bool:
        """Whether the last attempt to ask Stripe failed."""
        return bool(self._backoff.failures)

    @property
    def settled(self) -> bool:
        """Whether everything has been looked at that was to be."""
        return self._agenda.settled

    @property
    def complete(self) -> bool:
        """Whether everything has been looked at but how open disputes end."""
        return not self._agenda.missing

    @property
    def older_than(self) -> str | None:
        """The session below which older ones are asked for."""
        return self._agenda.older_than

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
        """At most REQUESTS: about everything, if `routine`, and about open `checkouts` (local ids).
        `customer`: whether ours is known.
        """
        self._customer = customer
        return round_about(
            self._agenda,
            self._checkouts,
            now,
            list(checkouts),
            customer=customer,
            planned=self._plan_routine if routine else None,
        )

    def succeeded(self) -> None:
        """A round came to its end."""
        self._backoff.succeeded()

    def failed(self, now: float, fault: Fault, retry_after: float | None = None) -> None:
        """A round did not; `retry_after`: seconds that Stripe asked for."""
        interval = self._interval()
        ceiling, first = RETRY_WITHIN * interval, max(FIRST_RETRY, interval / PATIENT_RETRY)
        if fault == "rate_limited":
            if self._pace == 1.0:
                self._backoff.forgive(now)  # Stripe answers: whatever failed before has ended
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
        """A look was missed, so everything is to be looked at; a single failure is only tried again."""
        if self._backoff.lasts(now) >= self._interval():
            self._agenda.all_is_missing()
            self._routine_at = min(self._routine_at, now)

    def _retimed(self, now: float) -> None:
        """A new poll_interval counts at once, not when the old one is over."""
        interval = self._interval()
        if interval != self._timed_for:
            self._boundaries.spread *= interval / self._timed_for
            self._timed_for = interval
            self._routine_at = min(self._routine_at, now + first_routine_delay(interval, self._chance))

    def _paced(self) -> float:
        """Seconds between two looks, as things are."""
        usual = usual_interval(self._interval(), customer=self._customer)
        return max(usual, min(DAY, usual * self._pace))

    def _plan_routine(self, now: float, *, customer: bool) -> None:
        if not self._agenda.settled:
            self._routine_at = now + FOLLOW_UP
            return
        self._customer = customer
        self._routine_at = now + routine_delay(self._paced(), self._chance)
        self._pace = max(1.0, self._pace * FASTER)
