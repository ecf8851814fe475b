"""`make soak MINUTES=…`: months of a household, and whether the daemon grows by them; the same of a hub."""

from __future__ import annotations

import argparse
import logging
import math
from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Final

from campaigns.report import Goal, Report, Row
from campaigns.runner import Campaign, Part, Say, Scratch
from campaigns.soak.busy_hub import soak_hub
from campaigns.soak.busy_subscriber import DAYS_A_MONTH
from campaigns.soak.histories import ten_years
from campaigns.soak.luci import REAL_INTERVAL_S
from campaigns.soak.run import Rest, Soak, Soaked
from campaigns.soak.short_form import three_months
from campaigns.soak.trend import Trend, trend
from simulator.postgres import program
from stripe_payments.ledger.retention import Tidied

WARM_PART: Final = 1 / 3
"""Of the time: caches fill, pages of the C library's heap are taken once."""

WARM_MONTHS: Final = 12
COUNTED_S: Final = 240.0
"""Less of either, and the filling of caches is all that the memory shows: it is said, and not checked."""

MIB: Final = 2**20
HOUR: Final = 3600.0


def is_long_enough(soaked: Soaked) -> bool:
    """Whether the memory's slope says anything about growth."""
    counted = soaked.samples[soaked.warm_samples :]
    warm = soaked.rests[soaked.warm_rests]
    return warm.month >= WARM_MONTHS and counted[-1].at - counted[0].at >= COUNTED_S


def figures(soaked: Soaked) -> list[Row]:
    """What grew since everything was warm, each slope with its error."""
    counted = soaked.samples[soaked.warm_samples :]
    first, last = soaked.rests[soaked.warm_rests], soaked.rests[-1]
    seconds = counted[-1].at - counted[0].at
    done = soaked.done - soaked.done_when_warm
    days_an_hour = done["simulated days"] / (seconds / HOUR)
    moments = [sample.at / HOUR for sample in counted]
    memory = trend(moments, [sample.resident / MIB for sample in counted])
    descriptors = trend(moments, [float(sample.descriptors) for sample in counted])
    threads = trend(moments, [float(sample.threads) for sample in counted])
    log = trend(moments, [sample.log / MIB for sample in counted])
    purchases = max(1, done["purchases"])
    requests = soaked.requests["LuCI requests"] / soaked.seconds
    tidied, cramped = soaked.tidied or Tidied(), soaked.cramped or Tidied()
    events = done["purchases"] + done["renewals"] + done["plan changes"] + done["refunds"]
    return [
        Row("run for", soaked.seconds / 60, "min"),
        Row("of which counted", seconds / 60, "min"),
        Row("days that passed at Stripe", float(soaked.done["simulated days"]), "days"),
        Row("LuCI's requests, times those of one open page", requests * REAL_INTERVAL_S, ""),
        *(Row(f"done: {what}", float(count), "") for what, count in sorted(soaked.done.items())),
        Row("done: requests that are wrong", float(soaked.requests["wrong requests"]), ""),
        *_slope(
            "memory (anonymous)",
            memory,
            "MiB",
            days_an_hour,
            Goal("<=", 1.0) if is_long_enough(soaked) else None,
        ),
        Row("memory at rest, when warm", first.resident / MIB, "MiB"),
        Row("memory at rest, at the end", last.resident / MIB, "MiB"),
        *_monthly(soaked),
        *_slope("descriptors", descriptors, "", days_an_hour, Goal("<=", 1.0)),
        Row(
            "descriptors at rest, more than when warm",
            _more(last.descriptors, first.descriptors),
            "",
            Goal("<=", 0),
        ),
        *_slope("threads", threads, "", days_an_hour, Goal("<=", 1.0)),
        Row("threads at rest, more than when warm", last.threads - first.threads, "", Goal("<=", 0)),
        Row("left waiting at the end (checkouts, events, effects)", _waiting(last), "", Goal("<=", 0)),
        Row(
            "ledger, for each purchase with its renewals and changes",
            (last.ledger - first.ledger) / 1024 / purchases,
            "KiB",
            Goal("<=", 64),
        ),
        Row(
            "ledger, for each payment, change or refund",
            (last.ledger - first.ledger) / 1024 / max(1, events),
            "KiB",
        ),
        Row("ledger at the end", soaked.ledger_bytes / 1024, "KiB"),
        Row(
            "ledger after retention, four months later",
            tidied.size / 1024,
            "KiB",
            Goal("<=", 1.0, of_baseline=True),
            soaked.ledger_bytes / 1024,
            "before",
        ),
        Row("events deleted by retention", tidied.events, "", Goal(">=", 1)),
        Row(
            "ledger after retention where half of that is all the space",
            cramped.size / 1024,
            "KiB",
            Goal("<=", 1.0, of_baseline=True),
            tidied.size / 1024,
            "before",
        ),
        Row("objects that it archived for that", cramped.archived, ""),
        Row("log, an hour", log.slope, "MiB"),
        Row(
            "log, for each purchase",
            log.slope * MIB / 1024 * (seconds / HOUR) / purchases,
            "KiB",
            Goal("<=", 64),
        ),
        Row("answers of the simulator that Stripe's SDK does not know", len(soaked.drift), "", Goal("<=", 0)),
    ]


def _more(now: Counter[str], before: Counter[str]) -> float:
    return float((now - before).total())


def _waiting(rest: Rest) -> float:
    return float(rest.checkouts + rest.events + rest.effects)


def _slope(what: str, found: Trend, unit: str, days_an_hour: float, goal: Goal | None) -> list[Row]:
    """An hour, and a thousand days at Stripe; only growth that the error does not explain away counts."""
    return [
        Row(f"{what}: slope", found.slope, f"{unit}/h"),
        Row(f"{what}: may be off by (95 %)", found.error, f"{unit}/h"),
        Row(f"{what}: grows by at least", found.at_least, f"{unit}/h", goal),
        Row(f"{what}: slope, a thousand days at Stripe", found.slope / days_an_hour * 1000, unit),
    ]


def _monthly(soaked: Soaked) -> list[Row]:
    """Of the memory at rest, which is steadier than in the middle of the traffic."""
    rests = soaked.rests[soaked.warm_rests :]
    found = trend([float(rest.month) for rest in rests], [rest.resident / 1024 for rest in rests])
    if math.isinf(found.error):
        return []  # too few months to say anything
    what = f"memory at rest, a month of the household ({DAYS_A_MONTH} days)"
    return [
        Row(f"{what}: slope", found.slope, "KiB"),
        Row(f"{what}: may be off by (95 %)", found.error, "KiB"),
        Row(
            f"{what}: grows by at least",
            found.at_least,
            "KiB",
            Goal("<=", 16) if is_long_enough(soaked) else None,
        ),
    ]


class _Soak(Campaign):
    summary = "months of a household in minutes; fails on growth"
    silenced = logging.CRITICAL  # the bus of this process is cut every other month

    def names(self) -> Sequence[str]:
        return ("household", "ten-years", "hub")

    def add_options(self, parser: argparse.ArgumentParser) -> None:
        parser.add_argument("--minutes", type=float, default=10.0, help="for how long (%(default)s)")
        parser.add_argument("--lives", type=int, default=200, help="of ten years each (%(default)s)")

    def parts(self, options: argparse.Namespace) -> Iterator[Part]:
        seconds = options.minutes * 60

        async def household(report: Report, scratch: Scratch, say: Say) -> None:
            soaked = await Soak(scratch.own, say).run(
                lambda _, passed: passed >= WARM_PART * seconds, lambda _, passed: passed >= seconds
            )
            report.add(*figures(soaked))
            if not is_long_enough(soaked):
                report.add(Row("growth of memory", reason="too short to measure it: MINUTES=8 or more"))

        async def lives(report: Report, scratch: Scratch, say: Say) -> None:
            await ten_years(report, say, range(options.lives))

        async def hub(report: Report, scratch: Scratch, say: Say) -> None:
            await soak_hub(report, scratch.own.resolve(), say, seconds)

        every = {"household": household, "ten-years": lives, "hub": hub}
        for name in options.only or self.names():
            yield Part(name, every[name], missing=_no_postgresql if name == "hub" else lambda: None)

    def short_parts(self) -> Iterator[Part]:
        async def lives(report: Report, scratch: Scratch, say: Say) -> None:
            await ten_years(report, say, range(2))

        async def hub(report: Report, scratch: Scratch, say: Say) -> None:
            await soak_hub(report, scratch.own.resolve(), say, 2)

        yield Part("three-months", three_months, timeout_s=480)
        yield Part("ten-years", lives, timeout_s=480)
        yield Part("hub", hub, missing=_no_postgresql)


def _no_postgresql() -> str | None:
    try:
        program("initdb")
    except FileNotFoundError as error:
        return str(error)
    return None


CAMPAIGN: Final = _Soak()
