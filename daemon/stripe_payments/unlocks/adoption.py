"""A ledger that knows less than UCI takes over what UCI says is unlocked."""

import asyncio
from typing import Final

from stripe_payments.backoff import Backoff
from stripe_payments.entitlements import MANUAL, ManualGrant
from stripe_payments.ledger import SQLiteLedger, SQLiteTransaction
from stripe_payments.ledger.opening import LOG_LEFT_OVER, META_MUST_NOT_LOCK, META_REBUILDING
from stripe_payments.log import Log
from stripe_payments.unlocks.router_bus import Bus, RouterBus, from_sections
from ubus_py import UbusError

__all__ = ["adopt_features"]

_log = Log("unlocks")

_FIRST_DELAY_S: Final = 0.2
_LONGEST_DELAY_S: Final = 10.0
_QUEUED: Final = 64
"""Outbox entries to consider: more than a ledger that is being filled has."""


async def adopt_features(ledger: SQLiteLedger, bus: Bus) -> None:
    """For a ledger that is new, or may lack its last changes, before entitlements are computed.

    After a lost or corrupt ledger UCI is all that the router knows: its features are the previous state of
    `entitlements` until everything has been fetched from Stripe, and an administrator's grants are kept for
    good. Does nothing for a ledger that was filled from Stripe once, or for a new one that has features
    already; a new one whose start was interrupted by a power cut is still new. Retries until rpcd answers.
    """
    if not await ledger.read(_may_know_less_than_uci):
        return
    router, backoff = RouterBus(bus), Backoff(_FIRST_DELAY_S, _LONGEST_DELAY_S)
    while True:
        try:
            sections = await router.load_uci()
            break
        except UbusError as error:
            _log.info("waiting for rpcd to load the features", reason=error)
            await asyncio.sleep(backoff.next_delay())
    unlocked = {name: held for name, held in from_sections(sections).items() if held.unlocked}

    def adopt(tx: SQLiteTransaction) -> list[str]:
        held = tx.features.all()
        queued = {effect.payload.get("feature") for effect in tx.outbox.pending(_QUEUED)}
        missing = {
            name: entitlement
            for name, entitlement in unlocked.items()
            if name not in queued and not (name in held and held[name].unlocked)
        }
        if not missing or not _may_know_less_than_uci(tx):
            return []
        tx.features.replace({**held, **missing})
        tx.meta.set(META_MUST_NOT_LOCK, ",".join(sorted(missing)))
        for entitlement in missing.values():
            if entitlement.source == MANUAL:
                tx.grants.put(ManualGrant(entitlement.feature, entitlement.until))
        return sorted(missing)

    if adopted := await ledger.write(adopt):
        _log.info("features adopted from UCI", features=",".join(adopted))


def _may_know_less_than_uci(tx: SQLiteTransaction) -> bool:
    rebuilding = tx.meta.get(META_REBUILDING)
    return rebuilding is not None and (rebuilding == LOG_LEFT_OVER or not tx.features.all())
