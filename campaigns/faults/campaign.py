"""The whole campaign: which lines there are, and how their trials are run beside each other."""

import asyncio
import contextlib
import itertools
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from random import Random
from typing import Protocol

from campaigns.faults.control import MISTAKES, Mistake
from campaigns.faults.control import PATIENCE_S as CONTROL_PATIENCE_S
from campaigns.faults.disturbance_lines import DISTURBANCE_LINES
from campaigns.faults.pasts import Pasts
from campaigns.faults.scenarios import SCENARIOS
from campaigns.faults.storage_lines import STORAGE_LINES
from campaigns.faults.trial import Result, Trial, run
from campaigns.report import Campaign

__all__ = ["CONTROL", "LINES", "FaultCampaign", "TrialLine"]


CONTROL = "control"
_CONTROL_IS = "daemons with one deliberate mistake each: every mistake is noticed by the trials above"
_LOG_KEPT = 200_000


class TrialLine(Protocol):
    """One line of the table."""

    @property
    def name(self) -> str: ...

    @property
    def what(self) -> str: ...

    def trials(self, points: Mapping[str, int], seed: int) -> Iterator[Trial]: ...


LINES: dict[str, TrialLine] = {line.name: line for line in (*STORAGE_LINES, *DISTURBANCE_LINES)}


class FaultCampaign:
    """`jobs`: how many trials run beside each other (they mostly wait); `kept`: where logs of failures go."""

    def __init__(self, folder: Path, *, jobs: int, seed: int, kept: Path) -> None:
        self.report = Campaign("survived")
        self._pasts = Pasts(folder)
        self._jobs = asyncio.Semaphore(jobs)
        self._seed = seed
        self._kept = kept
        self._points: dict[str, int] = {}

    async def points(self) -> Mapping[str, int]:
        """How many write points each scenario has, counted in a run in which nothing happens."""
        if not self._points:
            trials = [Trial("count", name) for name in SCENARIOS]
            for trial, result in zip(trials, await asyncio.gather(*map(self.run, trials)), strict=True):
                if result.failure is not None:
                    raise RuntimeError(
                        f"{trial.scenario} does not come right without any fault: {result.failure}"
                    )
                self._points[trial.scenario] = result.points
        return self._points

    async def run(self, trial: Trial) -> Result:
        async with self._jobs:
            return await run(trial, self._pasts)

    async def trials(self, line: TrialLine, share: int = 1) -> list[Trial]:
        """Those of a line, or of each `share` of them one, chosen by the seed."""
        everything = list(line.trials(await self.points(), self._seed))
        if share == 1:
            return everything
        return Random(self._seed).sample(everything, max(1, len(everything) // share))

    async def try_line(
        self, line: TrialLine, trials: Iterable[Trial], say: Callable[[str], object] = lambda _: None
    ) -> None:
        """Runs them and notes what came of each; `say` hears how it went."""
        noted = self.report.line(line.name, line.what)
        trials = list(trials)
        done = itertools.count(1)

        async def one(trial: Trial) -> None:
            result = await self.run(trial)
            if result.met:
                noted.note(None if result.failure is None else f"{trial}: {result.failure}")
            if result.failure is not None:
                self._keep(trial, result)
            _progress(f"{line.name}: {next(done)} of {len(trials)}, {len(noted.failures)} failed")

        began = time.monotonic()
        await asyncio.gather(*map(one, trials))
        _progress("")
        minutes = (time.monotonic() - began) / 60
        say(f"{line.name}: {noted.held} of {noted.tried} survived, {minutes:.1f} min")

    async def control(
        self, mistakes: Iterable[Mistake] = MISTAKES, say: Callable[[str], object] = lambda _: None
    ) -> None:
        """The line about daemons that are wrong on purpose: what is counted is mistakes that were noticed."""
        noted = self.report.line(CONTROL, _CONTROL_IS)
        for mistake in mistakes:
            with tempfile.TemporaryDirectory(prefix="mistake-") as folder:
                daemon = mistake.daemon(Path(folder))

                async def one(trial: Trial, daemon: Path = daemon) -> Result:
                    async with self._jobs:
                        return await run(trial, self._pasts, daemon=daemon, patience_s=CONTROL_PATIENCE_S)

                results = await asyncio.gather(*map(one, mistake.trials()))
            failed = sum(result.failure is not None for result in results)
            noted.note(None if failed else f"nobody noticed a daemon that {mistake.name}")
            say(f"{CONTROL}: {failed} of {len(results)} trials noticed a daemon that {mistake.name}")

    def _keep(self, trial: Trial, result: Result) -> None:
        self._kept.mkdir(parents=True, exist_ok=True)
        name = "".join(letter if letter.isalnum() else "-" for letter in str(trial))
        (self._kept / f"{name}.log").write_text(f"{trial}\n{result.failure}\n\n{result.log[-_LOG_KEPT:]}")


def _progress(text: str) -> None:
    if sys.stderr.isatty():
        with contextlib.suppress(OSError):
            print(f"\r\033[K{text}", end="", file=sys.stderr, flush=True)
