"""One Stripe account: its objects, ids, events and clock.  No HTTP here.

Objects are plain dicts in the shape that the API returns, with ids where the API has expandable fields.
What the real service knows but does not show (the line items of a session, the card behind a payment
method) is kept beside the object, in `behind(id)`.
"""

from __future__ import annotations

import heapq
import random
import string
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from copy import deepcopy
from dataclasses import dataclass
from typing import Any, Self

import stripe

from .api_errors import Json, resource_missing
from .clock import Clock
from .json_copy import copied

API_VERSION: str = stripe.api_version
"""The version that the installed SDK was generated for: the one shape this simulator speaks."""

_ALPHABET = string.ascii_letters + string.digits


DEFAULT_SETTINGS: Json = {
    "dunning_ends_with": "canceled",
    "search": True,
    "terms_of_service_url": None,
    "lists_of_deleted_customers": True,
    "tax_percent": 0,
    "tax_behavior": "exclusive",
    "adaptive_pricing": False,
}
"""The Dashboard's settings that matter here: what becomes of a subscription whose renewal cannot be
charged, and whether the account is offered the Search API; and whether the lists of a customer that was
deleted answer as before (which Stripe does not document); the rate of automatic tax, and the tax behavior of
prices that have none; whether buyers may pay in a currency of their own.
"""


@dataclass
class Cause:
    """The API request during which something happens; events name it (`event.request`)."""

    request_id: str | None = None
    idempotency_key: str | None = None


class Account:
    """`ACCOUNT_ID` is fixed, so that a client can compare accounts across restarts of the simulator."""

    ACCOUNT_ID = "acct_1RouterOSsimulat"
    NAME = "Example Networks (simulator)"
    COUNTRY = "IT"
    CURRENCY = "eur"

    def __init__(self, clock: Clock, *, seed: int | None = None, livemode: bool = False) -> None:
        self.clock = clock
        self.livemode = livemode
        self.public_url = "http://127.0.0.1"
        self.cause = Cause()
        self.settings: Json = dict(DEFAULT_SETTINGS)
        self.on_event: list[Callable[[Json], None]] = []
        self.on_change: list[Callable[[], None]] = []
        self._random: random.Random = random.SystemRandom() if seed is None else random.Random(seed)
        self._objects: dict[str, Json] = {}
        self._by_type: dict[str, list[str]] = {}
        self._behind: dict[str, Json] = {}
        self._counters: dict[str, int] = {}
        self._agenda: list[tuple[int, int, str, str]] = []

    def __deepcopy__(self, memo: dict[int, Any]) -> Self:
        """For a look into the future: with years of objects, which nothing else holds."""
        other = object.__new__(type(self))
        memo[id(self)] = other
        for name, value in vars(self).items():
            json = name in ("_objects", "_by_type")
            setattr(other, name, copied(value) if json else deepcopy(value, memo))
        return other

    # -- ids and time ------------------------------------------------------------------------------

    def now(self) -> int:
        return self.clock.now()

    def token(self, length: int = 24) -> str:
        return "".join(self._random.choices(_ALPHABET, k=length))

    def new_id(self, prefix: str, length: int = 24) -> str:
        """`cus` → `cus_N1…`; a prefix that has its underscore already (`ch_3`) is continued, as Stripe's
        are.
        """
        return f"{prefix}{'' if '_' in prefix else '_'}{self.token(length)}"

    def count(self, name: str) -> int:
        """1, 2, 3, … for each name: receipt and invoice numbers."""
        self._counters[name] = self._counters.get(name, 0) + 1
        return self._counters[name]

    # -- objects -----------------------------------------------------------------------------------

    def add(self, obj: Json, **behind: Any) -> Json:
        """Store a new object; returns the stored dict itself."""
        self._objects[obj["id"]] = obj
        self._by_type.setdefault(obj["object"], []).append(obj["id"])
        if behind:
            self._behind.setdefault(obj["id"], {}).update(behind)
        self._changed()
        return obj

    def remove(self, obj: Json) -> Json:
        """Delete; what the API answers from then on is `{"id", "object", "deleted": true}`."""
        self._by_type[obj["object"]].remove(obj["id"])
        self._objects[obj["id"]] = {"id": obj["id"], "object": obj["object"], "deleted": True}
        self._changed()
        return self._objects[obj["id"]]

    def find(self, object_id: str | None) -> Json | None:
        return self._objects.get(object_id) if object_id else None

    def get(self, kind: str, object_id: str, *, param: str = "id") -> Json:
        """The object, or StripeApiError `resource_missing` (404 for an id in the path, 400 for one in a
        parameter).
        """
        found = self._objects.get(object_id)
        if found is None or found["object"] != kind:
            raise resource_missing(kind, object_id, param=param)
        return found

    def newest_first(self, kind: str) -> Iterator[Json]:
        for object_id in reversed(self._by_type.get(kind, [])):
            yield self._objects[object_id]

    def behind(self, object_id: str) -> Json:
        """What the service knows about an object besides what it shows."""
        return self._behind.setdefault(object_id, {})

    # -- what is due later -------------------------------------------------------------------------

    def schedule(self, when: int, task: str, object_id: str) -> None:
        """Remember that `task` (see `timeline`) looks at an object at `when`.  It checks by itself whether
        it still applies.
        """
        heapq.heappush(self._agenda, (when, self.count("agenda"), task, object_id))
        self._changed()

    def next_due(self) -> int | None:
        return self._agenda[0][0] if self._agenda else None

    def take_due(self) -> tuple[str, str] | None:
        """The next (task, object id) whose time has come."""
        if self._agenda and self._agenda[0][0] <= self.now():
            _, _, task, object_id = heapq.heappop(self._agenda)
            return task, object_id
        return None

    # -- events ------------------------------------------------------------------------------------

    def emit(self, kind: str, obj: Json, previous: Json | None = None) -> Json:
        """Record an event with a snapshot of `obj` and hand it to the webhook side."""
        data: Json = {"object": copied(obj)}
        if previous is not None:
            data["previous_attributes"] = previous
        event = {
            "id": self.new_id("evt_1"),
            "object": "event",
            "api_version": API_VERSION,
            "created": self.now(),
            "data": data,
            "livemode": self.livemode,
            "pending_webhooks": 0,
            "request": {"id": self.cause.request_id, "idempotency_key": self.cause.idempotency_key},
            "type": kind,
        }
        self.add(event)
        for listener in self.on_event:
            listener(event)
        return event

    @contextmanager
    def changing(self, obj: Json, event: str | None) -> Iterator[Json]:
        """Change `obj` inside the block; emits `event` with `previous_attributes` if anything differs
        afterwards.

        An exception inside puts the object back as it was.
        """
        before = copied(obj)
        try:
            yield obj
        except BaseException:
            obj.clear()
            obj.update(before)
            raise
        previous = changed_attributes(before, obj)
        if previous:
            self._changed()
            if event:
                self.emit(event, obj, previous)

    def _changed(self) -> None:
        for listener in self.on_change:
            listener()

    # -- on disk -----------------------------------------------------------------------------------

    def dump(self) -> Json:
        return {
            "objects": self._objects,
            "order": self._by_type,
            "behind": self._behind,
            "counters": self._counters,
            "agenda": self._agenda,
            "settings": self.settings,
        }

    def load(self, dumped: Json) -> None:
        self._objects = dumped["objects"]
        self._by_type = dumped["order"]
        self._behind = dumped["behind"]
        self._counters = dumped["counters"]
        self.settings.update(dumped["settings"])
        self._agenda = [(when, order, task, object_id) for when, order, task, object_id in dumped["agenda"]]


def changed_attributes(before: Json, after: Json) -> Json:
    """Stripe's `previous_attributes`: the old values of what changed, nested objects reduced to what
    changed in them.
    """
    previous: Json = {}
    for name, old in before.items():
        new = after.get(name)
        if old == new:
            continue
        if isinstance(old, dict) and isinstance(new, dict) and old.get("object") != "list":
            previous[name] = changed_attributes(old, new)
        else:
            previous[name] = copied(old)
    for name in after.keys() - before.keys():
        previous[name] = None
    return previous


def merge_metadata(current: Json, given: Any) -> Json:
    """Stripe's rule: keys are merged, an empty value unsets its key, an empty `metadata` unsets them all."""
    if given == "":
        return {}
    merged = {**current, **(given or {})}
    return {key: value for key, value in merged.items() if value != ""}
