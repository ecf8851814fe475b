"""The one writer: durable answers, shared commits, faults that stay where they belong."""

import asyncio
import json
import os
import random
import re
import shutil
import sqlite3
import subprocess
import sys
import threading
import zlib
from collections.abc import Callable
from pathlib import Path

import pytest

from stripe_payments.entitlements import Purchase
from stripe_payments.errors import PaymentError
from stripe_payments.ledger import Effect, Ledger, Transaction, TransactionRow
from stripe_payments.ledger.care import LedgerCare
from stripe_payments.ledger.objects import pack
from stripe_payments.ledger.schema import MIGRATIONS, migrate
from stripe_payments.ledger.store import CHECKED_WHOLE, LOG_LEFT_OVER, META_REBUILDING
from tests.unit.stripe_payments.full_storage import storage_full_beyond

PAGE = 1024
DAEMON = Path(__file__).resolve().parents[4] / "daemon"


def mode(path: Path) -> int:
    return path.stat().st_mode & 0o777


def content(path: Path) -> bytes:
    return path.read_bytes()


async def test_a_new_ledger_is_private_and_knows_that_it_is_new(path: Path) -> None:
    ledger = await Ledger.open(path)
    assert ledger.fresh
    assert not ledger.rebuilt
    assert await ledger.read(lambda tx: tx.meta.get(META_REBUILDING)) == "new"
    await ledger.close()
    assert mode(path) == 0o600
    assert mode(path.parent) == 0o700
    assert [entry.name for entry in path.parent.iterdir()] == ["ledger.db"]  # the log is folded in

    ledger = await Ledger.open(path)
    assert not ledger.fresh
    await ledger.close()


async def test_a_file_says_that_it_is_new_from_its_first_commit_on(path: Path) -> None:
    """The power may go as soon as there are tables: what a file then says of itself is all that is left."""
    path.parent.mkdir(mode=0o700)
    connection = sqlite3.connect(path, isolation_level=None)
    migrate(connection, MIGRATIONS[:1])
    connection.close()
    ledger = await Ledger.open(path)
    assert not ledger.fresh
    assert await ledger.read(lambda tx: tx.meta.get(META_REBUILDING)) == "new"
    await ledger.close()


async def test_the_promised_settings_of_sqlite(ledger: Ledger, path: Path) -> None:
    """No shared memory beside the file, and nobody else in it."""
    await ledger.write(lambda tx: tx.meta.set("a", "1"))
    names = {entry.name for entry in path.parent.iterdir()}
    assert names == {"ledger.db", "ledger.db-wal"}

    def pragmas(tx: Transaction) -> list[object]:
        connection: sqlite3.Connection = tx.meta._connection
        return [
            connection.execute(f"PRAGMA {name}").fetchone()[0]
            for name in ("journal_mode", "synchronous", "locking_mode")
        ]

    assert await ledger.read(pragmas) == ["wal", 2, "exclusive"]
    other = sqlite3.connect(path, timeout=0)
    with pytest.raises(sqlite3.OperationalError, match="locked"):
        other.execute("SELECT * FROM meta")
    other.close()


async def test_a_second_daemon_is_told(ledger: Ledger, path: Path) -> None:
    with pytest.raises(PaymentError, match="another process") as caught:
        await Ledger.open(path)
    assert caught.value.code == "ledger_unavailable"
    await ledger.write(lambda tx: tx.meta.set("a", "1"))


async def test_waiting_writes_share_a_commit_and_keep_their_own_fate(ledger: Ledger) -> None:
    gate = threading.Event()
    blocker = asyncio.ensure_future(ledger.write(lambda tx: gate.wait(60)))
    transactions: set[int] = set()

    def note(tx: Transaction, number: int) -> int:
        # Within one transaction SQLite's count of changes of the file does not move: it is the same commit.
        connection: sqlite3.Connection = tx.meta._connection
        transactions.add(connection.execute("PRAGMA data_version").fetchone()[0])
        tx.meta.set(f"key {number}", "x")
        if number == 7:
            raise ValueError("the seventh")
        return number

    writes = [asyncio.ensure_future(ledger.write(lambda tx, n=n: note(tx, n))) for n in range(20)]  # type: ignore[misc]
    await asyncio.sleep(0)
    gate.set()
    results = await asyncio.gather(*writes, return_exceptions=True)
    await blocker
    assert [r for r in results if isinstance(r, int)] == [n for n in range(20) if n != 7]
    assert isinstance(results[7], ValueError)
    kept = await ledger.read(lambda tx: [n for n in range(20) if tx.meta.get(f"key {n}")])
    assert kept == [n for n in range(20) if n != 7]
    assert len(transactions) == 1


async def test_a_hundred_waiting_writes_cost_few_commits(ledger: Ledger, path: Path) -> None:
    """Counted by what is appended to the log: a page that one commit rewrites often is appended once."""
    await ledger.write(lambda tx: tx.meta.set("counter", "0"))
    log = path.with_name("ledger.db-wal")
    before = log.stat().st_size

    def count(tx: Transaction) -> None:
        tx.meta.set("counter", str(int(tx.meta.get("counter") or 0) + 1))

    await asyncio.gather(*(ledger.write(count) for _ in range(100)))
    assert await ledger.read(lambda tx: tx.meta.get("counter")) == "100"
    assert log.stat().st_size - before < 50 * 4096


async def test_callbacks_run_after_the_commit_and_only_then(ledger: Ledger) -> None:
    told: list[str] = []

    def failing() -> None:
        raise RuntimeError("a listener")

    def good(tx: Transaction) -> None:
        tx.after_commit(lambda: told.append("good"))
        tx.after_commit(failing)  # a callback's fault is not the writer's
        tx.after_commit(lambda: told.append(threading.current_thread().name))
        assert told == []

    def bad(tx: Transaction) -> None:
        tx.after_commit(lambda: told.append("bad"))
        raise ValueError("no")

    await ledger.write(good)
    assert told == ["good", threading.current_thread().name]
    with pytest.raises(ValueError, match="no"):
        await ledger.write(bad)
    await ledger.write(lambda tx: None)
    assert "bad" not in told


async def test_a_read_may_not_write(ledger: Ledger) -> None:
    with pytest.raises(sqlite3.OperationalError, match="readonly"):
        await ledger.read(lambda tx: tx.meta.set("a", "1"))
    await ledger.write(lambda tx: tx.meta.set("a", "2"))
    assert await ledger.read(lambda tx: tx.meta.get("a")) == "2"


async def test_a_cancelled_write_that_has_not_begun_never_happens(ledger: Ledger) -> None:
    gate = threading.Event()
    blocker = asyncio.ensure_future(ledger.write(lambda tx: gate.wait(60)))
    await asyncio.sleep(0.05)  # the blocker is in the thread; what follows waits
    waiting = asyncio.ensure_future(ledger.write(lambda tx: tx.meta.set("a", "1")))
    await asyncio.sleep(0)
    waiting.cancel()
    await asyncio.gather(waiting, return_exceptions=True)
    gate.set()
    await blocker
    assert await ledger.read(lambda tx: tx.meta.get("a")) is None


async def test_closing_finishes_what_waits_and_refuses_what_comes(ledger: Ledger, path: Path) -> None:
    writes = [
        asyncio.ensure_future(ledger.write(lambda tx, n=n: tx.meta.set(f"key {n}", "x")))  # type: ignore[misc]
        for n in range(600)
    ]
    await asyncio.sleep(0)
    await ledger.close()
    await asyncio.gather(*writes)
    await ledger.close()
    with pytest.raises(PaymentError) as caught:
        await ledger.write(lambda tx: None)
    assert caught.value.code == "ledger_unavailable"
    again = await Ledger.open(path)
    assert await again.read(lambda tx: tx.meta.get("key 599")) == "x"
    await again.close()


async def test_a_flood_is_answered(ledger: Ledger) -> None:
    gate = threading.Event()
    blocker = asyncio.ensure_future(ledger.write(lambda tx: gate.wait(60)))
    flood = [asyncio.ensure_future(ledger.read(lambda tx: 1)) for _ in range(5000)]
    await asyncio.sleep(0)
    gate.set()
    results = await asyncio.gather(*flood, return_exceptions=True)
    await blocker
    assert results.count(1) >= 4000
    refused = [r for r in results if r != 1]
    assert refused
    assert all(isinstance(r, PaymentError) and r.code == "ledger_unavailable" for r in refused)
    assert await ledger.read(lambda tx: 1) == 1


async def test_fifty_lives_leak_nothing(path: Path) -> None:
    async def live(number: int) -> None:
        ledger = await Ledger.open(path)
        await ledger.write(lambda tx: tx.meta.set("n", str(number)))
        await ledger.close()

    await live(-1)
    descriptors, threads = len(os.listdir("/proc/self/fd")), threading.active_count()
    for number in range(50):
        await live(number)
    assert len(os.listdir("/proc/self/fd")) == descriptors
    assert threading.active_count() == threads


# Faults of the storage.


async def test_a_commit_that_fails_fails_all_its_writes_and_the_ledger_goes_on(
    ledger: Ledger, path: Path
) -> None:
    await ledger.write(lambda tx: tx.meta.set("before", "1"))
    told: list[str] = []
    log = path.with_name("ledger.db-wal")

    def grow(tx: Transaction, number: int) -> None:
        tx.meta.set(f"key {number}", "x" * 9000)
        tx.after_commit(lambda: told.append("told"))

    with storage_full_beyond(log.stat().st_size):
        results = await asyncio.gather(
            *(ledger.write(lambda tx, n=n: grow(tx, n)) for n in range(5)),  # type: ignore[misc]
            return_exceptions=True,
        )
    assert [getattr(r, "code", r) for r in results] == ["ledger_unavailable"] * 5
    assert told == []
    assert await ledger.read(lambda tx: (tx.meta.get("before"), tx.meta.get("key 0"))) == ("1", None)
    await ledger.write(lambda tx: grow(tx, 0))
    assert await ledger.read(lambda tx: len(tx.meta.get("key 0") or "")) == 9000
    assert told == ["told"]


async def test_a_full_database_within_a_write_spares_the_next(ledger: Ledger) -> None:
    def limit(tx: Transaction, pages: int) -> None:
        tx.meta._connection.execute(f"PRAGMA max_page_count = {pages}").fetchone()

    await ledger.read(lambda tx: limit(tx, 1))  # the smallest it can be: what there is
    with pytest.raises(PaymentError, match="full") as caught:
        await ledger.write(lambda tx: tx.meta.set("big", "x" * 100_000))
    assert caught.value.code == "ledger_unavailable"
    assert "piena" in caught.value.message_in("it")
    await ledger.read(lambda tx: limit(tx, 1_000_000))
    await ledger.write(lambda tx: tx.meta.set("big", "x" * 100_000))


async def test_a_folder_that_cannot_be_made_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(PaymentError) as caught:
        await Ledger.open(tmp_path / "file" / "ledger.db")
    assert caught.value.code == "ledger_unavailable"


# Damage.


async def filled(path: Path) -> None:
    ledger = await Ledger.open(path)

    def fill(tx: Transaction) -> None:
        for number in range(2000):
            tx.inbox.accept(f"evt_{number}", "charge.refunded", f"ch_{number}", number)
        tx.meta.delete(META_REBUILDING)

    await ledger.write(fill)
    await ledger.close()


def overwrite(path: Path) -> None:
    path.write_bytes(b"no database at all " * 1000)


def scramble(path: Path) -> None:
    content = bytearray(path.read_bytes())
    for start in range(4096 * 2, len(content), 4096):
        content[start : start + 512] = b"\xff" * 512
    path.write_bytes(content)


def cut_short(path: Path) -> None:
    os.truncate(path, path.stat().st_size // 2)


@pytest.mark.parametrize("damage", [overwrite, scramble, cut_short])
async def test_a_damaged_ledger_is_set_aside_and_begun_anew(path: Path, damage: object) -> None:
    await filled(path)
    assert callable(damage)
    damage(path)
    broken = content(path)
    ledger = await Ledger.open(path)
    try:
        assert ledger.rebuilt
        assert ledger.fresh
        assert await ledger.read(lambda tx: tx.meta.get(META_REBUILDING)) == "ledger.db.corrupt-1"
        assert await ledger.read(lambda tx: tx.inbox.pending_count()) == 0
        await ledger.write(lambda tx: tx.inbox.accept("evt_1", "t", "o", 1))
    finally:
        await ledger.close()
    assert content(path.with_name("ledger.db.corrupt-1")) == broken
    # A restart before all is fetched again still knows that it is not complete.
    ledger = await Ledger.open(path)
    assert not ledger.rebuilt
    assert await ledger.read(lambda tx: tx.meta.get(META_REBUILDING)) == "ledger.db.corrupt-1"
    await ledger.close()


async def grown(path: Path) -> None:
    """Of a size that is not read to its end at the start."""
    ledger = await Ledger.open(path)

    def put(tx: Transaction) -> None:
        chance = random.Random(1)
        for number in range(2000):
            text = chance.randbytes(9000).hex()
            tx.objects.put({"id": f"in_{number:06}", "object": "invoice", "created": number, "text": text}, 0)
        tx.inbox.accept("evt_old", "t", "o", 1)

    await ledger.write(put)
    await ledger.close()
    assert path.stat().st_size > CHECKED_WHOLE


def pages_with(path: Path, text: bytes) -> list[int]:
    """Where the pages begin that hold `text`: of the table, and of its indexes."""
    found = re.finditer(re.escape(text), path.read_bytes())
    return sorted({match.start() // PAGE * PAGE for match in found})


def scramble_page(path: Path, start: int) -> None:
    with path.open("r+b") as file:
        file.seek(start)
        file.write(b"\xff" * PAGE)


async def test_damaged_state_in_a_large_ledger_is_found_at_the_start(path: Path) -> None:
    await grown(path)
    scramble_page(path, pages_with(path, b"evt_old")[0])
    ledger = await Ledger.open(path)
    assert ledger.rebuilt
    await ledger.close()


@pytest.mark.parametrize("place", [0, 1])
async def test_damaged_history_in_a_large_ledger_is_found_by_reading_through(path: Path, place: int) -> None:
    await grown(path)
    pages = pages_with(path, b"in_001234")
    assert len(pages) == 2  # the table and its index
    scramble_page(path, pages[place])
    ledger = await Ledger.open(path)
    try:
        with pytest.raises(PaymentError) as caught:
            await LedgerCare(ledger, lambda: 1_750_000_000, size_limit=CHECKED_WHOLE * 4).read_through()
        assert caught.value.code == "ledger_unavailable"
        assert "damaged" in caught.value.message_in("en")
    finally:
        await ledger.close()


async def test_reading_through_a_sound_ledger_ends(path: Path) -> None:
    await grown(path)
    ledger = await Ledger.open(path)
    await LedgerCare(ledger, lambda: 1_750_000_000).read_through()
    await ledger.close()


async def test_the_log_of_a_damaged_ledger_does_not_pour_into_the_new_one(path: Path) -> None:
    """A power cut left a log with the latest pages, and the file itself, with all the others, is gone bad."""
    await filled(path)
    ledger = await Ledger.open(path)
    await ledger.write(lambda tx: tx.inbox.accept("evt_new", "t", "o", 1))
    crashed = path.parent.parent / "crashed"
    shutil.copytree(path.parent, crashed)
    await ledger.close()
    assert (crashed / "ledger.db-wal").stat().st_size > 0
    overwrite(crashed / "ledger.db")
    anew = await Ledger.open(crashed / "ledger.db")
    assert anew.rebuilt
    assert await anew.read(lambda tx: tx.inbox.pending_count()) == 0
    await anew.write(lambda tx: tx.inbox.accept("evt_2", "t", "o", 1))
    await anew.close()


def garble(path: Path, old: bytes, new: bytes) -> None:
    """Other bytes of the same length, which the structure of the file says nothing about."""
    content = path.read_bytes()
    assert old in content
    assert len(old) == len(new)
    path.write_bytes(content.replace(old, new))


STORED = {"id": "pi_1", "object": "payment_intent", "note": "old"}
PACKED = pack(json.dumps(STORED, ensure_ascii=False, separators=(",", ":")))


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (b"years ago", b"y\xff\xfers ago"),
        (b'{"told":"once"}', b'{"told";"once"}'),
        (PACKED, PACKED[:9] + bytes(4) + PACKED[13:]),
    ],
    ids=["text", "JSON", "compressed"],
)
async def test_bytes_within_a_row_that_nobody_wrote_condemn_the_file(
    path: Path, old: bytes, new: bytes
) -> None:
    def everything(tx: Transaction) -> object:
        return tx.transactions.page(9), tx.outbox.pending(9), tx.objects.get("pi_1")

    def store(tx: Transaction) -> None:
        tx.transactions.put(TransactionRow("pi_1", 1, "payment", 1, "eur", "paid", "years ago"))
        tx.outbox.add("payment", {"told": "once"})
        tx.objects.put(STORED, 1)

    ledger = await Ledger.open(path)
    await ledger.write(store)
    await ledger.close()
    garble(path, old, new)
    ledger = await Ledger.open(path)
    assert not ledger.rebuilt
    with pytest.raises(PaymentError, match="damaged") as caught:
        await ledger.read(everything)
    assert caught.value.code == "ledger_unavailable"
    await asyncio.wait_for(ledger.damaged.wait(), 30)
    await ledger.close()
    anew = await Ledger.open(path, condemned=ledger.damage)
    assert anew.rebuilt
    assert not anew.damaged.is_set()
    assert await anew.read(everything) == (([], None), [], None)
    assert await anew.read(lambda tx: tx.meta.get(META_REBUILDING)) == "ledger.db.corrupt-1"
    await anew.close()


# The log of a daemon that was killed, and what the flash made of it.

Spoil = Callable[[bytearray], bytes | bytearray]


def _frames(log: bytearray) -> int:
    return (len(log) - 32) // (24 + PAGE)


def _at(number: int) -> int:
    """Where a frame's page begins."""
    return 32 + number * (24 + PAGE) + 24


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
    return bytes(log[: _at(_frames(log) - 1) + 200]) + bytes(PAGE - 200)


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
async def test_a_log_that_cannot_be_replayed_to_its_end_makes_the_ledger_doubt_itself(
    path: Path, spoil: Spoil, left_over: bool
) -> None:
    ledger = await Ledger.open(path)
    await ledger.write(lambda tx: tx.meta.delete(META_REBUILDING))
    for number in range(6):
        await ledger.write(lambda tx, n=number: tx.meta.set(f"key {n}", "x"))  # type: ignore[misc]
    crashed = path.parent.parent / "crashed"
    shutil.copytree(path.parent, crashed)
    await ledger.close()
    log = crashed / "ledger.db-wal"
    log.write_bytes(spoil(bytearray(log.read_bytes())))

    again = await Ledger.open(crashed / "ledger.db")
    assert not again.rebuilt
    doubt = await again.read(lambda tx: tx.meta.get(META_REBUILDING))
    assert doubt == (LOG_LEFT_OVER if left_over else None)
    await again.write(lambda tx: tx.meta.delete(META_REBUILDING))
    await again.close()
    again = await Ledger.open(crashed / "ledger.db")
    assert await again.read(lambda tx: tx.meta.get(META_REBUILDING)) is None
    await again.close()


async def test_frames_of_an_earlier_round_of_the_log_cause_no_doubt(path: Path) -> None:
    ledger = await Ledger.open(path)
    await ledger.write(lambda tx: tx.meta.delete(META_REBUILDING))
    for number in range(60):
        await ledger.write(lambda tx, n=number: tx.meta.set(f"key {n}", "x" * 30_000))  # type: ignore[misc]
    crashed = path.parent.parent / "crashed"
    shutil.copytree(path.parent, crashed)
    await ledger.close()
    log = (crashed / "ledger.db-wal").read_bytes()
    assert len({log[place - 16 : place - 8] for place in map(_at, range(_frames(bytearray(log))))}) > 1
    again = await Ledger.open(crashed / "ledger.db")
    assert await again.read(lambda tx: tx.meta.get(META_REBUILDING)) is None
    assert await again.read(lambda tx: tx.meta.get("key 59")) == "x" * 30_000
    await again.close()


async def test_pages_that_rot_under_the_open_ledger_condemn_it(path: Path) -> None:
    ledger = await Ledger.open(path)

    def fill(tx: Transaction) -> None:  # more than SQLite keeps of it in memory
        for number in range(6000):
            tx.inbox.accept(f"evt_{number}", "t" * 250, "o" * 250, number)

    await ledger.write(fill)
    await ledger.close()
    ledger = await Ledger.open(path)
    scramble(path)
    with pytest.raises(PaymentError, match="damaged"):
        await ledger.read(lambda tx: tx.inbox.due(2**60, 6000))
    await asyncio.wait_for(ledger.damaged.wait(), 30)
    await ledger.close()
    anew = await Ledger.open(path, condemned=ledger.damage)
    assert anew.rebuilt
    await anew.close()


async def test_an_empty_file_is_a_new_ledger(path: Path) -> None:
    path.parent.mkdir(mode=0o700)
    path.touch()
    ledger = await Ledger.open(path)
    assert ledger.fresh
    assert not ledger.rebuilt
    await ledger.close()


# Schemas.


async def test_a_newer_ledger_is_refused_and_untouched(path: Path) -> None:
    await filled(path)
    newer = sqlite3.connect(path)
    newer.execute("PRAGMA user_version = 99")
    newer.close()
    before = content(path)
    with pytest.raises(PaymentError, match="newer version") as caught:
        await Ledger.open(path)
    assert caught.value.code == "ledger_unavailable"
    assert "più recente" in caught.value.message_in("it")
    assert content(path) == before


def schema(connection: sqlite3.Connection) -> tuple[int, set[str]]:
    version = connection.execute("PRAGMA user_version").fetchone()[0]
    return version, {name for (name,) in connection.execute("SELECT name FROM sqlite_schema")}


def test_a_migration_and_its_number_are_one_transaction(tmp_path: Path) -> None:
    connection = sqlite3.connect(tmp_path / "db", isolation_level=None)
    migrate(connection)
    before = schema(connection)
    assert before[0] == len(MIGRATIONS)
    broken = [*MIGRATIONS, ["CREATE TABLE extra (a)", "CREATE TABLE nonsense ("]]
    with pytest.raises(sqlite3.OperationalError):
        migrate(connection, broken)
    assert schema(connection) == before
    mended = [*MIGRATIONS, ["CREATE TABLE extra (a)"], ["CREATE INDEX extra_a ON extra (a)"]]
    assert migrate(connection, mended) == len(MIGRATIONS)
    assert schema(connection) == (len(MIGRATIONS) + 2, before[1] | {"extra", "extra_a"})
    assert migrate(connection, mended) == len(mended)
    connection.close()


async def test_an_older_ledger_is_taken_over_whole(path: Path) -> None:
    """Of the first shape: pages of 4 KiB, objects as text or, where they rested, compressed."""
    path.parent.mkdir(mode=0o700)
    older = sqlite3.connect(path, isolation_level=None)
    older.execute("PRAGMA journal_mode = WAL")
    migrate(older, MIGRATIONS[:2])
    for number, payment in enumerate(('"pi_0"', '{"id":"pi_1","object":"payment_intent"}', "null")):
        raw = f'{{"id":"cs_{number}","object":"checkout.session","payment_intent":{payment}}}'
        packed = zlib.compress(raw.encode()) if number else None
        older.execute(
            "INSERT INTO objects (id, type, created, fetched_at, raw, packed) VALUES (?, ?, ?, 0, ?, ?)",
            (f"cs_{number}", "checkout.session", number, "" if packed else raw, packed),
        )
    older.execute("INSERT INTO purchases VALUES ('cs_0', 'price_1', 'once', 'product', 1, 0, 'open', 7)")
    older.execute(
        "INSERT INTO subscriptions"
        " VALUES ('sub_0', 'canceled', 'price_2', NULL, 'plan', 1, 2, 1, 3, 0, 4, NULL)"
    )
    older.execute(
        "INSERT INTO transactions VALUES ('pi_0', 5, 'payment', 499, 'eur', 'paid', 'x', NULL, NULL)"
    )
    older.execute("INSERT INTO outbox (id, kind, payload, step) VALUES (7, 'payment', '{}', 1)")
    older.execute(
        "INSERT INTO checkouts (idempotency_key, price_alias, price_id, mode, success_url, cancel_url,"
        " locale, created_at, session_id, state)"
        " VALUES ('k', 'once', 'price_1', 'payment', 's', 'c', 'it', 1, 'cs_0', 'open')"
    )
    older.close()

    def look(tx: Transaction) -> tuple[object, ...]:
        return (
            [(tx.objects.session_of(intent) or {}).get("id") for intent in ("pi_0", "pi_1", "pi_2")],
            [session["id"] for session in tx.objects.of_type("checkout.session")],
            tx.purchases.all(),
            [(held.id, held.status, held.past_due_since) for held in tx.subscriptions.all()],
            tx.transactions.page(9)[0],
            tx.outbox.pending(9),
            [(held.idempotency_key, held.session_id) for held in tx.checkouts.open()],
            tx.meta._connection.execute("PRAGMA page_size").fetchone()[0],
            tx.damage(),
        )

    expected = (
        ["cs_0", "cs_1", None],
        ["cs_2", "cs_1", "cs_0"],
        [Purchase("cs_0", "price_1", "once", "product", True, False, "open", 7)],
        [("sub_0", "canceled", 4)],
        [TransactionRow("pi_0", 5, "payment", 499, "eur", "paid", "x")],
        [Effect(7, "payment", {}, 1)],
        [("k", "cs_0")],
        1024,
        None,
    )
    for _ in range(2):
        ledger = await Ledger.open(path)
        assert not ledger.fresh
        assert await ledger.read(look) == expected
        await ledger.close()


async def test_a_note_is_not_synced_unless_something_else_in_its_commit_is(ledger: Ledger) -> None:
    def synchronous(tx: Transaction) -> int:
        return int(tx.meta._connection.execute("PRAGMA synchronous").fetchone()[0])

    normal, full = 1, 2
    assert await ledger.write(synchronous, durable=False) == normal
    assert await ledger.write(synchronous) == full
    together = await asyncio.gather(ledger.write(synchronous), ledger.write(synchronous, durable=False))
    assert together[0] == full  # the other one may have come too late for this commit


# Power cuts.

VICTIM = """
import asyncio, pathlib, sys
from stripe_payments.ledger import Ledger

async def main():
    ledger = await Ledger.open(pathlib.Path(sys.argv[1]))
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
async def test_what_was_answered_survives_kill_9(path: Path, lines: int) -> None:
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
    ledger = await Ledger.open(path)
    try:
        assert not ledger.rebuilt
        events = await ledger.read(lambda tx: {e.event_id for e in tx.inbox.due(10**9, 10**6)})
        effects = await ledger.read(lambda tx: {e.payload["id"] for e in tx.outbox.pending(10**6)})
    finally:
        await ledger.close()
    assert {f"evt_{n}" for n in range(answered)} <= events
    assert events == effects  # the effect and its cause: both or neither
