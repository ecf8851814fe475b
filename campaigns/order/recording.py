"""A customer's life at the simulated Stripe, recorded: every event as it was sent, and what Stripe would have
answered at each moment.

The ids in it are marked, so that one recording serves any number of customers: `Recording.named` returns a
text with the ids of the customer of that number.
"""

from __future__ import annotations

import copy
import json
import pickle
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from random import Random
from typing import Any, Final

from simulator.stripe_cloud import timeline
from simulator.stripe_cloud.account import Account
from simulator.stripe_cloud.api_errors import StripeApiError
from simulator.stripe_cloud.clock import StandingClock
from simulator.stripe_cloud.rendering import render
from simulator.stripe_cloud.routes import find_route
from stripe_payments.settings import Settings
from stripe_payments.sync.events import EVENT_TYPES
from tests.histories.life import COMMANDS, DAY, ROUTER, VERBS, WAITS, Life
from tests.histories.reference import Decision

__all__ = ["Event", "Facts", "Recording", "differing", "facts_of", "number_of", "record", "router_id"]

Json = dict[str, Any]
Facts = Mapping[str, tuple[Any, ...]]
"""What a receiver has to have stored in the end, by object id: of a subscription its status, whether it ends
with its period, its prices; of a charge, what was refunded of it.
"""

TYPES: Final = EVENT_TYPES | {"charge.succeeded", "charge.refunded", "charge.updated", "charge.failed"}
"""Events that are delivered. The hub ignores those about charges that say nothing new to it."""
_CATALOG: Final = frozenset({"coupon", "plan", "price", "product"})
"""Objects of the seller, which all customers share."""
_OWN, _ROUTER = "\x00", "\x01"
_TOKEN: Final = re.compile(r"\b[a-z]+_[A-Za-z0-9_]+")
_OPENINGS: Final = ("subscribe", "subscribe", "subscribe", "send invoice", "buy")
_MONTH: Final = 6
"""Of WAITS: 24 days and more, so that a period ends."""
_MOST_EVENTS: Final = 10
_SAME_SECOND: Final = 0.4
"""The share of commands that follow the one before in the same second."""


@dataclass(frozen=True, slots=True)
class Event:
    """`text`: marked; `moment`: the first one at which Stripe's answers say the same or something newer."""

    id: str
    type: str
    object_id: str
    created: int
    moment: int
    text: str


@dataclass
class Recording:
    """`moments`: Stripe's account after each step of the life, pickled; `expected`: what has to be unlocked
    at each of them; `now`: the time of the last one, in epoch seconds.
    """

    seed: int
    settings: Settings
    customer: str
    now: int = 0
    events: list[Event] = field(default_factory=list)
    moments: list[bytes] = field(default_factory=list)
    expected: list[dict[str, Decision]] = field(default_factory=list)
    did: list[str] = field(default_factory=list)
    _ids: frozenset[str] = frozenset()
    _accounts: dict[int, Account] = field(default_factory=dict)
    _answers: dict[tuple[int, str, str], str | None] = field(default_factory=dict)

    @property
    def last(self) -> int:
        """The moment of the last event."""
        return self.events[-1].moment

    @property
    def shares_a_second(self) -> bool:
        """Whether two events about one object have the same second."""
        seconds = [(event.object_id, event.created) for event in self.events]
        return len(set(seconds)) < len(seconds)

    def named(self, marked: str, number: int) -> str:
        return marked.replace(_OWN, f"Q{number}").replace(_ROUTER, router_id(number))

    def answer(self, moment: int, path: str, params: Mapping[str, Any]) -> str | None:
        """Stripe's answer to a GET at that moment, marked; None where it has no such object."""
        key = (moment, path, json.dumps(params, sort_keys=True, default=str))
        if key not in self._answers:
            self._answers[key] = self._answered(self.at(moment), path, params)
        return self._answers[key]

    def _answered(self, account: Account, path: str, params: Mapping[str, Any]) -> str | None:
        found = find_route("GET", path)
        assert found is not None, path
        route, ids = found
        try:
            response = route.handler(account, dict(params), *ids)
        except StripeApiError as error:
            if error.status != 404:
                raise
            return None
        if response["object"] != "list":
            response = render(account, response, params.get("expand", ()))
        return self._marked(json.dumps(response))

    def at(self, moment: int) -> Account:
        """Stripe's account at that moment."""
        if moment not in self._accounts:
            account = Account(StandingClock(self.now), seed=self.seed)
            account.load(pickle.loads(self.moments[moment]))
            self._accounts[moment] = account
        return self._accounts[moment]

    def truth(self) -> Facts:
        """What Stripe's objects say after the last event."""
        account = self.at(self.last)
        charges = {event.object_id for event in self.events if event.type.startswith("charge.")}
        objects = [*account.newest_first("subscription"), *account.newest_first("charge")]
        return {
            one["id"]: facts_of(one)
            for one in objects
            if one["object"] == "subscription" or one["id"] in charges
        }

    def _marked(self, text: str) -> str:
        return _TOKEN.sub(lambda found: found[0] + _OWN * (found[0] in self._ids), text).replace(
            ROUTER, _ROUTER
        )

    def mark(self, ids: frozenset[str]) -> None:
        """Set which ids are the customer's own, and mark them in what was recorded."""
        self._ids = ids
        self.events = [
            Event(one.id, one.type, one.object_id, one.created, one.moment, self._marked(one.text))
            for one in self.events
        ]


def router_id(number: int) -> str:
    """The account of the customer of that number."""
    return f"{number:032x}"


def number_of(object_id: str) -> tuple[str, int]:
    """An id as recorded, and the number of the customer who has it."""
    recorded, _mark, number = object_id.rpartition("Q")
    return recorded, int(number)


def facts_of(one: Mapping[str, Any]) -> tuple[Any, ...]:
    if one["object"] == "charge":
        return (one["amount_refunded"],)
    items = one["items"]["data"]
    prices = sorted(item["price"]["id"] for item in items)
    return (one["status"], bool(one["cancel_at_period_end"]), *prices)


def differing(truth: Facts, stored: Facts) -> list[str]:
    """What is not stored as Stripe says. A charge that is not stored is one of which nothing was refunded."""
    nothing = {object_id: (0,) for object_id in truth if not object_id.startswith("sub_")}
    held = {**nothing, **stored}
    return [
        f"{object_id} is {held.get(object_id)} and not {facts}"
        for object_id, facts in truth.items()
        if held.get(object_id) != facts
    ]


def record(seed: int) -> Recording:
    """A life of one to four commands after its opening, some of them in one second, with as many events as
    can be delivered in a hundred thousand orders within an hour.
    """
    chance = Random(f"order {seed}")
    while not _MOST_EVENTS >= len((recording := _recorded(seed, chance)).events) > 1:
        pass
    return recording


def _recorded(seed: int, chance: Random) -> Recording:
    life = Life(seed)
    recording = Recording(seed, life.settings(), life.customer)
    recorder = _Recorder(life, recording)
    wanted = chance.randrange(1, 5)
    recorder.do(chance.choice(_OPENINGS), chance)
    for _ in range(12):
        if len(recording.did) > wanted:
            break
        recorder.do(chance.choice(VERBS), chance)
    recording.mark(recorder.ids())
    return recording


class _Recorder:
    def __init__(self, life: Life, recording: Recording) -> None:
        self._life = life
        self._recording = recording
        self._new: list[Json] = []
        life.account.on_event.append(self._new.append)

    def do(self, verb: str, chance: Random) -> None:
        """A command, or time that passes; nothing where the command makes no sense now."""
        if verb == "wait":
            self._pass(chance.choice(WAITS[_MONTH:]) * DAY)
            self._recording.did.append("wait")
            return
        if chance.random() >= _SAME_SECOND:
            self._pass(61)
        try:
            COMMANDS[verb](self._life, chance.randrange(6), chance.randrange(12))
        except StripeApiError as error:
            if error.status >= 500:
                raise
        if self._keep():
            self._recording.did.append(verb)

    def _pass(self, seconds: float) -> None:
        """Everything that is due on the way is a step of its own."""
        account = self._life.account
        until = account.clock.precise() + seconds
        while (due := account.next_due()) is not None and due <= until:
            account.clock.move_to(due)
            timeline.run_due(account)
            self._keep()
        account.clock.move_to(until)

    def _keep(self) -> bool:
        """Record what has happened since the last time; whether any of it is delivered."""
        events, self._new[:] = [event for event in self._new if event["type"] in TYPES], []
        moment = len(self._recording.moments)
        for event in events:
            text = json.dumps(render(self._life.account, event))
            object_id = event["data"]["object"]["id"]
            kept = Event(event["id"], event["type"], object_id, event["created"], moment, text)
            self._recording.events.append(kept)
        if events:
            self._recording.now = self._life.now
            self._recording.moments.append(pickle.dumps(self._life.account.dump()))
            self._recording.expected.append(copy.deepcopy(self._life.expected()))
        return bool(events)

    def ids(self) -> frozenset[str]:
        """Of all objects but the seller's, those in lists included."""
        found: set[str] = set()
        for one in self._life.account.dump()["objects"].values():
            _collect(one, found)
        return frozenset(found)


def _collect(value: object, found: set[str]) -> None:
    if isinstance(value, Mapping):
        if str(value.get("object")) in _CATALOG:
            return
        if isinstance(value.get("id"), str):
            found.add(value["id"])
        for inner in value.values():
            _collect(inner, found)
    elif isinstance(value, list):
        for inner in value:
            _collect(inner, found)
