"""`make bench`: speed, memory, flash and sizes, each beside a baseline that is measured in the same run."""

import argparse
import logging
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from pathlib import Path
from typing import Final

from campaigns.bench import (
    bus_calls,
    flash,
    hub_memory,
    hub_polls,
    hub_webhooks,
    imports,
    luci_pages,
    packages,
    side_by_side,
    slow_stripe,
    start_and_memory,
    webhooks,
)
from campaigns.report import Report, Row
from campaigns.runner import Campaign, Part, Say, Scratch

__all__ = ["CAMPAIGN", "measured"]

Measure = Callable[[Path], AsyncIterator[Row]]

PARTS: Final[dict[str, Measure]] = {
    "bus-calls": bus_calls.measure,
    "start-and-memory": start_and_memory.measure,
    "hub-memory": hub_memory.measure,
    "side-by-side": side_by_side.measure,
    "imports": imports.measure,
    "slow-stripe": slow_stripe.measure,
    "webhooks": webhooks.measure,
    "hub": hub_webhooks.measure,
    "hub-polls": hub_polls.measure,
    "flash": flash.measure,
    "packages": packages.measure,
    "luci-pages": luci_pages.measure,
}


def measured(name: str, measure: Measure) -> Part:
    """The part that adds each row as soon as it is measured: what fails later takes none of them away."""

    async def run(report: Report, scratch: Scratch, say: Say) -> None:
        del say
        async for row in measure(scratch.own):
            report.add(row)

    return Part(name, run)


class _Bench(Campaign):
    summary = "timings as ratios, memory, flash, sizes"
    silenced = logging.CRITICAL

    def names(self) -> Sequence[str]:
        return tuple(PARTS)

    def add_options(self, parser: argparse.ArgumentParser) -> None:
        """None."""

    def parts(self, options: argparse.Namespace) -> Iterator[Part]:
        for name in options.only or PARTS:
            yield measured(name, PARTS[name])

    def short_parts(self) -> Iterator[Part]:
        """What is no timing: it holds on a busy machine too."""
        yield measured("memory", start_and_memory.measure_memory)


CAMPAIGN: Final = _Bench()
