"""Runs the parts of a campaign: whatever one of them raises is a row of the report, and the next one runs."""

import argparse
import logging
import tempfile
import traceback
from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from campaigns.report import NotMeasured, Report, Row

__all__ = ["BUILD", "Campaign", "Part", "Scratch", "run"]

BUILD = Path("build")
"""Where reports go, below the folder that the campaign was started in."""

Say = Callable[[str], object]


def _nothing_is_missing() -> None:
    return None


@dataclass(frozen=True)
class Scratch:
    """Where a part may write. `own`: a folder of this part alone; `shared`: one for all parts of a campaign,
    for what takes long to prepare. Both are on disk, not on a tmpfs: an fsync costs what it costs.
    """

    own: Path
    shared: Path


@dataclass(frozen=True)
class Part:
    """One part of a campaign. `run` adds its rows to the report.

    `missing` returns why the part cannot run here, or None. `browser`: drives Chromium. `timeout_s`: of a
    short form in `make test`.
    """

    name: str
    run: Callable[[Report, Scratch, Say], Awaitable[None]]
    what: str = ""
    missing: Callable[[], str | None] = _nothing_is_missing
    browser: bool = False
    timeout_s: float = 240.0


class Campaign(ABC):
    """`summary`: one line for the command's help. `silenced`: log records up to this level are dropped, which
    come from what is done to the simulator on purpose.
    """

    summary: str
    silenced = logging.NOTSET

    @abstractmethod
    def names(self) -> Sequence[str]:
        """The parts that `--only` may name, in order."""

    @abstractmethod
    def parts(self, options: argparse.Namespace) -> Iterable[Part]:
        """The parts of the long form that `options` choose. `options.only` is None or a list of `names`."""

    @abstractmethod
    def short_parts(self) -> Iterable[Part]:
        """The short form, which `make test` runs: seconds for each part, always the same."""

    @abstractmethod
    def add_options(self, parser: argparse.ArgumentParser) -> None:
        """Options of this campaign's own."""


async def run(parts: Iterable[Part], say: Say, folder: Path) -> Report:
    """Run `parts` one after the other, with scratch folders below `folder`."""
    report = Report()
    shared = folder / "shared"
    shared.mkdir(parents=True)
    for part in parts:
        await run_part(part, report, say, shared)
    return report


async def run_part(part: Part, report: Report, say: Say, shared: Path) -> None:
    """Add the part's rows to `report`. An exception is a failed row; `NotMeasured` one without a value."""
    if (reason := part.missing()) is not None:
        report.add(Row(part.name, what=part.what, reason=reason))
        return
    say(f"{part.name} …")
    with tempfile.TemporaryDirectory(dir=shared.parent, ignore_cleanup_errors=True) as own:
        try:
            await part.run(report, Scratch(Path(own), shared), say)
        except NotMeasured as missing:
            report.add(Row(part.name, what=part.what, reason=str(missing)))
        except Exception as error:  # noqa: BLE001 - the other parts must run all the same
            say(traceback.format_exc())
            failure = f"the part broke: {type(error).__name__}: {error}"
            report.add(Row(part.name, what=part.what, failures=(failure,)))
