"""The table of checks in direct mode: id (part of the API), function and timeout."""

from __future__ import annotations

from typing import Final

from stripe_payments.diagnostics import (
    account,
    activity,
    connection,
    gateway,
    pending,
    router,
    storage,
    webhook,
)
from stripe_payments.diagnostics.finding import BUS_S, DISK_S, NETWORK_S, QUICK_S, STRIPE_S, Check

CHECKS: Final[tuple[Check, ...]] = (
    Check("settings", router.settings, QUICK_S),
    Check("enabled", router.enabled, QUICK_S),
    Check("managed", router.managed, QUICK_S),
    Check("key", account.key, STRIPE_S),
    Check("key_permissions", account.key_permissions, STRIPE_S),
    Check("key_mode", account.key_mode, STRIPE_S),
    Check("dns", connection.dns, NETWORK_S),
    Check("connection", connection.connection, NETWORK_S),
    Check("ca_bundle", connection.ca_bundle, DISK_S),
    Check("tls", connection.tls, NETWORK_S),
    Check("stripe", connection.stripe, STRIPE_S),
    Check("clock", connection.clock, STRIPE_S),
    Check("prices", account.prices, STRIPE_S),
    Check("webhook_endpoint", webhook.webhook_endpoint, STRIPE_S),
    Check("webhook_deliveries", webhook.webhook_deliveries, QUICK_S),
    Check("polling", activity.polling, QUICK_S),
    Check("checkouts", pending.checkouts, QUICK_S),
    Check("events", pending.events, QUICK_S),
    Check("effects", pending.effects, QUICK_S),
    Check("payments", activity.payments, QUICK_S),
    Check("subscriptions", activity.subscriptions, QUICK_S),
    Check("ledger", router.ledger, DISK_S),
    Check("storage", storage.storage, DISK_S),
    Check("state_directory", storage.state_directory, DISK_S),
    Check("settings_helper", router.settings_helper, BUS_S),
    Check("gateway", gateway.gateway, BUS_S),
    Check("hotplug", router.hotplug, BUS_S),
)
