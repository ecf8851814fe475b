"""The faulty flash itself: it must destroy what a power cut may destroy, all of that, and nothing else.

A campaign that destroys too little proves nothing, so what it makes of careless programs is tested too.
"""

import contextlib
import sqlite3
import subprocess
import sys
import time
from pathlib import Path

import pytest

from campaigns.faults.flash import Flash, Plan

OLD, NEW = b"o" * 2048, b"n" * 2048

PRELUDE = """
import errno, os, sys
folder = sys.argv[1]
def put(name, data, offset=0, sync=True):
    fd = os.open(f"{folder}/{name}", os.O_RDWR | os.O_CREAT, 0o600)
    os.pwrite(fd, data, offset)
    if sync: os.fsync(fd)
    os.close(fd)
def names_durable():
    fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    os.fsync(fd)
    os.close(fd)
def attempt(what):
    try: what(); print("done")
    except OSError as error: print(errno.errorcode[error.errno])
"""


class Lab:
    """A folder and programs that write into it."""

    def __init__(self, folder: Path) -> None:
        self.state = folder / "state"
        self.state.mkdir()
        self.flash = Flash(self.state, folder / "control")

    def run(self, program: str, plan: Plan | None = None) -> subprocess.CompletedProcess[str]:
        """Runs Python code after PRELUDE, with the plan active."""
        return subprocess.run(
            [sys.executable, "-I", "-c", PRELUDE + program, str(self.state)],
            env=self.flash.environment(plan),
            capture_output=True,
            text=True,
            check=False,
        )

    def after(self, program: str, plan: Plan) -> dict[str, bytes]:
        """What is in the folder after the program's violent end."""
        assert self.run(program, plan).returncode == -9
        return {entry.name: entry.read_bytes() for entry in self.state.iterdir()}

    def says(self, program: str, plan: Plan | None = None) -> list[str]:
        """The lines that the program, which comes to its end, said."""
        done = self.run(program, plan)
        assert done.returncode == 0, done.stderr
        return done.stdout.splitlines()


@pytest.fixture
def lab(tmp_path: Path) -> Lab:
    return Lab(tmp_path)


WHOLE = """
put("draft", b"12345")
os.rename(f"{folder}/draft", f"{folder}/file")
names_durable()
os.unlink(f"{folder}/file")
os.mkdir(f"{folder}/sub")
fd = os.open(f"{folder}/long", os.O_RDWR | os.O_CREAT, 0o600)
os.write(fd, b"abc"); os.ftruncate(fd, 1); os.fdatasync(fd)
open("/dev/null", "wb").write(b"not ours")
"""


def test_every_call_that_changes_something_is_a_point(lab: Lab) -> None:
    assert lab.run(WHOLE).returncode == 0
    assert [str(point) for point in lab.flash.points()] == [
        "create draft",
        "pwrite draft (5 bytes)",
        "fsync draft",
        "rename file",
        "fsync .",
        "unlink file",
        "mkdir sub",
        "create long",
        "write long (3 bytes)",
        "truncate long (1 bytes)",
        "fdatasync long",
    ]
    assert (lab.state / "long").read_bytes() == b"a"


def test_killed_before_a_point_what_came_before_stays(lab: Lab) -> None:
    program = """
put("a", b"1", sync=False)
put("b", b"2", sync=False)
"""
    assert lab.after(program, Plan("kill", 4)) == {"a": b"1", "b": b""}
    assert str(lab.flash.struck) == "pwrite b (1 bytes)"


def test_a_power_cut_takes_data_that_was_not_synced(lab: Lab) -> None:
    (lab.state / "file").write_bytes(OLD)
    program = f"""
put("file", {NEW!r})
put("file", b"late", 4096, sync=False)
put("other", b"")
"""
    assert lab.after(program, Plan("power", 4, 0)) == {"file": NEW}


def test_a_power_cut_takes_names_whose_directory_was_not_synced(lab: Lab) -> None:
    for name in ("renamed", "target", "removed"):
        (lab.state / name).write_bytes(name.encode())
    program = """
os.rename(f"{folder}/renamed", f"{folder}/target")
os.unlink(f"{folder}/removed")
put("created", b"data")
os.mkdir(f"{folder}/sub")
os.mkdir(f"{folder}/cut")
"""
    assert lab.after(program, Plan("power", 7, 2)) == {
        name: name.encode() for name in ("renamed", "target", "removed")
    }


def test_a_power_cut_leaves_what_was_synced(lab: Lab) -> None:
    (lab.state / "target").write_bytes(b"old")
    program = """
put("draft", b"new")
os.rename(f"{folder}/draft", f"{folder}/target")
names_durable()
os.mkdir(f"{folder}/cut")
"""
    for seed in range(6):
        assert lab.after(program, Plan("power", 6, seed)) == {"target": b"new"}


def test_by_chance_any_of_the_writes_survives_and_the_first_of_the_names(lab: Lab) -> None:
    program = """
for number in range(3):
    put("file", bytes([65 + number]), number, sync=False)
for number in range(3):
    put(f"name{number}", b"")
os.mkdir(f"{folder}/cut")
"""
    (lab.state / "file").write_bytes(b"...")
    data, names = set(), set()
    for seed in range(1, 60, 2):
        found = lab.after(program, Plan("power", 13, seed))
        data.add(found.pop("file"))
        names.add(tuple(sorted(found)))
        for name in found:
            (lab.state / name).unlink()
        (lab.state / "file").write_bytes(b"...")
    assert data == {bytes([a, b, c]) for a in b"A." for b in b"B." for c in b"C."}
    assert names == {(), ("name0",), ("name0", "name1"), ("name0", "name1", "name2")}


def test_a_torn_write_arrives_in_sectors(lab: Lab) -> None:
    (lab.state / "file").write_bytes(OLD)
    program = f"put('file', {NEW!r}, sync=False)"
    sectors = set()
    for seed in range(40):
        found = lab.after(program, Plan("torn", 1, seed))["file"]
        assert len(found) == len(OLD)
        sectors.add(tuple(found[start : start + 512] for start in range(0, 2048, 512)))
        (lab.state / "file").write_bytes(OLD)
    assert {part for parts in sectors for part in parts} == {OLD[:512], NEW[:512]}
    assert len(sectors) > 10


def test_a_lost_sector_beyond_the_end_reads_as_zeros(lab: Lab) -> None:
    written, lost = b"n" * 512, b"\0" * 512
    found = set()
    for seed in range(40):
        (lab.state / "file").write_bytes(b"")
        found.add(lab.after(f"put('file', {written + written!r}, sync=False)", Plan("torn", 1, seed))["file"])
    assert {b"", written, written + written, lost + written} <= found
    assert found <= {a + b for a in (written, lost) for b in (written, lost, b"")} | {b""}


FAILING = """
fd = os.open(f"{folder}/file", os.O_RDWR)
attempt(lambda: os.pwrite(fd, b"x", 0))
attempt(lambda: os.fsync(fd))
attempt(lambda: os.open(f"{folder}/new", os.O_RDWR | os.O_CREAT))
attempt(lambda: os.rename(f"{folder}/file", f"{folder}/moved"))
attempt(lambda: os.unlink(f"{folder}/moved"))
"""


@pytest.mark.parametrize(
    ("plan", "said"),
    [
        (Plan("EIO", 1), ["EIO"] * 4 + ["ENOENT"]),
        (Plan("EIO", 1, 2), ["EIO", "EIO", "done", "done", "done"]),
        (Plan("EIO", 2, 1), ["done", "EIO", "done", "done", "done"]),
        (Plan("ENOSPC", 1), ["ENOSPC", "done", "ENOSPC", "done", "done"]),
        (Plan("EROFS", 1), ["EROFS", "done", "EROFS", "EROFS", "ENOENT"]),
        (None, ["done"] * 5),
    ],
    ids=str,
)
def test_calls_fail_as_on_a_bad_full_or_read_only_medium(
    lab: Lab, plan: Plan | None, said: list[str]
) -> None:
    (lab.state / "file").write_bytes(b"old")
    assert lab.says(FAILING, plan) == said


def test_a_failed_write_changes_nothing_and_a_healed_medium_works(lab: Lab) -> None:
    (lab.state / "file").write_bytes(b"old")
    program = f"""
attempt(lambda: put("file", b"new"))
print(open(f"{{folder}}/file").read())
open({str(lab.flash.healed_mark)!r}, "w").close()
attempt(lambda: put("file", b"new"))
"""
    assert lab.says(program, Plan("EIO", 1)) == ["EIO", "old", "done"]
    assert (lab.state / "file").read_bytes() == b"new"


def test_short_writes_say_so(lab: Lab) -> None:
    program = """
fd = os.open(f"{folder}/file", os.O_RDWR | os.O_CREAT)
print(os.write(fd, b"12345678"), os.write(fd, b"abcd"), os.write(fd, b"ABCD"))
"""
    assert lab.says(program, Plan("short", 2, 2)) == ["4 2 4"]
    assert (lab.state / "file").read_bytes() == b"1234abABCD"


def test_an_unreadable_medium_is_still_written(lab: Lab) -> None:
    (lab.state / "file").write_bytes(b"old")
    program = """
fd = os.open(f"{folder}/file", os.O_RDWR)
attempt(lambda: os.read(fd, 1))
attempt(lambda: os.pread(fd, 1, 0))
attempt(lambda: os.pwrite(fd, b"new", 0))
"""
    assert lab.says(program, Plan("unreadable", 0)) == ["EIO", "EIO", "done"]


def test_the_wall_clock_jumps_and_the_monotonic_one_does_not(lab: Lab) -> None:
    lab.flash.set_clock_ahead(-1_000_000_000)
    program = "import time; print(int(time.time())); print(int(time.monotonic()))"
    wall, monotonic = map(int, lab.says(program))
    assert wall == pytest.approx(time.time() - 1_000_000_000, abs=60)
    assert monotonic == pytest.approx(time.monotonic(), abs=60)


def test_no_name_is_resolved_and_then_they_are_again(lab: Lab) -> None:
    program = """
import socket
attempt(lambda: socket.getaddrinfo("localhost", 80))
"""
    lab.flash.resolve_names(False)
    refused = lab.run(program)
    assert "Temporary failure in name resolution" in refused.stderr
    lab.flash.resolve_names(True)
    assert lab.says(program) == ["done"]


@pytest.mark.parametrize(
    "careless",
    [
        "import mmap; put('file', b'12345678'); mmap.mmap(os.open(f'{folder}/file', os.O_RDWR), 8)",
        "os.writev(os.open(f'{folder}/file', os.O_RDWR | os.O_CREAT), [b'1'])",
        "os.posix_fallocate(os.open(f'{folder}/file', os.O_RDWR | os.O_CREAT), 0, 8)",
        "put('file', b'1'); os.open(f'{folder}/file', os.O_RDWR | os.O_TRUNC)",
        "put('file', b'1'); os.rename(f'{folder}/file', '/tmp/elsewhere')",
    ],
)
def test_what_is_not_followed_does_not_go_unseen(lab: Lab, careless: str) -> None:
    done = lab.run(careless)
    assert done.returncode == 99
    assert "not followed" in done.stderr


DATABASE = """
import sqlite3
db = sqlite3.connect(f"{folder}/db", isolation_level=None)
db.execute("PRAGMA locking_mode = EXCLUSIVE")
db.execute("PRAGMA journal_mode = WAL")
db.execute("PRAGMA synchronous = SYNCHRONOUS")
db.execute("PRAGMA wal_autocheckpoint = 2")
db.execute("CREATE TABLE IF NOT EXISTS t (n)")
for number in range(4):
    db.execute("INSERT INTO t VALUES (?)", (number,))
    print(number, flush=True)
db.close()
"""


def _losses(folder: Path, synchronous: str, fault: str, step: int) -> list[int]:
    """The plug is pulled at every `step`-th point; returns those at which a reported write was lost."""
    program = DATABASE.replace("SYNCHRONOUS", synchronous)
    lost: list[int] = []
    at = step
    while True:
        (folder / str(at)).mkdir()
        lab = Lab(folder / str(at))
        done = lab.run(program, Plan(fault, at, at))
        if done.returncode == 0:
            return lost
        assert done.returncode == -9, done.stderr
        said = [int(line) for line in done.stdout.split()]
        if said and _stored(lab.state / "db")[: len(said)] != said:
            lost.append(at)
        at += step


def _stored(database: Path) -> list[int]:
    with contextlib.closing(sqlite3.connect(database)) as db, contextlib.suppress(sqlite3.DatabaseError):
        if db.execute("PRAGMA integrity_check").fetchone()[0] == "ok":
            return [number for (number,) in db.execute("SELECT n FROM t ORDER BY rowid")]
    return []


@pytest.mark.parametrize("fault", ["power", "torn"])
def test_a_database_that_is_synced_keeps_what_it_confirmed(tmp_path: Path, fault: str) -> None:
    assert _losses(tmp_path, "FULL", fault, 1) == []


@pytest.mark.parametrize("fault", ["power", "torn"])
def test_one_that_is_not_synced_loses_it(tmp_path: Path, fault: str) -> None:
    assert _losses(tmp_path, "OFF", fault, 3) != []
