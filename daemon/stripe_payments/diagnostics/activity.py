"""What is going on: the last look at Stripe, what waits to be done, and payments that failed."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from stripe_payments.billing.declines import failure
from stripe_payments.diagnostics.finding import NO_KEY, STARTING, Finding, fine, joined, note, warning
from stripe_payments.diagnostics.probes import Probes
from stripe_payments.i18n import Text
from stripe_payments.ledger import Transaction
from stripe_payments.rfc3339 import format_time
from stripe_payments.sync.poll_timing import usual_interval

DAY_S: Final = 86_400
RECENT_DAYS: Final = 30
SHOWN: Final = 5
LOOKED_THROUGH: Final = 100
"""Newest payments: more than anybody makes in RECENT_DAYS."""
_FAR_FUTURE: Final = 2**40

Raw = Mapping[str, Any]


async def polling(probes: Probes) -> Finding:
    situation = probes.situation
    if situation.ledger is None:
        return STARTING
    if situation.keys.current().secret_key is None:
        return NO_KEY
    last = situation.last_sync
    hint = Text(
        "Look now: ubus call stripe-payments sync; the check “stripe” tells whether Stripe can be asked.",
        "Controlla subito: ubus call stripe-payments sync; il controllo “stripe” dice se Stripe è "
        "interrogabile.",
    )
    if last is None:
        return note(
            "Stripe has not been asked about this router's payments yet.",
            "Stripe non è ancora stato interrogato sui pagamenti di questo router.",
            hint,
        )
    age = max(0, situation.now - last)
    when = format_time(last)
    customer = (await probes.off_the_loop(situation.identity.load)).customer is not None
    if age > 3 * usual_interval(situation.settings.poll_interval, customer=customer) + 600:
        days = situation.settings.offline_days
        return warning(
            f"Stripe was last heard at {when} ({age // 60} min ago).",
            f"Ultimo contatto con Stripe: {when} ({age // 60} min fa).",
            Text(
                f"{hint.en} Features stay unlocked for {days} days beyond their period.",
                f"{hint.it} Le funzioni restano sbloccate per {days} giorni oltre il loro periodo.",
            ),
        )
    return fine(
        f"Stripe was last heard at {when} ({age // 60} min ago).",
        f"Ultimo contatto con Stripe: {when} ({age // 60} min fa).",
    )


async def checkouts(probes: Probes) -> Finding:
    situation = probes.situation
    if situation.ledger is None:
        return STARTING
    waiting = await situation.ledger.read(lambda tx: tx.checkouts.open())
    stale = [one for one in waiting if situation.now - one.created_at > DAY_S + 3600]
    if stale:
        return warning(
            f"Purchases open for more than a day: {len(stale)}.",
            f"Acquisti aperti da più di un giorno: {len(stale)}.",
            Text(
                "Stripe ends a payment page after a day. Have them looked at: ubus call stripe-payments sync",
                "Stripe chiude una pagina di pagamento dopo un giorno. Falli ricontrollare: ubus call "
                "stripe-payments sync",
            ),
        )
    if waiting:
        return note(f"Purchases under way: {len(waiting)}.", f"Acquisti in corso: {len(waiting)}.")
    return fine("No purchase is under way.", "Nessun acquisto in corso.")


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
            f"Webhook events that wait: {count}; the last attempt failed: {errors[0]}.",
            f"Eventi webhook in attesa: {count}; l'ultimo tentativo è fallito: {errors[0]}.",
            Text(
                "They are tried again by themselves, for up to an hour at a time; the check “stripe” tells "
                "whether Stripe can be asked.",
                "Vengono riprovati automaticamente, a intervalli fino a un'ora; il controllo “stripe” dice "
                "se Stripe è interrogabile.",
            ),
        )
    if count:
        return note(f"Webhook events being worked off: {count}.", f"Eventi webhook in elaborazione: {count}.")
    return fine("No webhook event waits.", "Nessun evento webhook in attesa.")


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
            f"Changes that could not be told to the router yet: {count} ({why}).",
            f"Modifiche non ancora comunicate al router: {count} ({why}).",
            Text(
                "They are tried again by themselves. If it stays so: service rpcd restart; "
                "service stripe-payments restart",
                "Vengono ritentate automaticamente. Se non si risolve: service rpcd restart; "
                "service stripe-payments restart",
            ),
        )
    if count:
        return note(f"Changes being told: {count}.", f"Modifiche in corso di comunicazione: {count}.")
    return fine("Everything has been told to the router.", "Tutto è stato comunicato al router.")


async def payments(probes: Probes) -> Finding:
    """The last payments that failed, and why."""
    situation = probes.situation
    if situation.ledger is None:
        return STARTING
    since = situation.now - RECENT_DAYS * DAY_S

    def look(tx: Transaction) -> tuple[list[Raw], list[str]]:
        failed: list[Raw] = [
            intent
            for intent in tx.objects.newest("payment_intent", LOOKED_THROUGH)
            if intent.get("status") not in ("succeeded", "processing")
            and isinstance(intent.get("last_payment_error"), Mapping)
            and int(intent.get("created") or 0) >= since
        ]
        owing = [
            one.plan or one.id for one in tx.subscriptions.standing() if one.status in ("past_due", "unpaid")
        ]
        return failed[:SHOWN], owing

    failed, owing = await situation.ledger.read(look)
    if not failed and not owing:
        return fine(
            f"No payment has failed in {RECENT_DAYS} days.",
            f"Nessun pagamento fallito negli ultimi {RECENT_DAYS} giorni.",
        )
    told: list[Text] = []
    hints: list[Text] = []
    for intent in failed:
        error = intent["last_payment_error"]
        cause = failure(error.get("code"), error.get("decline_code"))
        when = format_time(int(intent.get("created") or 0))
        code = cause.decline_code or cause.code
        told.append(Text(f"{when} {code} ({intent['id']})", f"{when} {code} ({intent['id']})"))
        if cause.message not in hints:
            hints.append(cause.message)
    told += [
        Text(f"the renewal of “{name}” is unpaid", f"il rinnovo di “{name}” non è stato pagato")
        for name in owing
    ]
    if owing:
        hints.append(
            Text(
                "Update the payment method in the customer portal.",
                "Aggiorna il metodo di pagamento nel portale clienti.",
            )
        )
    said = joined(told)
    return warning(
        f"Failed payments: {said.en}.",
        f"Pagamenti falliti: {said.it}.",
        Text(" ".join(one.en for one in hints), " ".join(one.it for one in hints)),
    )
