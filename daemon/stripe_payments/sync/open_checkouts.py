"""When each open checkout is looked at. Pure, as schedule.py."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from random import Random
from typing import Final

from stripe_payments.sync.schedule import FAST, open_checkout_delay

WITHIN: Final = 5.0
"""Seconds over which routers are spread that find an open checkout when they start, or come back: a buyer who
waited for a router to boot does not notice them.
"""


@dataclass(slots=True)
class _Waiting:
    """Monotonic seconds: when the buyer was sent away, when the next look is due, when the last one was.
    found: it was there before we were, so that its age is known only once the time is.
    """

    since: float
    due: float
    found: bool
    looked_at: float = 0.0


class OpenCheckouts:
    """Places in the schedule by the checkouts' local ids."""

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

    def note(
        self,
        now: float,
        trusted: int | None,
        open_ones: Iterable[tuple[int, int]],
        chance: Random,
        *,
        starting: bool,
    ) -> bool:
        """All that are open: local id and the epoch seconds at which they were opened. Gives whether one of
        them has just been. `starting`: they may have been open before we were there.
        """
        current = dict(open_ones)
        opened = False
        for gone in self._waiting.keys() - current.keys():
            del self._waiting[gone]
        for local_id, opened_at in current.items():
            one = self._waiting.get(local_id)
            if one is None:
                # just opened: nobody pays within 2 s; found at the start: it may have been paid meanwhile
                due = now + (chance.uniform(0, WITHIN) if starting else FAST)
                one = self._waiting[local_id] = _Waiting(now, due, starting)
                opened |= not starting
            if one.found and trusted is not None:
                one.since = now - max(0, trusted - opened_at)
                one.found = False
        return opened

    def due(self, now: float) -> list[int]:
        return [local_id for local_id, one in self._waiting.items() if one.due <= now]

    def longest_unseen(self, local_ids: Iterable[int]) -> list[int]:
        """The same ones, the one that nobody has looked at for the longest time first."""

        def seen(local_id: int) -> float:
            one = self._waiting.get(local_id)
            return one.looked_at if one is not None else 0.0

        return sorted(local_ids, key=seen)

    def put_off(self, local_id: int, now: float) -> None:
        """To when its age has it looked at again."""
        if (one := self._waiting.get(local_id)) is not None:
            one.due = now + open_checkout_delay(now - one.since)

    def looked_at(self, local_id: int, now: float) -> None:
        if (one := self._waiting.get(local_id)) is not None:
            one.looked_at = now

    def spread(self, now: float, chance: Random) -> None:
        """All are looked at soon, but those of many routers not in the same second."""
        for one in self._waiting.values():
            one.due = now + chance.uniform(0, WITHIN)
