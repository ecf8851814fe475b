"""Which requests a round of polling makes; each query depends on the answers before it. Pure."""

from __future__ import annotations

from collections.abc import Generator, Iterable, Sequence
from dataclasses import dataclass
from typing import Final, Literal, Protocol

from stripe_payments.sync.poll_timing import OpenCheckouts

REQUESTS: Final = 2
"""In a round, whatever there is to poll."""

SELDOM: Final = 3
"""Of a customer without a subscription anything but the sessions, which contain all that it can buy, is
polled in every third round only.
"""

Kind = Literal[
    "find_customer",
    "is_customer",
    "sessions",
    "older_sessions",
    "subscriptions",
    "invoices",
    "charges",
    "unlisted",
    "dispute",
    "checkout",
]
"""find_customer searches ours by its metadata, is_customer checks that the account of the keys has it;
sessions are the newest completed ones; unlisted is a running subscription that is in no list, an invoice
before which there are unpaid ones, or a duplicate of our customer. All are one request but dispute, which may
be two.
"""

TURNS: Final[tuple[Kind, ...]] = ("subscriptions", "invoices", "charges", "older_sessions")
EVERYTHING: Final[tuple[Kind, ...]] = ("sessions", *TURNS)
"""In the order in which they matter to what is unlocked."""

OF_A_PERIOD: Final[tuple[Kind, ...]] = ("subscriptions", "invoices")
"""What changes when a period has ended, or was charged."""

_ONLY_WITH_A_SUBSCRIPTION: Final = frozenset({"invoices", "charges"})


@dataclass(frozen=True, slots=True)
class Query:
    """subject: the local id of a checkout, the id of what is disputed or unlisted."""

    kind: Kind
    subject: int | str | None = None


@dataclass(frozen=True, slots=True)
class Answer:
    """The result of a query, as far as the plan needs it.

    now: monotonic seconds. there: False if Stripe has no such customer (has found none). refused: the key
    lacks the permission. more: the id from which a list continues. disputed: ids of openly disputed objects.
    unlisted: ids to poll as such. subscribed: whether a subscription is known, at Stripe or here.
    """

    now: float
    there: bool = True
    refused: bool = False
    more: str | None = None
    disputed: Sequence[str] = ()
    unlisted: Sequence[str] = ()
    subscribed: bool = True


class Agenda:
    """What is still to be polled, and whose turn it is. missing: what has to be polled before everything has
    been polled once.
    """

    __slots__ = (
        "customer_unverified",
        "disputed",
        "missing",
        "older_than",
        "rounds",
        "subscribed",
        "turns",
        "unlisted",
    )

    def __init__(self) -> None:
        self.missing: tuple[Kind, ...] = EVERYTHING
        self.turns: tuple[Kind, ...] = TURNS
        self.older_than: str | None = None
        self.disputed: tuple[str, ...] = ()
        self.unlisted: tuple[str, ...] = ()
        self.customer_unverified = False
        self.subscribed = True
        self.rounds = 0

    @property
    def done(self) -> bool:
        return not self.missing and not self.disputed and not self.unlisted

    def mark_all_missing(self) -> None:
        self.missing = EVERYTHING

    def mark_missing(self, kinds: Sequence[Kind]) -> None:
        self.missing = tuple(kind for kind in EVERYTHING if kind in self.missing or kind in kinds)

    def account_changed(self) -> None:
        self.customer_unverified = True
        self.older_than = None
        self.disputed = ()
        self.unlisted = ()

    def next_missing(self) -> Kind | None:
        if self.older_than is None and "sessions" not in self.missing:
            self.mark_polled("older_sessions")  # the newest are all there are
        return self.missing[0] if self.missing else None

    def next_turn(self) -> Kind | None:
        """What is listed with the sessions when nothing is missing: the turn that waits longest, if it is
        time.
        """
        self.rounds += 1
        if not self.subscribed and self.rounds % SELDOM:
            return None
        for _ in self.turns:
            turn, *others = self.turns
            self.turns = (*others, turn)
            if turn != "older_sessions" or self.older_than is not None:
                return turn
        return None

    def mark_polled(self, kind: Kind) -> None:
        if kind in self.missing:
            self.missing = tuple(left for left in self.missing if left != kind)

    def dispute(self, ids: Iterable[str]) -> None:
        self.disputed += tuple(found for found in ids if found not in self.disputed)

    def poll_by_id(self, ids: Iterable[str]) -> None:
        self.unlisted += tuple(found for found in ids if found not in self.unlisted)

    def next_unlisted(self) -> str | None:
        found, self.unlisted = next(iter(self.unlisted), None), self.unlisted[1:]
        return found

    def learn(self, kind: Kind, answer: Answer) -> None:
        """Take in the result of a list. What a restricted key may not list counts as polled: it must not hold
        up the rest.
        """
        self.dispute(answer.disputed)
        self.poll_by_id(answer.unlisted)
        if kind == "sessions" and answer.more is None:
            self.older_than = None
        elif kind == "sessions" and self.older_than is None:
            self.older_than = answer.more
        elif kind == "older_sessions" and not answer.refused:
            self.older_than = answer.more  # past the last page it starts over
        if kind == "sessions":
            self.subscribed |= answer.subscribed
        elif kind == "subscriptions" and not answer.refused:
            self.subscribed = answer.subscribed
            if not answer.subscribed:
                self.missing = tuple(left for left in self.missing if left not in _ONLY_WITH_A_SUBSCRIPTION)
        if kind != "older_sessions" or self.older_than is None or answer.refused:
            self.mark_polled(kind)


class OnRoutine(Protocol):
    """Called when the routine part of a round is over."""

    def __call__(self, now: float, *, customer: bool) -> None: ...


Steps = Generator[Query, Answer, None]
Requests = Generator[Query, Answer, int]
"""Returns the number of requests it took."""


class Round:
    """`query` is the next one, None at the end; `answered` leads to the one after it. A round that failed is
    dropped as it is.
    """

    __slots__ = ("_steps", "query")

    def __init__(self, steps: Steps) -> None:
        self._steps = steps
        self.query: Query | None = next(steps, None)

    def answered(self, answer: Answer) -> None:
        try:
            self.query = self._steps.send(answer)
        except StopIteration:
            self.query = None


def plan_round(
    agenda: Agenda,
    open_checkouts: OpenCheckouts,
    now: float,
    checkouts: list[int],
    *,
    customer: bool,
    on_routine: OnRoutine | None,
) -> Round:
    """`on_routine`: called when everything was polled, before the `checkouts` (local ids) are; None: only
    they are polled. `customer`: whether ours is known.
    """
    return Round(_Progress(agenda, open_checkouts, now, customer=customer).steps(checkouts, on_routine))


class _Progress:
    """How far a round has come."""

    __slots__ = ("agenda", "checkouts", "customer", "listed", "now")

    def __init__(self, agenda: Agenda, open_checkouts: OpenCheckouts, now: float, *, customer: bool) -> None:
        self.agenda = agenda
        self.checkouts = open_checkouts
        self.now = now
        self.customer = customer
        self.listed = False

    def steps(self, checkouts: list[int], on_routine: OnRoutine | None) -> Steps:
        left = REQUESTS
        if on_routine is not None:
            left -= yield from self._everything()
            on_routine(self.now, customer=self.customer)
        elif len(checkouts) > left and self.customer:
            left -= yield from self._list("sessions")
        polled = self.checkouts.least_recently_polled(checkouts)[:left]
        # one list answers for any number of checkouts that were completed
        for local_id in checkouts if self.listed else polled:
            self.checkouts.reschedule(local_id, self.now)
        for local_id in polled:
            self.checkouts.polled(local_id, self.now)
            self.now = (yield Query("checkout", local_id)).now

    def _everything(self) -> Requests:
        agenda = self.agenda
        if agenda.disputed:
            # the charge says that it is disputed; how it ended takes it, or its session, and its disputes
            disputed, *later = agenda.disputed
            agenda.disputed = tuple(later)
            self.now = (yield Query("dispute", disputed)).now
            return REQUESTS
        used = 0
        while used < REQUESTS and (unlisted := agenda.next_unlisted()) is not None:
            answer = yield Query("unlisted", unlisted)
            self.now = answer.now
            agenda.poll_by_id(answer.unlisted)
            used += 1
        if used < REQUESTS and self.customer and agenda.customer_unverified:
            used += yield from self._about_customer("is_customer")
            agenda.customer_unverified = False
        if used < REQUESTS and not self.customer:
            used += yield from self._find_customer()
        if self.customer:
            used = yield from self._lists(used)
        return used

    def _about_customer(self, kind: Kind) -> Requests:
        answer = yield Query(kind)
        self.now, self.customer = answer.now, answer.there
        self.agenda.poll_by_id(answer.unlisted)
        return 1

    def _find_customer(self) -> Requests:
        used = yield from self._about_customer("find_customer")
        # nothing was ever bought, or none of it is known
        self.agenda.missing = EVERYTHING if self.customer else ()
        return used

    def _lists(self, used: int) -> Requests:
        agenda = self.agenda
        missing = agenda.next_missing()
        kind: Kind | None = missing or "sessions"
        while kind is not None and used < REQUESTS:
            used += yield from self._list(kind)
            if not self.customer:
                if used < REQUESTS:
                    used += yield from self._find_customer()
                break
            if missing is not None:
                kind = agenda.next_missing()
            else:
                kind = agenda.next_turn() if kind == "sessions" else None
        return used

    def _list(self, kind: Kind) -> Requests:
        answer = yield Query(kind)
        self.now, self.customer = answer.now, answer.there
        if answer.there:
            self.listed |= kind == "sessions"
            self.agenda.learn(kind, answer)
        return 1
