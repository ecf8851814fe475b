"""`make faults`: what a router may go through, tried; prints a table and writes build/faults.json."""

import argparse
import asyncio
import logging
import os
import sys
import tempfile
from pathlib import Path

from campaigns.faults.campaign import CONTROL, LINES, FaultCampaign, TrialLine
from campaigns.faults.flash import Plan
from campaigns.faults.scenarios import SCENARIOS
from campaigns.faults.trial import Trial

BUILD = Path(__file__).resolve().parents[2] / "build"


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m campaigns.faults", description=__doc__)
    parser.add_argument("--only", nargs="+", metavar="LINE", choices=[*LINES, CONTROL])
    parser.add_argument(
        "--seed", type=int, default=1, help="what chance decides, it decides by this (%(default)s)"
    )
    parser.add_argument(
        "--share", type=int, default=1, metavar="N", help="try one in N, chosen by the seed (%(default)s)"
    )
    parser.add_argument(
        "--jobs", type=int, default=4 * (os.cpu_count() or 1), help="trials at the same time (%(default)s)"
    )
    one = parser.add_argument_group("one trial alone, as a failure says it (with one --only)")
    one.add_argument("--scenario", choices=list(SCENARIOS))
    one.add_argument("--plan", action="append", default=[], metavar="FAULT N [SEED or COUNT]")
    one.add_argument("--disturbance", metavar="NAME")
    one.add_argument("--step", type=int, default=0)
    return parser.parse_args()


def _plan(text: str) -> Plan:
    fault, at, *third = text.split()
    return Plan(fault, int(at), int(third[0]) if third else None)


def _one(name: str, line: TrialLine, options: argparse.Namespace) -> Trial:
    known = {disturbance.name: disturbance for disturbance in getattr(line, "disturbances", ())}
    return Trial(
        name,
        options.scenario,
        options.seed,
        tuple(_plan(text) for text in options.plan),
        known[options.disturbance] if options.disturbance is not None else None,
        options.step,
    )


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


async def _main() -> bool:
    options = _options()
    logging.disable(logging.WARNING)  # the simulator's, of what is done to it on purpose
    with tempfile.TemporaryDirectory(prefix="router-os-faults-") as folder:
        campaign = FaultCampaign(
            Path(folder), jobs=options.jobs, seed=options.seed, kept=BUILD / "faults/failed"
        )
        for name in options.only or (*LINES, CONTROL):
            if name == CONTROL:
                await campaign.control(say=_say)
                continue
            line = LINES[name]
            if options.scenario is not None:
                trials = [_one(name, line, options)]
            else:
                trials = await campaign.trials(line, options.share)
            await campaign.try_line(line, trials, _say)
    campaign.report.write(BUILD / "faults.json", print)
    return campaign.report.ok


if __name__ == "__main__":
    sys.exit(0 if asyncio.run(_main()) else 1)
