"""Events of one account lead to few requests: what one response contains is not fetched for the next event.

A renewal is three events, a plan that is bought is five, and each names another object of the same change. A
response counts for every object in it and for every event that was received before its request began, never
for a later one. What an invoice or a payment intent is for does not change: where it is stored, it is not
looked up at Stripe.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

from payments_hub.inbox import Waiting
from stripe_payments.stripe_api import object_kind
from stripe_payments.sync import Reconciler, SyncOutcome
from stripe_payments.sync.fetch import Fetcher, Unit, stored_form, units_owned_by
from stripe_payments.sync.raw_fields import entries, expanded, reference, subscription_details

__all__ = ["SharedFetches", "in_order"]

_ORDER: Final = ("checkout.session", "subscription", "invoice", "payment_intent")
_OVER: Final = ("paid", "void", "uncollectible")
"""Statuses of an invoice for which no new payment begins."""
_OWING: Final = ("past_due", "unpaid", "paused")


def in_order(waiting: Iterable[Waiting]) -> list[Waiting]:
    """Those first whose responses contain what the others name."""
    ranks = {kind: rank for rank, kind in enumerate(_ORDER)}
    return sorted(waiting, key=lambda one: ranks.get(object_kind(one.object_id) or "", len(_ORDER)))


class SharedFetches:
    """Of one account, for as long as it is locked. Every event given to `sync` was received before this was
    made.
    """

    def __init__(self, reconciler: Reconciler, fetcher: Fetcher) -> None:
        self._reconciler = reconciler
        self._fetcher = fetcher
        self._fresh: set[str] = set()

    def has(self, object_id: str) -> bool:
        """Whether the object was in a response that has been applied."""
        return object_id in self._fresh

    async def sync(self, object_id: str, reason: str, events: Sequence[str]) -> SyncOutcome:
        """As `Reconciler.sync`, with as few requests as what is stored allows."""
        fetch = asyncio.ensure_future(self._fetch(object_id))
        outcome = await self._reconciler.sync(object_id, reason, event_ids=events, fetch=fetch)
        if fetch.done() and not outcome.overtaken:
            identity = self._reconciler.identity
            own = units_owned_by(identity.router_id, identity.customer, fetch.result())
            self._fresh.update(str(raw["id"]) for raw in stored_form(own))
        return outcome

    async def _fetch(self, object_id: str) -> list[Unit]:
        match object_kind(object_id):
            case "invoice":
                return await self._invoice(object_id)
            case "payment_intent":
                return await self._payment_intent(object_id)
            case "subscription":
                return await self._plan(object_id)
            case _:
                return await self._look_up(object_id)

    async def _look_up(self, object_id: str) -> list[Unit]:
        return await self._fetcher.fetch(object_id, self._reconciler.state.dispute(object_id))

    async def _plan(self, subscription_id: str) -> list[Unit]:
        """While it owes a payment, with all invoices that it owes: no event names one that no card was tried
        for, and a newer one hides it in the subscription.
        """
        units = await self._look_up(subscription_id)
        if any(unit.root["id"] == subscription_id and unit.root.get("status") in _OWING for unit in units):
            known = {unit.root["id"] for unit in units}
            owed = await self._fetcher.invoices_since_paid(subscription_id)
            units += [unit for unit in owed if unit.root["id"] not in known]
        return units

    async def _invoice(self, invoice_id: str) -> list[Unit]:
        """With its subscription, whose response contains it while it is the newest one."""
        for plan in self._of_kind("subscription"):
            if _newest_of(plan) == invoice_id:
                units = await self._plan(str(plan["id"]))
                if any(unit.root["id"] == invoice_id for unit in units):
                    return units
        return await self._look_up(invoice_id)

    async def _payment_intent(self, intent_id: str) -> list[Unit]:
        """The invoice of a subscription that it pays, with its charge; else what Stripe says it is for."""
        invoice_id = self._invoice_paid_by(intent_id)
        if invoice_id is not None:
            units = [] if self.has(invoice_id) else await self._invoice(invoice_id)
            held = next((unit.root for unit in units if unit.root["id"] == invoice_id), None)
            if _is_paid_by(held or self._stored.get(invoice_id, {}), intent_id):
                charge = await self._fetcher.charge_of(intent_id)
                return units + charge or await self._invoice(invoice_id)
        return await self._look_up(intent_id)

    def _invoice_paid_by(self, intent_id: str) -> str | None:
        """As stored; else the newest invoice of a subscription, unless it is stored as one that is over."""
        if any(_intent_of(one) == intent_id for one in self._of_kind("checkout.session")):
            return None
        invoices = {str(one["id"]): one for one in self._of_kind("invoice")}
        for invoice_id, invoice in invoices.items():
            if reference(subscription_details(invoice).get("subscription")) and _is_paid_by(
                invoice, intent_id
            ):
                return invoice_id
        newest = [_newest_of(plan) for plan in self._of_kind("subscription")]
        likely = [one for one in newest if one and invoices.get(one, {}).get("status") not in _OVER]
        return likely[0] if len(likely) == 1 else None

    @property
    def _stored(self) -> Mapping[str, Mapping[str, Any]]:
        return self._reconciler.state.objects

    def _of_kind(self, kind: str) -> list[Mapping[str, Any]]:
        return [one for one in self._stored.values() if one.get("object") == kind]


def _newest_of(subscription: Mapping[str, Any]) -> str | None:
    return reference(subscription.get("latest_invoice"))


def _intent_of(paid: Mapping[str, Any]) -> str | None:
    return reference(paid.get("payment_intent"))


def _is_paid_by(invoice: Mapping[str, Any], intent_id: str) -> bool:
    """Whether one of its payments, attempts included, is that intent."""
    payments = [expanded(one.get("payment")) or {} for one in entries(invoice.get("payments"))]
    return any(_intent_of(payment) == intent_id for payment in payments)
