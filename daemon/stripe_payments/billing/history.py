"""The list of transactions, newest first, in pages."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final

from stripe_payments.errors import PaymentError
from stripe_payments.rfc3339 import format_time
from stripe_payments.settings import Settings

if TYPE_CHECKING:
    from stripe_payments.ledger import Ledger

DEFAULT_LIMIT: Final = 20
MAX_LIMIT: Final = 100


class History:
    def __init__(self, ledger: Ledger, settings: Callable[[], Settings]) -> None:
        self._ledger = ledger
        self._settings = settings

    async def page(
        self, limit: int | None = None, before: str | None = None, locale: str | None = None
    ) -> dict[str, Any]:
        """Return `{transactions[], next}`; `next` (or null) is the value of `before` for the following page.

        A transaction is {id, date (RFC 3339), kind (payment, invoice, refund, dispute), amount (minor units),
        currency, status, description, receipt_url, invoice_pdf}; the last two may be null.
        """
        if limit is None:
            limit = DEFAULT_LIMIT
        if limit < 1:
            raise PaymentError("invalid_argument", argument="limit")
        wanted = min(limit, MAX_LIMIT)
        rows, following = await self._ledger.read(lambda tx: tx.transactions.page(wanted, before))
        return {
            "transactions": [
                {
                    "id": row.id,
                    "date": format_time(row.date),
                    "kind": row.kind,
                    "amount": row.amount,
                    "currency": row.currency,
                    "status": row.status,
                    "description": self._title(row.description, locale),
                    "receipt_url": row.receipt_url,
                    "invoice_pdf": row.invoice_pdf,
                }
                for row in rows
            ],
            "next": following,
        }

    def _title(self, description: str, locale: str | None) -> str:
        """Our rows contain the name of the plan or product, whose title is known in both languages."""
        sold = self._settings().sellable(description)
        return sold.title_in(locale) if sold is not None else description
