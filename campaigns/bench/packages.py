"""How large the packages are, and what they take on the router."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

from campaigns.report import Row
from tools.ipk.__main__ import build, source_date_epoch
from tools.ipk.makefiles import REPOSITORY


async def measure(folder: Path) -> AsyncIterator[Row]:
    """Of the .ipk files that `make ipk` writes."""
    built = await asyncio.to_thread(build, folder / "ipk", REPOSITORY / "build/download", source_date_epoch())
    for file, installed in built:
        name = file.name.split("_")[0]
        yield Row(f"package {name}", file.stat().st_size / 1024, "KiB")
        yield Row(f"package {name}, installed", installed / 1024, "KiB")
