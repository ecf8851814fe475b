"""`make faults`: power cuts, bad storage and bad responses at every step of a router's life."""

import argparse
import logging
import os
from collections.abc import Iterator, Sequence
from typing import Final

from campaigns.faults.case import Case
from campaigns.faults.device_cases import COMBINATIONS, DEVICE, DEVICE_IS
from campaigns.faults.flash import Plan
from campaigns.faults.lines import CONTROL, CONTROL_IS, LINES, CaseLine, Runs
from campaigns.faults.scenarios import SCENARIOS
from campaigns.faults.short_form import short_parts
from campaigns.report import Report
from campaigns.runner import BUILD, Campaign, Part, Say, Scratch

__all__ = ["CAMPAIGN"]


def _plan(text: str) -> Plan:
    fault, at, *third = text.split()
    return Plan(fault, int(at), int(third[0]) if third else None)


def _one(name: str, line: CaseLine, options: argparse.Namespace) -> Case:
    known = {disturbance.name: disturbance for disturbance in getattr(line, "disturbances", ())}
    return Case(
        name,
        options.scenario,
        options.seed,
        tuple(_plan(text) for text in options.plan),
        known[options.disturbance] if options.disturbance is not None else None,
        options.step,
    )


class _Faults(Campaign):
    summary = "power cuts, bad storage, bad responses: every fault at every write and step of a router's life"
    silenced = logging.WARNING

    def names(self) -> Sequence[str]:
        return (*LINES, DEVICE, CONTROL)

    def add_options(self, parser: argparse.ArgumentParser) -> None:
        parser.add_argument("--seed", type=int, default=1, help="decides what is random (%(default)s)")
        parser.add_argument(
            "--share",
            type=int,
            default=1,
            metavar="N",
            help="one case in N, chosen by the seed (%(default)s)",
        )
        parser.add_argument(
            "--jobs",
            type=int,
            default=4 * (os.cpu_count() or 1),
            help="cases at the same time (%(default)s)",
        )
        one = parser.add_argument_group("one case alone, as a failure names it (with one --only)")
        one.add_argument("--scenario", choices=list(SCENARIOS))
        one.add_argument("--plan", action="append", default=[], metavar="FAULT N [SEED or COUNT]")
        one.add_argument("--disturbance", metavar="NAME")
        one.add_argument("--step", type=int, default=0)

    def parts(self, options: argparse.Namespace) -> Iterator[Part]:
        made: list[Runs] = []

        def runs(scratch: Scratch) -> Runs:
            """One for all parts: they share the pasts, and the count of write points."""
            if not made:
                kept = BUILD / "faults/failed"
                made.append(
                    Runs(scratch.shared.resolve(), jobs=options.jobs, seed=options.seed, kept=kept.resolve())
                )
            return made[0]

        def line_part(name: str, line: CaseLine) -> Part:
            async def run(report: Report, scratch: Scratch, say: Say) -> None:
                tally = report.tally(name, line.what, "survived")
                if options.scenario is not None:
                    cases = [_one(name, line, options)]
                else:
                    cases = await runs(scratch).cases(line, options.share)
                await runs(scratch).try_line(tally, cases, say)

            return Part(name, run, line.what)

        async def control(report: Report, scratch: Scratch, say: Say) -> None:
            await runs(scratch).control(report.tally(CONTROL, CONTROL_IS, "noticed"), say=say)

        async def device(report: Report, scratch: Scratch, say: Say) -> None:
            """`--step N` repeats combination N alone."""
            first = 1000 * options.seed
            numbers = [options.step] if options.step else range(1, COMBINATIONS + 1, options.share)
            tally = report.tally(DEVICE, DEVICE_IS, "survived")
            await runs(scratch).combinations(tally, [first + number for number in numbers], say)

        for name in options.only or self.names():
            if name in LINES:
                yield line_part(name, LINES[name])
            else:
                yield Part(name, control if name == CONTROL else device)

    def short_parts(self) -> Iterator[Part]:
        return short_parts()


CAMPAIGN: Final = _Faults()
