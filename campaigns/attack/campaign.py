"""`make attack`: forged, malformed and hostile input of every kind, as a table."""

from __future__ import annotations

import argparse
import os
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final

from campaigns.attack.attacks import ATTACKS, Attack
from campaigns.attack.cases import Cases
from campaigns.attack.fuzzing import fuzz
from campaigns.report import Report
from campaigns.runner import Campaign, Part, Say, Scratch

__all__ = ["CAMPAIGN"]

_SHORTEST_S = 1e-3
"""A share of the time that is not nothing: `Cases` without any is the short form."""


def _part(attack: Attack, count: int, seconds: float, seed: int, given: bytes | None = None) -> Part:
    """`given`: this input alone, in the place of all cases."""

    async def run(report: Report, scratch: Scratch, say: Say) -> None:
        tally = report.tally(attack.name, attack.what)
        cases = Cases(tally, scratch.own.resolve(), count=count, seconds=seconds, seed=seed)
        if given is not None and attack.target is not None:
            await fuzz(attack.target, cases, given)
        else:
            await attack.run(cases)
        for note in cases.notes:
            say(f"  {note}")

    return Part(attack.name, run, attack.what, attack.missing, attack.browser)


class _AttackCampaign(Campaign):
    summary = "forged, malformed and hostile input of every kind; what it must not reach"

    def names(self) -> Sequence[str]:
        return tuple(attack.name for attack in ATTACKS)

    def add_options(self, parser: argparse.ArgumentParser) -> None:
        parser.add_argument(
            "--minutes", type=float, default=4.0, help="shared by the parts without an end (%(default)s)"
        )
        parser.add_argument(
            "--seed", type=int, help="decides what is random; another one each time by default"
        )
        parser.add_argument(
            "--input", type=Path, metavar="FILE", help="with one fuzzed --only: this input alone"
        )

    def parts(self, options: argparse.Namespace) -> Iterator[Part]:
        chosen = [attack for attack in ATTACKS if options.only is None or attack.name in options.only]
        if options.input is not None:
            (attack,) = chosen if len(chosen) == 1 and chosen[0].target is not None else (None,)
            if attack is None:
                raise SystemExit("--input needs the name of one fuzzed part: --only NAME")
            yield _part(attack, 0, 0.0, 0, options.input.read_bytes())
            return
        seed = options.seed if options.seed is not None else time.time_ns() % 1_000_000
        print(f"seed {seed}, {options.minutes:g} minutes beside the lists")
        shares = sum(attack.share for attack in chosen if attack.missing() is None) or 1
        for attack in chosen:
            seconds = max(60 * options.minutes * attack.share / shares, _SHORTEST_S)
            yield _part(attack, attack.count, seconds, seed)

    def short_parts(self) -> Iterator[Part]:
        """Every part with few cases and no time of its own; `ATTACK_SEED` tries others."""
        seed = int(os.environ.get("ATTACK_SEED", "1"))
        for attack in ATTACKS:
            if attack.short:
                yield _part(attack, attack.short, 0.0, seed)


CAMPAIGN: Final = _AttackCampaign()
