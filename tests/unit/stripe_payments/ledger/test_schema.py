"""Ledgers of other releases: an older one is taken over whole, a newer one is left as it is."""

import json
import sqlite3
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest

from stripe_payments.errors import PaymentError
from stripe_payments.ledger import SQLiteLedger, SQLiteTransaction
from stripe_payments.ledger.schema import VERSION, migrate
from stripe_payments.settings import settings_from_uci
from stripe_payments.sync.projection import project
from stripe_payments.sync.stripe_objects import parse_objects
from tests.unit.stripe_payments.engine import CATALOG

FOLDER = Path(__file__).parent
NEWER_FIELDS = {
    "owed",
    "paused_after_dunning",
    "more_prices",
    "unpaid_change",
    "nothing_charged",
    "ended_at",
}
"""Of a subscription: a ledger of schema 3 does not have them."""


async def test_a_newer_ledger_is_refused_and_untouched(filled: Path) -> None:
    newer = sqlite3.connect(filled)
    newer.execute("PRAGMA user_version = 99")
    newer.close()
    before = filled.read_bytes()
    with pytest.raises(PaymentError, match="newer version") as caught:
        await SQLiteLedger.open(filled)
    assert caught.value.code == "ledger_unavailable"
    assert "più recente" in caught.value.message_in("it")
    assert filled.read_bytes() == before


def schema(connection: sqlite3.Connection) -> tuple[int, set[str]]:
    version = connection.execute("PRAGMA user_version").fetchone()[0]
    return version, {name for (name,) in connection.execute("SELECT name FROM sqlite_schema")}


def test_a_migration_and_its_number_are_one_transaction(tmp_path: Path) -> None:
    def broken(connection: sqlite3.Connection) -> None:
        connection.execute("CREATE TABLE extra (a)")
        connection.execute("CREATE TABLE nonsense (")

    def repaired(connection: sqlite3.Connection) -> None:
        connection.execute("CREATE TABLE extra (a)")

    def following(connection: sqlite3.Connection) -> None:
        connection.execute("CREATE INDEX extra_a ON extra (a)")

    connection = sqlite3.connect(tmp_path / "db", isolation_level=None)
    assert migrate(connection) == 0
    before = schema(connection)
    assert before[0] == VERSION
    with pytest.raises(sqlite3.OperationalError):
        migrate(connection, {VERSION: broken}, VERSION + 1)
    assert schema(connection) == before
    migrations = {VERSION: repaired, VERSION + 1: following}
    assert migrate(connection, migrations, VERSION + 2) == VERSION
    assert schema(connection) == (VERSION + 2, before[1] | {"extra", "extra_a"})
    assert migrate(connection, migrations, VERSION + 2) == VERSION + 2
    connection.close()


@pytest.mark.parametrize("number", [1, 2])
async def test_a_schema_that_was_never_released_is_rebuilt_from_stripe(path: Path, number: int) -> None:
    path.parent.mkdir(mode=0o700)
    connection = sqlite3.connect(path, isolation_level=None)
    connection.execute("CREATE TABLE meta (key TEXT)")
    connection.execute(f"PRAGMA user_version = {number:d}")
    connection.close()
    ledger = await SQLiteLedger.open(path)
    assert ledger.rebuilt
    await ledger.close()
    assert path.with_name("ledger.db.corrupt-1").exists()


async def test_a_ledger_of_schema_3_is_migrated_without_loss(path: Path) -> None:
    """`schema_3.db` was written by the code of commit 6ef6532 against the simulated Stripe: a plan with three
    renewals, one of them partly refunded; a one-time purchase, partly refunded and disputed; a checkout that
    is being created; events, notifications, a grant; and rows whose objects were no longer stored
    (``…_dropped``). `schema_3.json` is what that code read from it.

    The script that made them is not kept. The rows with random ids came from the simulated Stripe of that
    commit; those with ids in plain words (``cs_dropped``, ``sub_dropped``, ``in_dropped``, ``pi_dropped``,
    ``evt_done``, ``evt_waiting``, ``key-pending``) and the grant were written to its tables directly. The
    tables of schema 3 are those of that commit's ledger package.
    """
    path.parent.mkdir(mode=0o700)
    path.write_bytes((FOLDER / "schema_3.db").read_bytes())
    expected = json.loads((FOLDER / "schema_3.json").read_text())

    def read(tx: SQLiteTransaction) -> dict[str, Any]:
        state = project(
            parse_objects(tx.objects.all()),
            settings_from_uci(CATALOG),
            expected["now"],
            last_seen=dict.fromkeys(
                (row["id"] for row in expected["subscriptions"]), expected["last_contact"]
            ),
            previous=tx.features.all(),
            grants=tx.grants.all(),
            archived=tx.history.all(),
        )
        return {
            "objects": sorted(key for key in tx.objects.all() if not key.endswith("_dropped")),
            "features": [asdict(state.entitlements[name]) for name in sorted(state.entitlements)],
            "purchases": [asdict(row) for row in state.purchases.values()],
            "subscriptions": [
                {name: value for name, value in asdict(row).items() if name not in NEWER_FIELDS}
                for row in state.subscriptions.values()
            ],
            "transactions": [asdict(row) for row in reversed(state.history)],
            "grants": [asdict(row) for row in tx.grants.all()],
            "outbox": [[row.kind, row.payload, row.step] for row in tx.outbox.pending(50)],
            "checkouts": [asdict(row) for row in tx.checkouts.latest(50)],
            "inbox_pending": tx.inbox.pending_count(),
            "router_id": tx.meta.get("router_id"),
            "now": expected["now"],
            "last_contact": expected["last_contact"],
        }

    for _ in range(2):
        ledger = await SQLiteLedger.open(path)
        try:
            assert not ledger.fresh
            assert not ledger.rebuilt
            assert await ledger.read(read) == expected
            assert await ledger.read(lambda tx: tx.damage()) is None
        finally:
            await ledger.close()
