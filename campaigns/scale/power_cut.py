"""The power of a whole fleet comes back: when its routers call, decided by the daemon's backoff, and how the
hub slows them down, decided by the hub's own `Polls`. Only the time that a poll takes is assumed.
"""

from __future__ import annotations

import heapq
from array import array
from collections.abc import Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from random import Random

from payments_hub.errors import HubError
from payments_hub.polls import Polls
from stripe_payments.backoff import delay_after
from stripe_payments.hub_client import seller

__all__ = ["PowerCut", "power_cut"]

_BOOT_S = (45.0, 100.0)
"""Until the daemon runs and the way to the internet is up, as in the simulation of `make fleet`."""
_REFUSED_S = 40e-6
"""What a refusal costs an instance: it is answered before anything is looked up."""


@dataclass
class PowerCut:
    """Requests in each second of all instances, and how many of them were refused; `right`: seconds after
    which each router had an answer.
    """

    requests: array[int] = field(default_factory=lambda: array("I"))
    refused: array[int] = field(default_factory=lambda: array("I"))
    right: array[float] = field(default_factory=lambda: array("f"))

    def count(self, at: float, *, refused: bool) -> None:
        second = int(at)
        for counts in (self.requests, self.refused):
            while len(counts) <= second:
                counts.append(0)
        self.requests[second] += 1
        self.refused[second] += refused


class _Instance:
    """One process: polls are answered one after another, at most as many at a time as `Polls` lets in."""

    def __init__(self, interval: int, poll_s: float, chance: Random) -> None:
        self.now = 0.0
        self.polls = Polls(interval, chance=chance, monotonic=lambda: self.now)
        self._poll_s = poll_s
        self._free_at = 0.0
        self._answering: list[tuple[float, AbstractContextManager[None]]] = []

    def ask(self, at: float) -> tuple[float, int | None]:
        """When the answer is there, and the seconds that it asks the router to wait if it is a refusal."""
        self.now = at
        while self._answering and self._answering[0][0] <= at:
            self._answering.pop(0)[1].__exit__(None, None, None)
        answering = self.polls.answering()
        try:
            answering.__enter__()
        except HubError as error:
            self._free_at = max(self._free_at, at) + _REFUSED_S
            return self._free_at, error.retry_after
        self._free_at = max(self._free_at, at) + self._poll_s
        self._answering.append((self._free_at, answering))
        return self._free_at, None


def power_cut(
    routers: int,
    *,
    seconds: float,
    interval: int = 900,
    instances: int = 2,
    poll_s: float = 250e-6,
    seed: int = 1,
) -> PowerCut:
    """`poll_s`: seconds in which an instance answers a poll, PostgreSQL's part included."""
    chance, seen = Random(seed), PowerCut()
    served = [_Instance(interval, poll_s, chance) for _ in range(instances)]
    queue: list[tuple[float, int]] = [(chance.uniform(*_BOOT_S), 0) for _ in range(routers)]
    heapq.heapify(queue)
    for at, failures in _until(queue, seconds):
        instance = chance.choice(served)
        answered, retry_after = instance.ask(at)
        seen.count(at, refused=retry_after is not None)
        if retry_after is None:
            if failures >= 0:
                seen.right.append(answered)
            jitter = chance.uniform(1 - seller._JITTER, 1 + seller._JITTER)
            heapq.heappush(queue, (answered + instance.polls.poll_after() * jitter, -1))
            continue
        failures = max(failures, 0) + 1
        backoff = delay_after(failures, chance, first=seller._FIRST_RETRY_S, ceiling=seller._LONGEST_RETRY_S)
        heapq.heappush(queue, (answered + max(backoff, retry_after * chance.uniform(1.0, 1.25)), failures))
    return seen


def _until(queue: list[tuple[float, int]], seconds: float) -> Iterator[tuple[float, int]]:
    while queue and queue[0][0] < seconds:
        yield heapq.heappop(queue)
