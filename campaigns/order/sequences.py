"""In which orders the events of a recording are delivered, and what Stripe says meanwhile."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import permutations
from random import Random
from typing import Final, Literal

from campaigns.order.recording import Recording

__all__ = ["PERMUTED", "Kind", "Script", "Step", "scripts"]

Kind = Literal["permuted", "duplicated", "lost"]

PERMUTED: Final = 6
"""All orders of so many events, at most: 720."""
_DUPLICATED: Final = 0.35
"""The share of events that a script with duplicates delivers twice."""
_FAR: Final = (1.0, 2.0, 100.0)
"""Places by which an event may be late: none, its neighbors, any."""
_OVERTAKEN: Final = 0.4
"""The share of steps whose events arrive while the step before is being worked on."""


@dataclass(frozen=True, slots=True)
class Step:
    """Events, by their number, that are delivered at the same time; `moment`: Stripe's, from then on;
    `overtakes`: they arrive while a request of the step before is on its way.
    """

    events: tuple[int, ...]
    moment: int
    overtakes: bool = False


@dataclass(frozen=True, slots=True)
class Script:
    kind: Kind
    steps: tuple[Step, ...]


def scripts(recording: Recording, count: int, chance: Random) -> Iterator[Script]:
    """So many, of which half at most are all orders of the last events, each once; the rest are random
    orders, more or less far from that in which they happened, with duplicates, or with events that get lost.
    """
    numbers = range(len(recording.events))
    kept, tail = numbers[:-PERMUTED], numbers[-PERMUTED:]
    permuted = list(permutations(tail))
    chance.shuffle(permuted)
    of_all = min(len(permuted), count // 2)
    for one in permuted[:of_all]:
        yield _script(recording, "permuted", kept, one, chance)
    for number in range(count - of_all):
        far = chance.choice(_FAR)
        order = sorted(numbers, key=lambda each: each + chance.uniform(0, far))
        if number % 2:
            for again in [each for each in numbers if chance.random() < _DUPLICATED]:
                order.insert(chance.randrange(len(order) + 1), again)
            yield _script(recording, "duplicated", (), order, chance)
        else:
            lost = {each for each in numbers if chance.random() < 1 / 3} or {chance.choice(numbers)}
            yield _script(recording, "lost", (), [each for each in order if each not in lost], chance)


def _script(
    recording: Recording, kind: Kind, kept: Sequence[int], order: Sequence[int], chance: Random
) -> Script:
    """`kept`: delivered first, together. What an event is about has happened when it arrives; half of the
    scripts are delivered as soon as possible, the others at some later time.
    """
    events, last = recording.events, recording.last
    soon = chance.random() < 0.5
    moment = events[kept[-1]].moment if kept else 0
    steps = [Step(tuple(kept), moment)] if kept else []
    for one in order:
        moment = max(moment, events[one].moment)
        if not soon:
            moment = chance.randint(moment, last)
        steps.append(Step((one,), moment, bool(steps) and chance.random() < _OVERTAKEN))
    return Script(kind, (*steps, Step((), last)))
