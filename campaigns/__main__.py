"""`python -m campaigns NAME`: runs one campaign, prints its table and writes build/NAME.json.

Exits 1 where anything failed or missed its goal. `--only` runs some parts, `--short` the short form that
`make test` runs as well.
"""

import argparse
import asyncio
import importlib
import logging
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from campaigns.runner import BUILD, Campaign, run

REPOSITORY = Path(__file__).resolve().parents[1]
NAMES = ("attack", "faults", "soak", "bench", "fleet", "hub", "order", "scale")


def load(name: str) -> Campaign:
    """The campaign of that name. Imported when asked for: each needs other packages."""
    campaign: Campaign = importlib.import_module(f"campaigns.{name}.campaign").CAMPAIGN
    return campaign


def _options(arguments: Sequence[str] | None) -> tuple[Campaign, argparse.Namespace]:
    first = argparse.ArgumentParser(prog="python -m campaigns", description=__doc__)
    first.add_argument("name", choices=NAMES)
    first.add_argument("options", nargs=argparse.REMAINDER, help="--help after the name lists them")
    chosen = first.parse_args(arguments)
    campaign = load(chosen.name)
    parser = argparse.ArgumentParser(
        prog=f"python -m campaigns {chosen.name}", description=campaign.summary, allow_abbrev=False
    )
    parser.add_argument("--only", nargs="+", metavar="NAME", choices=campaign.names(), help=_listed(campaign))
    parser.add_argument("--short", action="store_true", help="the short form, without the other options")
    campaign.add_options(parser)
    options = parser.parse_args(chosen.options)
    options.name = chosen.name
    return campaign, options


def _listed(campaign: Campaign) -> str:
    return f"of {', '.join(campaign.names())}"


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def main(arguments: Sequence[str] | None = None) -> int:
    """0 if everything held."""
    sys.path[:0] = [str(REPOSITORY / "daemon"), str(REPOSITORY / "hub")]
    campaign, options = _options(arguments)
    parts = list(campaign.short_parts() if options.short else campaign.parts(options))
    logging.disable(campaign.silenced)
    BUILD.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=f"{options.name}-", dir=BUILD, ignore_cleanup_errors=True) as own:
        report = asyncio.run(run(parts, _say, Path(own)))
    report.write(BUILD / f"{options.name}.json", print)
    return 0 if report.ok else 1


if __name__ == "__main__":
    sys.exit(main())
