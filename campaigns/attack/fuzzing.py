"""Fuzzing: a target takes bytes and says what was wrong; the corpus and mutations of it are thrown at it.

An input is always bytes, so that one that harmed is a file, the file repeats the case, and repaired it goes
into the corpus (`corpus/TARGET/NAME`) and is tried first for ever after. Names there say what the input is,
or what it broke.
"""

from __future__ import annotations

import asyncio
import contextlib
from abc import ABC, abstractmethod
from collections.abc import Awaitable
from pathlib import Path
from random import Random
from typing import Self

from campaigns.attack.cases import Cases

__all__ = ["CORPUS", "Target", "fuzz"]

CORPUS = Path(__file__).with_name("corpus")
PATIENCE_S = 60.0
"""A case that takes longer hangs."""
MOST_TARGETS = 30
"""After so many findings a line is broken beyond doubt."""


class Target(ABC):
    """Something that takes input from strangers. Used as `async with`: it may be a whole daemon."""

    name: str

    def __init__(self, folder: Path) -> None:
        """`folder`: a scratch folder of its own."""
        self.folder = folder
        self.stack = contextlib.AsyncExitStack()

    async def __aenter__(self) -> Self:
        """Opens what is attacked; what `stack` holds is closed in the end."""
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.stack.aclose()

    @abstractmethod
    async def attempt(self, given: bytes) -> str | None:
        """One input; None where the product was right about it, else what was wrong."""

    @abstractmethod
    def mutate(self, chance: Random, given: bytes) -> bytes:
        """Another input, made of one that is known."""

    async def aftermath(self) -> str | None:
        """After all cases: what harm was left behind, None if none."""
        return None


def corpus(name: str) -> list[Path]:
    """The files kept for a target, by name."""
    return sorted(path for path in (CORPUS / name).iterdir() if path.is_file())


class _Inputs:
    """The corpus, then mutations of it, by whatever target is there at the time."""

    def __init__(self, kind: type[Target], cases: Cases, given: bytes | None) -> None:
        self._known = [path.read_bytes() for path in corpus(kind.name)]
        self._waiting = [given] if given is not None else list(self._known)
        self._rounds = iter(()) if given is not None else cases.rounds()
        self._chance = cases.chance

    def next(self, target: Target) -> bytes | None:
        """None when the cases are used up."""
        if self._waiting:
            return self._waiting.pop(0)
        if next(self._rounds, None) is None:
            return None
        given = self._chance.choice(self._known)
        for _ in range(self._chance.choice((1, 1, 1, 2, 4))):
            given = target.mutate(self._chance, given)
        return given


async def _bounded(attempt: Awaitable[str | None]) -> str | None:
    """What an attempt found; an exception and hanging are findings too."""
    try:
        async with asyncio.timeout(PATIENCE_S):
            return await attempt
    except TimeoutError:
        return f"no answer within {PATIENCE_S:.0f} s"
    except Exception as error:  # noqa: BLE001 - an exception is what a campaign looks for
        return f"{type(error).__name__}: {error}"


async def fuzz(kind: type[Target], cases: Cases, given: bytes | None = None) -> None:
    """Every input of the corpus, then mutations until the cases are used up; or one input alone.

    What harmed has perhaps left something broken behind: the next input meets a new target.
    """
    inputs = _Inputs(kind, cases, given)
    for number in range(MOST_TARGETS):
        async with kind(cases.folder / str(number)) as target:
            if await _until_harm(target, cases, inputs):
                cases.note(await _bounded(target.aftermath()), "after all of them")
                return


async def _until_harm(target: Target, cases: Cases, inputs: _Inputs) -> bool:
    """Whether the inputs came to their end without harm."""
    while (given := inputs.next(target)) is not None:
        problem = await _bounded(target.attempt(given))
        cases.note_input(problem, given)
        if problem is not None:
            return False
    return True
