"""The history that people read: payments, invoices, refunds and disputes. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from operator import attrgetter
from typing import Final

__all__ = ["TransactionRow", "by_date"]


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
