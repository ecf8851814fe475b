"""What a campaign measured and tried: one table for people, one JSON file for programs.

Every line is a `Row`: a figure, the goal that it should meet, and a baseline that was measured in the same
run. A count of runs is such a figure too ("held", of so many that were tried): `Tally` makes it.
"""

import json
import platform
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

__all__ = ["Goal", "NotMeasured", "Report", "Row", "Tally"]

_FAILURES_SHOWN = 5


class NotMeasured(Exception):  # noqa: N818 - no error: the machine lacks something, or is too busy
    """Why a figure could not be taken here. The campaign goes on, and its row shows the reason."""


@dataclass(frozen=True)
class Goal:
    """What a value should be, in the row's unit: `Goal("<=", 10)`; or so many times the baseline."""

    relation: str
    bound: float
    of_baseline: bool = False

    def met(self, value: float, baseline: float | None) -> bool | None:
        """None where the goal is relative to a baseline that is missing."""
        if self.of_baseline and baseline is None:
            return None
        bound = self.bound * (baseline or 0.0) if self.of_baseline else self.bound
        return value <= bound if self.relation == "<=" else value >= bound

    def __str__(self) -> str:
        return f"{self.relation} {self.bound:g}" + (" x baseline" if self.of_baseline else "")


@dataclass(frozen=True)
class Row:
    """One line of the table.

    `value` is None where nothing was measured: `reason` says why. `baseline`: measured in the same run, in
    the same unit. `failures`: what was wrong, each with how to repeat it.
    """

    name: str
    value: float | None = None
    unit: str = ""
    goal: Goal | None = None
    baseline: float | None = None
    baseline_is: str = ""
    what: str = ""
    failures: tuple[str, ...] = ()
    reason: str = ""

    @property
    def ok(self) -> bool | None:
        """Whether the goal is met; None without a goal or a value."""
        if self.failures:
            return False
        if self.goal is None or self.value is None:
            return None
        return self.goal.met(self.value, self.baseline)

    @property
    def ratio(self) -> float | None:
        """The value as a multiple of the baseline, None where there is none."""
        return self.value / self.baseline if self.value is not None and self.baseline else None

    def as_json(self) -> dict[str, object]:
        """Always the same keys; numbers are rounded to a thousandth."""
        return {
            "value": _rounded(self.value),
            "unit": self.unit,
            "goal": str(self.goal) if self.goal else None,
            "baseline": _rounded(self.baseline),
            "baseline_is": self.baseline_is or None,
            "ratio": _rounded(self.ratio),
            "ok": self.ok,
            "what": self.what or None,
            "failures": list(self.failures),
            "reason": self.reason or None,
        }


@dataclass
class Tally:
    """Counts the runs of one kind. `verb`: what a run without a failure is called ("held", "survived")."""

    name: str
    what: str
    verb: str = "held"
    tried: int = 0
    failures: list[str] = field(default_factory=list)

    @property
    def held(self) -> int:
        """How many runs had no failure."""
        return self.tried - len(self.failures)

    def count(self, failure: str | None) -> None:
        """Add one run; `failure` is None where nothing was wrong."""
        self.tried += 1
        if failure is not None:
            self.failures.append(failure)

    def row(self) -> Row:
        """The count as a row. A tally without runs proves nothing, so it is not ok."""
        failures = tuple(self.failures) if self.tried else ("nothing was tried",)
        goal = Goal(">=", 1, of_baseline=True)
        return Row(self.name, self.held, self.verb, goal, self.tried, "tried", self.what, failures)


class Report:
    """The rows of one campaign, in the order in which they were added."""

    def __init__(self) -> None:
        self._rows: list[Row | Tally] = []

    @property
    def rows(self) -> list[Row]:
        """All rows, tallies with what they have counted so far."""
        return [entry.row() if isinstance(entry, Tally) else entry for entry in self._rows]

    @property
    def ok(self) -> bool:
        """Whether there are rows and none failed or missed its goal."""
        return bool(self._rows) and all(row.ok is not False for row in self.rows)

    def add(self, *rows: Row) -> None:
        """Add finished rows."""
        self._rows.extend(rows)

    def tally(self, name: str, what: str, verb: str = "held") -> Tally:
        """Add and return a tally to count with."""
        tally = Tally(name, what, verb)
        self._rows.append(tally)
        return tally

    def write(self, file: Path, say: Callable[[str], object]) -> None:
        """Say the table, and write `{name: row}` to `file` (see `Row.as_json`)."""
        rows = self.rows
        file.parent.mkdir(parents=True, exist_ok=True)
        written = {row.name: row.as_json() for row in rows}
        file.write_text(json.dumps(written, indent=2, ensure_ascii=False) + "\n")
        kernel = f"{platform.system()} {platform.release()}"
        say(f"{platform.machine()}, Python {platform.python_version()}, {kernel}\n")
        width = max((len(row.name) for row in rows), default=0)
        for row in rows:
            for line in _lines(row, width):
                say(line)
        say(f"\nwritten to {file}")


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, 3)


def _number(value: float) -> str:
    return f"{value:,.0f}" if value >= 1000 or value == int(value) else f"{value:,.4g}"


def _lines(row: Row, width: int) -> list[str]:
    mark = {True: "ok", False: "FAILED" if row.failures else "MISSED", None: ""}[row.ok]
    if row.value is None:
        lines = [f"{row.name:{width}}  {mark or 'not measured':13} {row.reason}".rstrip()]
    else:
        goal = f"goal {row.goal}" if row.goal else ""
        beside = ""
        if row.baseline is not None:
            ratio = "-" if row.ratio is None else f"{row.ratio:.2f}"
            beside = f"{row.baseline_is}: {_number(row.baseline)} (x {ratio})"
        value = f"{_number(row.value):>9} {row.unit:8}"
        lines = [f"{row.name:{width}}  {value} {goal:22} {mark:6} {beside:24} {row.what}".rstrip()]
    return lines + [f"{'':{width}}    {failure}" for failure in row.failures[:_FAILURES_SHOWN]]
