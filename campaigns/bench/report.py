"""What was measured, as a table for people and as JSON for programs."""

import json
import platform
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Goal:
    """What a value should be, in the measurement's unit: `Goal("<=", 10)`; or so many times the baseline."""

    relation: str
    bound: float
    of_baseline: bool = False

    def met(self, value: float, baseline: float | None) -> bool | None:
        """None where the goal is relative to a baseline that was not there."""
        if self.of_baseline and baseline is None:
            return None
        bound = self.bound * (baseline or 0.0) if self.of_baseline else self.bound
        return value <= bound if self.relation == "<=" else value >= bound

    def __str__(self) -> str:
        return f"{self.relation} {self.bound:g}" + (" x baseline" if self.of_baseline else "")


@dataclass(frozen=True)
class Measurement:
    """One line of the report. `baseline` was measured in the same run, in the same unit."""

    name: str
    value: float
    unit: str
    goal: Goal | None = None
    baseline: float | None = None
    baseline_is: str = ""

    @property
    def ok(self) -> bool | None:
        """Whether the goal is met; None without a goal."""
        return self.goal.met(self.value, self.baseline) if self.goal else None


def write(measurements: list[Measurement], file: Path, say: Callable[[str], object]) -> None:
    """Says the table, and writes `{name: {value, unit, goal, baseline, ok}}` to `file`."""
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(
        json.dumps(
            {
                m.name: {
                    "value": round(m.value, 3),
                    "unit": m.unit,
                    "goal": str(m.goal) if m.goal else None,
                    "baseline": None if m.baseline is None else round(m.baseline, 3),
                    "baseline_is": m.baseline_is or None,
                    "ok": m.ok,
                }
                for m in measurements
            },
            indent=2,
        )
        + "\n"
    )
    kernel = f"{platform.system()} {platform.release()}"
    say(f"{platform.machine()}, Python {platform.python_version()}, {kernel}\n")
    width = max(len(m.name) for m in measurements)
    for m in measurements:
        mark = {True: "ok", False: "MISSED", None: ""}[m.ok]
        baseline = "" if m.baseline is None else f"  {m.baseline_is}: {m.baseline:,.1f} (x {_ratio(m)})"
        goal = f"  goal {m.goal}" if m.goal else ""
        say(f"{m.name:{width}}  {m.value:12,.1f} {m.unit:8}{goal:24} {mark:7}{baseline}")
    say(f"\nwritten to {file}")


def _ratio(measurement: Measurement) -> str:
    if not measurement.baseline:
        return "-"
    return f"{measurement.value / measurement.baseline:.2f}"
