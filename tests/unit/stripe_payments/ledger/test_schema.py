"""Ledgers of other releases: an older one is taken over whole, a newer one is left as it is."""

import sqlite3
import zlib
from pathlib import Path

import pytest

from stripe_payments.entitlements import Purchase
from stripe_payments.errors import PaymentError
from stripe_payments.ledger import Effect, Ledger, Transaction, TransactionRow
from stripe_payments.ledger.schema import MIGRATIONS, migrate


async def test_a_newer_ledger_is_refused_and_untouched(filled: Path) -> None:
    newer = sqlite3.connect(filled)
    newer.execute("PRAGMA user_version = 99")
    newer.close()
    before = filled.read_bytes()
    with pytest.raises(PaymentError, match="newer version") as caught:
        await Ledger.open(filled)
    assert caught.value.code == "ledger_unavailable"
    assert "più recente" in caught.value.message_in("it")
    assert filled.read_bytes() == before


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
