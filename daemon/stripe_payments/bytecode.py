"""What Python compiled for releases that are no longer here.

The files of two releases may bear the same time, and then Python takes the old one's bytecode for the new
one's. So the init script gives each release a folder of its own; none but the present one's is of use, and
they are in memory.
"""

from __future__ import annotations

import shutil
import sys
from pathlib import Path


def forget_other_releases(folder: Path) -> None:
    """Empties `folder` but for what is below `sys.pycache_prefix`, which must be a folder right in it."""
    if sys.pycache_prefix is None or Path(sys.pycache_prefix).parent != folder:
        return
    ours = Path(sys.pycache_prefix).name
    for other in folder.iterdir() if folder.is_dir() else ():
        if other.name != ours:
            shutil.rmtree(other, ignore_errors=True)
