"""What fleets go through, and what is measured of it."""

from __future__ import annotations

import gc
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from typing import Final

from campaigns.report import Goal, Row

from .fleet import Fleet
from .stripe import BROKEN, REFUSED, Limits

HOUR: Final = 3600.0
DAY: Final = 24 * HOUR

MOST: Final = Goal("<=", 100)
"""Requests a second: Stripe's limit for an account."""
SOON: Final = Goal("<=", 900)
"""Seconds until every router is right again."""

MIXES: Final = {
    "15 % plans, 15 % bought once": (0.15, 0.15),
    "all have a plan": (1.0, 0.0),
    "nothing ever bought": (0.0, 0.0),
}


@dataclass
class Episode:
    """Something that happened to a fleet, from `since` to `until` (seconds of its time)."""

    name: str
    since: float
    until: float
    right_after: list[float] = field(default_factory=list)


@contextmanager
def no_garbage() -> Iterator[None]:
    """A million routers are millions of objects, which make no cycles: looking for some takes longer than all
    else.
    """
    gc.collect()
    gc.disable()
    try:
        yield
    finally:
        gc.enable()


def _figures(fleet: Fleet, episode: Episode, *, goals: bool = True) -> list[Row]:
    seen, name = fleet.account.seen, episode.name
    since, until = episode.since, episode.until
    found = [
        Row(f"{name}: most in a second", seen.peak(since, until), "req/s", MOST if goals else None),
        Row(f"{name}: most to one endpoint", seen.endpoint_peak(since, until), "req/s"),
        Row(f"{name}: refused", seen.refused_share(since, until), "%"),
    ]
    if episode.right_after:
        last = max(episode.right_after)
        found.append(Row(f"{name}: all right after", last, "s", SOON if goals else None))
    return found


# -- acceptance: all at once ------------------------------------------------------------------------


def restarts(routers: int = 10_000, seeds: int = 3, seconds: float = 1800.0) -> list[Row]:
    """The daemons of a whole fleet start in the same second, whatever was bought on them; the worst of all
    tries counts.
    """
    found = []
    for mix, (subscribed, bought) in MIXES.items():
        peak = endpoint = 0
        refused = last = 0.0
        for seed in range(seeds):
            fleet = Fleet(routers, subscribed=subscribed, bought=bought, seed=seed)
            fleet.restart(fleet.routers)
            fleet.run(seconds)
            seen = fleet.account.seen
            peak = max(peak, seen.peak(0, fleet.now))
            endpoint = max(endpoint, seen.endpoint_peak(0, fleet.now))
            refused = max(refused, seen.refused_share(0, fleet.now))
            last = max(last, *fleet.right_after) if len(fleet.right_after) == routers else float("inf")
        name = f"{routers:,} restart together, {mix}"
        found += [
            Row(f"{name}: most in a second", peak, "req/s", MOST),
            Row(f"{name}: most to one endpoint", endpoint, "req/s"),
            Row(f"{name}: refused", refused, "%"),
            Row(f"{name}: all right after", last, "s", SOON),
        ]
    return found


# -- a week -----------------------------------------------------------------------------------------


@dataclass
class Week:
    fleet: Fleet
    episodes: list[Episode]
    starts_at: float
    """When its Monday begins."""


def week(routers: int = 10_000) -> Week:
    """All that a fleet may meet, at the default settings. On its Sunday, the first of the month, all plans
    renew in the same second.
    """
    monday = 2250.0
    fleet = Fleet(routers, first_of_month=monday + 6 * DAY)
    fleet.settle_down()
    episodes: list[Episode] = []

    def during(name: str, day: int, hour: float, happens: Callable[[], object], seconds: float = 0.0) -> None:
        """`seconds`: after which that is over which happens, and the figures begin."""
        began = monday + day * DAY + hour * HOUR
        fleet.run(began)
        fleet.right_after = []
        happens()
        episode = Episode(name, began + seconds, began + seconds + 4000.0)
        fleet.run(episode.until)
        episode.right_after = fleet.right_after
        episodes.append(episode)

    everybody = fleet.routers
    during("ordinary hours", 0, 0, lambda: None)
    during("morning rush: one in fifty buys", 0, 8, partial(_rush, fleet, HOUR))
    during("a street's power is back", 1, 3, lambda: fleet.power_cut(everybody[:200]))
    during("everybody's power is back", 1, 15, lambda: fleet.power_cut(everybody))
    during("Stripe answered 500 for an hour", 2, 10, lambda: fleet.outage(HOUR, BROKEN), HOUR)
    during("Stripe was away for an hour", 3, 10, lambda: fleet.outage(HOUR, REFUSED), HOUR)
    during(
        "no internet for an hour",
        4,
        2,
        lambda: fleet.connection_lost(everybody, HOUR),
        HOUR,
    )
    during(
        "no internet for a minute",
        5,
        12,
        lambda: fleet.connection_lost(everybody, 60.0),
        60.0,
    )
    during("all plans renew in the same second", 6, 0, lambda: None, 0.0)
    fleet.run(monday + 7 * DAY)
    return Week(fleet, episodes, monday)


def _rush(fleet: Fleet, seconds: float) -> None:
    for router in fleet.chance.sample(fleet.routers, len(fleet.routers) // 50):
        buys = partial(
            fleet.one_buys,
            router,
            pays=fleet.chance.random() < 0.7,
            subscribes=fleet.chance.random() < 0.5,
        )
        fleet.at(fleet.now + fleet.chance.uniform(0, seconds), buys)


def figures_of(week: Week) -> list[Row]:
    found = []
    for episode in week.episodes:
        if "minute" in episode.name:
            episode.right_after = []  # without a missed poll there is nothing to catch up on
        found += _figures(week.fleet, episode)
    unlocked = sorted(week.fleet.unlocked_after)
    renewed = sorted(week.fleet.renewals_seen_after)
    days = 7 * DAY
    requests = week.fleet.account.seen.total(week.starts_at, week.starts_at + days)
    return [
        *found,
        Row("purchases: unlocked after paying, median", _quantile(unlocked, 0.5), "s"),
        Row("purchases: unlocked after paying, 99 %", _quantile(unlocked, 0.99), "s", Goal("<=", 5)),
        Row("purchases: turned away by a limit", week.fleet.refused_buyers, ""),
        Row("renewals: noticed after, median", _quantile(renewed, 0.5), "s"),
        Row("renewals: noticed after, last", renewed[-1], "s", SOON),
        Row("the whole week: requests on average", requests / days, "req/s"),
    ]


def _quantile(values: list[float], part: float) -> float:
    return values[min(len(values) - 1, int(part * len(values)))]


# -- what not to do, and what a sandbox does -------------------------------------------------------------


def everybody_syncs(routers: int = 10_000) -> tuple[Fleet, list[Row]]:
    """A job of cron's on every router: `sync` at three in the morning, without `background`."""
    fleet = Fleet(routers)
    fleet.settle_down()
    episode = Episode(f"{routers:,} call sync in one second", fleet.now, fleet.now + 2 * fleet.poll_interval)
    fleet.everybody_syncs(fleet.routers)
    fleet.run(episode.until)
    episode.right_after = fleet.right_after
    return fleet, _figures(fleet, episode, goals=False)


def sandboxes(routers: int = 10_000) -> list[Row]:
    """A quarter of the requests: many are refused, with and without a Retry-After."""
    found = []
    for reported, retry_after in (("", None), (" with Retry-After: 60", 60)):
        fleet = Fleet(routers, limits=Limits(account=25.0, retry_after=retry_after), subscribed=0.5)
        episode = Episode(f"{routers:,} restart in a sandbox (25/s){reported}", 0.0, 4 * HOUR)
        fleet.restart(fleet.routers)
        fleet.run(episode.until)
        episode.right_after = fleet.right_after
        found += _figures(fleet, episode, goals=False)
        found.append(Row(f"{episode.name}: right by then", len(fleet.right_after), "routers"))
    return found


# -- larger fleets ----------------------------------------------------------------------------------


def recommended(routers: int, poll_interval: float, days: float) -> tuple[Fleet, list[Row]]:
    """A larger fleet with a longer poll_interval: power cut, then days with renewals at any time."""
    fleet = Fleet(routers, poll_interval=poll_interval)
    name = f"{routers:,} at poll_interval {poll_interval:,.0f}"
    cut = Episode(f"{name}, everybody's power is back", 0.0, 1.2 * poll_interval)
    fleet.power_cut(fleet.routers)
    fleet.run(cut.until)
    cut.right_after = fleet.right_after
    found = _figures(fleet, cut, goals=False)
    found[0] = Row(found[0].name, found[0].value, found[0].unit, MOST)
    fleet.run(days * DAY)
    seen = fleet.account.seen
    since = min(2 * poll_interval, days * DAY / 2)
    found += [
        Row(f"{name}, the days after: most in a second", seen.peak(since, fleet.now), "req/s", MOST),
        Row(
            f"{name}, the days after: on average",
            seen.total(since, fleet.now) / (fleet.now - since),
            "req/s",
        ),
        Row(f"{name}: refused", seen.refused_share(0, fleet.now), "%"),
    ]
    return fleet, found


def too_many(routers: int, seconds: float, *, scale: float = 1.0) -> tuple[Fleet, list[Row]]:
    """A million at the default poll_interval, which is far too short for them. `scale`: routers and limits
    are both so much smaller, and the figures are given as those of the million.
    """
    limits = Limits(account=100 * scale, endpoint=25 * scale, search=20 * scale)
    fleet = Fleet(int(routers * scale), limits=limits)
    fleet.power_cut(fleet.routers)
    fleet.run(seconds)
    seen = fleet.account.seen
    name = f"{routers:,} at poll_interval 900"
    if scale != 1.0:
        name += f" (simulated 1:{1 / scale:.0f})"
    hours = seconds / HOUR
    last = seconds - min(HOUR, seconds / 2)
    return fleet, [
        Row(f"{name}: most in a second", seen.peak(0, seconds) / scale, "req/s"),
        Row(f"{name}: refused in the first quarter of an hour", seen.refused_share(0, 900), "%"),
        Row(f"{name}: refused at the end of {hours:.0f} h", seen.refused_share(last, seconds), "%"),
        Row(f"{name}: right by then", 100 * len(fleet.right_after) / len(fleet.routers), "%"),
    ]
