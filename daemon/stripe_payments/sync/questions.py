"""What a round of polling asks, each question in the light of the answers before it. Pure."""

from __future__ import annotations

from collections.abc import Generator, Iterable, Sequence
from dataclasses import dataclass
from typing import Final, Literal, Protocol

from stripe_payments.sync.open_checkouts import OpenCheckouts

REQUESTS: Final = 2
"""In a round, whatever there is to ask."""

SELDOM: Final = 3
"""A customer without a subscription is asked about anything but its sessions, which tell of all that it can
buy, in every third round.
"""

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
EVERYTHING: Final[tuple[Kind, ...]] = ("sessions", *TURNS)
"""In the order in which it matters to what is unlocked."""

OF_A_PERIOD: Final[tuple[Kind, ...]] = ("subscriptions", "invoices")
"""Where there is news when a period has ended, or was charged."""

_ONLY_WITH_A_SUBSCRIPTION: Final = frozenset({"invoices", "charges"})


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
    subscribed: whether a subscription is known, at Stripe or here.
    """

    now: float
    there: bool = True
    refused: bool = False
    more: str | None = None
    disputed: Sequence[str] = ()
    subscribed: bool = True


class Agenda:
    """What is still to be asked, and whose turn it is. missing: what has to be asked before everything has
    been looked at once.
    """

    __slots__ = ("disputed", "in_doubt", "missing", "older_than", "rounds", "subscribed", "turns")

    def __init__(self) -> None:
        self.missing: tuple[Kind, ...] = EVERYTHING
        self.turns: tuple[Kind, ...] = TURNS
        self.older_than: str | None = None
        self.disputed: tuple[str, ...] = ()
        self.in_doubt = False
        self.subscribed = True
        self.rounds = 0

    @property
    def settled(self) -> bool:
        return not self.missing and not self.disputed

    def all_is_missing(self) -> None:
        self.missing = EVERYTHING

    def is_missing(self, kinds: Sequence[Kind]) -> None:
        self.missing = tuple(kind for kind in EVERYTHING if kind in self.missing or kind in kinds)

    def account_changed(self) -> None:
        self.in_doubt = True
        self.older_than = None
        self.disputed = ()

    def next_missing(self) -> Kind | None:
        if self.older_than is None and "sessions" not in self.missing:
            self.taken("older_sessions")  # the newest are all that there are
        return self.missing[0] if self.missing else None

    def next_turn(self) -> Kind | None:
        """What goes with the sessions when nothing is missing: the turn that waits longest, if it is time."""
        self.rounds += 1
        if not self.subscribed and self.rounds % SELDOM:
            return None
        for _ in self.turns:
            turn, *others = self.turns
            self.turns = (*others, turn)
            if turn != "older_sessions" or self.older_than is not None:
                return turn
        return None

    def taken(self, kind: Kind) -> None:
        if kind in self.missing:
            self.missing = tuple(left for left in self.missing if left != kind)

    def dispute(self, ids: Iterable[str]) -> None:
        self.disputed += tuple(found for found in ids if found not in self.disputed)

    def learn(self, kind: Kind, answer: Answer) -> None:
        """What a list brought. What a restricted key may not ask counts as asked: it must not keep us from
        all the rest.
        """
        self.dispute(answer.disputed)
        if kind == "sessions" and answer.more is None:
            self.older_than = None
        elif kind == "sessions" and self.older_than is None:
            self.older_than = answer.more
        elif kind == "older_sessions" and not answer.refused:
            self.older_than = answer.more  # past the last page it begins anew
        if kind == "sessions":
            self.subscribed |= answer.subscribed
        elif kind == "subscriptions" and not answer.refused:
            self.subscribed = answer.subscribed
            if not answer.subscribed:
                self.missing = tuple(left for left in self.missing if left not in _ONLY_WITH_A_SUBSCRIPTION)
        if kind != "older_sessions" or self.older_than is None or answer.refused:
            self.taken(kind)


class Planned(Protocol):
    """Told that what there was to ask about everything has been asked."""

    def __call__(self, now: float, *, customer: bool) -> None: ...


Steps = Generator[Question, Answer, None]
Asked = Generator[Question, Answer, int]
"""Gives the number of requests it took."""


class Round:
    """`question` is what to ask now, None when there is nothing more; `answered` leads to the next. One that
    failed is left as it is.
    """

    __slots__ = ("_steps", "question")

    def __init__(self, steps: Steps) -> None:
        self._steps = steps
        self.question: Question | None = next(steps, None)

    def answered(self, answer: Answer) -> None:
        try:
            self.question = self._steps.send(answer)
        except StopIteration:
            self.question = None


def round_about(
    agenda: Agenda,
    open_checkouts: OpenCheckouts,
    now: float,
    checkouts: list[int],
    *,
    customer: bool,
    planned: Planned | None,
) -> Round:
    """`planned`: to be told when everything was asked about, before the `checkouts` (local ids) are; None:
    only they are. `customer`: whether ours is known.
    """
    return Round(_Asking(agenda, open_checkouts, now, customer=customer).all_of_it(checkouts, planned))


class _Asking:
    """How far a round has come."""

    __slots__ = ("agenda", "checkouts", "customer", "listed", "now")

    def __init__(self, agenda: Agenda, open_checkouts: OpenCheckouts, now: float, *, customer: bool) -> None:
        self.agenda = agenda
        self.checkouts = open_checkouts
        self.now = now
        self.customer = customer
        self.listed = False

    def all_of_it(self, checkouts: list[int], planned: Planned | None) -> Steps:
        left = REQUESTS
        if planned is not None:
            left -= yield from self._everything()
            planned(self.now, customer=self.customer)
        elif len(checkouts) > left and self.customer:
            left -= yield from self._list("sessions")
        looked_at = self.checkouts.longest_unseen(checkouts)[:left]
        # one list answers for any number of checkouts that were completed
        for local_id in checkouts if self.listed else looked_at:
            self.checkouts.put_off(local_id, self.now)
        for local_id in looked_at:
            self.checkouts.looked_at(local_id, self.now)
            self.now = (yield Question("checkout", local_id)).now

    def _everything(self) -> Asked:
        agenda = self.agenda
        if agenda.disputed:
            # the charge says that it is disputed; how it ended takes it, or its session, and its disputes
            disputed, *later = agenda.disputed
            agenda.disputed = tuple(later)
            self.now = (yield Question("dispute", disputed)).now
            return REQUESTS
        asked = 0
        if self.customer and agenda.in_doubt:
            asked += yield from self._about_customer("is_customer")
            agenda.in_doubt = False
        if not self.customer:
            asked += yield from self._find_customer()
        if self.customer:
            asked = yield from self._lists(asked)
        return asked

    def _about_customer(self, kind: Kind) -> Asked:
        answer = yield Question(kind)
        self.now, self.customer = answer.now, answer.there
        return 1

    def _find_customer(self) -> Asked:
        asked = yield from self._about_customer("find_customer")
        # nothing was ever bought, or nothing is known of what was
        self.agenda.missing = EVERYTHING if self.customer else ()
        return asked

    def _lists(self, asked: int) -> Asked:
        agenda = self.agenda
        missing = agenda.next_missing()
        kind: Kind | None = missing or "sessions"
        while kind is not None and asked < REQUESTS:
            asked += yield from self._list(kind)
            if not self.customer:
                if asked < REQUESTS:
                    asked += yield from self._find_customer()
                break
            if missing is not None:
                kind = agenda.next_missing()
            else:
                kind = agenda.next_turn() if kind == "sessions" else None
        return asked

    def _list(self, kind: Kind) -> Asked:
        answer = yield Question(kind)
        self.now, self.customer = answer.now, answer.there
        if answer.there:
            self.listed |= kind == "sessions"
            self.agenda.learn(kind, answer)
        return 1
