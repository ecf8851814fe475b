"""Fuzzing that sees which lines an input reached (Atheris, libFuzzer), of everything that reads bytes by
itself.

Each target runs in a process of its own, because libFuzzer ends the one that it is in:
`python -m campaigns.attack.coverage_guided TARGET [libFuzzer's options] FOLDER…`. Where Atheris is not
installed (it has no build for every Python and processor) the campaign says so and goes on.
"""

from __future__ import annotations

import asyncio
import importlib
import importlib.util
import os
import re
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from campaigns.attack.cases import BUILD, Cases

__all__ = ["TARGETS", "available", "coverage_guided"]

REPOSITORY = Path(__file__).resolve().parents[2]
CORPUS = Path(__file__).with_name("corpus")
Checker = Callable[[bytes], "str | None"]

TARGETS = {
    "blobmsg": "ubus_py",
    "bus-frames": "ubus_py",
    "json-text": "tools",
    "return-addresses": "stripe_payments",
    "signatures": "stripe_payments",
    "webhook-bodies": "stripe_payments",
    "stripe-objects": "stripe_payments",
    "http-requests": "stripe_payments",
    "uci-settings": "stripe_payments",
    "log-entries": "stripe_payments",
}
"""What is attacked, and the package whose lines are watched."""

_DONE = re.compile(rb"Done (\d+) runs")
_COVERED = re.compile(rb"cov: (\d+)")
_ARTIFACT = re.compile(rb"Test unit written to (\S+)")
_PROBLEM = re.compile(rb"=== Uncaught Python exception: ===\n(.+)")


def available() -> str | None:
    """Why it cannot run here, None if it can."""
    if importlib.util.find_spec("atheris") is None:
        return (
            f"not run: there is no Atheris for Python {sys.version_info.major}.{sys.version_info.minor} here"
        )
    return None


async def coverage_guided(cases: Cases) -> None:
    """Every target in turn, for an equal part of the time (in the short form: so many runs)."""
    seconds = int(cases.seconds_left / len(TARGETS))
    for name in cases.some(list(TARGETS)):
        await _run(cases, name, seconds)


async def _run(cases: Cases, name: str, seconds: int) -> None:
    fresh = cases.folder / name
    fresh.mkdir(parents=True)
    seeds = CORPUS / name
    artifacts = BUILD / "coverage-guided" / name
    artifacts.mkdir(parents=True, exist_ok=True)
    limit = f"-max_total_time={seconds}" if seconds else f"-runs={cases.count * 100}"
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "campaigns.attack.coverage_guided",
        name,
        limit,
        f"-seed={cases.seed + 1}",
        f"-artifact_prefix={artifacts}/",
        "-timeout=20",
        "-rss_limit_mb=2048",
        "-close_fd_mask=1",
        str(fresh),
        *([str(seeds)] if seeds.is_dir() else []),
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": f"{REPOSITORY}:{REPOSITORY / 'daemon'}"},
        cwd=Path.cwd(),
    )
    _, said = await process.communicate()
    runs = int(found[1]) if (found := _DONE.search(said)) else 0
    covered = [int(number) for number in _COVERED.findall(said)]
    cases.notes.append(f"{name}: {runs:,} runs, {covered[-1] if covered else 0} edges reached")
    for _ in range(max(0, runs - 1)):
        cases.tally.count(None)
    problem = None
    if process.returncode != 0 or not runs:
        problem = (
            found[1].decode(errors="replace") if (found := _PROBLEM.search(said)) else repr(said[-500:])
        )[:500]
        if artifact := _ARTIFACT.search(said):
            problem += f" (the input: {artifact[1].decode()})"
    cases.note(problem, name)
    shutil.rmtree(fresh, ignore_errors=True)


# -- in the process of its own ---------------------------------------------------------------------


def _checkers() -> dict[str, Checker]:
    """Imported here and only here: what is imported under Atheris's eyes is what it watches."""
    from campaigns.attack import whole_inputs

    return whole_inputs.CHECKERS


def main() -> None:
    """Fuzzes until libFuzzer has had enough. Exit code 77 after a finding."""
    atheris: Any = importlib.import_module("atheris")
    name = sys.argv[1]
    packages = sorted({"ubus_py", TARGETS[name]})
    with atheris.instrument_imports(include=packages):
        check = _checkers()[name]

    def one(data: bytes) -> None:
        problem = check(data)
        if problem is not None:
            raise AssertionError(problem)

    atheris.Setup([sys.argv[0], *sys.argv[2:]], one)
    atheris.Fuzz()


if __name__ == "__main__":
    main()
