"""What a subscription is charged per period, and its next payment.

The next payment is Stripe's own preview where that is available: it has discounts, the customer's balance
and tax. Without it, the latest invoice of the same items says what a period costs, else their list price;
`source` says which.
"""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Final, Literal

from stripe_payments.billing.eligibility import items_of
from stripe_payments.currencies import minimum_charge
from stripe_payments.entitlements import Subscription, announced_end, period_end_of
from stripe_payments.errors import PaymentError
from stripe_payments.log import Log
from stripe_payments.rfc3339 import format_time
from stripe_payments.shared_tasks import SharedTasks
from stripe_payments.sync.raw_fields import expanded, integer, reference

if TYPE_CHECKING:
    from stripe_payments.stripe_api import StripeAPI
    from stripe_payments.sync.projection import State
    from stripe_payments.sync.stripe_objects import Invoice

Raw = Mapping[str, Any]

_log = Log("upcoming")

Source = Literal["preview", "invoice", "price", "list_price"]
"""preview: Stripe's, of the next invoice. invoice: the last one of the same items. price: that of the items,
which nothing changes. list_price: the same, but a discount, tax or another currency may change it.
"""

_FRESH_FOR: Final = 300.0
"""Seconds for which a preview is returned again."""
_PREVIEW_WITHIN: Final = 10.0
"""Seconds after which the list is shown without previews."""


@dataclass(frozen=True, slots=True)
class PeriodAmount:
    """In minor units of `currency`."""

    amount: int
    currency: str
    source: Source


@dataclass(frozen=True, slots=True)
class NextPayment:
    date: int | None
    amount: int
    currency: str
    source: Source

    def view(self) -> dict[str, Any]:
        date = format_time(self.date) if self.date is not None else None
        return {"date": date, "amount": self.amount, "currency": self.currency, "source": self.source}


def period_amount(state: State, raw: Raw) -> PeriodAmount:
    """What is charged for a period of a subscription at Stripe: all items, with discounts and tax."""
    items = items_of(raw)
    prices = [expanded(item.get("price")) or {} for item in items]
    quantities = [_quantity(item) for item in items]
    listed = sum(
        (integer(price.get("unit_amount")) or 0) * quantity
        for price, quantity in zip(prices, quantities, strict=True)
    )
    own_currency = next((str(price["currency"]) for price in prices if price.get("currency")), "")
    currency = str(raw.get("currency") or own_currency)
    taxed = (expanded(raw.get("automatic_tax")) or {}).get("enabled")
    tiered = any(integer(price.get("unit_amount")) is None for price in prices)
    if not (raw.get("discounts") or taxed or tiered or currency != own_currency):
        return PeriodAmount(listed, currency, "price")
    wanted = {reference(price) or "": quantity for price, quantity in zip(prices, quantities, strict=True)}
    for invoice in state.parsed.invoices_of.get(str(raw["id"]), ()):
        charged = _charged_for(state.objects[invoice.id], wanted)
        if charged is not None and invoice.currency == currency:
            return PeriodAmount(charged, currency, "invoice")
    return PeriodAmount(listed, own_currency, "list_price")


def _quantity(item: Raw) -> int:
    found = integer(item.get("quantity"))
    return 1 if found is None else found


def _charged_for(invoice: Raw, wanted: Mapping[str, int]) -> int | None:
    """What an invoice charged for a full period of these prices and quantities, None for another one."""
    lines = [line for line in _lines(invoice) if not is_proration(line)]
    if {price_of_line(line) or "": _quantity(line) for line in lines} != wanted:
        return None
    if not any(integer(line.get("amount")) for line in lines):
        return None  # a trial
    return sum(_charged(line) for line in lines)


def _charged(line: Raw) -> int:
    off = sum(integer(entry.get("amount")) or 0 for entry in line.get("discount_amounts") or [])
    tax = sum(
        integer(entry.get("amount")) or 0
        for entry in line.get("taxes") or []
        if entry.get("tax_behavior") == "exclusive"
    )
    return (integer(line.get("amount")) or 0) - off + tax


def _lines(invoice: Raw) -> list[Raw]:
    lines = expanded(invoice.get("lines")) or {}
    return [line for line in lines.get("data") or [] if isinstance(line, Mapping)]


def is_proration(line: Raw) -> bool:
    """Stripe marks a proration under the one key or the other."""
    parent = expanded(line.get("parent")) or {}
    details = (parent.get("subscription_item_details"), parent.get("invoice_item_details"))
    return any(bool((expanded(one) or {}).get("proration")) for one in details)


def price_of_line(line: Raw) -> str | None:
    """The id of the price on an invoice's line."""
    pricing = expanded(line.get("pricing")) or {}
    return reference((expanded(pricing.get("price_details")) or {}).get("price"))


def payable(total: int, balance: int, currency: str) -> int:
    """What is charged of an invoice. A balance below zero is credit; Stripe leaves what is below the minimum
    charge for the next invoice (https://docs.stripe.com/billing/customer/balance).
    """
    due = max(0, total + balance)
    return 0 if due < minimum_charge(currency) else due


def _balance_after(invoice: Invoice) -> int:
    """The customer's balance that an invoice leaves; Stripe returns what a voided one had used."""
    balance = invoice.starting_balance if invoice.status == "void" else invoice.ending_balance
    return balance or 0


def expected_payment(state: State, row: Subscription) -> NextPayment | None:
    """By what is stored; None where nothing more will be charged."""
    if row.status not in ("active", "trialing") or row.paused_collection or announced_end(row) is not None:
        return None
    period = period_amount(state, state.objects[row.id])
    latest = next(iter(state.parsed.invoices_of.get(row.id, ())), None)
    amount = payable(period.amount, _balance_after(latest) if latest is not None else 0, period.currency)
    return NextPayment(period_end_of(row), amount, period.currency, period.source)


class UpcomingPayments:
    """Stripe's previews of the next invoices, for those who list the subscriptions."""

    def __init__(self, stripe: StripeAPI) -> None:
        self._stripe = stripe
        self._previews: SharedTasks[tuple[str, ...], NextPayment | None] = SharedTasks(_FRESH_FOR)

    async def previewed(self, state: State, row: Subscription) -> NextPayment | None:
        """As `expected_payment`, by Stripe's preview; without one (Stripe cannot be reached, the key lacks
        the permission) what is expected, whose `source` says so.
        """
        expected = expected_payment(state, row)
        if expected is None:
            return None
        raw = state.objects[row.id]
        changes = (raw.get("items"), raw.get("discounts"), raw.get("latest_invoice"), row.current_period_end)
        key = (row.id, str(changes))
        try:
            return await asyncio.wait_for(
                self._previews.run(key, lambda: self._preview(row, expected)), _PREVIEW_WITHIN
            )
        except (PaymentError, TimeoutError) as error:
            code = error.code if isinstance(error, PaymentError) else "timeout"
            _log.info("next invoice not previewed", subscription=row.id, error=code)
            return expected

    async def _preview(self, row: Subscription, expected: NextPayment) -> NextPayment | None:
        try:
            invoice = await self._stripe.preview_invoice(
                {"subscription": row.id}, f"preview-{uuid.uuid4().hex}"
            )
        except PaymentError as error:
            if error.details.get("stripe_code") == "invoice_upcoming_none":
                return None
            if error.code == "stripe_key_permission":
                return expected  # the key will lack it in five minutes as well
            raise
        return replace(
            expected,
            amount=integer(invoice.get("amount_due")) or 0,
            currency=str(invoice.get("currency") or expected.currency),
            source="preview",
        )

    async def close(self) -> None:
        await self._previews.close()
