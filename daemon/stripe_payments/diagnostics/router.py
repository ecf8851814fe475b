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
    note,
    of_error,
    warning,
)
from stripe_payments.diagnostics.probes import Probes
from stripe_payments.errors import PaymentError
from stripe_payments.i18n import _, joined
from stripe_payments.settings import settings_from_uci
from stripe_payments.settings.loader import sections_of
from ubus_py import CallTimeout, ConnectionLost, ProtocolError, Status, StatusError

LOW_BYTES: Final = 2 * 1024 * 1024
"""The write-ahead log may grow to this before it is folded in."""
FULL_BYTES: Final = 256 * 1024
INTEGRITY_BYTES: Final = 32 * 1024 * 1024
"""A larger ledger is checked at the start alone: looking at every page holds up the payments meanwhile."""
META_CHECKED: Final = "last_check"

_BUS_TIMEOUT_S: Final = 4.0
_RPCD_HINT: Final = _(
    "Restart rpcd: service rpcd restart. If that does not help, install the package stripe-payments again."
)
_ACL_HINT: Final = _(
    "Have ubusd read its permissions again: killall -HUP ubusd. If that does not help, install the package "
    "stripe-payments again."
)
_SPACE_HINT: Final = _("Remove packages or files that are not needed: df -h; du -sh /overlay/*")


async def settings(probes: Probes) -> Finding:
    problems = probes.situation.settings.problems
    if problems:
        return warning(
            joined(problem.text for problem in problems),
            _("Correct /etc/config/stripe-payments; what is wrong is left out or replaced by its default."),
        )
    return fine(_("The configuration has no mistakes."))


async def enabled(probes: Probes) -> Finding:
    if probes.situation.settings.enabled:
        return fine(_("Payments are switched on."))
    return warning(
        _("Payments are switched off: nothing can be bought. What is unlocked stays so."),
        _(
            "Switch them on with: uci set stripe-payments.main.enabled=1; uci commit stripe-payments; "
            "reload_config"
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
            _("{folder} cannot be read ({reason}).", folder=folder, reason=reason),
            _("Give it to the service: chown -R stripe-payments:stripe-payments {folder}", folder=folder),
        )
    if wrong:
        names = ", ".join(str(path) for path in wrong)
        return fault(
            _("Others than the service can read: {names}.", names=names),
            _(
                "Narrow it: chmod -R go= {folder}. If strangers had access, create new keys at Stripe.",
                folder=folder,
            ),
        )
    return fine(_("{folder} is the service's alone.", folder=folder))


async def storage(probes: Probes) -> Finding:
    folder = probes.situation.state_dir
    found = await probes.off_the_loop(lambda: probes.situation.statvfs(folder))
    free = found.f_bavail * found.f_frsize
    out_of_files = found.f_files > 0 and found.f_favail < 8
    kib = free // 1024
    if free < FULL_BYTES or out_of_files:
        return fault(
            _(
                "The storage of {folder} is full: {kib} KiB are free. Payments cannot be stored.",
                folder=folder,
                kib=kib,
            ),
            _SPACE_HINT,
        )
    if free < LOW_BYTES:
        return warning(
            _("The storage of {folder} is nearly full: {kib} KiB are free.", folder=folder, kib=kib),
            _SPACE_HINT,
        )
    return fine(_("{value} MiB of storage are free.", value=kib // 1024))


async def ledger(probes: Probes) -> Finding:
    situation = probes.situation
    if situation.ledger is None:
        return STARTING if situation.refusal is None else of_error(situation.refusal)
    path = situation.state_dir / "ledger.db"
    restart = _(
        "Restart the service: service stripe-payments restart. The ledger is filled from Stripe again then; "
        "nothing is locked meanwhile."
    )
    try:
        size = (await probes.off_the_loop(path.stat)).st_size
    except FileNotFoundError:
        return fault(
            _("The ledger {path} was deleted while in use.", path=path),
            restart,
        )
    try:
        await situation.ledger.write(lambda tx: tx.meta.set(META_CHECKED, str(situation.now)))
        damage = await situation.ledger.read(lambda tx: tx.damage()) if size <= INTEGRITY_BYTES else None
        if damage is not None:
            situation.ledger.mark_corrupt(damage)
    except PaymentError as error:
        damage = situation.ledger.corruption  # found by another query, or by these lines
        if damage is None:
            return of_error(error)
    if damage is not None:
        return fault(
            _("The ledger is damaged: {damage}.", damage=damage),
            _("It is being set aside and filled from Stripe again; nothing is locked meanwhile."),
        )
    if situation.ledger.rebuilt:
        return warning(
            _("The ledger was damaged and has been begun anew from Stripe's data."),
            _(
                "The old file is kept beside it ({name}.corrupt-…). If this happens again, the storage is "
                "failing.",
                name=path.name,
            ),
        )
    return fine(
        _("The ledger can be written and is intact ({value} KiB).", value=size // 1024),
    )


async def settings_helper(probes: Probes) -> Finding:
    """`stripe-payments.uci` in rpcd: reads the configuration, writes what is unlocked."""
    situation = probes.situation
    try:
        loaded = await situation.bus.call("stripe-payments.uci", "load", {}, timeout=_BUS_TIMEOUT_S)
    except StatusError as error:
        if error.status not in (Status.NOT_FOUND, Status.METHOD_NOT_FOUND, Status.PERMISSION_DENIED):
            return fault(
                _("rpcd cannot read the configuration ({name}).", name=error.status.name),
                _(
                    "Look for a mistake in /etc/config/stripe-payments and stripe-features: uci show "
                    "stripe-payments"
                ),
            )
        return fault(
            _("rpcd does not offer “stripe-payments.uci”: features can neither be unlocked nor locked."),
            _RPCD_HINT,
        )
    except (ConnectionLost, CallTimeout, ProtocolError):
        return fault(_("rpcd does not answer."), _RPCD_HINT)
    if situation.refusal is None and situation.ledger is not None:
        current = settings_from_uci(sections_of(loaded.get("settings")))
        if current != situation.settings:
            return warning(
                _("The configuration was changed, and the service has not read it yet."),
                _("Have it read: service stripe-payments reload"),
            )
    return fine(_("rpcd's helper answers."))


async def hotplug(probes: Probes) -> Finding:
    """Whether scripts in /etc/hotplug.d/stripe-payments can be told; calling it would run them."""
    try:
        found = await probes.situation.bus.lookup_strictly("hotplug.stripe-payments")
    except StatusError as error:
        if error.status is not Status.NOT_FOUND:
            return fault(
                _("The bus refuses the look-up ({name}).", name=error.status.name),
                _ACL_HINT,
            )
        return warning(
            _(
                "There is no bus object “hotplug.stripe-payments”: scripts are not told when a feature "
                "unlocks."
            ),
            _(
                "Make the folder /etc/hotplug.d/stripe-payments and restart the router (procd looks for it "
                "at the start)."
            ),
        )
    except (ConnectionLost, CallTimeout, ProtocolError):
        return fault(_("The bus does not answer."), _ACL_HINT)
    if not found:
        return warning(
            _(
                "The service may not call “hotplug.stripe-payments”: scripts are not told when a feature "
                "unlocks."
            ),
            _ACL_HINT,
        )
    if not probes.situation.bus.connected:
        return note(_("The bus is just coming back."))
    return fine(_("Hotplug scripts can be told."))
