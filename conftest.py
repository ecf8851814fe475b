"""For all tests: no example is judged by its time, no test leaves a thread running, temporary files lie in
memory where there is room, and long tests are started first and spread over all workers, those that mostly
wait among those that do not.
"""

import gc
import itertools
import os
import shutil
import tempfile
import threading
from collections.abc import Generator, Iterable, Iterator, Sequence
from pathlib import Path

import pytest
from hypothesis import settings
from xdist.scheduler import LoadScopeScheduling  # type: ignore[import-untyped]

from tools.msgfmt import compile_daemon_catalog, compile_hub_catalog

settings.register_profile("any machine", deadline=None)
settings.load_profile("any machine")

compile_daemon_catalog()
compile_hub_catalog()

MEMORY = Path("/dev/shm")  # noqa: S108 - no name in it can be guessed
ROOM_BYTES = 2 << 30
"""What all workers together have in temporary files is a tenth of it."""


def _memory_takes_our_files() -> bool:
    """Whether there is room, and programs may be run from it (containers forbid that by default)."""
    return (
        os.access(MEMORY, os.W_OK)
        and not os.statvfs(MEMORY).f_flag & os.ST_NOEXEC
        and shutil.disk_usage(MEMORY).free >= ROOM_BYTES
    )


# A ledger waits for the disk at every commit; on a disk that others write to as well, for a long time.
if "TMPDIR" not in os.environ and _memory_takes_our_files():
    os.environ["TMPDIR"] = tempfile.tempdir = str(MEMORY)

OURS = ("stripe_", "ledger")
PATIENCE_S = 60.0
"""An abandoned call to Stripe ends by its own limits."""

FIRST = (
    "tests/luci/test_slow_stripe.py",
    "tests/luci/test_every_action.py",
    "tests/luci/test_accessibility.py",
    "tests/packaging",
    "tests/luci",
    "tests/examples",
    "campaigns",
    "simulator",
)
"""Started in this order, before all others: a long test that starts last keeps one core busy alone."""

WAITING = (
    "campaigns/test_short_forms.py::test_short_form[soak",
    "campaigns/test_short_forms.py::test_short_form[scale",
    "campaigns/test_short_forms.py",
    "tests/flows/test_subscription_life.py",
    "tests/flows",
)
"""They mostly wait: for a poll, a clock, a process that starts. In this order, and evenly among the others:
workers that all wait at the same time leave the processor idle.
"""

ONE_BY_ONE = (
    "campaigns/test_short_forms.py",
    "tests/examples",
    "tests/flows",
    "tests/unit/stripe_payments/app",
    "tests/unit/stripe_payments/http_api/test_webhook.py",
)
"""Each test may run on another worker: they share no fixture that is expensive to make."""

TOGETHER = ("tests/packaging",)
"""All on one worker: they share the packages that were built."""


@pytest.fixture(autouse=True)
def _no_thread_outlives_its_test() -> Iterator[None]:
    """A left-over thread draws from the shared random generator, and fails another test."""
    yield
    for thread in threading.enumerate():
        if thread.name.startswith(OURS):
            thread.join(PATIENCE_S)
            assert not thread.is_alive(), f"{thread.name} goes on"


@pytest.hookimpl(wrapper=True)
def pytest_make_collect_report(
    collector: pytest.Collector,
) -> Generator[None, pytest.CollectReport, pytest.CollectReport]:
    """Each worker starts at another file of a folder: what one has compiled, the others only read."""
    report = yield
    worker = getattr(collector.config, "workerinput", None)
    if worker is not None and isinstance(collector, pytest.Directory) and report.result:
        number = int(worker["workerid"].removeprefix("gw"))
        start = len(report.result) * number // worker["workercount"]
        report.result = report.result[start:] + report.result[:start]
    return report


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Sort by `FIRST`, then by file, and put `WAITING` among them: all workers must have one order. Within a
    file the order stays.
    """
    waiting = _units((item for item in items if item.nodeid.startswith(WAITING)), WAITING)
    others = _units((item for item in items if not item.nodeid.startswith(WAITING)), FIRST)
    places = [
        ((place + 0.5) / len(units), unit) for units in (waiting, others) for place, unit in enumerate(units)
    ]
    items[:] = [item for _place, unit in sorted(places, key=lambda placed: placed[0]) for item in unit]


def _units(items: Iterable[pytest.Item], first: Sequence[str]) -> list[list[pytest.Item]]:
    """What one worker runs, in the order in which it is to be started."""

    def rank(item: pytest.Item) -> tuple[int, str]:
        place = next((place for place, name in enumerate(first) if item.nodeid.startswith(name)), len(first))
        return place, item.nodeid.partition("::")[0]

    return [
        list(unit)
        for _scope, unit in itertools.groupby(sorted(items, key=rank), lambda item: scope_of(item.nodeid))
    ]


def pytest_collection_finish() -> None:
    """What the collected tests consist of stays until the end: no collection of garbage looks at it again."""
    gc.collect()
    gc.freeze()


def scope_of(nodeid: str) -> str:
    """The name of what a test is run with, by one worker."""
    for folder in TOGETHER:
        if nodeid.startswith(folder):
            return folder
    return nodeid if nodeid.startswith(ONE_BY_ONE) else nodeid.partition("::")[0]


class _Distribution(LoadScopeScheduling):  # type: ignore[misc]
    """A file's tests stay together, but for `ONE_BY_ONE` and `TOGETHER`."""

    def _split_scope(self, nodeid: str) -> str:
        return scope_of(nodeid)


def pytest_xdist_make_scheduler(config: pytest.Config, log: object) -> _Distribution | None:
    """For `--dist loadfile`, which `make test` names."""
    return _Distribution(config, log) if config.getvalue("dist") == "loadfile" else None
