"""The history that people read: payments, refunds, disputes, invoices, newest first."""

import re
import sqlite3
from dataclasses import astuple, dataclass
from typing import Final

from stripe_payments.errors import PaymentError
from stripe_payments.i18n import _

__all__ = ["TransactionRow", "Transactions"]

LARGEST_PAGE: Final = 100

_COLUMNS: Final = "id, date, kind, amount, currency, status, description, receipt_url, invoice_pdf"
_CURSOR = re.compile(r"([0-9]{1,12})~([!-~]{1,255})")
_BAD_CURSOR = _("give the “next” of the page before")


@dataclass(frozen=True, slots=True)
class TransactionRow:
    """One line of the history. `date`: epoch seconds; `amount`: minor units of `currency`, negative for money
    back.
    """

    id: str
    date: int
    kind: str
    amount: int
    currency: str
    status: str
    description: str
    receipt_url: str | None = None
    invoice_pdf: str | None = None


class Transactions:
    """Rows of `TransactionRow`."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection

    def put(self, row: TransactionRow) -> None:
        """Store a line, replacing its earlier state."""
        self._connection.execute(
            f"INSERT OR REPLACE INTO transactions ({_COLUMNS}) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",  # noqa: S608
            astuple(row),
        )

    def get(self, transaction_id: str) -> TransactionRow | None:
        """The line of that id."""
        row = self._connection.execute(
            f"SELECT {_COLUMNS} FROM transactions WHERE id = ?",  # noqa: S608
            (transaction_id,),
        ).fetchone()
        return None if row is None else TransactionRow(*row)

    def delete(self, transaction_id: str) -> None:
        """Forget a line."""
        self._connection.execute("DELETE FROM transactions WHERE id = ?", (transaction_id,))

    def page(self, limit: int, before: str | None = None) -> tuple[list[TransactionRow], str | None]:
        """At most `limit` (1 to 100) lines, newest first, and the cursor of the next page, None after the
        last.

        Keyset pagination: a page costs the same wherever it lies, and lines added meanwhile shift nothing.
        Raises PaymentError ``invalid_argument`` for a cursor that no page gave.
        """
        limit = max(1, min(limit, LARGEST_PAGE))
        if before is None:
            rows = self._connection.execute(
                f"SELECT {_COLUMNS} FROM transactions ORDER BY date DESC, id DESC LIMIT ?",  # noqa: S608
                (limit + 1,),
            )
        else:
            cursor = _CURSOR.fullmatch(before)
            if cursor is None:
                raise PaymentError("invalid_argument", argument="before", reason=_BAD_CURSOR)
            rows = self._connection.execute(
                f"SELECT {_COLUMNS} FROM transactions WHERE (date, id) < (?, ?)"  # noqa: S608
                " ORDER BY date DESC, id DESC LIMIT ?",
                (int(cursor[1]), cursor[2], limit + 1),
            )
        page = [TransactionRow(*row) for row in rows]
        if len(page) <= limit:
            return page, None
        page.pop()
        return page, f"{page[-1].date}~{page[-1].id}"
