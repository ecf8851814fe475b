"""Check of the web servers: the gateway on LuCI's own, and the public one."""

from __future__ import annotations

from typing import Any, Final

from stripe_payments.diagnostics.finding import Finding
from stripe_payments.diagnostics.probes import Probes
from stripe_payments.i18n import _
from ubus_py import UbusError

MOUNTS: Final = ("/api/payments", "/payment-success", "/payment-cancel")
_TIMEOUT_S: Final = 4.0
_RESTART: Final = _("Run: service stripe-payments restart")


async def gateway(probes: Probes) -> Finding:
    """rpcd's helper reads the configuration of uhttpd, and which process listens."""
    settings = probes.situation.settings
    try:
        found: Any = await probes.situation.bus.call(
            "stripe-payments.uci", "web_servers", {}, timeout=_TIMEOUT_S
        )
    except UbusError:
        return Finding("info", _("Not checked: rpcd does not answer."))
    missing = [mount for mount in MOUNTS if mount not in found["mounts"]]
    if missing:
        return Finding(
            "error",
            _(
                "The web server of LuCI does not serve {paths}: buyers return to a page that does not exist.",
                paths=", ".join(missing),
            ),
            _("Run: uci commit uhttpd; service stripe-payments restart") if found["staged"] else _RESTART,
        )
    listeners = {one["listen"]: one for one in found["listeners"]}
    wanted = [listeners[address] for address in settings.listen if address in listeners]
    if not settings.enabled or not wanted:
        return Finding("ok", _("The web server of LuCI serves the payment pages."))
    if not found["certificate"]:
        return Finding(
            "error",
            _("The public gateway is closed: its certificate or key cannot be read."),
            _(
                "Correct the options cert and key in /etc/config/stripe-payments. Then run: service "
                "stripe-payments restart"
            ),
        )
    for one in wanted:
        if not one["open"]:
            return _closed(one["listen"], one["holder"])
    return Finding(
        "ok",
        _(
            "The web server of LuCI serves the payment pages; the public gateway listens on {addresses}.",
            addresses=", ".join(one["listen"] for one in wanted),
        ),
    )


def _closed(address: str, holder: str) -> Finding:
    if holder:
        return Finding(
            "error",
            _("The public gateway is closed: {address} is used by {holder}.", address=address, holder=holder),
            _(
                "Stop that program, or choose another port with the option listen in "
                "/etc/config/stripe-payments. Then run: service stripe-payments restart"
            ),
        )
    return Finding("error", _("The public gateway does not listen on {address}.", address=address), _RESTART)
