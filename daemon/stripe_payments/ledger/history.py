"""The part of the history whose objects are no longer stored; all other lines follow from the objects."""

import sqlite3
from collections.abc import Collection, Iterable, Sequence
from dataclasses import astuple
from typing import Final

from stripe_payments.payment_history import TransactionRow

__all__ = ["ArchivedHistory"]

_COLUMNS: Final = "id, date, kind, amount, currency, status, description, receipt_url, invoice_pdf"


class ArchivedHistory:
    """Rows of `TransactionRow`."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection
        self._all: Sequence[TransactionRow] | None = None

    def all(self) -> Sequence[TransactionRow]:
        """All archived lines, in no order; a snapshot."""
        if self._all is None:
            rows = self._connection.execute(f"SELECT {_COLUMNS} FROM history")  # noqa: S608
            self._all = [TransactionRow(*row) for row in rows]
        return self._all

    def put(self, rows: Iterable[TransactionRow]) -> None:
        """Archive lines, replacing their earlier states."""
        self._connection.executemany(
            f"INSERT OR REPLACE INTO history ({_COLUMNS}) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",  # noqa: S608
            [astuple(row) for row in rows],
        )
        self._all = None

    def delete(self, ids: Collection[str]) -> None:
        """Remove the lines of these ids."""
        self._connection.executemany("DELETE FROM history WHERE id = ?", [(one,) for one in ids])
        self._all = None

    def reload(self) -> None:
        """What was stored since the last commit has been rolled back."""
        self._all = None
