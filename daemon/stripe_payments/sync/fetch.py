"""What an id leads to: the objects to fetch from Stripe for it, and in which form they are stored.

A charge, a refund or a dispute says nothing by itself about what was bought: each leads to the Checkout
session it belongs to, and that is fetched with all that is expanded in it. Every unit records when its fetch
began, so that a response that was overtaken by a newer one is recognised.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from stripe_payments.stripe_api import StripeAPI, object_kind
from stripe_payments.sync.payment_facts import DisputeState
from stripe_payments.sync.raw_fields import Raw, expanded, metadata, reference, subscription_details

_OWN_ROW: Final = {"payment_intent", "latest_charge", "subscription", "latest_invoice", "invoice"}
"""The expandable fields whose objects are stored by themselves; so are a charge's `refunds`."""


@dataclass(frozen=True, slots=True)
class Unit:
    """One object as fetched, with what is expanded in it; it is applied as a whole or not at all.

    disputes: those of its charge, None if they were not requested; started: monotonic seconds at which the
    request was about to be sent.
    """

    root: Raw
    started: float
    disputes: tuple[Raw, ...] | None = None


def units_of(root: Raw, started: float, disputes: Iterable[Any] | None = None) -> list[Unit]:
    """The object, and those expanded in it that change by themselves: its subscription, its invoice."""
    units = [Unit(root, started, tuple(disputes) if disputes is not None else None)]
    for name in ("subscription", "invoice", "latest_invoice"):
        inner = root.get(name)
        if isinstance(inner, Mapping) and "id" in inner:
            units.extend(units_of(inner, started))
    return units


def units_owned_by(router_id: str, customer: str | None, units: Iterable[Unit]) -> list[Unit]:
    """Those of this router: the router_id in an object's metadata decides, else its customer.

    Charges, invoices and subscriptions made by Stripe for us may lack our metadata; their customer is ours
    alone. An invoice made for a subscription also carries the subscription's metadata.
    """
    return [unit for unit in units if _is_owned(unit.root, router_id, customer)]


def _is_owned(raw: Raw, router_id: str, customer: str | None) -> bool:
    marked = metadata(raw).get("router_id") or metadata(subscription_details(raw)).get("router_id")
    if not marked and raw.get("object") == "checkout.session":
        marked = raw.get("client_reference_id")
    if marked:
        return bool(marked == router_id)
    owner = reference(raw.get("customer"))
    return owner is not None and owner == customer


def stored_form(units: Iterable[Unit]) -> list[Raw]:
    """The objects of the units, each by itself with ids in place of the others, whatever it was expanded in:
    so the newest fetch of each counts.
    """
    objects: list[Raw] = []
    for unit in units:
        _flatten(unit.root, objects)
        objects += unit.disputes or ()
    return objects


def _flatten(raw: Raw, objects: list[Raw]) -> str:
    """Append the object and those in it to `objects`; return its id."""
    flat: dict[str, Any] = {}
    for name, value in raw.items():
        if isinstance(value, Mapping) and _is_object(value):
            flat[name] = _flatten(value, objects) if name in _OWN_ROW else dict(value)
        elif isinstance(value, Mapping) and name == "refunds":
            flat[name] = {**value, "data": [_flatten(refund, objects) for refund in value.get("data", [])]}
        else:
            flat[name] = value
    objects.append(flat)
    return str(raw["id"])


def _is_object(value: Raw) -> bool:
    return isinstance(value.get("id"), str) and isinstance(value.get("object"), str)


def needs_disputes(session: Raw, known: DisputeState | None) -> bool:
    """Whether a fetched session is incomplete without its charge's disputes, which the API cannot expand.
    `known`: what the stored disputes say.
    """
    intent = expanded(session.get("payment_intent")) or {}
    charge = expanded(intent.get("latest_charge")) or {}
    return bool(charge.get("disputed")) and known not in ("won", "lost")


FOLLOWED: Final = frozenset(
    {"checkout.session", "payment_intent", "charge", "refund", "dispute", "invoice", "subscription"}
)
"""The kinds of objects that lead to something; an event about any other kind has no effect."""


class Fetcher:
    """Follows an id to its units, with as few requests as Stripe allows."""

    def __init__(self, stripe: StripeAPI) -> None:
        self._stripe = stripe

    async def fetch(self, object_id: str, known_dispute: DisputeState | None = None) -> list[Unit]:
        """The units that `object_id` leads to; none if Stripe has no such object, or it is of no use."""
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

    async def charge_of(self, intent_id: str) -> list[Unit]:
        """The charge of a payment intent that pays an invoice, with its disputes: two requests at most. None
        before the first attempt.
        """
        started = time.monotonic()
        intent = await self._stripe.retrieve(intent_id)
        return await self._charge_in(intent, started) if intent is not None else []

    async def invoices_since_paid(self, subscription_id: str) -> list[Unit]:
        """The newest invoices of a subscription, up to the last one that money paid: one request."""
        started = time.monotonic()
        page = await self._stripe.list("invoice", {"subscription": subscription_id, "limit": 100})
        units: list[Unit] = []
        for invoice in page.data:
            units.append(Unit(invoice, started))
            if invoice.get("status") == "paid" and invoice.get("amount_paid"):
                break
        return units

    async def _charge_or_below(self, object_id: str) -> list[Unit]:
        part = await self._stripe.retrieve(object_id)
        if part is None:
            return []
        if (intent := reference(part.get("payment_intent"))) is not None:
            return await self._payment_intent(intent)
        # without an intent it was not made by Checkout: it can be the payment of an invoice before March 2019
        charge = object_id if part.get("object") == "charge" else reference(part.get("charge"))
        return await self.charge(charge) if charge else []

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
        invoice_id = await self._invoice_paid_by(intent_id)
        if invoice_id is None:
            return [Unit(intent, started)]
        of_invoice = await self._charge_in(intent, started)
        started = time.monotonic()
        invoice = await self._stripe.retrieve(invoice_id)
        return (await self._invoice(invoice, started) if invoice is not None else []) + of_invoice

    async def _invoice_paid_by(self, intent_id: str) -> str | None:
        paid_by = {"type": "payment_intent", "payment_intent": intent_id}
        page = await self._stripe.list("invoice_payment", {"payment": paid_by, "limit": 1})
        return reference(page.data[0].get("invoice")) if page.data else None

    async def _charge_in(self, intent: Raw, started: float) -> list[Unit]:
        charge = intent.get("latest_charge")
        return [await self._with_own_disputes(charge, started)] if isinstance(charge, Mapping) else []

    async def _with_own_disputes(self, charge: Raw, started: float) -> Unit:
        """A charge that paid an invoice; no session contains its disputes."""
        if not charge.get("disputed"):
            return Unit(charge, started)
        page = await self._stripe.list("dispute", {"charge": str(charge["id"]), "limit": 10})
        return Unit(charge, started, tuple(page.data))

    async def _invoice(self, invoice: Raw, started: float) -> list[Unit]:
        units = units_of(invoice, started)
        subscription_id = reference(subscription_details(invoice).get("subscription"))
        if subscription_id is not None and not any(unit.root["id"] == subscription_id for unit in units):
            started = time.monotonic()
            subscription = await self._stripe.retrieve(subscription_id)
            if subscription is not None:
                newer = units_of(subscription, started)
                taken = {unit.root["id"] for unit in newer}
                units = [unit for unit in units if unit.root["id"] not in taken] + newer
        return units

    async def _with_disputes(
        self, session: Raw, started: float, known_dispute: DisputeState | None
    ) -> list[Unit]:
        disputes: Iterable[Any] | None = None
        if needs_disputes(session, known_dispute):
            intent = reference(session.get("payment_intent"))
            page = await self._stripe.list("dispute", {"payment_intent": intent or "", "limit": 10})
            disputes = page.data
        return units_of(session, started, disputes)
