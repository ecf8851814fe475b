"""Key and prices: what the router has to show at Stripe, and what is on sale there."""

from __future__ import annotations

import contextlib
from typing import Final

from stripe_payments.diagnostics.finding import (
    NO_KEY,
    STRIPE_AWAY,
    Finding,
    fault,
    fine,
    joined,
    note,
    warning,
)
from stripe_payments.diagnostics.probes import Probes
from stripe_payments.errors import PaymentError
from stripe_payments.i18n import Text
from stripe_payments.setup.catalog_at_stripe import describe, differences, is_active
from stripe_payments.setup.webhook_endpoint import KnownEndpoint

_ENTER: Final = Text(
    "Enter the key under Payments in LuCI, or with: /etc/init.d/stripe-payments set_keys",
    "Inserisci la chiave in Pagamenti di LuCI, oppure con: /etc/init.d/stripe-payments set_keys",
)
_PROVISION: Final = Text(
    "Run: ubus call stripe-payments provision", "Esegui: ubus call stripe-payments provision"
)


async def key(probes: Probes) -> Finding:
    keys = probes.situation.keys.current()
    if keys.secret_key is None:
        return fault("There is no secret key for Stripe.", "Manca la chiave segreta di Stripe.", _ENTER)
    try:
        await probes.answer()
    except PaymentError as error:
        if error.code == "stripe_key_invalid" and error.details.get("stripe_code") == "api_key_expired":
            return fault(
                "The secret key has expired.",
                "La chiave segreta è scaduta.",
                Text(
                    "Create a new key in Stripe's Dashboard (Developers > API keys). " + _ENTER.en,
                    "Crea una nuova chiave nella Dashboard di Stripe (Sviluppatori > Chiavi API). "
                    + _ENTER.it,
                ),
            )
        if error.code == "stripe_key_invalid":
            return fault(
                "Stripe does not know the secret key.",
                "Stripe non riconosce la chiave segreta.",
                Text(
                    "It was revoked, or copied incompletely: copy it again from Stripe's Dashboard. "
                    + _ENTER.en,
                    "È stata revocata o copiata in modo incompleto: copiala di nuovo dalla Dashboard di "
                    "Stripe. " + _ENTER.it,
                ),
            )
        if error.code != "stripe_key_permission":
            return STRIPE_AWAY
    return fine("Stripe accepts the secret key.", "Stripe accetta la chiave segreta.")


async def key_permissions(probes: Probes) -> Finding:
    """Only what can be found out without changing anything at Stripe: whether reading is allowed."""
    secret = probes.situation.keys.current().secret_key
    if secret is None:
        return NO_KEY
    if not secret.startswith("rk_"):
        return fine(
            "The key may do everything. A restricted key (rk_…) would be enough.",
            "La chiave può fare tutto. Basterebbe una chiave con restrizioni (rk_…).",
        )
    try:
        missing = await probes.unreadable()
    except PaymentError:
        return STRIPE_AWAY
    if not missing:
        return fine(
            "The restricted key may read everything that is needed.",
            "La chiave con restrizioni può leggere tutto il necessario.",
        )
    names = ", ".join(f"{one.resource}: {one.access.capitalize()}" for one in missing)
    hint = Text(
        "Edit the restricted key in Stripe's Dashboard (Developers > API keys) and allow: " + names,
        "Modifica la chiave con restrizioni nella Dashboard di Stripe (Sviluppatori > Chiavi API) e "
        "consenti: " + names,
    )
    en, it = f"The restricted key lacks: {names}.", f"Alla chiave con restrizioni manca: {names}."
    return warning(en, it, hint) if all(one.setup_only for one in missing) else fault(en, it, hint)


async def key_mode(probes: Probes) -> Finding:
    """Test and live are two worlds at Stripe: nothing of one can be used in the other."""
    keys = probes.situation.keys.current()
    if keys.secret_key is None:
        return NO_KEY
    mixed: list[Text] = []
    publishable = keys.publishable_key
    if publishable is not None and (publishable.split("_")[1] == "live") is not (keys.mode == "live"):
        mixed.append(Text("the publishable key", "la chiave pubblicabile"))
    ledger = probes.situation.ledger
    known = await ledger.read(KnownEndpoint.read) if ledger is not None else None
    if known is not None and known.holds(keys.webhook_secret) and known.livemode is not (keys.mode == "live"):
        mixed.append(Text("the webhook secret", "il segreto del webhook"))
    with contextlib.suppress(PaymentError):
        mixed += [
            Text(f"the price id of “{alias}”", f"l'id del prezzo “{alias}”")
            for alias, price in (await probes.prices()).items()
            if price.other_mode
        ]
    if mixed:
        mode, other = keys.mode, "test" if keys.mode == "live" else "live"
        what = joined(mixed)
        return fault(
            f"The secret key is a {mode} key, but these belong to {other} mode: {what.en}.",
            f"La chiave segreta è di tipo {mode}, ma questi appartengono alla modalità {other}: {what.it}.",
            Text(
                "Enter the other keys of the same mode with “set_keys”, then run “provision” and "
                "“setup_webhook”.",
                "Inserisci le altre chiavi della stessa modalità con “set_keys”, poi esegui “provision” e "
                "“setup_webhook”.",
            ),
        )
    if keys.mode == "test":
        return note(
            "Test mode: only test cards work, and no money moves.",
            "Modalità di test: funzionano solo le carte di prova e non si muove denaro.",
        )
    return fine("Live mode: payments are real.", "Modalità live: i pagamenti sono reali.")


async def prices(probes: Probes) -> Finding:
    if not probes.situation.settings.prices:
        return warning(
            "Nothing is on sale: the configuration has no price.",
            "Non c'è nulla in vendita: la configurazione non contiene prezzi.",
            Text(
                "Add sections “config price” to /etc/config/stripe-payments.",
                "Aggiungi sezioni “config price” in /etc/config/stripe-payments.",
            ),
        )
    if probes.situation.keys.current().secret_key is None:
        return NO_KEY
    try:
        found = await probes.prices()
    except PaymentError:
        return STRIPE_AWAY
    absent: list[Text] = []
    unsold: list[Text] = []
    different: list[Text] = []
    for alias, price in found.items():
        chosen = price.chosen
        if chosen is None:
            absent.append(Text(f"“{alias}” does not exist at Stripe", f"“{alias}” non esiste su Stripe"))
        elif wrong := differences(price.wanted, chosen):
            told = joined(describe(one, _currency(one.field, chosen.get("currency"))) for one in wrong)
            different.append(Text(f"“{alias}”: {told.en}", f"“{alias}”: {told.it}"))
        elif not is_active(chosen):
            unsold.append(Text(f"“{alias}” is archived at Stripe", f"“{alias}” è archiviato su Stripe"))
    if not (absent or unsold or different):
        return fine(
            f"All {len(found)} prices are on sale at Stripe as configured.",
            f"Tutti i {len(found)} prezzi sono in vendita su Stripe come da configurazione.",
        )
    hints: list[Text] = []
    if absent:
        hints.append(_PROVISION)
    if unsold:
        hints.append(
            Text(
                "Make the archived prices (or their product) active again in Stripe's Dashboard",
                "Riattiva i prezzi archiviati (o il loro prodotto) nella Dashboard di Stripe",
            )
        )
    if different:
        hints.append(
            Text(
                "Correct the differing prices in /etc/config/stripe-payments, or create new ones at Stripe: "
                "ubus call stripe-payments provision '{\"replace\":true}'",
                "Correggi i prezzi diversi in /etc/config/stripe-payments, oppure creane di nuovi su Stripe: "
                "ubus call stripe-payments provision '{\"replace\":true}'",
            )
        )
    said = joined([*absent, *unsold, *different])
    report = fault if absent or unsold else warning
    return report(f"{said.en}.", f"{said.it}.", joined(hints))


def _currency(field: str, at_stripe: object) -> str:
    return str(at_stripe) if field == "amount" else ""
