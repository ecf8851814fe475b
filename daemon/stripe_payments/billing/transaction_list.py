"""The list of transactions, newest first, in pages."""

from __future__ import annotations

import re
from bisect import bisect_left
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, Final

from stripe_payments.billing.declines import failure_of_invoice, shown_failure
from stripe_payments.errors import PaymentError
from stripe_payments.i18n import _
from stripe_payments.payment_history import TransactionRow, by_date
from stripe_payments.rfc3339 import format_time
from stripe_payments.settings import Settings
from stripe_payments.sync.raw_fields import expanded, integer

if TYPE_CHECKING:
    from stripe_payments.sync import Reconciler
    from stripe_payments.sync.projection import State

DEFAULT_LIMIT: Final = 20
MAX_LIMIT: Final = 100

_CURSOR = re.compile(r"([0-9]{1,12})~([!-~]{1,255})")
_BAD_CURSOR = _("it must be “next” of the previous page")


class History:
    def __init__(self, reconciler: Reconciler, settings: Callable[[], Settings]) -> None:
        self._reconciler = reconciler
        self._settings = settings

    async def page(
        self, limit: int | None = None, before: str | None = None, locale: str | None = None
    ) -> dict[str, Any]:
        """Return `{transactions[], next}`; `next` (or null) is the value of `before` for the following page.

        A transaction is {id, date (RFC 3339), kind (payment, invoice, refund, dispute), amount (minor units),
        currency, status, description, receipt_url, invoice_pdf, presentment {amount, currency}, failure
        {code, decline_code, reason, message}}; the last four may be null. presentment: what the buyer paid in
        a currency of their own (Adaptive Pricing); failure: why a payment, or the last
        one of an unpaid invoice, failed.
        """
        if limit is None:
            limit = DEFAULT_LIMIT
        if limit < 1:
            raise PaymentError("invalid_argument", argument="limit")
        state = self._reconciler.state
        rows, following = page(state.history, limit, before)
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
                    "presentment": _presentment(state, row),
                    "failure": _failure(state, row, locale),
                }
                for row in rows
            ],
            "next": following,
        }

    def _title(self, description: str, locale: str | None) -> str:
        """Our rows contain the name of the plan or product, whose title is known in both languages."""
        sold = self._settings().sellable(description)
        return sold.title_in(locale) if sold is not None else description


def _presentment(state: State, row: TransactionRow) -> dict[str, Any] | None:
    found = presentment(state, row.id)
    return {**found, "amount": -found["amount"]} if found is not None and row.kind == "refund" else found


def _failure(state: State, row: TransactionRow, locale: str | None) -> dict[str, Any] | None:
    if row.kind == "payment" and row.status == "failed":
        paid = state.payment_of(row.id) or state.payments.get(row.id)
        return shown_failure(paid.failure_code, paid.decline_code, locale) if paid is not None else None
    if row.kind == "invoice":
        return failure_of_invoice(state, row.id, locale)
    return None


def presentment(state: State, payment_id: str) -> dict[str, Any] | None:
    """What the buyer was charged, or refunded, in a currency of their own, {amount (minor units), currency};
    None without one. From Stripe's payment intent or refund, or the charges that paid an invoice.
    """
    invoice = state.parsed.charges_of_invoice.get(payment_id)
    ids = [charge.id for charge in invoice] if invoice is not None else [payment_id]
    details = [expanded(state.objects.get(one, {}).get("presentment_details")) for one in ids]
    found = [one for one in details if one is not None and one.get("presentment_currency")]
    if not found:
        return None
    amount = sum(integer(one.get("presentment_amount")) or 0 for one in found)
    return {"amount": amount, "currency": found[0]["presentment_currency"]}


def page(
    history: Sequence[TransactionRow], limit: int, before: str | None = None
) -> tuple[list[TransactionRow], str | None]:
    """At most `limit` (1 to 100) lines, newest first, of a `history` sorted by `by_date`, and the cursor of
    the next page, None after the last. A cursor names a line: lines added meanwhile shift nothing.

    Raises PaymentError ``invalid_argument`` for a malformed cursor.
    """
    end = len(history)
    if before is not None:
        cursor = _CURSOR.fullmatch(before)
        if cursor is None:
            raise PaymentError("invalid_argument", argument="before", reason=_BAD_CURSOR)
        end = bisect_left(history, (int(cursor[1]), cursor[2]), key=by_date)
    start = max(0, end - max(1, min(limit, MAX_LIMIT)))
    found = list(reversed(history[start:end]))
    return found, f"{found[-1].date}~{found[-1].id}" if start else None
