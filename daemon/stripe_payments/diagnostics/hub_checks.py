"""The table of checks in hub mode, which has no key and no webhook.

To save memory it imports neither `billing`, `setup`, `stripe_api` nor `sync`.
"""

from __future__ import annotations

from typing import Final

from stripe_payments.diagnostics import connection, enrollment, gateway, pending, router, storage
from stripe_payments.diagnostics.finding import BUS_S, DISK_S, NETWORK_S, QUICK_S, STRIPE_S, Check

HUB_CHECKS: Final[tuple[Check, ...]] = (
    Check("settings", router.settings, QUICK_S),
    Check("enabled", router.enabled, QUICK_S),
    Check("dns", connection.dns, NETWORK_S),
    Check("connection", connection.connection, NETWORK_S),
    Check("tls", connection.tls, NETWORK_S),
    Check("seller", enrollment.seller, STRIPE_S),
    Check("clock", enrollment.hub_clock, QUICK_S),
    Check("checkouts", pending.checkouts, QUICK_S),
    Check("effects", pending.effects, QUICK_S),
    Check("ledger", router.ledger, DISK_S),
    Check("storage", storage.storage, DISK_S),
    Check("state_directory", storage.state_directory, DISK_S),
    Check("settings_helper", router.settings_helper, BUS_S),
    Check("gateway", gateway.gateway, BUS_S),
    Check("hotplug", router.hotplug, BUS_S),
)
