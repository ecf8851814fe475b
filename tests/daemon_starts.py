"""For the tests that start hundreds of daemons: each start is a fork (`simulator.warm_start`), unless a test
has the mark `own_interpreter`.

The start of a process of its own is tested by tests/unit/stripe_payments/app, tests/luci/test_hub_demo.py,
tests/docs/test_demo.py, tests/packaging, the campaigns and tests/interop.
"""

import atexit
import functools
import os
import shutil
import tempfile
from pathlib import Path
from typing import Final

import pytest

from simulator.daemon_process import REPOSITORY, DaemonProcess
from simulator.warm_start import WarmStarts

__all__ = ["ABSENT", "daemons_start_warm", "path_without_sdk"]

ABSENT: Final = ("stripe", "requests")
"""What no router in hub mode has."""


@functools.cache
def path_without_sdk() -> str:
    """A PYTHONPATH, the same for all routers in hub mode, on which these modules fail to import."""
    folder = Path(tempfile.mkdtemp(prefix="without-sdk-"))
    atexit.register(shutil.rmtree, folder)
    for name in ABSENT:
        (folder / f"{name}.py").write_text(f"raise ImportError('{name} is not on this router')\n")
    return f"{folder}{os.pathsep}{REPOSITORY / 'daemon'}"


@functools.cache
def _warm_starts() -> WarmStarts:
    """Those of this pytest process."""
    starts = WarmStarts({str(REPOSITORY / "daemon"), path_without_sdk()})
    atexit.register(starts.close)
    return starts


@pytest.fixture(autouse=True)
def daemons_start_warm(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """For all tests below the folder whose conftest.py imports it."""
    if request.node.get_closest_marker("own_interpreter") is None:
        monkeypatch.setattr(DaemonProcess, "warm_starts", _warm_starts())
