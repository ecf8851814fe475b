"""How large the packages are, and what they take on the router."""

import asyncio
from pathlib import Path

from campaigns.bench.report import Measurement
from tools.ipk.__main__ import build, source_date_epoch
from tools.ipk.makefiles import REPOSITORY


async def measure(folder: Path) -> list[Measurement]:
    """Of the .ipk files that `make ipk` writes."""
    built = await asyncio.to_thread(build, folder / "ipk", REPOSITORY / "build/download", source_date_epoch())
    measurements = []
    for file, installed in built:
        name = file.name.split("_")[0]
        measurements += [
            Measurement(f"package {name}", file.stat().st_size / 1024, "KiB"),
            Measurement(f"package {name}, installed", installed / 1024, "KiB"),
        ]
    return measurements
