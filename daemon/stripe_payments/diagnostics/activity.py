"""What is going on: the last look at Stripe, what waits to be done, and payments that failed."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from stripe_payments.billing.declines import failure
from stripe_payments.diagnostics.finding import NO_KEY, STARTING, Finding, fine, note, warning
from stripe_payments.diagnostics.probes import Probes
from stripe_payments.i18n import Text, _, joined
from stripe_payments.ledger import Transaction
from stripe_payments.rfc3339 import format_time
from stripe_payments.sync.poll_timing import usual_interval

DAY_S: Final = 86_400
RECENT_DAYS: Final = 30
SHOWN: Final = 5
LOOKED_THROUGH: Final = 100
"""Newest payments: more than anybody makes in RECENT_DAYS."""
_FAR_FUTURE: Final = 2**40


async def polling(probes: Probes) -> Finding:
    situation = probes.situation
    if situation.ledger is None:
        return STARTING
    if situation.keys.current().secret_key is None:
        return NO_KEY
    last = situation.last_sync
    hint = _(
        "Look now: ubus call stripe-payments sync; the check “stripe” tells whether Stripe can be asked."
    )
    if last is None:
        return note(
            _("Stripe has not been asked about this router's payments yet."),
            hint,
        )
    age = max(0, situation.now - last)
    when = format_time(last)
    customer = (await probes.off_the_loop(situation.identity.load)).customer is not None
    if age > 3 * usual_interval(situation.settings.poll_interval, customer=customer) + 600:
        days = situation.settings.offline_days
        return warning(
            _("Stripe was last heard at {when} ({minutes} min ago).", when=when, minutes=age // 60),
            _("{hint} Features stay unlocked for {days} days beyond their period.", hint=hint, days=days),
        )
    return fine(
        _("Stripe was last heard at {when} ({minutes} min ago).", when=when, minutes=age // 60),
    )


async def checkouts(probes: Probes) -> Finding:
    situation = probes.situation
    if situation.ledger is None:
        return STARTING
    waiting = await situation.ledger.read(lambda tx: tx.checkouts.open())
    stale = [one for one in waiting if situation.now - one.created_at > DAY_S + 3600]
    if stale:
        return warning(
            _("Purchases open for more than a day: {count}.", count=len(stale)),
            _("Stripe ends a payment page after a day. Have them looked at: ubus call stripe-payments sync"),
        )
    if waiting:
        return note(_("Purchases under way: {count}.", count=len(waiting)))
    return fine(_("No purchase is under way."))


async def events(probes: Probes) -> Finding:
    situation = probes.situation
    if situation.ledger is None:
        return STARTING

    def look(tx: Transaction) -> tuple[int, list[str]]:
        waiting = tx.inbox.due(_FAR_FUTURE, 100)
        return tx.inbox.pending_count(), [one.error for one in waiting if one.error]

    count, errors = await situation.ledger.read(look)
    if errors:
        return warning(
            _(
                "Webhook events that wait: {count}; the last attempt failed: {error}.",
                count=count,
                error=errors[0],
            ),
            _(
                "They are tried again by themselves, for up to an hour at a time; the check “stripe” tells "
                "whether Stripe can be asked."
            ),
        )
    if count:
        return note(_("Webhook events being worked off: {count}.", count=count))
    return fine(_("No webhook event waits."))


async def effects(probes: Probes) -> Finding:
    """What the rest of the router has still to be told."""
    situation = probes.situation
    if situation.ledger is None:
        return STARTING

    def look(tx: Transaction) -> tuple[int, int]:
        return tx.outbox.pending_count(), len(tx.outbox.pending(1000))

    count, waiting = await situation.ledger.read(look)
    if count > waiting or situation.unlocks_trouble is not None:
        why = situation.unlocks_trouble or "refused"
        return warning(
            _("Changes that could not be told to the router yet: {count} ({why}).", count=count, why=why),
            _(
                "They are tried again by themselves. If it stays so: service rpcd restart; service "
                "stripe-payments restart"
            ),
        )
    if count:
        return note(_("Changes being told: {count}.", count=count))
    return fine(_("Everything has been told to the router."))


async def payments(probes: Probes) -> Finding:
    """The last payments that failed, and why."""
    situation = probes.situation
    state = situation.state
    if state is None:
        return STARTING
    since = situation.now - RECENT_DAYS * DAY_S

    failed = [
        intent
        for intent in state.newest("payment_intent")[:LOOKED_THROUGH]
        if intent.get("status") not in ("succeeded", "processing")
        and isinstance(intent.get("last_payment_error"), Mapping)
        and int(intent.get("created") or 0) >= since
    ][:SHOWN]
    owing = [one.plan or one.id for one in state.running if one.status in ("past_due", "unpaid")]
    if not failed and not owing:
        return fine(
            _("No payment has failed in {recent_days} days.", recent_days=RECENT_DAYS),
        )
    told: list[Text] = []
    hints: list[Text] = []
    for intent in failed:
        error = intent["last_payment_error"]
        cause = failure(error.get("code"), error.get("decline_code"))
        when = format_time(int(intent.get("created") or 0))
        code = cause.decline_code or cause.code
        told.append(Text(f"{when} {code} ({intent['id']})"))
        if cause.message not in hints:
            hints.append(cause.message)
    told += [_("the renewal of “{name}” is unpaid", name=name) for name in owing]
    if owing:
        hints.append(_("Update the payment method in the customer portal."))
    said = joined(told)
    return warning(
        _("Failed payments: {said}.", said=said),
        joined(hints, " "),
    )
