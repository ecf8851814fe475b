"""Checks of the router: configuration, ledger, rpcd helper and hotplug."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from stripe_payments.diagnostics.finding import STARTING, Finding, from_error
from stripe_payments.diagnostics.probes import Probes
from stripe_payments.entitlements import Entitlement
from stripe_payments.errors import PaymentError
from stripe_payments.i18n import _, joined
from stripe_payments.ledger import SQLiteLedger, SQLiteTransaction
from stripe_payments.settings import settings_from_uci
from stripe_payments.settings.loader import sections_of
from stripe_payments.unlocks.router_bus import out_of_date
from ubus_py import CallTimeout, ConnectionLost, ProtocolError, Status, StatusError, UbusError

INTEGRITY_BYTES: Final = 32 * 1024 * 1024
"""A larger ledger is checked only at the start: an integrity check blocks payments while it runs."""
META_CHECKED: Final = "last_check"
SLOW_SCRIPT_S: Final = 5
"""The pause between two calls of the scripts for one feature (`unlocks/worker.py`)."""

_BUS_TIMEOUT_S: Final = 4.0
_LOGINS_TIMEOUT_S: Final = 2.0
_RPCD_HINT: Final = _(
    "Run: killall -HUP rpcd || service rpcd restart. If that does not help, reinstall the package "
    "stripe-payments."
)
"""SIGHUP loads the plugin and keeps LuCI's sessions. A restart ends them: only where rpcd does not run."""
_HANGING_HINT: Final = _("Run: service rpcd restart. Everybody has to log in to LuCI again.")
_ACL_HINT: Final = _(
    "Reload the permissions of ubusd: killall -HUP ubusd. If that does not help, reinstall the package "
    "stripe-payments."
)
_MALFORMED_HINT: Final = _(
    "Look for a syntax error in /etc/config/stripe-payments and stripe-features: uci show stripe-payments"
)


async def settings(probes: Probes) -> Finding:
    problems = probes.situation.settings.problems
    if problems:
        return Finding(
            "warning",
            joined(problem.text for problem in problems),
            _(
                "Correct the settings (/etc/config/stripe-payments); invalid values are ignored or replaced "
                "by the default."
            ),
        )
    return Finding("ok", _("The configuration is valid."))


async def enabled(probes: Probes) -> Finding:
    if probes.situation.settings.enabled:
        return Finding("ok", _("Payments are enabled."))
    return Finding(
        "warning",
        _("Payments are disabled: nothing can be bought; purchases stay unlocked."),
        _(
            "Enable payments in Settings, or run: uci set stripe-payments.main.enabled=1; uci commit "
            "stripe-payments; reload_config"
        ),
    )


async def managed(probes: Probes) -> Finding:
    """Who may use the seller's methods."""
    if probes.situation.settings.managed and (others := await _unlimited_logins(probes)):
        return Finding(
            "warning",
            _(
                "Managed router, but these LuCI logins may do everything, and switch that off: {names}.",
                names=", ".join(others),
            ),
            _(
                "In /etc/config/rpcd list the groups luci-app-stripe-payments and -buy instead of '*', as in "
                "the operator's guide."
            ),
        )
    if probes.situation.settings.managed:
        return Finding(
            "ok",
            _(
                "Managed router: grants, refunds and set-up are not in LuCI and not on the bus, only in "
                "/etc/init.d/stripe-payments."
            ),
        )
    return Finding(
        "ok",
        _(
            "Not managed: every LuCI login with the right “admin”, such as root's, can grant, refund and set "
            "up."
        ),
    )


async def _unlimited_logins(probes: Probes) -> list[str]:
    """The logins, besides root, that hold ``list write '*'`` or a group of every method on the bus."""
    try:
        reply: Any = await probes.situation.bus.call(
            "stripe-payments.uci", "unlimited_logins", {}, timeout=_LOGINS_TIMEOUT_S
        )
    except UbusError:
        return []  # `settings_helper` reports it
    return [name for name in reply["logins"] if name != "root"]


async def ledger(probes: Probes) -> Finding:
    situation = probes.situation
    if situation.ledger is None:
        return STARTING if situation.refusal is None else from_error(situation.refusal)
    path = situation.state_dir / "ledger.db"
    restart = _(
        "Restart the payment service, or run: service stripe-payments restart. The ledger is rebuilt from "
        "Stripe; nothing is locked in the meantime."
    )
    try:
        size = (await probes.in_thread(path.stat)).st_size
    except FileNotFoundError:
        return Finding(
            "error",
            _("The ledger {path} was deleted while in use.", path=path),
            restart,
        )
    try:
        await situation.ledger.write(lambda tx: tx.meta.set(META_CHECKED, str(situation.now)))
        damage = await situation.ledger.read(lambda tx: tx.damage()) if size <= INTEGRITY_BYTES else None
        if damage is not None:
            situation.ledger.mark_corrupt(damage)
    except PaymentError as error:
        damage = situation.ledger.corruption  # found by this check or by another query
        if damage is None:
            return from_error(error)
    if damage is not None:
        return Finding(
            "error",
            _("The ledger is corrupt: {damage}.", damage=damage),
            _("It is being rebuilt from Stripe; nothing is locked in the meantime."),
        )
    if situation.ledger.rebuilt:
        return Finding(
            "warning",
            _("The ledger was corrupt and has been rebuilt from Stripe."),
            _(
                "The corrupt file is kept as {name}.corrupt-…. If this happens again, the storage is "
                "failing.",
                name=path.name,
            ),
        )
    return Finding("ok", _("The ledger is writable and intact ({kib} KiB).", kib=size // 1024))


async def settings_helper(probes: Probes) -> Finding:
    """`stripe-payments.uci` in rpcd reads the configuration and writes the unlocked features."""
    situation = probes.situation
    try:
        loaded = await situation.bus.call("stripe-payments.uci", "load", {}, timeout=_BUS_TIMEOUT_S)
    except StatusError as error:
        if error.status not in (Status.NOT_FOUND, Status.METHOD_NOT_FOUND, Status.PERMISSION_DENIED):
            return Finding(
                "error",
                _("rpcd cannot read the configuration ({name}).", name=error.status.name),
                _MALFORMED_HINT,
            )
        return Finding(
            "error",
            _("rpcd does not provide “stripe-payments.uci”: features can neither be unlocked nor locked."),
            _RPCD_HINT,
        )
    except (ConnectionLost, CallTimeout, ProtocolError):
        return Finding("error", _("rpcd does not answer."), _HANGING_HINT)
    if "settings" not in loaded:
        name = "/etc/config/stripe-payments"
        if reason := loaded.get("malformed"):
            name = f"{name}: {reason}"
        return Finding("error", _("rpcd cannot read the configuration ({name}).", name=name), _MALFORMED_HINT)
    if situation.refusal is None and situation.ledger is not None:
        current = settings_from_uci(sections_of(loaded.get("settings")))
        if current != situation.settings:
            return Finding(
                "warning",
                _("The configuration was changed but not reloaded."),
                _("Reload it: service stripe-payments reload"),
            )
        if wrong := await _out_of_date(situation.ledger, loaded.get("features")):
            return Finding(
                "warning",
                _(
                    "/etc/config/stripe-features does not hold the present state of: {names}.",
                    names=", ".join(wrong),
                ),
                _("It was edited, removed or damaged. Repair it: service stripe-payments reload"),
            )
    return Finding("ok", _("The configuration can be read and written."))


async def _out_of_date(ledger: SQLiteLedger, sections: object) -> list[str]:
    """The features that are wrong in UCI; none while changes are being delivered."""

    def read(tx: SQLiteTransaction) -> tuple[int, Mapping[str, Entitlement]]:
        return tx.outbox.pending_count(), tx.features.all()

    pending, features = await ledger.read(read)
    if pending:
        return []
    return sorted(one.feature for one in out_of_date(features, sections_of(sections), fresh=ledger.fresh))


async def hotplug(probes: Probes) -> Finding:
    """Only looks the object up: a call would run the scripts in /etc/hotplug.d/stripe-payments."""
    try:
        found = await probes.situation.bus.lookup_strictly("hotplug.stripe-payments")
    except StatusError as error:
        if error.status is not Status.NOT_FOUND:
            return Finding(
                "error",
                _("ubus denied the lookup ({name}).", name=error.status.name),
                _ACL_HINT,
            )
        return Finding(
            "warning",
            _("The bus object “hotplug.stripe-payments” is missing: hotplug scripts are not run."),
            _(
                "Create the directory /etc/hotplug.d/stripe-payments and reboot the router (procd looks for "
                "it at boot)."
            ),
        )
    except (ConnectionLost, CallTimeout, ProtocolError):
        return Finding("error", _("ubus does not answer."), _ACL_HINT)
    if not found:
        return Finding(
            "warning",
            _("The service lacks permission to call “hotplug.stripe-payments”: hotplug scripts are not run."),
            _ACL_HINT,
        )
    if not probes.situation.bus.connected:
        return Finding("info", _("Reconnecting to ubus."))
    return await _slow_script(probes) or Finding("ok", _("Hotplug scripts can be run."))


async def _slow_script(probes: Probes) -> Finding | None:
    """The script that has been running for longest, if that is too long. procd does not wait for scripts."""
    try:
        reply: Any = await probes.situation.bus.call(
            "stripe-payments.uci", "scripts", {}, timeout=_BUS_TIMEOUT_S
        )
    except UbusError:
        return None  # `settings_helper` reports it
    slowest = max(reply["running"], key=lambda one: one["seconds"], default=None)
    if slowest is None or slowest["seconds"] <= SLOW_SCRIPT_S:
        return None
    return Finding(
        "warning",
        _(
            "The hotplug script {script} has been running for {seconds} seconds: the scripts of the next "
            "change start beside it.",
            script=slowest["script"],
            seconds=slowest["seconds"],
        ),
        _(
            "Have the script start slow programs in the background (program &), and query feature_unlocked "
            "there instead of using ACTION."
        ),
    )
