"""The account itself, its balance, webhook endpoints."""

from __future__ import annotations

from ..account import Account
from ..api_errors import Json


def account_object(account: Account) -> Json:
    return {
        "id": account.ACCOUNT_ID,
        "object": "account",
        "business_profile": {
            "annual_revenue": None,
            "estimated_worker_count": None,
            "mcc": "5734",
            "name": account.NAME,
            "product_description": None,
            "support_address": None,
            "support_email": None,
            "support_phone": None,
            "support_url": None,
            "url": None,
        },
        "business_type": "company",
        "capabilities": {"card_payments": "active", "sepa_debit_payments": "active", "transfers": "active"},
        "charges_enabled": True,
        "country": account.COUNTRY,
        "default_currency": "eur",
        "details_submitted": True,
        "email": "owner@router-os.example",
        "metadata": {},
        "payouts_enabled": True,
        "type": "standard",
    }


def balance(account: Account, pending: dict[str, int]) -> Json:
    currencies = sorted(pending) or ["eur"]
    return {
        "object": "balance",
        "available": [{"amount": 0, "currency": name, "source_types": {"card": 0}} for name in currencies],
        "livemode": account.livemode,
        "pending": [
            {"amount": pending.get(name, 0), "currency": name, "source_types": {"card": pending.get(name, 0)}}
            for name in currencies
        ],
    }


def webhook_endpoint(account: Account, params: Json) -> Json:
    """Without `secret`: that is shown once, in the answer to its creation."""
    return {
        "id": account.new_id("we_1"),
        "object": "webhook_endpoint",
        "api_version": params.get("api_version"),
        "application": None,
        "created": account.now(),
        "description": params.get("description") or None,
        "enabled_events": params["enabled_events"],
        "livemode": account.livemode,
        "metadata": params.get("metadata") or {},
        "status": "enabled",
        "url": params["url"],
    }
