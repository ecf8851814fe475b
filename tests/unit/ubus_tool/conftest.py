"""The bus of ubus_py's tests, and the tool as a process on it."""

import os
import sys
from pathlib import Path

from tests.unit.ubus_py.conftest import broker, connect, folder

__all__ = ["ENVIRONMENT", "TOOL", "broker", "connect", "folder"]

REPOSITORY = Path(__file__).parents[3]
TOOL = (sys.executable, "-m", "tools.ubus")
ENVIRONMENT = {**os.environ, "PYTHONPATH": f"{REPOSITORY}:{REPOSITORY / 'daemon'}"}
