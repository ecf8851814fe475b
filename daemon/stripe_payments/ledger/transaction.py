"""What a function given to `Ledger.write` or `Ledger.read` sees: the tables, in one transaction."""

import sqlite3
from dataclasses import dataclass
from typing import Final

from stripe_payments.ledger.bought import Grants, Purchases, Subscriptions
from stripe_payments.ledger.checkouts import Checkouts
from stripe_payments.ledger.features import Features
from stripe_payments.ledger.history import Transactions
from stripe_payments.ledger.inbox import Inbox
from stripe_payments.ledger.meta import Meta
from stripe_payments.ledger.objects import Objects
from stripe_payments.ledger.outbox import Outbox

__all__ = ["WALKS", "Transaction", "Walk"]


@dataclass(frozen=True, slots=True)
class Walk:
    """A way through a table of the history by an index. `texts`: what else to read of each row; SQLite reads
    a text to its end to tell its length, of a blob only the end itself.
    """

    table: str
    keys: tuple[str, ...]
    texts: tuple[str, ...] = ()


WALKS: Final = (
    Walk("objects", ("id",), ("substr(packed, -1)",)),
    Walk("objects", ("type", "created", "id")),
    Walk("transactions", ("id",), ("description", "receipt_url", "invoice_pdf")),
    Walk("transactions", ("date", "id")),
)
"""Together they touch every page of the tables that are too large to be checked in one go."""


class Transaction:
    """The ledger's tables. Valid only while the function runs, in the ledger's own thread."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection
        self.meta = Meta(connection)
        self.objects = Objects(connection)
        self.checkouts = Checkouts(connection)
        self.inbox = Inbox(connection)
        self.purchases = Purchases(connection)
        self.subscriptions = Subscriptions(connection)
        self.grants = Grants(connection)
        self.transactions = Transactions(connection)
        self.features = Features(connection)
        self.outbox = Outbox(connection)

    def damage(self, table: str | None = None) -> str | None:
        """What SQLite finds wrong in the file, or in one table, None if nothing. Reads every page of it."""
        try:
            found = str(self._connection.execute(f"PRAGMA quick_check({table or 1})").fetchone()[0])
        except sqlite3.DatabaseError as error:  # so bad that the check itself cannot go on
            return str(error)
        return None if found == "ok" else found.removeprefix("*** in database main ***\n")

    def read_through(self, walk: Walk, after: tuple[object, ...], limit: int) -> tuple[object, ...] | None:
        """Read the next `limit` rows of the history in the order of one of its indexes, to their last byte;
        gives where to go on, None at the end. Raises sqlite3.DatabaseError where the file is damaged.
        """
        keys = ", ".join(walk.keys)
        lengths = "".join(f", length({column})" for column in walk.texts)
        marks = ", ".join("?" * len(walk.keys))
        rows = self._connection.execute(
            f"SELECT {keys}{lengths} FROM {walk.table}"  # noqa: S608
            f"{f' WHERE ({keys}) > ({marks})' if after else ''} ORDER BY {keys} LIMIT ?",
            (*after, limit),
        ).fetchall()
        return tuple(rows[-1][: len(walk.keys)]) if rows else None

    def size(self) -> int:
        """The file's size in bytes, without its log."""
        return self._pragma("page_count") * self._pragma("page_size")

    def give_back(self) -> int:
        """Free pages go back to the file system; gives their number. The file shrinks at the next
        checkpoint.
        """
        free = self._pragma("freelist_count")
        for _ in range(free):
            # a page a step, and Python's module takes one step of a statement that has no columns
            self._connection.execute("PRAGMA incremental_vacuum(1)")
        return free

    def _pragma(self, name: str) -> int:
        return int(self._connection.execute(f"PRAGMA {name}").fetchone()[0])

    def preload(self) -> None:
        """For the ledger, when it opens: read what the tables cache. Raises sqlite3.DatabaseError where the
        file is corrupt.
        """

    def rolled_back(self) -> None:
        """For the ledger: what the tables cache has to be read again."""
