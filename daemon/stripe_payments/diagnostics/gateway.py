"""Check of the web servers: the gateway on LuCI's own, and the public one."""

from __future__ import annotations

import asyncio
import ssl
from typing import Any, Final

from stripe_payments.diagnostics.finding import Finding
from stripe_payments.diagnostics.probes import Probes
from stripe_payments.i18n import _
from ubus_py import UbusError

MOUNTS: Final = ("/api/payments", "/payment-success", "/payment-cancel")
_TIMEOUT_S: Final = 4.0
_STILL_BUSY_S: Final = 1.0
"""Servers are busy where two looks, this far apart, find no free script slot."""
_BUS_OVER_HTTP_S: Final = 1.0
_SEEN_BY_ALL: Final = "stripe-payments.uci"
"""The bus object of rpcd, which has just answered."""
_RESTART: Final = _("Run: service stripe-payments restart")


async def gateway(probes: Probes) -> Finding:
    """rpcd's helper reads the configuration of uhttpd, which process listens, and how many scripts run."""
    try:
        found = await _web_servers(probes)
        if _busy(found):
            await asyncio.sleep(_STILL_BUSY_S)
            found = await _web_servers(probes)
    except UbusError:
        return Finding("info", _("Not checked: rpcd does not answer."))
    return (
        _not_served(probes, found)
        or await _without_bus(found)
        or _busy(found)
        or _unlimited(found)
        or _served(probes, found)
    )


async def _web_servers(probes: Probes) -> dict[str, Any]:
    return dict(await probes.situation.bus.call("stripe-payments.uci", "web_servers", {}, timeout=_TIMEOUT_S))


def _open_addresses(probes: Probes, found: dict[str, Any]) -> list[dict[str, Any]]:
    """The listeners that the settings want; none while payments are disabled."""
    settings = probes.situation.settings
    if not settings.enabled:
        return []
    listeners = {one["listen"]: one for one in found["listeners"]}
    return [listeners[address] for address in settings.listen if address in listeners]


def _not_served(probes: Probes, found: dict[str, Any]) -> Finding | None:
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
    wanted = _open_addresses(probes, found)
    if wanted and not found["certificate"]:
        return Finding(
            "error",
            _("The public gateway is closed: its certificate or key cannot be read."),
            _(
                "Correct the options cert and key in /etc/config/stripe-payments. Then run: service "
                "stripe-payments restart"
            ),
        )
    return next((_closed(one["listen"], one["holder"]) for one in wanted if not one["open"]), None)


async def _without_bus(found: dict[str, Any]) -> Finding | None:
    """uhttpd connects to ubusd at its start only (ubus.c), and LuCI's scripts use that connection."""
    statuses = await asyncio.gather(*(_status_of(server) for server in found["bus"]))
    if 500 not in statuses:
        return None
    return Finding(
        "error",
        _(
            "The web server of LuCI has lost its connection to ubusd, which was restarted: LuCI does not "
            "open."
        ),
        _("Run: service uhttpd restart"),
    )


async def _status_of(server: dict[str, Any]) -> int | None:
    """Return the HTTP status of uhttpd's description of a bus object; None without an answer."""
    host, _colon, port = server["address"].rpartition(":")
    if host in ("", "0.0.0.0"):  # noqa: S104 - it listens there
        host = "127.0.0.1"
    elif host == "[::]":
        host = "::1"
    context: ssl.SSLContext | None = None
    if server["secure"]:  # the certificate is the router's own, and nothing secret is sent
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    try:
        async with asyncio.timeout(_BUS_OVER_HTTP_S):
            reader, writer = await asyncio.open_connection(host.strip("[]"), int(port), ssl=context)
            try:
                writer.write(f"GET {server['path']}/list/{_SEEN_BY_ALL} HTTP/1.0\r\n\r\n".encode())
                return int((await reader.readline()).split()[1])
            finally:
                writer.close()
    except (OSError, ValueError, IndexError):  # TimeoutError is an OSError
        return None


def _busy(found: dict[str, Any]) -> Finding | None:
    """A server without a free script slot: requests wait, of LuCI also its pages."""
    full = {
        name: one["all"]
        for name, slots in found["slots"].items()
        for one in slots
        if one["used"] >= one["all"]
    }
    if "luci" in full:
        return Finding(
            "warning",
            _(
                "All {number} script slots of LuCI's web server are in use, by slow clients or requests that "
                "wait for Stripe: its pages wait.",
                number=full["luci"],
            ),
            _(
                "Run: uci set uhttpd.main.max_requests=12; uci commit uhttpd; service uhttpd restart. The "
                "clients are shown by: netstat -tn"
            ),
        )
    if "public" in full:
        return Finding(
            "warning",
            _(
                "All {number} script slots of the public gateway are in use, mostly by slow clients: "
                "webhooks wait. Payments are found by polling meanwhile.",
                number=full["public"],
            ),
            _("Block the clients with most connections in the firewall; they are shown by: netstat -tn"),
        )
    return None


def _unlimited(found: dict[str, Any]) -> Finding | None:
    if found["limits_slow_clients"]:
        return None
    return Finding(
        "warning",
        _("ucode-mod-socket is missing: a slow client holds a script slot of LuCI for up to 60 seconds."),
        _("Install ucode-mod-socket (OpenWrt 24.10.1 or newer). Then run: service uhttpd restart"),
    )


def _served(probes: Probes, found: dict[str, Any]) -> Finding:
    wanted = _open_addresses(probes, found)
    if not wanted:
        return Finding("ok", _("The web server of LuCI serves the payment pages."))
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
