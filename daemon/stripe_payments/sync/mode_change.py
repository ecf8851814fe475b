"""From test keys to live ones, and back: what is stored belongs to the mode that it was fetched in.

Test and live mode share nothing at Stripe: no customer, no session, no purchase. What was paid with a test
card must not unlock anything on a router that sells for money, so it is deleted with the change to live keys
(Stripe keeps it, and polling finds it again under test keys). What was paid for in live mode stays: trying
the shop with test keys locks nothing.
"""

from __future__ import annotations

import asyncio
from collections.abc import Collection
from typing import TYPE_CHECKING, Final

from stripe_payments.identity import META_ROUTER_ID, Identity
from stripe_payments.log import Log
from stripe_payments.sync.raw_fields import Raw, reference
from stripe_payments.sync.stripe_objects import ARCHIVED_PURCHASE

if TYPE_CHECKING:
    from stripe_payments.identity import IdentityStore
    from stripe_payments.keys import Mode
    from stripe_payments.ledger import Ledger, Transaction
    from stripe_payments.sync.reconciler import Reconciler

_log = Log("reconcile")

META_MODE: Final = "mode"
"""Ledger meta: the mode (`test` or `live`) of the keys that its contents were fetched with."""


async def settle_mode(mode: Mode, ledger: Ledger, identity: IdentityStore, reconciler: Reconciler) -> bool:
    """Bring ledger and identity to the mode of the current keys; return whether it was another one before. At
    the start, and whenever keys were set; without keys nothing is decided.

    Repeatable at any point where it was interrupted: the mode is recorded last.
    """
    known = await ledger.read(lambda tx: tx.meta.get(META_MODE))
    if mode == "unconfigured" or known == mode:
        return False
    if known is not None:
        await asyncio.to_thread(identity.set_customer, None)

    def settle(tx: Transaction) -> int:
        tx.meta.set(META_MODE, mode)
        return _forget_tests(tx) if mode == "live" else 0

    forgotten = await ledger.write(settle)
    if forgotten:
        await reconciler.recompute()
    if known is not None:
        _log.info("the keys are of another mode", before=known, mode=mode, forgotten=forgotten)
    return known is not None


def forgotten_by(mode: Mode, tx: Transaction) -> set[str]:
    """The ids of the objects that `settle_mode` would delete."""
    changes = mode == "live" and tx.meta.get(META_MODE) == "test"
    return _of_test_mode(tx.objects.all().values()) if changes else set()


def recorded_identity(tx: Transaction) -> Identity | None:
    """The router's id, and the customer of its latest purchase, as the ledger knows them."""
    router_id = tx.meta.get(META_ROUTER_ID)
    if router_id is None:
        return None
    sessions = [raw for raw in tx.objects.all().values() if raw.get("object") == "checkout.session"]
    newest = max(sessions, key=lambda raw: int(raw.get("created") or 0), default={})
    customer = newest.get("customer")
    return Identity(router_id, customer if isinstance(customer, str) else None)


def _forget_tests(tx: Transaction) -> int:
    """Everything of test mode; returns the number of objects."""
    gone = _of_test_mode(tx.objects.all().values())
    tx.objects.delete(gone)
    tx.history.delete(gone)
    return len(gone)


def _of_test_mode(objects: Collection[Raw]) -> set[str]:
    """The ids of those that are. A refund does not say so itself, but its payment does; of a purchase whose
    objects are no longer stored, its session's id does.
    """
    found = {
        str(raw["id"])
        for raw in objects
        if raw.get("livemode") is False
        or (raw.get("object") == ARCHIVED_PURCHASE and str(raw["id"]).startswith("cs_test_"))
    }
    for raw in objects:
        paid = {reference(raw.get("payment_intent")), reference(raw.get("charge"))}
        if raw.get("object") == "refund" and paid & found:
            found.add(str(raw["id"]))
    return found
