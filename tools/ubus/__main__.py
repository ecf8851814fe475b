"""``python -m tools.ubus``; see :mod:`tools.ubus.cli`."""

import sys

from .cli import main

if __name__ == "__main__":
    sys.exit(main())
