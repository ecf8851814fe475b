"""`make fleet`: many routers on one Stripe account, simulated with the daemon's own scheduling.

Says a table, writes build/fleet.json and the pictures of docs/fleet.md into build/. Exits 1 where a goal was
missed. `--days`: how long the million is followed; `--small` does everything with a hundredth of the routers
(and of the limits), which proves nothing and takes seconds.
"""

import argparse
import shutil
import sys
import time
from pathlib import Path

from campaigns.bench import report
from campaigns.fleet import plots, scenarios
from campaigns.fleet.fleet import Fleet
from campaigns.fleet.scenarios import DAY, HOUR

BUILD = Path("build")
IMAGES = Path("docs/images")

MILLION = 1_000_000
TENTH = 0.1


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m campaigns.fleet", description=__doc__)
    parser.add_argument("--days", type=float, default=7.0, help="how long the million is followed")
    parser.add_argument("--publish", action="store_true", help="put the pictures into docs/images")
    options = parser.parse_args()
    BUILD.mkdir(exist_ok=True)
    began = time.monotonic()

    def tell(what: str) -> None:
        sys.stderr.write(f"{time.monotonic() - began:5.0f} s  {what}\n")

    with scenarios.no_garbage():
        tell("10,000 routers restart in one second")
        found = scenarios.restarts()
        tell("10,000 routers, a week")
        week = scenarios.week()
        found += scenarios.figures_of(week)
        tell("10,000 routers, what not to do")
        crowd, figures = scenarios.everybody_syncs()
        found += figures
        found += scenarios.sandboxes()
        plots.draw_week(week, BUILD)
        plots.draw_restart(_restarted(), BUILD)
        del week, crowd
        tell("100,000 routers")
        found += scenarios.recommended(100_000, 9000.0, 2.0)[1]
        tell("1,000,000 routers at the default poll_interval, simulated 1:10")
        crowded, figures = scenarios.too_many(MILLION, 2 * DAY, scale=TENTH)
        found += figures
        tell(f"1,000,000 routers, {options.days:g} days")
        spread, figures = scenarios.recommended(MILLION, DAY, options.days)
        found += figures
        plots.draw_million(spread, crowded, TENTH, BUILD)
    report.write(found, BUILD / "fleet.json", print)
    for picture in sorted(BUILD.glob("fleet-*.png")):
        if options.publish:
            shutil.copy(picture, IMAGES)
        print(f"drawn {IMAGES / picture.name if options.publish else picture}")
    tell("done")
    sys.exit(any(m.ok is False for m in found))


def _restarted() -> list[tuple[dict[str, str], Fleet]]:
    mixes = (
        ({"en": "15 % have a plan, 15 % bought once", "it": "15 % con un piano, 15 % una volta"}, 0.15, 0.15),
        ({"en": "all have a plan", "it": "tutti con un piano"}, 1.0, 0.0),
    )
    fleets = []
    for name, subscribed, bought in mixes:
        fleet = Fleet(10_000, subscribed=subscribed, bought=bought)
        fleet.restart(fleet.routers)
        fleet.run(HOUR / 2)
        fleets.append((name, fleet))
    return fleets


if __name__ == "__main__":
    main()
