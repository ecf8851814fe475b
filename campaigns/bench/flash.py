"""What is written to flash: for a purchase, from the order to the unlocked feature, and on an idle day.

The daemon's own writes are the kernel's count of the bytes that it caused to be sent to storage
(`write_bytes` of /proc/PID/io, see proc(5)): whole pages, SQLite's log and its checkpoints included. To
them come those of rpcd, which writes the file of features for it. The log is on a tmpfs, as a router's is.

The kernel also counts the file system's own pages for the process that made it change them: block bitmaps and
extents of a log that grows. On an ext4 that other programs write to meanwhile that is 4 to 16 KiB in one
purchase of four, on one of its own nothing. So the router gets a file system of its own, in a loop device.
"""

import asyncio
import os
import shutil
import subprocess
import tempfile
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

from campaigns.report import Goal, NotMeasured, Row
from simulator.world import World
from stripe_payments.unlocks.worker import SCRIPTS_APART_S

MEMORY = Path("/dev/shm")
IMAGE_SIZE = "64M"
PRICE = "price_premium_onetime"
FEATURE = "remote_backup_daily"
PURCHASES = 4
POLLS_A_DAY = 96
POLL_S = 900
QUIET_S = 2.0
"""What a purchase or a refund writes is written by then."""
APART_S = 2 * SCRIPTS_APART_S - QUIET_S + 0.5
"""After a refund: its scripts had to wait for those of the purchase, and those of the next purchase need not
wait for them.
"""
PAGE = 4096
STATE_WRITE_KIB = 8
"""What remembering the time and the last contact takes, once an hour: a page or two of the log."""


def _written(pid: int) -> int:
    for line in Path(f"/proc/{pid}/io").read_text().splitlines():
        if line.startswith("write_bytes:"):
            return int(line.split()[1])
    raise RuntimeError("the kernel does not count what a process writes")


class _FeaturesFile:
    """Counts how often rpcd replaces /etc/config/stripe-features, and how many pages that is."""

    def __init__(self, file: Path) -> None:
        self._file = file
        self._seen = self._now()
        self.written = 0

    def _now(self) -> tuple[int, int, int]:
        found = self._file.stat()
        return found.st_ino, found.st_mtime_ns, found.st_size

    async def watch(self) -> None:
        while True:
            now = self._now()
            if now != self._seen:
                self._seen = now
                self.written += -(-now[2] // PAGE) * PAGE
            await asyncio.sleep(0.003)


@asynccontextmanager
async def _world(folder: Path, open_world: Callable[..., World] = World) -> AsyncIterator[World]:
    memory = Path(tempfile.mkdtemp(prefix="bench-", dir=MEMORY))
    image, state = memory / "flash.img", folder / "state"
    state.mkdir(parents=True)
    _run("truncate", "--size", IMAGE_SIZE, str(image))
    _run("mkfs.ext4", "-q", str(image))
    _run("mount", "-o", "loop", str(image), str(state))
    try:
        (state / "router").mkdir()
        (state / "router/var").symlink_to(memory)
        async with open_world(state=state, webhooks=False) as world:
            yield world
    finally:
        _run("umount", "--lazy", str(state))
        shutil.rmtree(memory, ignore_errors=True)


def _run(*command: str) -> None:
    subprocess.run(command, check=True, capture_output=True)


async def _purchases(world: World) -> float:
    """Bytes a purchase, on the average of a few: what SQLite writes back later is in it."""
    pid = world.daemon.pid or 0
    features = _FeaturesFile(world.root / "etc/config/stripe-features")
    watching = asyncio.create_task(features.watch())
    total = 0
    try:
        for _ in range(PURCHASES):
            before = _written(pid) + features.written
            order = await world.bus.call("stripe-payments", "create_checkout_session", {"price_id": PRICE})
            session = str(order["session_id"])
            await world.pay(session)
            await world.wait_until(lambda: world.unlocked(FEATURE))
            await asyncio.sleep(QUIET_S)
            total += _written(pid) + features.written - before
            await world.bus.call("stripe-payments", "refund", {"payment_id": session})
            await asyncio.sleep(APART_S)
        return total / PURCHASES
    finally:
        watching.cancel()


async def _idle_day(world: World) -> float:
    pid = world.daemon.pid or 0
    await world.bus.call("stripe-payments", "sync", {})
    before = _written(pid)
    for _ in range(POLLS_A_DAY):
        await world.control("clock/advance", {"seconds": POLL_S})
        await world.bus.call("stripe-payments", "sync", {})
    return float(_written(pid) - before)


def _check() -> None:
    if not MEMORY.is_dir() or not Path("/proc/self/io").exists():
        raise NotMeasured(f"needs a tmpfs at {MEMORY}, and a kernel that counts what a process writes")
    if os.geteuid() or not Path("/dev/loop-control").exists() or not shutil.which("mkfs.ext4"):
        raise NotMeasured("needs root, loop devices and mkfs.ext4: a file system of its own")


async def purchase_kib(folder: Path, open_world: Callable[..., World]) -> float:
    """KiB written for a purchase by the daemon of such a world."""
    _check()
    async with _world(folder, open_world) as world:
        return await _purchases(world) / 1024


async def measure(folder: Path) -> AsyncIterator[Row]:
    """The daemon and rpcd."""
    _check()
    async with _world(folder / "flash") as world:
        purchase = await _purchases(world) / 1024
        yield Row("flash, written for a purchase", purchase, "KiB", Goal("<=", 64))
        day = await _idle_day(world) / 1024
        yield Row("flash, written on an idle day", day, "KiB", Goal("<=", 24 * STATE_WRITE_KIB))
