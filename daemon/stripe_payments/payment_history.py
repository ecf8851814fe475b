"""The history that people read: payments, invoices, refunds and disputes. Pure."""

from __future__ import annotations

import json
import zlib
from collections.abc import Iterable, Iterator
from dataclasses import astuple, dataclass
from operator import attrgetter
from typing import Final

__all__ = ["ArchivedRows", "TransactionRow", "by_date"]


@dataclass(frozen=True, slots=True)
class TransactionRow:
    """One line of the history. `id`: that of the payment intent (of the session where there is none), the
    invoice, the refund or the dispute; `date`: epoch seconds; `kind`: payment, invoice, refund, dispute;
    `amount`: minor units of `currency`, negative for money back.
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


by_date: Final = attrgetter("date", "id")
"""Sort key of the history: two lines of the same second are ordered by id."""


class ArchivedRows:
    """Rows as one compressed text, parsed whenever they are iterated: they become more over the years, and
    hardly anyone reads them.
    """

    __slots__ = ("_packed",)

    def __init__(self, rows: Iterable[TransactionRow] = ()) -> None:
        self._packed = zlib.compress(json.dumps([astuple(row) for row in rows]).encode())

    def __iter__(self) -> Iterator[TransactionRow]:
        return (TransactionRow(*fields) for fields in json.loads(zlib.decompress(self._packed)))
