"""Removes the bytecode cache of other releases.

The files of two releases may have the same time stamp, and Python would then use the bytecode of the old one
for the new one. So the init script uses a cache folder per release; the others only take up
memory (they are on a tmpfs).
"""

from __future__ import annotations

import shutil
import sys
from pathlib import Path


def remove_other_releases(folder: Path) -> None:
    """Empty `folder` except for `sys.pycache_prefix`, which must be a folder directly in it."""
    if sys.pycache_prefix is None or Path(sys.pycache_prefix).parent != folder:
        return
    ours = Path(sys.pycache_prefix).name
    for other in folder.iterdir() if folder.is_dir() else ():
        if other.name != ours:
            shutil.rmtree(other, ignore_errors=True)
