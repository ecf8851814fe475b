"""What is counted of one receiver."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import Final

from campaigns.order.recording import Recording
from campaigns.order.sequences import Script
from campaigns.report import Goal, Row

__all__ = ["Counted"]

_KINDS: Final[dict[str, str]] = {
    "permuted": "each once, in another order",
    "duplicated": "some of them twice, in any order",
    "lost": "some of them never",
}
_SHOWN: Final = 20


@dataclass
class Counted:
    """`tried` and `wrong`: sequences, and those that ended wrong, by their kind; `in_a_second`: of those of
    lives in which two events of one object have the same second, without losses.
    """

    tried: Counter[str] = field(default_factory=Counter)
    wrong: Counter[str] = field(default_factory=Counter)
    lives: int = 0
    failures: list[str] = field(default_factory=list)

    def count(self, recording: Recording, script: Script, wrong: str | None) -> None:
        kinds = ["all", script.kind]
        if recording.shares_a_second and script.kind != "lost":
            kinds.append("in_a_second")
        self.tried.update(kinds)
        if wrong is None:
            return
        self.wrong.update(kinds)
        if len(self.failures) < _SHOWN:
            steps = " ".join(
                "+" * step.overtakes + ",".join(map(str, step.events)) + f"@{step.moment}"
                for step in script.steps
            )
            self.failures.append(f"life {recording.seed} ({', '.join(recording.did)}), {steps}: {wrong}")

    def add(self, other: Counted) -> None:
        self.tried += other.tried
        self.wrong += other.wrong
        self.lives += other.lives
        self.failures += other.failures[: _SHOWN - len(self.failures)]

    def rows(self, name: str, *, goal: bool) -> list[Row]:
        """`goal`: nothing may be wrong."""
        none_wrong = Goal("<=", 0) if goal else None
        failures = tuple(self.failures) if goal else ()
        whats: dict[str, str] = {"all": "", **_KINDS, "in_a_second": "two events of an object in one second"}
        return [
            Row(
                f"{name}: {'wrong end states' if kind == 'all' else what}",
                self.wrong[kind],
                "wrong",
                none_wrong,
                self.tried[kind],
                "sequences",
                f"{self.lives} lives" if kind == "all" else "",
                failures if kind == "all" else (),
            )
            for kind, what in whats.items()
            if self.tried[kind]
        ]
