"""What became of the money of a subscription's invoices: paid, owed since when, gone back.

An invoice does not say that its payment was refunded or disputed, and a subscription says neither that nor
since when it owes: both are put together here out of the invoices, charges and disputes that the ledger
holds. All of it is a function of the stored objects, so it comes out the same in whatever order they
arrived.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any, Final, Literal

from stripe_payments.sync import projection as derive
from stripe_payments.sync.stored_objects import assemble

if TYPE_CHECKING:
    from stripe_payments.entitlements import Subscription
    from stripe_payments.ledger import Transaction

Raw = Mapping[str, Any]

LOOKED_THROUGH: Final = 60
"""Newest invoices and charges that are looked through: five years of months."""

_BEFORE_PERIOD: Final = 3600
"""Seconds. An invoice may be made a moment before the period that it pays for."""


@dataclass(frozen=True, slots=True)
class Money:
    """The payment of one invoice, as far as it is known. Amounts in minor units."""

    paid: int = 0
    refunded: int = 0
    lost: int = 0
    dispute: derive.DisputeState | None = None
    charge: Raw | None = None
    disputes: tuple[Raw, ...] = ()

    @property
    def returned(self) -> int:
        return self.refunded + self.lost

    def status(self, of_invoice: str) -> str:
        """The invoice's status in the history: what became of the payment outweighs that it was paid."""
        if of_invoice != "paid" or not self.paid:
            return of_invoice
        if self.dispute in ("open", "lost"):
            return "disputed"
        if self.refunded >= self.paid:
            return "refunded"
        return "partially_refunded" if self.refunded else of_invoice


class InvoiceMoney:
    """For the length of one ledger transaction."""

    def __init__(self, tx: Transaction) -> None:
        self._tx = tx

    @cached_property
    def _invoices(self) -> list[dict[str, Any]]:
        return self._tx.objects.newest("invoice", LOOKED_THROUGH)

    @cached_property
    def _charges(self) -> dict[str, dict[str, Any]]:
        """The newest charge of each payment intent: a failed attempt before it is of no interest."""
        found: dict[str, dict[str, Any]] = {}
        for charge in self._tx.objects.newest("charge", LOOKED_THROUGH):
            intent = derive.reference(charge.get("payment_intent"))
            if intent is not None and (intent not in found or charge.get("paid")):
                found[intent] = charge
        return found

    @cached_property
    def _disputes(self) -> list[dict[str, Any]]:
        return self._tx.objects.of_type("dispute")

    def disputes_of(self, charge_id: str) -> tuple[Raw, ...]:
        return tuple(one for one in self._disputes if derive.reference(one.get("charge")) == charge_id)

    def invoice_of(self, charge: Raw) -> Raw | None:
        """The invoice that a charge paid; None for the charge of a one-time purchase."""
        intent = derive.reference(charge.get("payment_intent"))
        if intent is None:
            return None
        return next((one for one in self._invoices if derive.payment_intent_of_invoice(one) == intent), None)

    def of(self, invoice: Raw) -> Money:
        paid = derive.integer(invoice.get("amount_paid")) or 0 if invoice.get("status") == "paid" else 0
        intent = derive.payment_intent_of_invoice(invoice)
        charge = self._charges.get(intent) if intent else None
        if charge is None or not charge.get("paid"):
            return Money(paid=paid)
        disputes = self.disputes_of(str(charge["id"]))
        lost = [one for one in disputes if derive.dispute_state(charge, [one], None) == "lost"]
        held = charge.get("refunds")
        refunds = held.get("data", []) if isinstance(held, Mapping) else []
        whole = {
            **charge,
            "refunds": {"data": [raw for one in refunds if (raw := self._tx.objects.get(one))]},
        }
        return Money(
            paid=paid,
            refunded=derive.integer(charge.get("amount_refunded")) or 0,
            lost=sum(derive.integer(one.get("amount")) or 0 for one in lost),
            dispute=derive.dispute_state(charge, disputes or None, None),
            charge=whole,
            disputes=disputes,
        )

    # -- of a subscription ------------------------------------------------------------------------

    def settled(self, subscription_id: str) -> Subscription | None:
        """The subscription's row with what its invoices tell; None if it is not stored."""
        raw = assemble(self._tx.objects.get, subscription_id)
        if raw is None:
            return None
        row = derive.subscription(raw)
        if row.status == "past_due":
            since = [row.past_due_since, self.owed_since(subscription_id)]
            row = replace(row, past_due_since=min((one for one in since if one is not None), default=None))
        return replace(row, returned=self.returned(subscription_id, derive.period_start(raw)))

    def _invoices_of(self, subscription_id: str) -> list[dict[str, Any]]:
        return [one for one in self._invoices if derive.subscription_of_invoice(one) == subscription_id]

    def owed_since(self, subscription_id: str) -> int | None:
        """When the first of the payments that are owed now fell due: a later renewal is no new start."""
        since: int | None = None
        for invoice in self._invoices_of(subscription_id):
            if invoice.get("status") in ("open", "uncollectible"):
                since = derive.fell_due(invoice)
            elif invoice.get("status") == "paid" and invoice.get("amount_paid"):
                break
        return since

    def returned(
        self, subscription_id: str, period_start: int | None
    ) -> Literal["refunded", "disputed"] | None:
        """Which way all that was paid for the current period went back; None while something is left."""
        paid = returned = lost = 0
        for invoice in self._invoices_of(subscription_id):
            created = derive.integer(invoice.get("created")) or 0
            if period_start is not None and created < period_start - _BEFORE_PERIOD:
                continue
            money = self.of(invoice)
            paid += money.paid
            returned += min(money.returned, money.paid)
            lost += money.lost
        if not paid or returned < paid:
            return None
        return "disputed" if lost else "refunded"
