"""The tables, and the migrations that bring older files to them. A migration and its number are one
transaction.

Times are epoch seconds, amounts minor units, flags 0 or 1. Never change a migration that was released: add
one.
"""

import sqlite3
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

from stripe_payments.ledger.packing import pack, unpack
from stripe_payments.ledger.storage_errors import corruption, decoded

__all__ = ["MIGRATIONS", "SCHEMA", "VERSION", "NewerSchemaError", "migrate", "version_of"]

_OBJECTS: Final = """
    CREATE TABLE objects (
        number INTEGER PRIMARY KEY,
        id TEXT NOT NULL,
        fetched_at INTEGER NOT NULL,
        packed BLOB NOT NULL
    ) STRICT
    """
"""Stripe's objects as fetched, compressed (packing.py): everything else that is paid for follows from them.
Ordered by arrival, so that those of one payment lie in one or two pages; all are in memory by their id.
"""

_HISTORY: Final = """
    CREATE TABLE history (
        id TEXT PRIMARY KEY,
        date INTEGER NOT NULL,
        kind TEXT NOT NULL,
        amount INTEGER NOT NULL,
        currency TEXT NOT NULL,
        status TEXT NOT NULL,
        description TEXT NOT NULL,
        receipt_url TEXT,
        invoice_pdf TEXT
    ) STRICT, WITHOUT ROWID
    """
"""Lines of the history whose objects are no longer stored."""

_CHECKOUTS: Final = """
    CREATE TABLE checkouts (
        local_id INTEGER PRIMARY KEY,
        idempotency_key TEXT NOT NULL,
        price_alias TEXT NOT NULL,
        price_id TEXT NOT NULL,
        mode TEXT NOT NULL CHECK (mode IN ('payment', 'subscription')),
        success_url TEXT NOT NULL,
        cancel_url TEXT NOT NULL,
        locale TEXT NOT NULL,
        created_at INTEGER NOT NULL,
        session_id TEXT,
        url TEXT,
        state TEXT NOT NULL CHECK (state IN ('creating', 'open', 'complete', 'expired', 'failed')),
        expires_at INTEGER
    ) STRICT
    """
"""Written before the buyer is sent to Stripe, so that a power cut loses neither session nor key. Without an
index: each one is a page more in every commit, and a household's checkouts are read in no time.
"""

_INBOX: Final = """
    CREATE TABLE inbox (
        number INTEGER PRIMARY KEY,
        event_id TEXT NOT NULL UNIQUE,
        type TEXT NOT NULL,
        object_id TEXT NOT NULL,
        received_at INTEGER NOT NULL,
        attempts INTEGER NOT NULL DEFAULT 0,
        next_attempt INTEGER NOT NULL DEFAULT 0,
        outcome TEXT,
        error TEXT
    ) STRICT
    """
"""Webhook events: only which object to fetch. `outcome` is null until that has been done."""

_INBOX_PENDING: Final = (
    "CREATE INDEX inbox_pending ON inbox (next_attempt, received_at) WHERE outcome IS NULL"
)

_FEATURES: Final = """
    CREATE TABLE features (
        feature TEXT NOT NULL,
        unlocked INTEGER NOT NULL,
        source TEXT NOT NULL,
        plan TEXT NOT NULL,
        until INTEGER,
        reason TEXT NOT NULL
    ) STRICT
    """
"""A row for each feature, a dozen of them: no index."""

SCHEMA: Final[Sequence[str]] = (
    """
    CREATE TABLE meta (
        key TEXT PRIMARY KEY,
        value TEXT NOT NULL
    ) STRICT, WITHOUT ROWID
    """,
    # A new file knows nothing yet, from its very first commit on: see `database.META_REBUILDING`.
    "INSERT INTO meta (key, value) VALUES ('rebuilding', 'new')",
    _OBJECTS,
    _HISTORY,
    _CHECKOUTS,
    _INBOX,
    _INBOX_PENDING,
    _FEATURES,
    """
    CREATE TABLE grants (
        feature TEXT PRIMARY KEY,
        until INTEGER,
        note TEXT NOT NULL DEFAULT '',
        granted_at INTEGER
    ) STRICT, WITHOUT ROWID
    """,
    # What the rest of the system has still to be notified of, in this order. `step` counts what of it was
    # delivered already.
    """
    CREATE TABLE outbox (
        id INTEGER PRIMARY KEY,
        kind TEXT NOT NULL CHECK (kind IN ('feature', 'payment', 'subscription')),
        payload TEXT NOT NULL,
        step INTEGER NOT NULL DEFAULT 0,
        error TEXT,
        parked INTEGER NOT NULL DEFAULT 0
    ) STRICT
    """,
)

_FIRST: Final = 3
"""The oldest schema that was ever in use."""


class NewerSchemaError(Exception):
    """The file was written by a newer version of the daemon."""

    def __init__(self, found: int, known: int) -> None:
        super().__init__(f"the ledger has schema {found}, this version knows up to {known}")
        self.found = found
        self.known = known


def _purchases_follow_from_objects(connection: sqlite3.Connection) -> None:
    """3 → 4: the tables `purchases`, `subscriptions` and `transactions` follow from the objects, and indexes
    that cost more than they save are dropped.

    All lines of the history are archived: a line that follows from stored objects replaces its archived one.
    Where the objects of a purchase or a subscription are no longer stored, or not all of them, its row takes
    their place, so that it unlocks what it did.
    """
    connection.execute(_HISTORY)
    connection.execute("INSERT INTO history SELECT * FROM transactions")
    purchases = _rows(
        connection,
        "SELECT id, price_id, price_alias, product, paid, fully_refunded, dispute, paid_at FROM purchases",
    )
    for purchase in purchases:
        if not _is_stored_whole(connection, session_id := purchase.pop("id")):
            flags = {name: bool(purchase[name]) for name in ("paid", "fully_refunded")}
            _put(connection, session_id, "stripe_payments.purchase", {"purchase": purchase | flags})
    subscriptions = _rows(
        connection,
        "SELECT id, status, price_id, price_alias, plan, current_period_end, cancel_at, cancel_at_period_end,"
        " trial_end, paused_collection, past_due_since, returned FROM subscriptions",
    )
    for held in subscriptions:
        if _object(connection, subscription_id := held.pop("id")) is None:
            flags = {name: bool(held[name]) for name in ("cancel_at_period_end", "paused_collection")}
            _put(connection, subscription_id, "stripe_payments.subscription", {"subscription": held | flags})
    for statement in (
        "DROP TABLE purchases",
        "DROP TABLE subscriptions",
        "DROP TABLE transactions",
    ):
        connection.execute(statement)
    for table, new in (
        ("objects", _OBJECTS),
        ("checkouts", _CHECKOUTS),
        ("inbox", _INBOX),
        ("features", _FEATURES),
    ):
        _rebuild(connection, table, new)
    connection.execute(_INBOX_PENDING)


def _rebuild(connection: sqlite3.Connection, table: str, new: str) -> None:
    """Replace a table, and its indexes, by `new` with the same rows."""
    connection.execute(f"ALTER TABLE {table} RENAME TO old_{table}")
    connection.execute(new)
    before = {name for _, name, *_ in connection.execute(f"PRAGMA table_info(old_{table})")}
    after = [name for _, name, *_ in connection.execute(f"PRAGMA table_info({table})") if name in before]
    columns = ", ".join(after)
    connection.execute(f"INSERT INTO {table} ({columns}) SELECT {columns} FROM old_{table}")  # noqa: S608
    connection.execute(f"DROP TABLE old_{table}")


def _rows(connection: sqlite3.Connection, query: str) -> list[dict[str, Any]]:
    cursor = connection.execute(query)
    names = [column[0] for column in cursor.description]
    return [dict(zip(names, row, strict=True)) for row in cursor]


def _object(connection: sqlite3.Connection, object_id: object) -> dict[str, Any] | None:
    row = connection.execute("SELECT packed FROM objects WHERE id = ?", (object_id,)).fetchone()
    return decoded(unpack(row[0])) if row is not None else None


def _is_stored_whole(connection: sqlite3.Connection, session_id: str) -> bool:
    """Whether a session is stored, with its payment intent and charge if it has them."""
    part = _object(connection, session_id)
    for link in ("payment_intent", "latest_charge"):
        if part is None:
            return False
        if part.get(link) is None:
            return True
        part = _object(connection, part[link])
    return part is not None


def _put(connection: sqlite3.Connection, object_id: str, kind: str, fields: Mapping[str, Any]) -> None:
    raw = {"id": object_id, "object": kind, **fields}
    connection.execute(
        "INSERT OR REPLACE INTO objects (id, type, created, fetched_at, packed) VALUES (?, ?, 0, 0, ?)",
        (object_id, kind, pack(raw)),
    )


Migration = Callable[[sqlite3.Connection], None]

MIGRATIONS: Final[Mapping[int, Migration]] = {3: _purchases_follow_from_objects}
"""What brings a file to the next schema, by the number of the one that it has."""

VERSION: Final = 4
"""The number of `SCHEMA` (``PRAGMA user_version``)."""


def version_of(connection: sqlite3.Connection, newest: int = VERSION) -> int:
    """The number of the file's schema, 0 for an empty file.

    Raises NewerSchemaError, and sqlite3.DatabaseError (which `is_corruption`) for a schema that was never
    released: such a file is set aside and rebuilt from Stripe.
    """
    found = int(connection.execute("PRAGMA user_version").fetchone()[0])
    if found > newest:
        raise NewerSchemaError(found, newest)
    if 0 < found < _FIRST:
        raise corruption(f"schema {found} was never released")
    return found


def migrate(
    connection: sqlite3.Connection, migrations: Mapping[int, Migration] = MIGRATIONS, newest: int = VERSION
) -> int:
    """Bring the file to the newest schema; the number it had before.

    Each migration commits together with its number (``PRAGMA user_version``), so that a power cut leaves a
    schema that is wholly one or the other. Raises as `version_of` does, having touched nothing, and
    sqlite3.Error.
    """
    found = version_of(connection, newest)
    if found == 0:
        _commit(connection, VERSION, _create)
    for number in range(found or VERSION, newest):
        _commit(connection, number + 1, migrations[number])
    return found


def _create(connection: sqlite3.Connection) -> None:
    for statement in SCHEMA:
        connection.execute(statement)


def _commit(connection: sqlite3.Connection, number: int, migration: Migration) -> None:
    connection.execute("BEGIN IMMEDIATE")
    try:
        migration(connection)
        connection.execute(f"PRAGMA user_version = {number:d}")
        connection.execute("COMMIT")
    except BaseException:
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        raise
