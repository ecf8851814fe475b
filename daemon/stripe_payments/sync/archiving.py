"""Which objects are old enough to be stored no longer, and what of them is kept all the same. Pure."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Final

from stripe_payments.payment_history import TransactionRow
from stripe_payments.settings import Settings
from stripe_payments.sync.payment_facts import Raw, payment_intents_of_invoice, reference
from stripe_payments.sync.projection import ARCHIVED_PURCHASE, State, project

KEPT_OF_A_KIND: Final = 100
"""Newest payments and invoices that stay: all that polling fetches, and years of a household."""

_ROOTS: Final = ("checkout.session", "invoice", "payment_intent", "charge")
"""What may have others below it; a payment intent or charge that is below another one is no root itself."""


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
    parts = _Parts(state)
    gone: set[str] = set()
    seen: set[str] = set()
    for kind in _ROOTS:
        roots = [root for root in state.newest(kind) if root["id"] not in seen]
        for place, root in enumerate(roots):
            whole = parts.of(root)
            seen |= whole
            if place >= kept and whole.issubset(resting):
                gone |= whole
    if not gone:
        return Archive()
    old = project(
        {object_id: state.objects[object_id] for object_id in gone},
        settings,
        None,
        last_contact=None,
        previous={},
    )
    purchases = []
    for purchase in old.purchases.values():
        fields = asdict(purchase)
        purchases.append({"id": fields.pop("id"), "object": ARCHIVED_PURCHASE, "purchase": fields})
    return Archive(frozenset(gone), old.history, purchases)


class _Parts:
    """What belongs to a payment or an invoice."""

    def __init__(self, state: State) -> None:
        self._objects = state.objects
        self._below: dict[str, set[str]] = {}
        for kind, names in (
            ("charge", ("payment_intent",)),
            ("refund", ("charge", "payment_intent")),
            ("dispute", ("charge", "payment_intent")),
        ):
            for raw in state.newest(kind):
                for name in names:
                    self._add(reference(raw.get(name)), raw)

    def _add(self, above: str | None, raw: Raw) -> None:
        if above is not None:
            self._below.setdefault(above, set()).add(str(raw["id"]))

    def of(self, root: Raw) -> set[str]:
        """The ids of the root and of everything below it that is stored."""
        found = {str(root["id"])}
        waiting: list[str] = [str(root["id"]), *_paid_by(root)]
        while waiting:
            object_id = waiting.pop()
            if object_id in self._objects:
                found.add(object_id)
            waiting.extend(self._below.get(object_id, set()) - found)
        return found


def _paid_by(root: Raw) -> Iterable[str]:
    if root.get("object") == "invoice":
        return payment_intents_of_invoice(root)
    return [found for found in (reference(root.get("payment_intent")),) if found is not None]
