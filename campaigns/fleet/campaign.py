"""`make fleet`: many routers on one Stripe account, simulated with the daemon's own scheduling.

Draws the pictures of docs/fleet.md into build/ as well; `--publish` puts them into docs/images.
"""

import argparse
import functools
import shutil
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Final

from campaigns.fleet import scenarios
from campaigns.fleet.fleet import Fleet
from campaigns.fleet.scenarios import DAY, HOUR
from campaigns.report import Report, Row
from campaigns.runner import BUILD, Campaign, Part, Say, Scratch

__all__ = ["CAMPAIGN"]

IMAGES: Final = Path("docs/images")
MILLION: Final = 1_000_000
TENTH: Final = 0.1
MIXES: Final = (
    ({"en": "15 % have a plan, 15 % bought once", "it": "15 % con un piano, 15 % una volta"}, 0.15, 0.15),
    ({"en": "all have a plan", "it": "tutti con un piano"}, 1.0, 0.0),
)


def _restart() -> list[Row]:
    from campaigns.fleet import plots  # matplotlib takes a second to import

    found = scenarios.restarts()
    fleets = []
    for name, subscribed, bought in MIXES:
        fleet = Fleet(10_000, subscribed=subscribed, bought=bought)
        fleet.restart(fleet.routers)
        fleet.run(HOUR / 2)
        fleets.append((name, fleet))
    plots.draw_restart(fleets, BUILD)
    return found


def _week() -> list[Row]:
    from campaigns.fleet import plots

    week = scenarios.week()
    plots.draw_week(week, BUILD)
    return scenarios.figures_of(week)


def _million(days: float) -> list[Row]:
    """At the default poll_interval, simulated 1:10; and at the recommended one."""
    from campaigns.fleet import plots

    crowded, figures = scenarios.too_many(MILLION, 2 * DAY, scale=TENTH)
    spread, more = scenarios.recommended(MILLION, DAY, days)
    plots.draw_million(spread, crowded, TENTH, BUILD)
    return figures + more


def _part(name: str, what: str, simulate: Callable[[], list[Row]]) -> Part:
    async def run(report: Report, scratch: Scratch, say: Say) -> None:
        del scratch, say
        with scenarios.no_garbage():
            report.add(*simulate())

    return Part(name, run, what)


def _parts(days: float) -> tuple[Part, ...]:
    return (
        _part("restart", "10,000 routers restart in one second", _restart),
        _part("week", "10,000 routers, a week", _week),
        _part("sync", "10,000 routers sync in one second", lambda: scenarios.everybody_syncs()[1]),
        _part("sandboxes", "a quarter of the requests", scenarios.sandboxes),
        _part("100,000", "100,000 routers", lambda: scenarios.recommended(100_000, 9000.0, 2.0)[1]),
        _part("1,000,000", "a million routers", functools.partial(_million, days)),
    )


def _publish() -> list[Row]:
    """Copy the pictures that were drawn."""
    pictures = sorted(BUILD.glob("fleet-*.png"))
    for picture in pictures:
        shutil.copy(picture, IMAGES)
    return [Row(f"pictures copied to {IMAGES}", len(pictures))]


class _FleetCampaign(Campaign):
    summary = "up to a million routers on one Stripe account, simulated"

    def names(self) -> Sequence[str]:
        return tuple(part.name for part in _parts(0.0))

    def add_options(self, parser: argparse.ArgumentParser) -> None:
        parser.add_argument("--days", type=float, default=7.0, help="how long the million is simulated")
        parser.add_argument("--publish", action="store_true", help="put the pictures into docs/images")

    def parts(self, options: argparse.Namespace) -> Iterator[Part]:
        for part in _parts(options.days):
            if options.only is None or part.name in options.only:
                yield part
        if options.publish:
            yield _part("publish", "the pictures of docs/fleet.md", _publish)

    def short_parts(self) -> Iterator[Part]:
        """The goals of the restart, one run of each mix."""
        yield _part("restart", "", lambda: scenarios.restarts(seeds=1, seconds=950.0))


CAMPAIGN: Final = _FleetCampaign()
