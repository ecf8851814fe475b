"""Subscription schedules."""

from __future__ import annotations

from ..account import Account
from ..api_errors import Json


def from_subscription(account: Account, sub: Json) -> Json:
    """One phase: the subscription's present period."""
    items = sub["items"]["data"]
    start, end = items[0]["current_period_start"], items[0]["current_period_end"]
    return {
        "id": account.new_id("sub_sched_1"),
        "object": "subscription_schedule",
        "application": None,
        "billing_mode": sub["billing_mode"],
        "canceled_at": None,
        "completed_at": None,
        "created": account.now(),
        "current_phase": {"start_date": start, "end_date": end},
        "customer": sub["customer"],
        "customer_account": None,
        "default_settings": _settings(sub),
        "end_behavior": "release",
        "livemode": account.livemode,
        "metadata": {},
        "pause_schedules": [],
        "phases": [{**_settings(sub), **_phase(sub, items, start, end)}],
        "released_at": None,
        "released_subscription": None,
        "status": "active",
        "subscription": sub["id"],
        "test_clock": None,
    }


def _settings(sub: Json) -> Json:
    return {
        "application_fee_percent": None,
        "automatic_tax": {"disabled_reason": None, "enabled": False, "liability": None},
        "billing_cycle_anchor": "automatic",
        "billing_thresholds": None,
        "collection_method": sub["collection_method"],
        "default_payment_method": sub["default_payment_method"],
        "description": sub["description"],
        "invoice_settings": {"account_tax_ids": None, "days_until_due": None, "issuer": {"type": "self"}},
        "on_behalf_of": None,
        "transfer_data": None,
    }


def phase_item(price: str, quantity: int, metadata: Json) -> Json:
    return {
        "billing_thresholds": None,
        "discounts": [],
        "metadata": metadata,
        "plan": price,
        "price": price,
        "quantity": quantity,
        "tax_rates": [],
    }


def _phase(sub: Json, items: list[Json], start: int, end: int) -> Json:
    return {
        "add_invoice_items": [],
        "billing_cycle_anchor": None,
        "currency": sub["currency"],
        "default_tax_rates": [],
        "discounts": [],
        "end_date": end,
        "items": [phase_item(item["price"]["id"], item["quantity"], item["metadata"]) for item in items],
        "metadata": {},
        "proration_behavior": "create_prorations",
        "start_date": start,
        "trial_end": None,
    }
