"""The tables, as the migrations that make them. A migration and its number are one transaction.

Times are epoch seconds, amounts minor units, flags 0 or 1. Never change a migration that was released: add
one.
"""

import sqlite3
from collections.abc import Sequence
from typing import Final

from stripe_payments.ledger.objects import pack, payment_of

__all__ = ["BOUGHT", "MIGRATIONS", "STATE", "NewerSchemaError", "migrate", "version_of"]

MIGRATIONS: Final[Sequence[Sequence[str]]] = (
    (
        """
        CREATE TABLE meta (
            key TEXT PRIMARY KEY,
            value TEXT NOT NULL
        ) STRICT, WITHOUT ROWID
        """,
        # A new file knows nothing yet, from its very first commit on: see `store.META_REBUILDING`.
        "INSERT INTO meta (key, value) VALUES ('rebuilding', 'new')",
        # Stripe's objects as they came; the derived tables can be made again from these.
        """
        CREATE TABLE objects (
            id TEXT PRIMARY KEY,
            type TEXT NOT NULL,
            created INTEGER NOT NULL,
            status TEXT,
            customer TEXT,
            fetched_at INTEGER NOT NULL,
            raw TEXT NOT NULL
        ) STRICT
        """,
        "CREATE INDEX objects_by_type ON objects (type, created, id)",
        # Written before the buyer is sent to Stripe, so that a power cut loses neither session nor key.
        """
        CREATE TABLE checkouts (
            local_id INTEGER PRIMARY KEY AUTOINCREMENT,
            idempotency_key TEXT NOT NULL UNIQUE,
            price_alias TEXT NOT NULL,
            price_id TEXT NOT NULL,
            mode TEXT NOT NULL CHECK (mode IN ('payment', 'subscription')),
            success_url TEXT NOT NULL,
            cancel_url TEXT NOT NULL,
            locale TEXT NOT NULL,
            created_at INTEGER NOT NULL,
            session_id TEXT UNIQUE,
            url TEXT,
            state TEXT NOT NULL CHECK (state IN ('creating', 'open', 'complete', 'expired', 'failed')),
            expires_at INTEGER,
            next_poll INTEGER,
            polls INTEGER NOT NULL DEFAULT 0
        ) STRICT
        """,
        "CREATE INDEX checkouts_open ON checkouts (local_id) WHERE state IN ('creating', 'open')",
        # Webhook events: only which object to look at. `outcome` is null until that has been done.
        """
        CREATE TABLE inbox (
            event_id TEXT PRIMARY KEY,
            type TEXT NOT NULL,
            object_id TEXT NOT NULL,
            received_at INTEGER NOT NULL,
            attempts INTEGER NOT NULL DEFAULT 0,
            next_attempt INTEGER NOT NULL DEFAULT 0,
            outcome TEXT,
            error TEXT
        ) STRICT, WITHOUT ROWID
        """,
        "CREATE INDEX inbox_pending ON inbox (next_attempt, received_at) WHERE outcome IS NULL",
        "CREATE INDEX inbox_by_age ON inbox (received_at)",
        """
        CREATE TABLE purchases (
            id TEXT PRIMARY KEY,
            price_id TEXT NOT NULL,
            price_alias TEXT,
            product TEXT,
            paid INTEGER NOT NULL,
            fully_refunded INTEGER NOT NULL,
            dispute TEXT CHECK (dispute IN ('open', 'won', 'lost')),
            paid_at INTEGER
        ) STRICT
        """,
        """
        CREATE TABLE subscriptions (
            id TEXT PRIMARY KEY,
            status TEXT NOT NULL,
            price_id TEXT NOT NULL,
            price_alias TEXT,
            plan TEXT,
            current_period_end INTEGER,
            cancel_at INTEGER,
            cancel_at_period_end INTEGER NOT NULL,
            trial_end INTEGER,
            paused_collection INTEGER NOT NULL,
            past_due_since INTEGER
        ) STRICT
        """,
        """
        CREATE TABLE transactions (
            id TEXT PRIMARY KEY,
            date INTEGER NOT NULL,
            kind TEXT NOT NULL,
            amount INTEGER NOT NULL,
            currency TEXT NOT NULL,
            status TEXT NOT NULL,
            description TEXT NOT NULL,
            receipt_url TEXT,
            invoice_pdf TEXT
        ) STRICT
        """,
        "CREATE INDEX transactions_by_date ON transactions (date, id)",
        """
        CREATE TABLE features (
            feature TEXT PRIMARY KEY,
            unlocked INTEGER NOT NULL,
            source TEXT NOT NULL,
            plan TEXT NOT NULL,
            until INTEGER,
            reason TEXT NOT NULL
        ) STRICT, WITHOUT ROWID
        """,
        """
        CREATE TABLE grants (
            feature TEXT PRIMARY KEY,
            until INTEGER
        ) STRICT, WITHOUT ROWID
        """,
        # What the rest of the system has still to be told, in this order. `step` counts what it was told
        # already.
        """
        CREATE TABLE outbox (
            id INTEGER PRIMARY KEY AUTOINCREMENT,
            kind TEXT NOT NULL CHECK (kind IN ('feature', 'payment', 'subscription')),
            payload TEXT NOT NULL,
            step INTEGER NOT NULL DEFAULT 0,
            attempts INTEGER NOT NULL DEFAULT 0,
            next_attempt INTEGER NOT NULL DEFAULT 0,
            error TEXT,
            parked INTEGER NOT NULL DEFAULT 0
        ) STRICT
        """,
    ),
    (
        # Which way the money of a subscription's period went back, if it did.
        "ALTER TABLE subscriptions ADD COLUMN returned TEXT CHECK (returned IN ('refunded', 'disputed'))",
        "ALTER TABLE grants ADD COLUMN note TEXT NOT NULL DEFAULT ''",
        "ALTER TABLE grants ADD COLUMN granted_at INTEGER",
        # An object of something that ended long ago: `raw` is '' and `packed` the same text, compressed
        # (zlib).
        "ALTER TABLE objects ADD COLUMN packed BLOB",
    ),
    (
        # Everything anew in less space, for flash is written a page at a time: one tree a table where a row
        # has an id of its own, objects compressed (zlib), no column that nobody asks for.
        """
        CREATE TABLE new_objects (
            id TEXT PRIMARY KEY,
            type TEXT NOT NULL,
            created INTEGER NOT NULL,
            fetched_at INTEGER NOT NULL,
            payment_intent TEXT,
            packed BLOB NOT NULL
        ) STRICT, WITHOUT ROWID
        """,
        "INSERT INTO new_objects SELECT id, type, created, fetched_at,"
        " CASE type WHEN 'checkout.session' THEN payment_of(packed) END, packed"
        " FROM (SELECT id, type, created, fetched_at, coalesce(packed, pack(raw)) AS packed FROM objects)",
        "DROP TABLE objects",
        "ALTER TABLE new_objects RENAME TO objects",
        "CREATE INDEX objects_by_type ON objects (type, created)",
        # The session that a payment belongs to, which the payment does not say.
        "CREATE INDEX objects_by_payment ON objects (payment_intent) WHERE payment_intent IS NOT NULL",
        """
        CREATE TABLE new_checkouts (
            local_id INTEGER PRIMARY KEY,
            idempotency_key TEXT NOT NULL UNIQUE,
            price_alias TEXT NOT NULL,
            price_id TEXT NOT NULL,
            mode TEXT NOT NULL CHECK (mode IN ('payment', 'subscription')),
            success_url TEXT NOT NULL,
            cancel_url TEXT NOT NULL,
            locale TEXT NOT NULL,
            created_at INTEGER NOT NULL,
            session_id TEXT UNIQUE,
            url TEXT,
            state TEXT NOT NULL CHECK (state IN ('creating', 'open', 'complete', 'expired', 'failed')),
            expires_at INTEGER
        ) STRICT
        """,
        "INSERT INTO new_checkouts SELECT local_id, idempotency_key, price_alias, price_id, mode,"
        " success_url, cancel_url, locale, created_at, session_id, url, state, expires_at FROM checkouts",
        "DROP TABLE checkouts",
        "ALTER TABLE new_checkouts RENAME TO checkouts",
        "CREATE INDEX checkouts_open ON checkouts (local_id) WHERE state IN ('creating', 'open')",
        # What is over for good (given back, lost, ended) says no more of an entitlement than the first of its
        # kind does, and only this grows with the years: `settled_as` names the kind, null for what is not
        # over.
        """
        CREATE TABLE new_purchases (
            id TEXT PRIMARY KEY,
            price_id TEXT NOT NULL,
            price_alias TEXT,
            product TEXT,
            paid INTEGER NOT NULL,
            fully_refunded INTEGER NOT NULL,
            dispute TEXT CHECK (dispute IN ('open', 'won', 'lost')),
            paid_at INTEGER,
            settled_as TEXT GENERATED ALWAYS AS (
                CASE WHEN paid AND (fully_refunded OR ifnull(dispute, '') = 'lost') THEN
                    (ifnull(dispute, '') = 'lost') || ' ' || price_id || ' ' || ifnull(price_alias, '') || ' '
                    || ifnull(product, '')
                END
            ) VIRTUAL
        ) STRICT, WITHOUT ROWID
        """,
        "INSERT INTO new_purchases SELECT id, price_id, price_alias, product, paid, fully_refunded, dispute,"
        " paid_at FROM purchases",
        "DROP TABLE purchases",
        "ALTER TABLE new_purchases RENAME TO purchases",
        "CREATE INDEX purchases_standing ON purchases (id) WHERE settled_as IS NULL",
        "CREATE INDEX purchases_settled ON purchases (settled_as) WHERE settled_as IS NOT NULL",
        """
        CREATE TABLE new_subscriptions (
            id TEXT PRIMARY KEY,
            status TEXT NOT NULL,
            price_id TEXT NOT NULL,
            price_alias TEXT,
            plan TEXT,
            current_period_end INTEGER,
            cancel_at INTEGER,
            cancel_at_period_end INTEGER NOT NULL,
            trial_end INTEGER,
            paused_collection INTEGER NOT NULL,
            past_due_since INTEGER,
            returned TEXT CHECK (returned IN ('refunded', 'disputed')),
            settled_as TEXT GENERATED ALWAYS AS (
                CASE WHEN status IN ('canceled', 'incomplete_expired') THEN
                    status || ' ' || paused_collection || ' ' || price_id || ' ' || ifnull(price_alias, '')
                    || ' ' || ifnull(plan, '')
                END
            ) VIRTUAL
        ) STRICT, WITHOUT ROWID
        """,
        "INSERT INTO new_subscriptions SELECT id, status, price_id, price_alias, plan, current_period_end,"
        " cancel_at, cancel_at_period_end, trial_end, paused_collection, past_due_since, returned"
        " FROM subscriptions",
        "DROP TABLE subscriptions",
        "ALTER TABLE new_subscriptions RENAME TO subscriptions",
        "CREATE INDEX subscriptions_standing ON subscriptions (id) WHERE settled_as IS NULL",
        "CREATE INDEX subscriptions_settled ON subscriptions (settled_as) WHERE settled_as IS NOT NULL",
        """
        CREATE TABLE new_transactions (
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
        """,
        "INSERT INTO new_transactions SELECT * FROM transactions",
        "DROP TABLE transactions",
        "ALTER TABLE new_transactions RENAME TO transactions",
        "CREATE INDEX transactions_by_date ON transactions (date)",
        """
        CREATE TABLE new_outbox (
            id INTEGER PRIMARY KEY,
            kind TEXT NOT NULL CHECK (kind IN ('feature', 'payment', 'subscription')),
            payload TEXT NOT NULL,
            step INTEGER NOT NULL DEFAULT 0,
            error TEXT,
            parked INTEGER NOT NULL DEFAULT 0
        ) STRICT
        """,
        "INSERT INTO new_outbox SELECT id, kind, payload, step, error, parked FROM outbox",
        "DROP TABLE outbox",
        "ALTER TABLE new_outbox RENAME TO outbox",
    ),
)

STATE: Final = ("meta", "inbox", "features", "grants", "outbox")
"""The tables that stay small."""

BOUGHT: Final = ("checkouts", "purchases", "subscriptions")
"""Those that grow by a row with each purchase. `objects` and `transactions` grow by long rows, each month."""


class NewerSchemaError(Exception):
    """The file was written by a newer version of the daemon."""

    def __init__(self, found: int, known: int) -> None:
        super().__init__(f"the ledger has schema {found}, this version knows up to {known}")
        self.found = found
        self.known = known


def version_of(connection: sqlite3.Connection, migrations: Sequence[Sequence[str]] = MIGRATIONS) -> int:
    """The number of the file's schema. Raises NewerSchemaError."""
    found = int(connection.execute("PRAGMA user_version").fetchone()[0])
    if found > len(migrations):
        raise NewerSchemaError(found, len(migrations))
    return found


def migrate(connection: sqlite3.Connection, migrations: Sequence[Sequence[str]] = MIGRATIONS) -> int:
    """Bring the file to the newest schema; gives the number it had before.

    Each migration commits together with its number (``PRAGMA user_version``), so that a power cut leaves a
    schema that is wholly one or the other. Raises NewerSchemaError, having touched nothing, and
    sqlite3.Error.
    """
    found = version_of(connection, migrations)
    connection.create_function("pack", 1, pack, deterministic=True)
    connection.create_function("payment_of", 1, payment_of, deterministic=True)
    for number, statements in enumerate(migrations[found:], start=found + 1):
        connection.execute("BEGIN IMMEDIATE")
        try:
            for statement in statements:
                connection.execute(statement)
            connection.execute(f"PRAGMA user_version = {number:d}")
            connection.execute("COMMIT")
        except BaseException:
            if connection.in_transaction:
                connection.execute("ROLLBACK")
            raise
    return found
