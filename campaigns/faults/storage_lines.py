"""The lines of the campaign about storage: every write point of every scenario, and what happens there."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from random import Random

from campaigns.faults.case import Case
from campaigns.faults.flash import Plan

__all__ = ["STORAGE_LINES", "StorageLine"]

AGAIN = 200
"""How many of the many pairs of cuts are tried."""


@dataclass(frozen=True)
class StorageLine:
    """`faults`: the name and the third word of a plan; `every`: at each so manieth point.

    `points`, given to `cases`: how many write points each scenario has.
    """

    name: str
    what: str
    faults: tuple[tuple[str, int | None], ...]
    every: int = 1

    def cases(self, points: Mapping[str, int], seed: int) -> Iterator[Case]:
        """All of them, each point of each scenario."""
        for scenario, number in points.items():
            for at in range(1 + seed % self.every, number + 1, self.every):
                for fault, third in self.faults:
                    if third is None or fault not in ("power", "torn"):
                        chosen = third
                    else:  # an even seed loses all, an odd one lets chance decide
                        chosen = 2 * (1000 * seed + at) + third
                    yield Case(self.name, scenario, 1000 * seed + at, (Plan(fault, at, chosen),))


class _Again(StorageLine):
    """The power goes, and again while the daemon recovers from that."""

    def cases(self, points: Mapping[str, int], seed: int) -> Iterator[Case]:
        chance = Random(seed)
        for number in range(AGAIN):
            scenario = chance.choice(list(points))
            cuts = chance.randint(2, 3)
            plans = [
                Plan(
                    chance.choice(("kill", "power", "torn")),
                    chance.randint(1, points[scenario] if cut == 0 else 30),
                    chance.randrange(1_000_000),
                )
                for cut in range(cuts)
            ]
            if number % 3 == 0:  # and what recovers finds a storage that fails
                plans[-1] = Plan(chance.choice(("EIO", "ENOSPC", "EROFS")), chance.randint(1, 20))
            yield Case(self.name, scenario, 1000 * seed + number, tuple(plans))


STORAGE_LINES = (
    StorageLine("kill", "kill -9 before each write", (("kill", None),)),
    StorageLine(
        "power",
        "power cut before each write: what was not synced is gone, all of it or by chance",
        (("power", 0), ("power", 1)),
    ),
    StorageLine(
        "torn", "power cut in each write: un-synced sectors of 512 bytes are gone by chance", (("torn", 1),)
    ),
    _Again(
        "again", "two or three cuts, the later ones during the recovery, some on a storage that fails", ()
    ),
    StorageLine("EIO", "each write or sync fails: once, or for half a second", (("EIO", 1), ("EIO", None))),
    StorageLine("ENOSPC", "the storage is full from each write on, for half a second", (("ENOSPC", None),)),
    StorageLine(
        "EROFS",
        "the storage is read-only from every third write on, for half a second",
        (("EROFS", None),),
        3,
    ),
    StorageLine("short", "every third write writes half of what it was given", (("short", 1),), 3),
    StorageLine(
        "unreadable", "reading fails from every third write on, for half a second", (("unreadable", None),), 3
    ),
)
