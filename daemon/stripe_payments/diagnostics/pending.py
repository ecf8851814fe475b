"""Checks of pending work: open purchases, webhook events, deliveries.

Hub mode has them too, so the payment rules are not imported here.
"""

from __future__ import annotations

from typing import Final

from stripe_payments.diagnostics.finding import STARTING, Finding
from stripe_payments.diagnostics.probes import Probes
from stripe_payments.i18n import _
from stripe_payments.ledger import SQLiteTransaction

_DAY_S: Final = 86_400
_FAR_FUTURE: Final = 2**40


async def checkouts(probes: Probes) -> Finding:
    situation = probes.situation
    if situation.ledger is None:
        return STARTING
    waiting = await situation.ledger.read(lambda tx: tx.checkouts.open())
    stale = [one for one in waiting if situation.now - one.created_at > _DAY_S + 3600]
    if stale:
        return Finding(
            "warning",
            _("Purchases open for more than a day: {count}.", count=len(stale)),
            _(
                "A payment page expires after a day. Check now on My features, or run: ubus call "
                "stripe-payments sync"
            ),
        )
    if waiting:
        return Finding("info", _("Open purchases: {count}.", count=len(waiting)))
    return Finding("ok", _("No open purchases."))


async def events(probes: Probes) -> Finding:
    situation = probes.situation
    if situation.ledger is None:
        return STARTING

    def read(tx: SQLiteTransaction) -> tuple[int, list[str]]:
        waiting = tx.inbox.due(_FAR_FUTURE, 100)
        return tx.inbox.pending_count(), [one.error for one in waiting if one.error]

    count, errors = await situation.ledger.read(read)
    if errors:
        return Finding(
            "warning",
            _(
                "Pending webhook events: {count}; the last attempt failed: {error}.",
                count=count,
                error=errors[0],
            ),
            _(
                "They are retried automatically, at most an hour apart. The check of Stripe shows whether it "
                "can be reached."
            ),
        )
    if count:
        return Finding("info", _("Webhook events being processed: {count}.", count=count))
    return Finding("ok", _("No pending webhook events."))


async def effects(probes: Probes) -> Finding:
    """Pending deliveries to UCI, hotplug scripts and ubus listeners."""
    situation = probes.situation
    if situation.ledger is None:
        return STARTING

    def read(tx: SQLiteTransaction) -> tuple[int, int]:
        return tx.outbox.pending_count(), len(tx.outbox.pending(1000))

    count, waiting = await situation.ledger.read(read)
    if count > waiting or situation.unlocks_trouble is not None:
        why = situation.unlocks_trouble or "refused"
        return Finding(
            "warning",
            _("Pending changes that could not be applied: {count} ({why}).", count=count, why=why)
            if count
            else _("The feature state in UCI cannot be verified ({why}).", why=why),
            _(
                "They are retried automatically. If this persists, free some space where it is full: df -h "
                "/etc /tmp. Otherwise run: killall -HUP rpcd || service rpcd restart"
            ),
        )
    if count:
        return Finding("info", _("Changes being applied: {count}.", count=count))
    return Finding("ok", _("All changes applied."))
