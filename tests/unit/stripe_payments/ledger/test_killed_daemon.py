"""What a daemon that was killed leaves: all that it answered for, and a log that flash may have spoilt."""

import asyncio
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from stripe_payments.ledger import SQLiteLedger
from stripe_payments.ledger.opening import LOG_LEFT_OVER, META_REBUILDING

DAEMON = Path(__file__).resolve().parents[4] / "daemon"

VICTIM = """
import asyncio, pathlib, sys
from stripe_payments.ledger import SQLiteLedger

async def main():
    ledger = await SQLiteLedger.open(pathlib.Path(sys.argv[1]))
    number = 0
    while True:
        names = [f"evt_{number + i}" for i in range(8)]
        await asyncio.gather(*(ledger.write(lambda tx, n=n: (
            tx.inbox.accept(n, "t", "o", 1), tx.outbox.add("payment", {"id": n}))) for n in names))
        number += 8
        print(number, flush=True)

asyncio.run(main())
"""


@pytest.mark.parametrize("lines", [1, 7, 40])
async def test_confirmed_writes_survive_kill_9(path: Path, lines: int) -> None:
    victim = subprocess.Popen(  # noqa: ASYNC220 - it shall not share our event loop
        [sys.executable, "-c", VICTIM, str(path)],
        stdout=subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": str(DAEMON)},
        text=True,
    )
    assert victim.stdout is not None
    answered = 0
    try:
        for _ in range(lines):
            answered = int(await asyncio.to_thread(victim.stdout.readline))
    finally:
        victim.kill()
        victim.wait()
        victim.stdout.close()
    ledger = await SQLiteLedger.open(path)
    try:
        assert not ledger.rebuilt
        events = await ledger.read(lambda tx: {e.event_id for e in tx.inbox.due(10**9, 10**6)})
        effects = await ledger.read(lambda tx: {e.payload["id"] for e in tx.outbox.pending(10**6)})
    finally:
        await ledger.close()
    assert {f"evt_{n}" for n in range(answered)} <= events
    assert events == effects  # the effect and its cause: both or neither


# The log, and what the flash made of it.

FRAME = 24 + 512  # its header, and a page
Spoil = Callable[[bytearray], bytes | bytearray]


def _frames(log: bytearray) -> int:
    return (len(log) - 32) // FRAME


def _at(number: int) -> int:
    """Where a frame's page begins."""
    return 32 + number * FRAME + 24


def other_bytes_in_the_middle(log: bytearray) -> bytes:
    place = _at(_frames(log) // 2) + 100
    return (
        bytes(log[:place]) + bytes(byte ^ 0x55 for byte in log[place : place + 64]) + bytes(log[place + 64 :])
    )


def other_bytes_in_the_header(log: bytearray) -> bytes:
    return bytes(log[:18]) + bytes([log[18] ^ 1]) + bytes(log[19:])


def all_zeros(log: bytearray) -> bytes:
    return bytes(len(log))


def a_commit_that_a_power_cut_left_half_written(log: bytearray) -> bytes:
    return bytes(log[: _at(_frames(log) - 1) + 200]) + bytes(FRAME - 24 - 200)


def nothing(log: bytearray) -> bytes:
    return bytes(log)


def the_end_cut_off(log: bytearray) -> bytes:
    return bytes(log[: _at(_frames(log) - 1)])


@pytest.mark.parametrize(
    ("spoil", "left_over"),
    [
        (other_bytes_in_the_middle, True),
        (other_bytes_in_the_header, True),
        (all_zeros, True),
        (a_commit_that_a_power_cut_left_half_written, True),
        (nothing, False),
        (the_end_cut_off, False),
    ],
)
async def test_a_log_that_cannot_be_replayed_completely_triggers_a_rebuild(
    path: Path, spoil: Spoil, left_over: bool
) -> None:
    ledger = await SQLiteLedger.open(path)
    await ledger.write(lambda tx: tx.meta.delete(META_REBUILDING))
    for number in range(6):
        await ledger.write(lambda tx, n=number: tx.meta.set(f"key {n}", "x"))  # type: ignore[misc]
    crashed = path.parent.parent / "crashed"
    shutil.copytree(path.parent, crashed)
    await ledger.close()
    log = crashed / "ledger.db-wal"
    log.write_bytes(spoil(bytearray(log.read_bytes())))

    again = await SQLiteLedger.open(crashed / "ledger.db")
    assert not again.rebuilt
    doubt = await again.read(lambda tx: tx.meta.get(META_REBUILDING))
    assert doubt == (LOG_LEFT_OVER if left_over else None)
    await again.write(lambda tx: tx.meta.delete(META_REBUILDING))
    await again.close()
    again = await SQLiteLedger.open(crashed / "ledger.db")
    assert await again.read(lambda tx: tx.meta.get(META_REBUILDING)) is None
    await again.close()


async def test_frames_of_an_earlier_round_of_the_log_trigger_no_rebuild(path: Path) -> None:
    ledger = await SQLiteLedger.open(path)
    await ledger.write(lambda tx: tx.meta.delete(META_REBUILDING))
    for number in range(45):
        await ledger.write(lambda tx, n=number: tx.meta.set(f"key {n}", "x" * 30_000))  # type: ignore[misc]
    crashed = path.parent.parent / "crashed"
    shutil.copytree(path.parent, crashed)
    await ledger.close()
    log = (crashed / "ledger.db-wal").read_bytes()
    assert len({log[place - 16 : place - 8] for place in map(_at, range(_frames(bytearray(log))))}) > 1
    again = await SQLiteLedger.open(crashed / "ledger.db")
    assert await again.read(lambda tx: tx.meta.get(META_REBUILDING)) is None
    assert await again.read(lambda tx: tx.meta.get("key 44")) == "x" * 30_000
    await again.close()
