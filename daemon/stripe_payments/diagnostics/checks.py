"""The table of checks: id (part of the API), function and timeout."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Final

from stripe_payments.diagnostics import (
    account,
    activity,
    connection,
    enrollment,
    gateway,
    router,
    storage,
    webhook,
)
from stripe_payments.diagnostics.finding import Finding
from stripe_payments.diagnostics.probes import Probes


@dataclass(frozen=True, slots=True)
class Check:
    """`timeout` in seconds; a check that exceeds it is an error itself."""

    id: str
    run: Callable[[Probes], Awaitable[Finding]]
    timeout: float


_QUICK: Final = 3.0
_DISK: Final = 6.0
_BUS: Final = 6.0
_NETWORK: Final = 10.0
_STRIPE: Final = 15.0

CHECKS: Final = (
    Check("settings", router.settings, _QUICK),
    Check("enabled", router.enabled, _QUICK),
    Check("managed", router.managed, _QUICK),
    Check("key", account.key, _STRIPE),
    Check("key_permissions", account.key_permissions, _STRIPE),
    Check("key_mode", account.key_mode, _STRIPE),
    Check("dns", connection.dns, _NETWORK),
    Check("connection", connection.connection, _NETWORK),
    Check("ca_bundle", connection.ca_bundle, _DISK),
    Check("tls", connection.tls, _NETWORK),
    Check("stripe", connection.stripe, _STRIPE),
    Check("clock", connection.clock, _STRIPE),
    Check("prices", account.prices, _STRIPE),
    Check("webhook_endpoint", webhook.webhook_endpoint, _STRIPE),
    Check("webhook_deliveries", webhook.webhook_deliveries, _QUICK),
    Check("polling", activity.polling, _QUICK),
    Check("checkouts", activity.checkouts, _QUICK),
    Check("events", activity.events, _QUICK),
    Check("effects", activity.effects, _QUICK),
    Check("payments", activity.payments, _QUICK),
    Check("subscriptions", activity.subscriptions, _QUICK),
    Check("ledger", router.ledger, _DISK),
    Check("storage", storage.storage, _DISK),
    Check("state_directory", storage.state_directory, _DISK),
    Check("settings_helper", router.settings_helper, _BUS),
    Check("gateway", gateway.gateway, _BUS),
    Check("hotplug", router.hotplug, _BUS),
)

HUB_CHECKS: Final = (
    Check("settings", router.settings, _QUICK),
    Check("enabled", router.enabled, _QUICK),
    Check("dns", connection.dns, _NETWORK),
    Check("connection", connection.connection, _NETWORK),
    Check("tls", connection.tls, _NETWORK),
    Check("seller", enrollment.seller, _STRIPE),
    Check("clock", enrollment.hub_clock, _QUICK),
    Check("checkouts", activity.checkouts, _QUICK),
    Check("effects", activity.effects, _QUICK),
    Check("ledger", router.ledger, _DISK),
    Check("storage", storage.storage, _DISK),
    Check("state_directory", storage.state_directory, _DISK),
    Check("settings_helper", router.settings_helper, _BUS),
    Check("gateway", gateway.gateway, _BUS),
    Check("hotplug", router.hotplug, _BUS),
)
"""Those of hub mode, which has no key and no webhook."""
