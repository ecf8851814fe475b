"""`make bench`: everything, as a table and as build/bench.json."""

import asyncio
import logging
import shutil
import sys
import tempfile
from pathlib import Path

from campaigns.bench import (
    bus_calls,
    flash,
    imports,
    large_ledger,
    packages,
    report,
    slow_stripe,
    start_and_memory,
    webhooks,
)

REPORT = Path("build/bench.json")
SUBJECTS = (
    bus_calls,
    start_and_memory,
    imports,
    slow_stripe,
    webhooks,
    flash,
    large_ledger,
    packages,
)


async def _measure_all(folder: Path) -> list[report.Measurement]:
    measurements: list[report.Measurement] = []
    for subject in SUBJECTS:
        sys.stderr.write(f"measuring {subject.__name__.removeprefix('campaigns.bench.')}\n")
        own = folder / subject.__name__
        own.mkdir()
        measurements += await subject.measure(own)
    return measurements


def main() -> None:
    """Exits 1 where a goal was missed, after all of it was said."""
    # On disk, not on a tmpfs: an fsync must cost what it costs.
    build = REPORT.parent
    build.mkdir(exist_ok=True)
    folder = Path(tempfile.mkdtemp(prefix="bench-", dir=build))
    logging.disable()  # the service in this process speaks of events about objects that do not exist
    try:
        measurements = asyncio.run(_measure_all(folder))
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    report.write(measurements, REPORT, print)
    sys.exit(any(m.ok is False for m in measurements))


if __name__ == "__main__":
    main()
