"""The lines of the table, and how their cases are run beside each other."""

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

from campaigns.faults.case import Case, Result, run
from campaigns.faults.control import MISTAKES, Mistake
from campaigns.faults.control import PATIENCE_S as CONTROL_PATIENCE_S
from campaigns.faults.device_cases import run_combination
from campaigns.faults.disturbance_lines import DISTURBANCE_LINES
from campaigns.faults.pasts import Pasts
from campaigns.faults.scenarios import SCENARIOS
from campaigns.faults.storage_lines import STORAGE_LINES
from campaigns.report import Tally

__all__ = ["CONTROL", "CONTROL_IS", "LINES", "CaseLine", "Runs"]


CONTROL = "control"
CONTROL_IS = "daemons with one deliberate mistake each: every mistake is noticed by the cases above"
_LOG_KEPT = 200_000


class CaseLine(Protocol):
    """One line of the table."""

    @property
    def name(self) -> str: ...

    @property
    def what(self) -> str: ...

    def cases(self, points: Mapping[str, int], seed: int) -> Iterator[Case]: ...


LINES: dict[str, CaseLine] = {line.name: line for line in (*STORAGE_LINES, *DISTURBANCE_LINES)}


class Runs:
    """Runs cases. `pasts`: a folder for what routers were before them. `jobs`: how many cases run beside
    each other (they mostly wait); `kept`: where logs of failures go.
    """

    def __init__(self, pasts: Path, *, jobs: int, seed: int, kept: Path) -> None:
        self._pasts = Pasts(pasts)
        self._jobs = asyncio.Semaphore(jobs)
        self._seed = seed
        self._kept = kept
        self._points: dict[str, int] = {}

    async def points(self) -> Mapping[str, int]:
        """How many write points each scenario has, counted in a run in which nothing happens."""
        if not self._points:
            cases = [Case("count", name) for name in SCENARIOS]
            for case, result in zip(cases, await asyncio.gather(*map(self.run, cases)), strict=True):
                if result.failure is not None:
                    raise RuntimeError(
                        f"{case.scenario} does not come right without any fault: {result.failure}"
                    )
                self._points[case.scenario] = result.points
        return self._points

    async def run(self, case: Case) -> Result:
        async with self._jobs:
            return await run(case, self._pasts)

    async def cases(self, line: CaseLine, share: int = 1) -> list[Case]:
        """Those of a line, or of each `share` of them one, chosen by the seed."""
        everything = list(line.cases(await self.points(), self._seed))
        if share == 1:
            return everything
        return Random(self._seed).sample(everything, max(1, len(everything) // share))

    async def try_line(
        self, tally: Tally, cases: Iterable[Case], say: Callable[[str], object] = lambda _: None
    ) -> None:
        """Run them and count the result of each that met its fault."""
        cases = list(cases)
        done = itertools.count(1)

        async def one(case: Case) -> None:
            result = await self.run(case)
            if result.met:
                tally.count(None if result.failure is None else f"{case}: {result.failure}")
            if result.failure is not None:
                self._keep(case, result)
            _progress(f"{tally.name}: {next(done)} of {len(cases)}, {len(tally.failures)} failed")

        began = time.monotonic()
        await asyncio.gather(*map(one, cases))
        _progress("")
        minutes = (time.monotonic() - began) / 60
        say(f"{tally.name}: {tally.held} of {tally.tried} {tally.verb}, {minutes:.1f} min")

    async def combinations(
        self, tally: Tally, seeds: Iterable[int], say: Callable[[str], object] = lambda _: None
    ) -> None:
        """Run the combinations of those seeds and count the result of each."""

        async def one(seed: int) -> None:
            async with self._jobs:
                failure = await run_combination(seed, self._pasts)
            repeat = f"--only {tally.name} --seed {seed // 1000} --step {seed % 1000}"
            tally.count(None if failure is None else f"{repeat}: {failure}")
            _progress(f"{tally.name}: {tally.tried}, {len(tally.failures)} failed")

        await asyncio.gather(*map(one, seeds))
        _progress("")
        say(f"{tally.name}: {tally.held} of {tally.tried} {tally.verb}")

    async def control(
        self,
        tally: Tally,
        mistakes: Iterable[Mistake] = MISTAKES,
        say: Callable[[str], object] = lambda _: None,
    ) -> None:
        """Run daemons that are wrong on purpose, and count the mistakes that were noticed."""
        for mistake in mistakes:
            with tempfile.TemporaryDirectory(prefix="mistake-") as folder:
                daemon = mistake.daemon(Path(folder))

                async def one(case: Case, daemon: Path = daemon) -> Result:
                    async with self._jobs:
                        return await run(case, self._pasts, daemon=daemon, patience_s=CONTROL_PATIENCE_S)

                results = await asyncio.gather(*map(one, mistake.cases()))
            failed = sum(result.failure is not None for result in results)
            tally.count(None if failed else f"no case failed with a daemon that {mistake.name}")
            say(f"{CONTROL}: {failed} of {len(results)} cases noticed a daemon that {mistake.name}")

    def _keep(self, case: Case, result: Result) -> None:
        self._kept.mkdir(parents=True, exist_ok=True)
        name = "".join(letter if letter.isalnum() else "-" for letter in str(case))
        (self._kept / f"{name}.log").write_text(f"{case}\n{result.failure}\n\n{result.log[-_LOG_KEPT:]}")


def _progress(text: str) -> None:
    if sys.stderr.isatty():
        with contextlib.suppress(OSError):
            print(f"\r\033[K{text}", end="", file=sys.stderr, flush=True)
