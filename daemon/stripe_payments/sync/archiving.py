"""Which objects are old enough to be stored no longer, and what of them is kept all the same. Pure."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Final

from stripe_payments.payment_history import TransactionRow
from stripe_payments.settings import Settings
from stripe_payments.sync.projection import State, project
from stripe_payments.sync.stripe_objects import (
    ARCHIVED_PURCHASE,
    Charge,
    CheckoutSession,
    Invoice,
    PaymentIntent,
    StripeObjects,
    parse_objects,
)

_Root = CheckoutSession | Invoice | PaymentIntent | Charge
"""What may have others below it."""

KEPT_OF_A_KIND: Final = 100
"""Newest payments and invoices that stay: all that polling fetches, and years of a household."""


@dataclass(frozen=True, slots=True)
class Archive:
    """`gone`: ids of objects that are stored no longer; `rows`: their lines of the history; `purchases`: what
    is stored in place of the sessions that were purchases.
    """

    gone: frozenset[str] = frozenset()
    rows: Sequence[TransactionRow] = ()
    purchases: Sequence[dict[str, Any]] = ()


def archive(
    state: State, resting: Collection[str], settings: Settings, *, kept: int = KEPT_OF_A_KIND
) -> Archive:
    """What to archive of a state. `resting`: ids of objects that have not changed for long; `kept`: how many
    of the newest payments and invoices stay. Each goes with all that belongs to it, or not at all; a
    subscription stays for ever.
    """
    objects = state.parsed
    parts = _Parts(objects)
    gone: set[str] = set()
    seen: set[str] = set()
    kinds: tuple[Mapping[str, _Root], ...] = (
        objects.sessions,
        objects.invoices,
        objects.intents,
        objects.charges,
    )
    for kind in kinds:
        # a payment intent or charge that is below another one is no root itself
        for place, root in enumerate([root for root in kind.values() if root.id not in seen]):
            whole = parts.of(root)
            seen |= whole
            if place >= kept and whole.issubset(resting):
                gone |= whole
    if not gone:
        return Archive()
    old = project(
        parse_objects({object_id: state.objects[object_id] for object_id in gone}),
        settings,
        None,
        last_seen={},
        previous={},
    )
    purchases = []
    for purchase in old.purchases.values():
        fields = asdict(purchase)
        purchases.append({"id": fields.pop("id"), "object": ARCHIVED_PURCHASE, "purchase": fields})
    return Archive(frozenset(gone), old.history, purchases)


class _Parts:
    """What belongs to a payment or an invoice."""

    def __init__(self, objects: StripeObjects) -> None:
        self._stored = objects.raw
        self._below: dict[str, set[str]] = {}
        for charge in objects.charges.values():
            self._add(charge.payment_intent, charge.id)
        for refund in objects.refunds.values():
            self._add(refund.charge, refund.id)
            self._add(refund.payment_intent, refund.id)
        for dispute in objects.disputes.values():
            self._add(dispute.charge, dispute.id)
            self._add(dispute.payment_intent, dispute.id)

    def _add(self, above: str | None, below: str) -> None:
        if above is not None:
            self._below.setdefault(above, set()).add(below)

    def of(self, root: _Root) -> set[str]:
        """The ids of the root and of everything below it that is stored."""
        found = {root.id}
        waiting = [root.id, *_paid_by(root)]
        while waiting:
            object_id = waiting.pop()
            if object_id in self._stored:
                found.add(object_id)
            waiting.extend(self._below.get(object_id, set()) - found)
        return found


def _paid_by(root: _Root) -> Sequence[str]:
    if isinstance(root, Invoice):
        return root.payment_intents
    intent = None if isinstance(root, PaymentIntent) else root.payment_intent
    return [intent] if intent is not None else []
