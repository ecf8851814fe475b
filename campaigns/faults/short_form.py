"""The fault campaign's short form: a case or two of each line, always the same."""

from collections.abc import Callable, Iterator
from dataclasses import replace
from random import Random
from typing import Final

from campaigns.faults.case import Case
from campaigns.faults.control import MISTAKES
from campaigns.faults.device_cases import DEVICE, DEVICE_IS
from campaigns.faults.disturbance_lines import DISTURBANCE_LINES
from campaigns.faults.flash import Plan
from campaigns.faults.lines import CONTROL, CONTROL_IS, Runs
from campaigns.faults.storage_lines import STORAGE_LINES
from campaigns.report import Report
from campaigns.runner import Part, Say, Scratch

__all__ = ["short_parts"]

SEED: Final = 7
EARLY: Final = 50
"""Every scenario here has more write points than that."""
COMBINED: Final = (1001, 1002, 1003, 1004)
"""Seeds of combinations."""


def _runs(scratch: Scratch) -> Runs:
    return Runs(scratch.shared, jobs=4, seed=SEED, kept=scratch.own)


def _storage() -> Iterator[Case]:
    """What each line does, at a random point of a scenario."""
    chance = Random(SEED)
    for name, fault, third in ((line.name, *fault) for line in STORAGE_LINES for fault in line.faults):
        at = chance.randrange(1, EARLY)
        scenario = chance.choice(("purchase", "failed renewal", "refund"))
        seed = 2 * at + third if fault in ("power", "torn") and third is not None else third
        yield Case(name, scenario, at, (Plan(fault, at, seed),))


def _disturbances() -> Iterator[Case]:
    """One disturbance of each line, around the payment of a one-time purchase."""
    chance = Random(SEED)
    for line in DISTURBANCE_LINES:
        if line.name != "slow":
            disturbance = chance.choice(line.disturbances)
            yield Case(line.name, "purchase", SEED, (), disturbance, chance.choice((1, 2)))


def _tried(name: str, what: str, cases: Callable[[], Iterator[Case]]) -> Part:
    async def run(report: Report, scratch: Scratch, say: Say) -> None:
        chosen = list(cases())
        tally = report.tally(name, what, "survived")
        await _runs(scratch).try_line(tally, chosen, say)
        if tally.tried != len(chosen):
            tally.count(f"only {tally.tried} of {len(chosen)} cases met their fault")

    return Part(name, run, what)


async def _control(report: Report, scratch: Scratch, say: Say) -> None:
    (mistake,) = (one for one in MISTAKES if one.name == "believes any JSON")
    shorter = replace(mistake, disturbances=mistake.disturbances[-1:])
    await _runs(scratch).control(report.tally(CONTROL, CONTROL_IS, "noticed"), [shorter], say)


async def _combinations(report: Report, scratch: Scratch, say: Say) -> None:
    await _runs(scratch).combinations(report.tally(DEVICE, DEVICE_IS, "survived"), COMBINED, say)


def short_parts() -> Iterator[Part]:
    """Storage, surroundings, and that a wrong daemon is noticed."""
    yield _tried("storage", "one fault of each kind", _storage)
    yield _tried("surroundings", "one disturbance of each line", _disturbances)
    yield Part(DEVICE, _combinations, DEVICE_IS)
    yield Part(CONTROL, _control, CONTROL_IS)
