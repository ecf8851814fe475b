"""When this router asks Stripe next, and what: polling's decisions, without its IO.

Pure: time comes in as seconds of the monotonic clock, chance as a `random.Random`, what happens as calls.
The poller drives a plan with what happens on a router; `bench/fleet` drives as many of the very same objects
as a fleet has routers, which is why they are small.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable, Sequence
from dataclasses import dataclass
from random import Random
from typing import Final, Literal

from stripe_payments.entitlements import Entitlement, Subscription

from .boundaries import Boundaries
from .open_checkouts import OpenCheckouts
from .schedule import SLOWEST_OPEN, Backoff, first_routine_delay, routine_delay

REQUESTS: Final = 2
"""In a round, whatever there is to ask."""

FOLLOW_UP: Final = 5.0
"""Seconds between rounds while turns are still to be taken after a start, an outage or a kick."""

SPACING: Final = 1.0
"""Seconds between the end of a round and the next one, whoever asks for it."""

SPREAD: Final = 60.0
"""Seconds over which routers whose periods end at the same moment ask about it."""

Kind = Literal[
    "find_customer",
    "is_customer",
    "sessions",
    "older_sessions",
    "subscriptions",
    "invoices",
    "charges",
    "dispute",
    "checkout",
]
"""find_customer searches ours by its metadata, is_customer asks whether the account of the keys has it;
sessions are the newest completed ones. All are one request but dispute, which may be two.
"""

TURNS: Final[tuple[Kind, ...]] = ("subscriptions", "invoices", "charges", "older_sessions")

Fault = Literal["transient", "unconfigured", "refused", "broken"]
"""Why a round failed: Stripe could not be asked just now, there is no key, Stripe will not answer until
somebody changes something, or an answer was more than we could bear.
"""


@dataclass(frozen=True, slots=True)
class Question:
    """subject: the local id of a checkout, the id of what is disputed."""

    kind: Kind
    subject: int | str | None = None


@dataclass(frozen=True, slots=True)
class Answer:
    """What came of a question, as far as the plan has to know.

    now: monotonic seconds. there: False if Stripe has no such customer (has found none). refused: the key may
    not ask that. more: the id below which a list goes on. disputed: ids of what is openly disputed.
    """

    now: float
    there: bool = True
    refused: bool = False
    more: str | None = None
    disputed: Sequence[str] = ()


Steps = Generator[Question, Answer, None]
Asking = Generator[Question, Answer, Answer]


class Round:
    """`question` is what to ask now, None when there is nothing more; `answered` leads to the next."""

    __slots__ = ("_steps", "question")

    def __init__(self, steps: Steps) -> None:
        self._steps = steps
        self.question: Question | None = next(steps, None)

    def answered(self, answer: Answer) -> None:
        try:
            self.question = self._steps.send(answer)
        except StopIteration:
            self.question = None


class Plan:
    """One router's. `interval` gives poll_interval in seconds.

    missing: the turns that are still to be taken before everything has been looked at once.
    """

    __slots__ = (
        "_boundaries",
        "_chance",
        "_checkouts",
        "_disputed",
        "_in_doubt",
        "_interval",
        "_now",
        "_routine_at",
        "_starting",
        "_timed_for",
        "_turns",
        "backoff",
        "missing",
        "older_than",
    )

    def __init__(self, interval: Callable[[], float], chance: Random) -> None:
        self._interval = interval
        self._chance = chance
        self._timed_for = interval()
        self.backoff = Backoff()
        self.missing: tuple[Kind, ...] = TURNS
        self.older_than: str | None = None
        self._now = 0.0
        self._routine_at = 0.0
        self._turns: tuple[Kind, ...] = TURNS
        self._disputed: tuple[str, ...] = ()
        self._in_doubt = False
        self._starting = True
        self._checkouts = OpenCheckouts()
        self._boundaries = Boundaries(chance.uniform(0.0, SPREAD))

    # -- what happens -----------------------------------------------------------------------------

    def started(self, now: float, *, urgent: bool = False) -> None:
        """`urgent`: what was bought is not known here any more."""
        self._routine_at = 0.0 if urgent else now + first_routine_delay(self._interval(), self._chance)

    def kicked(self, now: float) -> None:
        """Somebody says that things have changed, and waits: everything is looked at, from now on."""
        self._routine_at = now
        self.missing = TURNS
        self.backoff.forgive(now)

    def look_at_everything(self) -> None:
        self.missing = TURNS

    def account_changed(self) -> None:
        """The keys may be of another account: not even the customer is taken for granted."""
        self._in_doubt = True
        self.older_than = None
        self._disputed = ()

    def checkouts_are(self, now: float, trusted: int | None, found: Iterable[tuple[int, int]]) -> None:
        """All open checkouts that have a session: local id and epoch seconds of creation. `trusted`: epoch
        seconds, or None.
        """
        if self._checkouts.note(now, trusted, found, starting=self._starting):
            self.backoff.forgive(now)  # Stripe was there just now, whatever we thought
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
            self._routine_at = now
            self.missing = TURNS
        return due.recompute, due.next_in

    # -- when -------------------------------------------------------------------------------------

    @property
    def waiting(self) -> bool:
        """Whether a buyer may be waiting for an unlock."""
        return bool(self._checkouts)

    @property
    def settled(self) -> bool:
        """Whether everything has been looked at that was to be."""
        return not self.missing and not self._disputed

    def wake_at(self) -> float:
        """When a round is due: monotonic seconds."""
        return max(min(self._routine_at, self._checkouts.next_at), self.backoff.until)

    def due(self, now: float, *, customer: bool) -> Round | None:
        """The round that is due now."""
        if now < self.backoff.until:
            return None
        routine, checkouts = now >= self._routine_at, self._checkouts.due(now)
        if not routine and not checkouts:
            return None
        return self.round(now, checkouts, routine=routine, customer=customer)

    # -- what -------------------------------------------------------------------------------------

    def round(self, now: float, checkouts: Iterable[int], *, routine: bool, customer: bool) -> Round:
        """REQUESTS at most: about everything, if `routine`, and about open `checkouts` (local ids).
        `customer`: whether ours is known.
        """
        self._now = now
        return Round(self._steps(list(checkouts), routine=routine, customer=customer))

    def succeeded(self) -> None:
        """A round came to its end."""
        self.backoff.succeeded()

    def failed(self, now: float, fault: Fault, retry_after: float | None = None) -> None:
        """A round did not; `retry_after`: seconds that Stripe asked for."""
        interval = float(self._interval())
        hopeful = fault == "broken" or (fault == "transient" and self.waiting)
        self.backoff.failed(now, SLOWEST_OPEN if hopeful else interval, self._chance, retry_after)
        if fault != "broken":
            self.missing = TURNS  # after an outage everything is looked at again

    def _steps(self, checkouts: list[int], *, routine: bool, customer: bool) -> Steps:
        left = REQUESTS
        if routine:
            left -= yield from self._routine(customer)
            self._plan_routine()
        elif len(checkouts) > left and customer:
            # one list answers for any number of checkouts that were completed
            yield from self._sessions()
            left -= 1
        else:
            checkouts = checkouts[:left]
        for local_id in checkouts:
            self._checkouts.put_off(local_id, self._now)
        for local_id in self._checkouts.longest_unseen(checkouts)[:left]:
            self._checkouts.looked_at(local_id, self._now)
            yield from self._ask("checkout", local_id)

    def _routine(self, customer: bool) -> Generator[Question, Answer, int]:
        """What is due every poll_interval; gives the number of requests it took."""
        if self._disputed:
            # the charge says that it is disputed; how it ended takes it, or its session, and its disputes
            disputed, *later = self._disputed
            self._disputed = tuple(later)
            yield from self._ask("dispute", disputed)
            return 2
        if customer and self._in_doubt:
            answer = yield from self._ask("is_customer")
            self._in_doubt = False
            yield from self._sessions() if answer.there else self._find_customer()
            return 2
        if not customer:
            if not (yield from self._find_customer()):
                return 1
            yield from self._sessions()
            return 2
        if not (yield from self._sessions()):
            yield from self._find_customer()
            return 2
        turn = self._next_turn()
        answer = yield from self._ask(turn)
        self._disputed += tuple(found for found in answer.disputed if found not in self._disputed)
        if turn == "older_sessions" and not answer.refused:
            # past the last page it begins anew
            self.older_than = answer.more
        if turn != "older_sessions" or answer.refused or answer.more is None:
            # what a restricted key may not ask must not keep us from all the rest
            self._taken(turn)
        return 2

    def _ask(self, kind: Kind, subject: int | str | None = None) -> Asking:
        answer = yield Question(kind, subject)
        self._now = answer.now
        return answer

    def _find_customer(self) -> Generator[Question, Answer, bool]:
        """False if nothing was ever bought."""
        answer = yield from self._ask("find_customer")
        self.missing = TURNS if answer.there else ()
        return answer.there

    def _sessions(self) -> Generator[Question, Answer, bool]:
        """False if Stripe does not know the customer any more."""
        answer = yield from self._ask("sessions")
        if not answer.there:
            return False
        self._disputed += tuple(found for found in answer.disputed if found not in self._disputed)
        if answer.more is None:
            self.older_than = None
            self._taken("older_sessions")
        elif self.older_than is None:
            self.older_than = answer.more
        return True

    def _next_turn(self) -> Kind:
        """The turn that waits longest; while catching up, one that has not been taken yet."""
        for _ in range(len(self._turns)):
            turn, *others = self._turns
            self._turns = (*others, turn)
            if turn == "older_sessions" and self.older_than is None:
                self._taken(turn)
                continue
            if not self.missing or turn in self.missing:
                return turn
        return "subscriptions"

    def _taken(self, turn: Kind) -> None:
        self.missing = tuple(left for left in self.missing if left != turn)

    def _retimed(self, now: float) -> None:
        """A new poll_interval counts at once, not when the old one is over."""
        interval = self._interval()
        if interval != self._timed_for:
            self._timed_for = interval
            self._routine_at = min(self._routine_at, now + first_routine_delay(interval, self._chance))

    def _plan_routine(self) -> None:
        delay = routine_delay(self._interval(), self._chance) if self.settled else FOLLOW_UP
        self._routine_at = self._now + delay
