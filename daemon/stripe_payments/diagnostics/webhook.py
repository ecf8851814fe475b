"""The webhook: the endpoint at Stripe, and what has come in from it. Payments work without one, only
later.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from stripe_payments.diagnostics.finding import (
    NO_KEY,
    STARTING,
    STRIPE_AWAY,
    Finding,
    fine,
    joined,
    note,
    warning,
)
from stripe_payments.diagnostics.probes import Probes
from stripe_payments.errors import PaymentError
from stripe_payments.i18n import Text
from stripe_payments.rfc3339 import format_time
from stripe_payments.setup.webhook_endpoint import WEBHOOK_EVENTS, KnownEndpoint, owner

_SETUP: Final = Text(
    'Run: ubus call stripe-payments setup_webhook \'{"url":"https://…/api/payments/webhook"}\'',
    'Esegui: ubus call stripe-payments setup_webhook \'{"url":"https://…/api/payments/webhook"}\'',
)


async def webhook_endpoint(probes: Probes) -> Finding:
    situation = probes.situation
    identity = situation.identity.loaded
    if situation.ledger is None or identity is None:
        return STARTING
    keys = situation.keys.current()
    if keys.secret_key is None:
        return NO_KEY
    known = await situation.ledger.read(KnownEndpoint.read)
    try:
        endpoints = await probes.endpoints()
    except PaymentError as error:
        if error.code == "stripe_key_permission":
            return note(
                "Not checked: the key may not read webhook endpoints.",
                "Non controllato: la chiave non può leggere gli endpoint dei webhook.",
            )
        return STRIPE_AWAY
    mine = next(
        (
            one
            for one in sorted(endpoints, key=lambda one: known is None or one.get("id") != known.id)
            if owner(one) == identity.router_id or (known is not None and one.get("id") == known.id)
        ),
        None,
    )
    if mine is None and known is None:
        if keys.webhook_secret is None:
            minutes = max(1, situation.settings.poll_interval // 60)
            return note(
                f"There is no webhook: Stripe is asked every {minutes} min, and every few seconds while "
                "somebody buys.",
                f"Non c'è un webhook: Stripe viene interrogato ogni {minutes} min, e ogni pochi secondi "
                "mentre qualcuno acquista.",
                Text(
                    "If the router can be reached from the internet, renewals are noticed sooner with one. "
                    + _SETUP.en,
                    "Se il router è raggiungibile da Internet, con un webhook i rinnovi si rilevano prima. "
                    + _SETUP.it,
                ),
            )
        return note(
            "The webhook secret was entered by hand; which endpoint it belongs to cannot be told.",
            "Il segreto del webhook è stato inserito a mano; non si può sapere a quale endpoint appartiene.",
        )
    if mine is None:
        return warning(
            "The webhook endpoint does not exist at Stripe any more.",
            "L'endpoint del webhook non esiste più su Stripe.",
            _SETUP,
        )
    wrong = _faults(mine, await probes.stripe.api_version())
    if known is None or mine.get("id") != known.id or not known.holds(keys.webhook_secret):
        wrong.append(
            Text(
                "its secret is not the one that is stored here",
                "il suo segreto non è quello memorizzato qui",
            )
        )
    url = mine.get("url")
    if wrong:
        said = joined(wrong)
        return warning(
            f"The endpoint {url} is not as it should be: {said.en}.",
            f"L'endpoint {url} non è a posto: {said.it}.",
            _SETUP,
        )
    return fine(f"Stripe sends to {url}.", f"Stripe invia a {url}.")


def _faults(endpoint: Mapping[str, Any], version: str) -> list[Text]:
    faults: list[Text] = []
    if endpoint.get("status") != "enabled":
        faults.append(Text("it is disabled", "è disattivato"))
    events = set(endpoint.get("enabled_events") or ())
    if "*" not in events and (absent := sorted(set(WEBHOOK_EVENTS) - events)):
        names = ", ".join(absent)
        faults.append(Text(f"it lacks the events {names}", f"mancano gli eventi {names}"))
    if endpoint.get("api_version") != version:
        found = endpoint.get("api_version")
        faults.append(
            Text(
                f"it sends API version {found or 'of the account'} instead of {version}",
                f"invia la versione API {found or 'dell’account'} invece di {version}",
            )
        )
    return faults


async def webhook_deliveries(probes: Probes) -> Finding:
    situation = probes.situation
    if situation.ledger is None:
        return STARTING
    refused = situation.refused_webhooks
    if refused.code == "webhook_not_configured":
        return warning(
            "Stripe sends webhooks, but no webhook secret is stored: they are refused.",
            "Stripe invia webhook, ma nessun segreto è memorizzato: vengono rifiutati.",
            _SETUP,
        )
    if refused.code == "stale_timestamp":
        return warning(
            f"Webhooks refused: {refused.count}. The signature was too old on arrival.",
            f"Webhook rifiutati: {refused.count}. All'arrivo la firma era troppo vecchia.",
            Text(
                "Something between Stripe and the router holds them back, such as a proxy with a queue.",
                "Qualcosa tra Stripe e il router li trattiene, per esempio un proxy con una coda.",
            ),
        )
    if refused.code == "clock_not_trusted":
        return note(
            "A webhook came before the time was known; Stripe sends it again.",
            "Un webhook è arrivato prima che fosse nota l'ora esatta; Stripe lo invierà di nuovo.",
        )
    if refused.code:
        return warning(
            f"Webhooks refused: {refused.count}. The signature does not fit the stored secret.",
            f"Webhook rifiutati: {refused.count}. La firma non corrisponde al segreto memorizzato.",
            Text(
                "The stored secret belongs to another endpoint, or a proxy changes the body. " + _SETUP.en,
                "Il segreto memorizzato appartiene a un altro endpoint, oppure un proxy modifica il "
                "contenuto. " + _SETUP.it,
            ),
        )
    last = await situation.ledger.read(lambda tx: tx.inbox.latest())
    if last is None:
        return note("No webhook has come in yet.", "Non è ancora arrivato nessun webhook.")
    minutes = max(0, situation.now - last.received_at) // 60
    when = format_time(last.received_at)
    if last.outcome is None and last.error:
        return warning(
            f"The last webhook ({last.type}, {when}) has not been worked off: {last.error}.",
            f"L'ultimo webhook ({last.type}, {when}) non è stato ancora elaborato: {last.error}.",
            Text(
                "It is tried again by itself; the check “stripe” tells whether Stripe can be asked.",
                "Viene riprovato automaticamente; il controllo “stripe” dice se Stripe è interrogabile.",
            ),
        )
    outcome = last.outcome or "pending"
    return fine(
        f"The last webhook ({last.type}) came at {when} ({minutes} min ago): {outcome}.",
        f"L'ultimo webhook ({last.type}) è arrivato alle {when} ({minutes} min fa): {outcome}.",
    )
