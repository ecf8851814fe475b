"""What a daemon does between two signals: jobs and statements of its ledger, its files that are entered.

On the PYTHONPATH of a daemon that is measured, Python imports this module before anything else. SIGUSR1
starts to count. The first SIGUSR2 ends the list of files, the second one stops, and writes
`{jobs, statements, files, stays, returns}` to the file that BENCH_COUNTS names. It works with every release:
it knows the ledger's `read` and `write`, and the package.
"""

import json
import os
import signal
import sqlite3
import sys
import threading
from pathlib import Path
from types import FrameType
from typing import Any

_PACKAGES = ("/stripe_payments/", "/ubus_py/")
_SYNC = ("/stripe_payments/sync/", "/stripe_payments/reconcile/")
"""The package's name, and what it was called."""
_connect = sqlite3.connect


class _Counts:
    def __init__(self) -> None:
        self.active = False
        self.lists_files = False
        self.wrapped = False
        self.reset()

    def reset(self) -> None:
        self.jobs = self.statements = 0
        self.files: set[str] = set()
        self.stays: list[str] = []

    def statement(self, text: str) -> None:
        if self.active and not text.startswith("--"):
            self.statements += 1

    def profile(self, frame: FrameType, event: str, argument: object) -> None:
        """Of every thread. A stay begins where a module of `sync` is entered or returned to."""
        if not self.active or event not in ("call", "return"):
            return
        if event == "call":
            name = frame.f_code.co_filename
            if self.lists_files and any(package in name for package in _PACKAGES):
                self.files.add(name)
        elif frame.f_back is not None:
            name = frame.f_back.f_code.co_filename
        else:
            return
        if any(package in name for package in _SYNC) and self.stays[-1:] != [name]:
            self.stays.append(name)


_counts = _Counts()


def _counting_connect(*arguments: Any, **options: Any) -> sqlite3.Connection:
    connection: sqlite3.Connection = _connect(*arguments, **options)
    connection.set_trace_callback(_counts.statement)
    return connection


def _wrap_the_ledger() -> None:
    """Once the daemon runs: its ledger has been imported by then."""
    from stripe_payments import ledger

    kind = getattr(ledger, "SQLiteLedger", None) or ledger.Ledger  # what it was called before
    for name in ("read", "write"):
        original = getattr(kind, name)

        def counted(*arguments: Any, original: Any = original, **options: Any) -> Any:
            _counts.jobs += _counts.active
            return original(*arguments, **options)

        setattr(kind, name, counted)


def _start(number: int, frame: FrameType | None) -> None:
    if not _counts.wrapped:
        _wrap_the_ledger()
        _counts.wrapped = True
    _counts.reset()
    _counts.active = _counts.lists_files = True


def _stop(number: int, frame: FrameType | None) -> None:
    if _counts.lists_files:
        _counts.lists_files = False
        return
    _counts.active = False
    counted = {
        "jobs": _counts.jobs,
        "statements": _counts.statements,
        "files": sorted(_counts.files),
        "stays": len(_counts.stays),
        "returns": len(_counts.stays) - len(set(_counts.stays)),
    }
    file = Path(os.environ["BENCH_COUNTS"])
    file.with_suffix(".new").write_text(json.dumps(counted))
    file.with_suffix(".new").rename(file)


if "BENCH_COUNTS" in os.environ:
    sqlite3.connect = _counting_connect  # type: ignore[assignment]
    sys.setprofile(_counts.profile)
    threading.setprofile(_counts.profile)
    signal.signal(signal.SIGUSR1, _start)
    signal.signal(signal.SIGUSR2, _stop)
