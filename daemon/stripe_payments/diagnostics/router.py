"""This router: its configuration, its storage, and the helpers that act for the daemon."""

from __future__ import annotations

import stat
from pathlib import Path
from typing import Final

from stripe_payments.diagnostics.finding import (
    STARTING,
    Finding,
    fault,
    fine,
    joined,
    note,
    of_error,
    warning,
)
from stripe_payments.diagnostics.probes import Probes
from stripe_payments.errors import PaymentError
from stripe_payments.i18n import Text
from stripe_payments.settings import Settings
from stripe_payments.settings.loader import sections_of
from ubus_py import CallTimeout, ConnectionLost, ProtocolError, Status, StatusError

LOW_BYTES: Final = 2 * 1024 * 1024
"""The write-ahead log may grow to this before it is folded in."""
FULL_BYTES: Final = 256 * 1024
INTEGRITY_BYTES: Final = 32 * 1024 * 1024
"""A larger ledger is checked at the start alone: looking at every page holds up the payments meanwhile."""
META_CHECKED: Final = "last_check"

_BUS_TIMEOUT_S: Final = 4.0
_RPCD_HINT: Final = Text(
    "Restart rpcd: service rpcd restart. If that does not help, install the package stripe-payments again.",
    "Riavvia rpcd: service rpcd restart. Se non basta, reinstalla il pacchetto stripe-payments.",
)
_ACL_HINT: Final = Text(
    "Have ubusd read its permissions again: killall -HUP ubusd. If that does not help, install the package "
    "stripe-payments again.",
    "Fai rileggere i permessi a ubusd: killall -HUP ubusd. Se non basta, reinstalla il pacchetto "
    "stripe-payments.",
)
_SPACE_HINT: Final = Text(
    "Remove packages or files that are not needed: df -h; du -sh /overlay/*",
    "Rimuovi pacchetti o file che non servono: df -h; du -sh /overlay/*",
)


async def settings(probes: Probes) -> Finding:
    problems = probes.situation.settings.problems
    if problems:
        said = joined(problem.text for problem in problems)
        return warning(
            said.en,
            said.it,
            Text(
                "Correct /etc/config/stripe-payments; what is wrong is left out or replaced by its default.",
                "Correggi /etc/config/stripe-payments; ciò che è errato viene escluso o sostituito dal "
                "valore predefinito.",
            ),
        )
    return fine("The configuration has no mistakes.", "La configurazione non contiene errori.")


async def enabled(probes: Probes) -> Finding:
    if probes.situation.settings.enabled:
        return fine("Payments are switched on.", "I pagamenti sono attivi.")
    return warning(
        "Payments are switched off: nothing can be bought. What is unlocked stays so.",
        "I pagamenti sono disattivati: non si può acquistare nulla. Ciò che è sbloccato resta sbloccato.",
        Text(
            "Switch them on with: uci set stripe-payments.main.enabled=1; uci commit stripe-payments; "
            "reload_config",
            "Attivali con: uci set stripe-payments.main.enabled=1; uci commit stripe-payments; reload_config",
        ),
    )


async def state_directory(probes: Probes) -> Finding:
    """The keys' folder: its owner's alone."""
    folder = probes.situation.state_dir

    def look() -> list[Path]:
        private = (folder, folder / "secrets.json", folder / "ledger.db", folder / "identity.json")
        return [path for path in private if path.exists() and stat.S_IMODE(path.stat().st_mode) & 0o077]

    try:
        wrong = await probes.off_the_loop(look)
    except OSError as error:
        reason = error.strerror or type(error).__name__
        return fault(
            f"{folder} cannot be read ({reason}).",
            f"{folder} non è leggibile ({reason}).",
            Text(
                f"Give it to the service: chown -R stripe-payments:stripe-payments {folder}",
                f"Assegnala al servizio: chown -R stripe-payments:stripe-payments {folder}",
            ),
        )
    if wrong:
        names = ", ".join(str(path) for path in wrong)
        return fault(
            f"Others than the service can read: {names}.",
            f"Leggibile anche da altri oltre al servizio: {names}.",
            Text(
                f"Narrow it: chmod -R go= {folder}. If strangers had access, create new keys at Stripe.",
                f"Limita i permessi: chmod -R go= {folder}. Se qualcuno ha avuto accesso, crea nuove chiavi "
                "su Stripe.",
            ),
        )
    return fine(f"{folder} is the service's alone.", f"{folder} è accessibile solo al servizio.")


async def storage(probes: Probes) -> Finding:
    folder = probes.situation.state_dir
    found = await probes.off_the_loop(lambda: probes.situation.statvfs(folder))
    free = found.f_bavail * found.f_frsize
    out_of_files = found.f_files > 0 and found.f_favail < 8
    kib = free // 1024
    if free < FULL_BYTES or out_of_files:
        return fault(
            f"The storage of {folder} is full: {kib} KiB are free. Payments cannot be stored.",
            f"La memoria di {folder} è piena: {kib} KiB liberi. I pagamenti non possono essere salvati.",
            _SPACE_HINT,
        )
    if free < LOW_BYTES:
        return warning(
            f"The storage of {folder} is nearly full: {kib} KiB are free.",
            f"La memoria di {folder} è quasi piena: {kib} KiB liberi.",
            _SPACE_HINT,
        )
    return fine(f"{kib // 1024} MiB of storage are free.", f"{kib // 1024} MiB di memoria liberi.")


async def ledger(probes: Probes) -> Finding:
    situation = probes.situation
    if situation.ledger is None:
        return STARTING if situation.refusal is None else of_error(situation.refusal)
    path = situation.state_dir / "ledger.db"
    restart = Text(
        "Restart the service: service stripe-payments restart. The ledger is filled from Stripe again then; "
        "nothing is locked meanwhile.",
        "Riavvia il servizio: service stripe-payments restart. Il registro viene ricostruito da Stripe; nel "
        "frattempo nulla viene bloccato.",
    )
    try:
        size = (await probes.off_the_loop(path.stat)).st_size
    except FileNotFoundError:
        return fault(
            f"The ledger {path} was deleted while in use.",
            f"Il registro {path} è stato eliminato mentre era in uso.",
            restart,
        )
    try:
        await situation.ledger.write(lambda tx: tx.meta.set(META_CHECKED, str(situation.now)))
        damage = await situation.ledger.read(lambda tx: tx.damage()) if size <= INTEGRITY_BYTES else None
        if damage is not None:
            situation.ledger.condemn(damage)
    except PaymentError as error:
        damage = situation.ledger.damage  # a page that somebody else, or these very lines, came upon
        if damage is None:
            return of_error(error)
    if damage is not None:
        return fault(
            f"The ledger is damaged: {damage}.",
            f"Il registro è danneggiato: {damage}.",
            Text(
                "It is being set aside and filled from Stripe again; nothing is locked meanwhile.",
                "Viene messo da parte e ricostruito da Stripe; nel frattempo nulla viene bloccato.",
            ),
        )
    if situation.ledger.rebuilt:
        return warning(
            "The ledger was damaged and has been begun anew from Stripe's data.",
            "Il registro era danneggiato ed è stato ricostruito dai dati di Stripe.",
            Text(
                f"The old file is kept beside it ({path.name}.corrupt-…). If this happens again, the storage "
                "is failing.",
                f"Il vecchio file è conservato accanto ({path.name}.corrupt-…). Se succede ancora, la "
                "memoria si sta guastando.",
            ),
        )
    return fine(
        f"The ledger can be written and is intact ({size // 1024} KiB).",
        f"Il registro è scrivibile e integro ({size // 1024} KiB).",
    )


async def settings_helper(probes: Probes) -> Finding:
    """`stripe-payments.uci` in rpcd: reads the configuration, writes what is unlocked."""
    situation = probes.situation
    try:
        loaded = await situation.bus.call("stripe-payments.uci", "load", {}, timeout=_BUS_TIMEOUT_S)
    except StatusError as error:
        if error.status not in (Status.NOT_FOUND, Status.METHOD_NOT_FOUND, Status.PERMISSION_DENIED):
            return fault(
                f"rpcd cannot read the configuration ({error.status.name}).",
                f"rpcd non riesce a leggere la configurazione ({error.status.name}).",
                Text(
                    "Look for a mistake in /etc/config/stripe-payments and stripe-features: uci show "
                    "stripe-payments",
                    "Cerca un errore in /etc/config/stripe-payments e stripe-features: uci show "
                    "stripe-payments",
                ),
            )
        return fault(
            "rpcd does not offer “stripe-payments.uci”: features can neither be unlocked nor locked.",
            "rpcd non offre “stripe-payments.uci”: le funzioni non possono essere sbloccate né bloccate.",
            _RPCD_HINT,
        )
    except (ConnectionLost, CallTimeout, ProtocolError):
        return fault("rpcd does not answer.", "rpcd non risponde.", _RPCD_HINT)
    if situation.refusal is None and situation.ledger is not None:
        current = Settings.from_uci(sections_of(loaded.get("settings")))
        if current != situation.settings:
            return warning(
                "The configuration was changed, and the service has not read it yet.",
                "La configurazione è cambiata e il servizio non l'ha ancora letta.",
                Text(
                    "Have it read: service stripe-payments reload",
                    "Falla rileggere: service stripe-payments reload",
                ),
            )
    return fine("rpcd's helper answers.", "L'aiutante in rpcd risponde.")


async def hotplug(probes: Probes) -> Finding:
    """Whether scripts in /etc/hotplug.d/stripe-payments can be told; calling it would run them."""
    try:
        found = await probes.situation.bus.lookup_strictly("hotplug.stripe-payments")
    except StatusError as error:
        if error.status is not Status.NOT_FOUND:
            return fault(
                f"The bus refuses the look-up ({error.status.name}).",
                f"Il bus rifiuta la ricerca ({error.status.name}).",
                _ACL_HINT,
            )
        return warning(
            "There is no bus object “hotplug.stripe-payments”: scripts are not told when a feature unlocks.",
            "Manca l'oggetto “hotplug.stripe-payments” sul bus: gli script non vengono avvisati quando una "
            "funzione si sblocca.",
            Text(
                "Make the folder /etc/hotplug.d/stripe-payments and restart the router (procd looks for it "
                "at the start).",
                "Crea la cartella /etc/hotplug.d/stripe-payments e riavvia il router (procd la cerca "
                "all'avvio).",
            ),
        )
    except (ConnectionLost, CallTimeout, ProtocolError):
        return fault("The bus does not answer.", "Il bus non risponde.", _ACL_HINT)
    if not found:
        return warning(
            "The service may not call “hotplug.stripe-payments”: scripts are not told when a feature "
            "unlocks.",
            "Il servizio non può chiamare “hotplug.stripe-payments”: gli script non vengono avvisati quando "
            "una funzione si sblocca.",
            _ACL_HINT,
        )
    if not probes.situation.bus.connected:
        return note("The bus is just coming back.", "Il bus sta tornando disponibile.")
    return fine("Hotplug scripts can be told.", "Gli script hotplug possono essere avvisati.")
