"""The faulty flash of `preload/`, from outside: built, planned, healed, and read for what it recorded.

Only the daemon's process gets it (`environment`); what others store is not touched.
"""

import functools
import os
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

__all__ = ["CUTS", "Flash", "Plan", "Point"]

CUTS = frozenset({"kill", "power", "torn"})
"""The faults that end the process; with the others it has to go on."""

_SOURCES = Path(__file__).with_name("preload")
_BUILT = Path(__file__).resolve().parents[2] / "build/faults/preload.so"
_FLAGS = ("-std=gnu11", "-O2", "-fPIC", "-shared", "-Wall", "-Wextra", "-Werror", "-Wno-format-truncation")


@functools.cache
def _library() -> Path:
    """The compiled library. Raises RuntimeError where it cannot be made."""
    sources = sorted(_SOURCES.glob("*.[ch]"))
    if _BUILT.exists() and _BUILT.stat().st_mtime > max(source.stat().st_mtime for source in sources):
        return _BUILT
    compiler = shutil.which("gcc") or shutil.which("cc")
    if compiler is None:
        raise RuntimeError("the fault campaign compiles a small C library: apt-get install gcc libc6-dev")
    _BUILT.parent.mkdir(parents=True, exist_ok=True)
    draft = _BUILT.with_suffix(f".{os.getpid()}")  # several test processes may build at the same time
    units = [str(source) for source in sources if source.suffix == ".c"]
    done = subprocess.run(
        [compiler, *_FLAGS, "-o", str(draft), *units, "-ldl", "-pthread"],
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        raise RuntimeError(f"the library of the fault campaign does not compile:\n{done.stderr}")
    draft.replace(_BUILT)
    return _BUILT


@dataclass(frozen=True, slots=True)
class Plan:
    """`fault` as `preload.h` names them; `at`: the write point. `third`: the seed of `power` and `torn`, of
    the others how many calls fail (None: all until healed).
    """

    fault: str
    at: int
    third: int | None = None

    def __str__(self) -> str:
        return f"{self.fault} {self.at}" + ("" if self.third is None else f" {self.third}")


@dataclass(frozen=True, slots=True)
class Point:
    """A write point that was reached: which call of which file; `hit`: the fault that it met."""

    number: int
    call: str
    file: str
    size: int
    hit: str

    def __str__(self) -> str:
        return f"{self.call} {self.file}" + (f" ({self.size} bytes)" if self.size else "")


class Flash:
    """The medium below the directory `state`; `control` is a folder of its own on the same file system."""

    def __init__(self, state: Path, control: Path) -> None:
        self._state = state.resolve()
        self._control = control
        control.mkdir(parents=True, exist_ok=True)

    def environment(
        self, plan: Plan | None = None, *, redirect: tuple[Path, Path] | None = None
    ) -> dict[str, str]:
        """What the process needs in its environment. Counting restarts; earlier marks are removed."""
        for name in ("points", "healed"):
            (self._control / name).unlink(missing_ok=True)
        environment = {
            "LD_PRELOAD": str(_library()),
            "STORAGE_FAULTS_STATE": str(self._state),
            "STORAGE_FAULTS_CONTROL": str(self._control),
        }
        if plan is not None:
            environment["STORAGE_FAULTS_PLAN"] = str(plan)
        if redirect is not None:
            environment["STORAGE_FAULTS_REDIRECT"] = "=".join(map(str, redirect))
        return environment

    @property
    def healed_mark(self) -> Path:
        """The file whose existence ends all failing."""
        return self._control / "healed"

    def points(self) -> list[Point]:
        """The write points so far."""
        file = self._control / "points"
        found = []
        for line in file.read_text().splitlines() if file.exists() else ():
            number, call, path, size, hit = line.split(" ")
            found.append(Point(int(number), call, path, int(size), hit))
        return found

    @property
    def struck(self) -> Point | None:
        """The point at which the plan first hit; None if it has not been reached."""
        return next((point for point in self.points() if point.hit), None)

    def heal(self) -> None:
        """From now on nothing fails any more."""
        self.healed_mark.touch()

    def set_clock_ahead(self, seconds: int) -> None:
        """The wall clock of the process, from now on; negative: behind."""
        draft = self._control / "clock.new"
        draft.write_text(str(seconds))
        draft.replace(self._control / "clock")

    def resolve_names(self, resolve: bool) -> None:
        """Whether the process can resolve any name."""
        mark = self._control / "no-dns"
        if resolve:
            mark.unlink(missing_ok=True)
        else:
            mark.touch()
