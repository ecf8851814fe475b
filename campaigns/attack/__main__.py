"""`make attack`: everything that somebody might try, as a table and as build/attack.json."""

from __future__ import annotations

import argparse
import asyncio
import sys
import tempfile
import time
from pathlib import Path

from campaigns.attack.campaign import ATTACKS, named, run
from campaigns.attack.fuzzing import fuzz
from campaigns.attack.trials import Trials
from campaigns.report import Line

REPORT = Path("build/attack.json")


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m campaigns.attack", description=__doc__)
    parser.add_argument("--minutes", type=float, default=4.0, help="shared by what has no end (%(default)s)")
    names = ", ".join(attack.name for attack in ATTACKS)
    parser.add_argument("--only", nargs="+", default=[], metavar="NAME", help=f"of {names}")
    parser.add_argument("--seed", type=int, help="what chance does; another one each time if not given")
    parser.add_argument("--input", type=Path, metavar="FILE", help="with one --only: this input alone")
    return parser.parse_args()


def main() -> int:
    """0 if everything held."""
    options = _options()
    attacks = named(options.only)
    if options.input is not None:
        return _repeat(options.input, attacks[0].name if len(attacks) == 1 else "")
    seed = options.seed if options.seed is not None else time.time_ns() % 1_000_000
    print(f"seed {seed}, {options.minutes:g} minutes beside the lists")
    campaign = asyncio.run(run(attacks, 60 * options.minutes, seed, lambda text: print(text, flush=True)))
    print()
    campaign.write(REPORT, print)
    return 0 if campaign.ok else 1


def _repeat(file: Path, name: str) -> int:
    attack = next((attack for attack in ATTACKS if attack.name == name), None)
    if attack is None or attack.target is None:
        print("--input needs the name of one fuzzed line: --only NAME", file=sys.stderr)
        return 2
    line = Line(name, "")
    with tempfile.TemporaryDirectory(prefix="attack-") as folder:
        trials = Trials(line, Path(folder), count=0)
        asyncio.run(fuzz(attack.target, trials, file.read_bytes()))
    print("\n".join(line.failures) or "held")
    return 1 if line.failures else 0


if __name__ == "__main__":
    sys.exit(main())
