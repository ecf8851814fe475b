"""What a process holds, as the kernel reports it, and what it has written."""

from __future__ import annotations

import os
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

from simulator.world import World


@dataclass(frozen=True)
class Sample:
    """at: monotonic seconds; sizes in bytes. checkouts, events, effects: what waits in the ledger."""

    at: float
    resident: int
    descriptors: int
    threads: int
    ledger: int
    log: int
    checkouts: int
    events: int
    effects: int

    @property
    def is_idle(self) -> bool:
        return self.checkouts == self.events == self.effects == 0


def resident(pid: int) -> int:
    """Bytes (RssAnon of /proc/PID/status: what a mapped file adds is not the daemon's)."""
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("RssAnon:"):
            return int(line.split()[1]) * 1024
    raise RuntimeError(f"process {pid} has no memory")


def threads(pid: int) -> int:
    return len(os.listdir(f"/proc/{pid}/task"))


def descriptors(pid: int) -> Counter[str]:
    """How many of each kind: file, pipe, unix, tcp, …"""
    unix = {line.split()[6] for line in Path(f"/proc/{pid}/net/unix").read_text().splitlines()[1:]}
    found: Counter[str] = Counter()
    for name in os.listdir(f"/proc/{pid}/fd"):
        try:
            target = os.readlink(f"/proc/{pid}/fd/{name}")
        except FileNotFoundError:
            continue  # closed meanwhile
        kind, _, inode = target.partition(":")
        if kind == "socket":
            found["unix" if inode.strip("[]") in unix else "tcp"] += 1
        else:
            found["file" if target.startswith("/") else kind] += 1
    return found


def ledger_files(world: World) -> int:
    """Bytes of the ledger and its log."""
    state = world.root / "etc/stripe-payments"
    return sum(file.stat().st_size for file in state.glob("ledger.db*"))


async def take(world: World, at: float) -> Sample:
    """Raises whatever the bus raises while the daemon or ubusd is away."""
    pid = world.daemon.pid
    if pid is None:
        raise RuntimeError("the daemon does not run")
    status = await world.bus.call("stripe-payments", "status", {})
    pending = status["pending"]
    assert isinstance(pending, dict)
    return Sample(
        at=at,
        resident=resident(pid),
        descriptors=sum(descriptors(pid).values()),
        threads=threads(pid),
        ledger=ledger_files(world),
        log=(world.root / "var/log/stripe-payments.log").stat().st_size,
        checkouts=int(str(pending["checkouts"])),
        events=int(str(pending["events"])),
        effects=int(str(pending["effects"])),
    )
