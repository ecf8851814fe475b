"""Which objects are old enough to be stored no longer, and what of them is kept all the same. Pure.

Polling lists old Checkout sessions again and again: `not_archived` leaves out what would only undo the
archiving.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any, Final

from stripe_payments.payment_history import TransactionRow
from stripe_payments.settings import Settings
from stripe_payments.sync.projection import ENDED, State, project
from stripe_payments.sync.raw_fields import Raw
from stripe_payments.sync.stripe_objects import (
    ARCHIVED_PURCHASE,
    Charge,
    CheckoutSession,
    Invoice,
    PaymentIntent,
    StripeObjects,
    Subscription,
    parse_objects,
)

_Root = CheckoutSession | Invoice | PaymentIntent | Charge
"""What may have others below it."""

KEPT_OF_A_KIND: Final = 24
"""Newest payments and invoices that stay, and half as many subscriptions that have ended: more than a page of
payments that polling fetches, and two years of a household.
"""

_FINAL_DISPUTES: Final = frozenset({"won", "lost", "lost_in_part"})
_PAID: Final = frozenset({"paid", "partially_refunded", "refunded", "disputed"})
"""Statuses in the history of an invoice that Stripe calls paid."""


@dataclass(frozen=True, slots=True)
class Archive:
    """`gone`: ids of objects that are stored no longer; `rows`: their lines of the history; `purchases`: what
    is stored in place of the sessions that were purchases. Nothing is stored in place of a subscription that
    has ended: it unlocks nothing, and its invoices are its history.
    """

    gone: frozenset[str] = frozenset()
    rows: Sequence[TransactionRow] = ()
    purchases: Sequence[dict[str, Any]] = ()


def archive(
    state: State, resting: Collection[str], settings: Settings, *, kept: int = KEPT_OF_A_KIND
) -> Archive:
    """What to archive of a state. `resting`: ids of objects that have not changed for long; `kept`: how many
    of a kind stay. Each goes with all that belongs to it, or not at all; a subscription stays until it has
    ended, or as long as a feature names it as the reason why it is locked.
    """
    objects = state.parsed
    parts = _Parts(objects)
    named = {entitlement.source for entitlement in state.entitlements.values()}
    ended = [one.id for one in _ended(objects)]
    gone = {name for name in ended[kept // 2 :] if name in resting and name not in named}
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
    old = _project([state.objects[object_id] for object_id in gone], settings)
    purchases = []
    for purchase in old.purchases.values():
        fields = asdict(purchase)
        purchases.append({"id": fields.pop("id"), "object": ARCHIVED_PURCHASE, "purchase": fields})
    return Archive(frozenset(gone), old.rows, purchases)


def not_archived(
    root: Raw, objects: Sequence[Raw], state: State, settings: Settings, *, kept: int = KEPT_OF_A_KIND
) -> Sequence[Raw]:
    """The objects of a polled `root` (a Checkout session, a subscription …) in stored form, without those
    that only repeat what is archived of them.
    """
    gone: set[str] = set()
    if root["object"] == "checkout.session" and _repeats_session(root, objects, state, settings, kept):
        gone = {raw["id"] for raw in objects if raw["object"] not in ("invoice", "subscription")}
    for raw in objects:
        if raw["id"] not in state.objects and (
            (raw["object"] == "invoice" and _repeats_invoice(raw, state, settings))
            or (raw["object"] == "subscription" and _repeats_subscription(raw, state, kept))
        ):
            gone.add(raw["id"])
    return [raw for raw in objects if raw["id"] not in gone]


def _repeats_session(root: Raw, objects: Sequence[Raw], state: State, settings: Settings, kept: int) -> bool:
    session_id = root["id"]
    if session_id in state.parsed.sessions:
        return False
    found = _project(objects, settings)
    (session,) = found.parsed.sessions.values()
    if session.mode == "subscription":  # its invoices are its history
        return _is_older(session, list(state.parsed.sessions.values()), kept)
    known, purchase, rows = state.purchases.get(session_id), found.purchases.get(session_id), found.rows
    if known is None or purchase is None:
        return False
    if purchase.dispute is not None and known.dispute in _FINAL_DISPUTES and not found.parsed.disputes:
        # the session only says that there is a dispute; how it ended is in the archive
        purchase = replace(purchase, dispute=known.dispute, fully_refunded=known.fully_refunded)
        rows = [row for row in rows if row.kind == "refund"]
    archived = {row.id: row for row in state.archived}
    return purchase == known and all(archived.get(row.id) == row for row in rows)


def _repeats_invoice(raw: Raw, state: State, settings: Settings) -> bool:
    """Its charges are not fetched with it: what went back of them is in the archive."""
    row = next(iter(_project([raw], settings).rows), None)
    known = next((one for one in state.archived if one.id == raw["id"]), None)
    if row is None or known is None:
        return False
    status = known.status if row.status == "paid" and known.status in _PAID else row.status
    return replace(row, status=status) == known


def _repeats_subscription(raw: Raw, state: State, kept: int) -> bool:
    (found,) = parse_objects({raw["id"]: raw}).subscriptions.values()
    return found.status in ENDED and _is_older(found, _ended(state.parsed), kept // 2)


def _project(objects: Sequence[Raw], settings: Settings) -> State:
    """What these objects alone say."""
    parsed = parse_objects({str(raw["id"]): raw for raw in objects})
    return project(parsed, settings, None, last_seen={}, previous={})


def _ended(objects: StripeObjects) -> list[Subscription]:
    """The stored subscriptions that have ended, newest first."""
    return [one for one in objects.subscriptions.values() if one.status in ENDED]


def _is_older(
    one: CheckoutSession | Subscription, stored: Sequence[CheckoutSession | Subscription], kept: int
) -> bool:
    """Whether as many newer ones are stored as are kept."""
    return len(stored) >= kept and one.created < stored[kept - 1].created


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
        return root.payment_intents + root.paid_by
    intent = None if isinstance(root, PaymentIntent) else root.payment_intent
    return [intent] if intent is not None else []
