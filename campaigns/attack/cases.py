"""What one line of the campaign may use up, and where it says what came of it."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from random import Random
from typing import TypeVar

from campaigns.report import Tally

__all__ = ["BUILD", "Cases"]

T = TypeVar("T")

BUILD = Path("build/attack")
"""Where the inputs that harmed are written, in the folder that the campaign was started in."""


class Cases:
    """`count` cases at least, and as many more as fit into `seconds`.

    `folder` is a scratch folder of the line's own. `chance` decides everything that is left to chance, so
    that the same `seed` tries the same again.
    """

    def __init__(
        self, tally: Tally, folder: Path, *, count: int, seconds: float = 0.0, seed: int = 0
    ) -> None:
        self.tally = tally
        self.folder = folder
        self.count = count
        self.seed = seed
        self.chance = Random(f"{tally.name} {seed}")
        self._long = seconds > 0
        self._until = time.monotonic() + seconds
        self.notes: list[str] = []
        """What the long form says besides the table: figures that no test asserts."""

    @property
    def over(self) -> bool:
        """Whether the time is used up; `count` cases are made all the same."""
        return time.monotonic() >= self._until

    @property
    def seconds_left(self) -> float:
        return max(0.0, self._until - time.monotonic())

    def rounds(self) -> Iterator[int]:
        """0, 1, 2, … until all is used up."""
        number = 0
        while number < self.count or not self.over:
            yield number
            number += 1

    def some(self, of: Sequence[T]) -> Sequence[T]:
        """All of them in the long form; in the short one, which has no time, `count` of them by chance."""
        return of if self._long or len(of) <= self.count else self.chance.sample(of, self.count)

    def note(self, problem: str | None, case: str) -> None:
        """One case of a list, named so that a person finds it in the code; `problem` None: it held."""
        self.tally.count(None if problem is None else f"{case}: {problem} (again: {self._again()})")

    def note_input(self, problem: str | None, given: bytes) -> None:
        """One case of an input; one that harmed is written to a file, which repeats it by itself."""
        if problem is None:
            self.tally.count(None)
            return
        file = BUILD / self.tally.name / hashlib.sha256(given).hexdigest()[:16]
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(given)
        self.tally.count(f"{problem} (again: {self._again()} --input {file})")

    def _again(self) -> str:
        return f"python -m campaigns attack --only {self.tally.name} --seed {self.seed}"
