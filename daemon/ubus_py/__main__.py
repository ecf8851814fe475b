"""`python -m ubus_py`: the command `ubus-py`, which is in the package for pip."""

import importlib.util
import runpy
import sys

COMMAND = "ubus_py.tool"

if __name__ == "__main__":
    if importlib.util.find_spec(COMMAND) is None:
        sys.exit("ubus-py is not installed here. On a router: ubus; in the repository: python -m tools.ubus")
    runpy.run_module(COMMAND, run_name="__main__", alter_sys=True)
