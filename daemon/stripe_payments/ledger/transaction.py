"""What a function given to `Ledger.write` or `Ledger.read` sees: the tables, in one transaction."""

import sqlite3

from stripe_payments.ledger.checkouts import Checkouts
from stripe_payments.ledger.objects import Objects
from stripe_payments.ledger.queues import Inbox, Outbox
from stripe_payments.ledger.records import ArchivedHistory, Features, Grants, Meta

__all__ = ["SQLiteTransaction"]


class SQLiteTransaction:
    """The ledger's tables. Valid only while the function runs, in the ledger's own thread."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection
        self.meta = Meta(connection)
        self.objects = Objects(connection)
        self.checkouts = Checkouts(connection)
        self.inbox = Inbox(connection)
        self.grants = Grants(connection)
        self.history = ArchivedHistory(connection)
        self.features = Features(connection)
        self.outbox = Outbox(connection)

    def damage(self) -> str | None:
        """What SQLite finds wrong in the file, None if nothing. Reads every page of it."""
        try:
            found = str(self._connection.execute("PRAGMA quick_check(1)").fetchone()[0])
        except sqlite3.DatabaseError as error:  # so bad that the check itself cannot go on
            return str(error)
        return None if found == "ok" else found.removeprefix("*** in database main ***\n")

    def size(self) -> int:
        """The file's size in bytes, without its log."""
        return self._pragma("page_count") * self._pragma("page_size")

    def give_back(self) -> int:
        """Return free pages to the file system; their number. The file shrinks at the next checkpoint."""
        free = self._pragma("freelist_count")
        for _ in range(free):
            # a page a step, and Python's module takes one step of a statement that has no columns
            self._connection.execute("PRAGMA incremental_vacuum(1)")
        return free

    def preload(self) -> None:
        """For the ledger: read what the tables keep in memory. Raises sqlite3.DatabaseError where the file is
        damaged.
        """
        self.objects.all()
        self.history.all()
        self.features.all()

    def rolled_back(self) -> None:
        """For the ledger: what the tables keep in memory is to be read again."""
        self.objects.reload()
        self.history.reload()
        self.features.reload()

    def _pragma(self, name: str) -> int:
        return int(self._connection.execute(f"PRAGMA {name}").fetchone()[0])
