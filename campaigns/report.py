"""What a campaign tried and what came of it, as a table for people and as JSON for programs.

A campaign (`make faults`, `make attack`) does many things to the product that must not harm it. Each kind is
one line: what was done, how often, and how often the product was right afterwards.
"""

import json
import platform
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

__all__ = ["Campaign", "Line"]

_FAILURES_SHOWN = 5


@dataclass
class Line:
    """One kind of trial. `failures`: of every trial that harmed, how to repeat it and what was wrong."""

    name: str
    what: str
    tried: int = 0
    failures: list[str] = field(default_factory=list)

    @property
    def held(self) -> int:
        """In how many trials the product was right afterwards."""
        return self.tried - len(self.failures)

    @property
    def ok(self) -> bool:
        """A line that nothing was tried for proves nothing, so it is not ok."""
        return self.tried > 0 and not self.failures

    def note(self, failure: str | None) -> None:
        """One more trial; `failure` is None where it harmed nothing."""
        self.tried += 1
        if failure is not None:
            self.failures.append(failure)


class Campaign:
    """The lines in the order in which they were begun. `verb` names what is counted: "survived", "held"."""

    def __init__(self, verb: str) -> None:
        self._verb = verb
        self._lines: dict[str, Line] = {}
        self._left_out: dict[str, tuple[str, str]] = {}

    @property
    def ok(self) -> bool:
        """Whether every line is."""
        return bool(self._lines) and all(line.ok for line in self._lines.values())

    @property
    def lines(self) -> list[Line]:
        """In the order in which they were begun."""
        return list(self._lines.values())

    def line(self, name: str, what: str) -> Line:
        """The line of that name, begun with a sentence on what is done."""
        return self._lines.setdefault(name, Line(name, what))

    def leave_out(self, name: str, what: str, reason: str) -> None:
        """A line that cannot be tried here, and why: it is told, and proves nothing either way."""
        self._left_out[name] = (what, reason)

    def write(self, file: Path, say: Callable[[str], object]) -> None:
        """Says the table, and writes `{name: {what, tried, VERB, ok, failures}}` to `file`; of a line that
        was left out `{what, not_run}`.
        """
        file.parent.mkdir(parents=True, exist_ok=True)
        told: dict[str, dict[str, object]] = {
            line.name: {
                "what": line.what,
                "tried": line.tried,
                self._verb: line.held,
                "ok": line.ok,
                "failures": line.failures,
            }
            for line in self._lines.values()
        }
        told |= {name: {"what": what, "not_run": why} for name, (what, why) in self._left_out.items()}
        file.write_text(json.dumps(told, indent=2, ensure_ascii=False) + "\n")
        kernel = f"{platform.system()} {platform.release()}"
        say(f"{platform.machine()}, Python {platform.python_version()}, {kernel}")
        say("")
        width = max((len(line.name) for line in self._lines.values()), default=0)
        say(f"{'':{width}}  {'tried':>9} {self._verb:>9}")
        for line in self._lines.values():
            mark = "" if line.ok else "FAILED"
            say(f"{line.name:{width}}  {line.tried:9,} {line.held:9,} {mark:7} {line.what}")
            for failure in line.failures[:_FAILURES_SHOWN]:
                say(f"{'':{width}}    {failure}")
        for name, (_, reason) in self._left_out.items():
            say(f"{name:{width}}  {reason}")
        tried, held = (
            sum(getattr(line, name) for line in self._lines.values()) for name in ("tried", "held")
        )
        say(f"{'all':{width}}  {tried:9,} {held:9,}")
        say(f"\nwritten to {file}")
