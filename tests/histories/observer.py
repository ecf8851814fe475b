"""A router that sees everything at once: the daemon's projection of all objects of a `Life`, pure."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

from simulator.stripe_cloud.rendering import render
from stripe_payments.entitlements import ManualGrant
from stripe_payments.stripe_api.resources import RESOURCES, object_kind
from stripe_payments.sync.fetch import stored_form, units_of
from stripe_payments.sync.projection import State, project
from stripe_payments.sync.raw_fields import reference, subscription_details
from stripe_payments.sync.stripe_objects import StripeObjects, parse_objects
from tests.histories.life import Life
from tests.histories.reference import Decision

_STORED = {"checkout.session", "payment_intent", "charge", "invoice", "subscription", "refund", "dispute"}


class Observer:
    """`state` follows the life's events; `decisions` are those of the daemon's own code."""

    def __init__(self, life: Life) -> None:
        self._life = life
        self._settings = life.settings()
        self._objects: dict[str, Mapping[str, Any]] = {}
        self._parsed = StripeObjects()
        self._state = State()

    def observe(self) -> State:
        """The state after everything that happened since the last time."""
        for object_id in dict.fromkeys(self._life.seen):
            self._store(object_id)
        self._life.seen.clear()
        # a new mapping every time, as from the ledger
        self._parsed = parse_objects(dict(self._objects), self._parsed)
        return self.project_again(self._life.now, self._life.now)

    def project_again(self, now: int | None, heard: int, grants: Collection[ManualGrant] = ()) -> State:
        """From the same objects, at `now` (None: not known); `heard`: when Stripe last answered."""
        self._state = project(
            self._parsed,
            self._settings,
            now,
            last_seen=dict.fromkeys(self._parsed.subscriptions, heard),
            previous=self._state.entitlements,
            grants=grants,
        )
        return self._state

    def _store(self, object_id: str) -> None:
        kind, found = object_kind(object_id), self._life.account.find(object_id)
        if found is not None and found["object"] == "invoice_payment":
            return self._store(found["invoice"])
        if kind not in _STORED or found is None or _is_mere_offer(found):
            return None
        root = render(self._life.account, found, RESOURCES[kind].expand)
        for stored in stored_form(units_of(root, 0.0)):
            self._objects[stored["id"]] = stored
        # the router fetches the subscription with an invoice: which one is its latest may have changed
        subscription = reference(subscription_details(found).get("subscription"))
        return self._store(subscription) if subscription is not None else None


def decisions(state: State) -> dict[str, Decision]:
    """As the reference has them."""
    return {name: (held.unlocked, held.reason, held.until) for name, held in state.entitlements.items()}


def _is_mere_offer(found: dict[str, Any]) -> bool:
    return bool(found["object"] == "checkout.session" and found["status"] != "complete")
