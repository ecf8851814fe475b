"""What an id leads to: the whole objects to fetch from Stripe for it.

A charge, a refund or a dispute says nothing by itself about what was bought: each leads to the Checkout
session it belongs to, and that is fetched whole. Every unit remembers when its fetch began, so that an answer
that was overtaken by a newer one is recognised.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from stripe_payments.stripe_api import StripeAPI, object_kind
from stripe_payments.sync import payment_facts as facts


@dataclass(frozen=True, slots=True)
class Unit:
    """One object as fetched, with what is expanded in it; it is applied as a whole or not at all.

    disputes: those of its charge, None if they were not asked for; started: monotonic seconds at which the
    request was about to be sent.
    """

    root: Mapping[str, Any]
    started: float
    disputes: tuple[Mapping[str, Any], ...] | None = None

    @property
    def id(self) -> str:
        return str(self.root["id"])

    @property
    def kind(self) -> str:
        return str(self.root.get("object"))


def units_of(root: Mapping[str, Any], started: float, disputes: Iterable[Any] | None = None) -> list[Unit]:
    """The object and what else is expanded in it that has a life of its own: its subscription, its
    invoice.
    """
    units = [Unit(root, started, tuple(disputes) if disputes is not None else None)]
    for name in ("subscription", "invoice", "latest_invoice"):
        inner = root.get(name)
        if isinstance(inner, Mapping) and "id" in inner:
            units.extend(units_of(inner, started))
    return units


FOLLOWED: Final = frozenset(
    {"checkout.session", "payment_intent", "charge", "refund", "dispute", "invoice", "subscription"}
)
"""The kinds of objects that lead to something; of all others an event tells us nothing."""


class Fetcher:
    """Follows an id to its units, with as few requests as Stripe allows."""

    def __init__(self, stripe: StripeAPI) -> None:
        self._stripe = stripe

    async def fetch(self, object_id: str, known_dispute: facts.DisputeState | None = None) -> list[Unit]:
        """The units that `object_id` leads to; none if Stripe knows no such object, or it is of no use to
        us.
        """
        started = time.monotonic()
        match object_kind(object_id):
            case "checkout.session":
                session = await self._stripe.retrieve(object_id)
                return await self._with_disputes(session, started, known_dispute) if session else []
            case "payment_intent":
                return await self._payment_intent(object_id)
            case "charge" | "refund" | "dispute":
                return await self._charge_or_below(object_id)
            case "invoice":
                invoice = await self._stripe.retrieve(object_id)
                return await self._invoice(invoice, started) if invoice else []
            case "subscription":
                subscription = await self._stripe.retrieve(object_id)
                return units_of(subscription, started) if subscription else []
            case _:
                return []

    async def charge(self, charge_id: str) -> list[Unit]:
        """A charge by itself, with its disputes: two requests at most."""
        started = time.monotonic()
        charge = await self._stripe.retrieve(charge_id)
        return [await self._with_own_disputes(charge, started)] if charge is not None else []

    async def _charge_or_below(self, object_id: str) -> list[Unit]:
        part = await self._stripe.retrieve(object_id)
        if part is None:
            return []
        if (intent := facts.reference(part.get("payment_intent"))) is not None:
            return await self._payment_intent(intent)
        charge = facts.reference(part.get("charge"))
        # a charge without a payment intent was not made by Checkout: nothing of ours
        return await self._charge_or_below(charge) if charge and charge != object_id else []

    async def _payment_intent(self, intent_id: str) -> list[Unit]:
        started = time.monotonic()
        page = await self._stripe.list("checkout.session", {"payment_intent": intent_id, "limit": 1})
        for session in page.data:
            return await self._with_disputes(session, started, None)
        started = time.monotonic()
        intent = await self._stripe.retrieve(intent_id)
        if intent is None:
            return []
        # paid for an invoice: no session names it, and nothing in it names the invoice since 2025-03-31
        invoice_id = await self._stripe.invoice_of_payment(intent_id)
        if invoice_id is None:
            return [Unit(intent, started)]
        charge = intent.get("latest_charge")
        of_invoice = [await self._with_own_disputes(charge, started)] if isinstance(charge, Mapping) else []
        started = time.monotonic()
        invoice = await self._stripe.retrieve(invoice_id)
        return (await self._invoice(invoice, started) if invoice is not None else []) + of_invoice

    async def _with_own_disputes(self, charge: Mapping[str, Any], started: float) -> Unit:
        """A charge that paid an invoice; no session tells of its disputes."""
        if not charge.get("disputed"):
            return Unit(charge, started)
        page = await self._stripe.list("dispute", {"charge": str(charge["id"]), "limit": 10})
        return Unit(charge, started, tuple(page.data))

    async def _invoice(self, invoice: Mapping[str, Any], started: float) -> list[Unit]:
        units = units_of(invoice, started)
        subscription_id = facts.subscription_of_invoice(invoice)
        if subscription_id is not None and not any(unit.id == subscription_id for unit in units):
            started = time.monotonic()
            subscription = await self._stripe.retrieve(subscription_id)
            if subscription is not None:
                newer = units_of(subscription, started)
                taken = {unit.id for unit in newer}
                units = [unit for unit in units if unit.id not in taken] + newer
        return units

    async def _with_disputes(
        self, session: Mapping[str, Any], started: float, known_dispute: facts.DisputeState | None
    ) -> list[Unit]:
        disputes: Iterable[Any] | None = None
        if facts.needs_disputes(session, known_dispute):
            intent = facts.reference(session.get("payment_intent"))
            page = await self._stripe.list("dispute", {"payment_intent": intent or "", "limit": 10})
            disputes = page.data
        return units_of(session, started, disputes)
