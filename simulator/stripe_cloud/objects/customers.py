"""Customers and the payment methods attached to them."""

from __future__ import annotations

from ..account import Account
from ..api_errors import Json
from ..cards import TestCard

ADDRESS_FIELDS = ("city", "country", "line1", "line2", "postal_code", "state")


def address(params: Json | str | None) -> Json | None:
    if not isinstance(params, dict):
        return None
    return {name: params.get(name) for name in ADDRESS_FIELDS}


def customer(account: Account, params: Json) -> Json:
    invoice_settings = params.get("invoice_settings", {})
    shipping = params.get("shipping") or None
    return {
        "id": account.new_id("cus", 14),
        "object": "customer",
        "address": address(params.get("address")),
        "balance": params.get("balance", 0),
        "created": account.now(),
        "currency": None,
        "default_source": None,
        "delinquent": False,
        "description": params.get("description"),
        "discount": None,
        "email": params.get("email"),
        "invoice_prefix": params.get("invoice_prefix") or account.token(8).upper(),
        "invoice_settings": {
            "custom_fields": invoice_settings.get("custom_fields") or None,
            "default_payment_method": invoice_settings.get("default_payment_method"),
            "footer": invoice_settings.get("footer"),
            "rendering_options": invoice_settings.get("rendering_options") or None,
        },
        "livemode": account.livemode,
        "metadata": params.get("metadata") or {},
        "name": params.get("name"),
        "next_invoice_sequence": params.get("next_invoice_sequence", 1),
        "phone": params.get("phone"),
        "preferred_locales": params.get("preferred_locales", []),
        "shipping": shipping and {**shipping, "address": address(shipping["address"])},
        "tax_exempt": params.get("tax_exempt") or "none",
        "test_clock": None,
    }


def payment_method(account: Account, card: TestCard, customer_id: str | None, billing: Json) -> Json:
    """A card or a SEPA debit account; `billing` has email and name."""
    method: Json = {
        "id": account.new_id("pm_1"),
        "object": "payment_method",
        "allow_redisplay": "limited",
        "billing_details": billing_details(billing),
        "created": account.now(),
        "customer": customer_id,
        "customer_account": None,
        "livemode": account.livemode,
        "metadata": {},
        "type": card.kind,
    }
    if card.kind == "sepa_debit":
        method["sepa_debit"] = {
            "bank_code": "37040044",
            "branch_code": "",
            "country": card.country,
            "fingerprint": card.fingerprint,
            "generated_from": {"charge": None, "setup_attempt": None},
            "last4": card.last4,
        }
    else:
        method["card"] = {
            "brand": card.brand,
            "checks": {"address_line1_check": None, "address_postal_code_check": None, "cvc_check": "pass"},
            "country": card.country,
            "display_brand": card.brand,
            "exp_month": card.exp_month,
            "exp_year": card.exp_year,
            "fingerprint": card.fingerprint,
            "funding": card.funding,
            "generated_from": None,
            "last4": card.last4,
            "networks": {"available": [card.brand], "preferred": None},
            "regulated_status": "unregulated",
            "three_d_secure_usage": {"supported": True},
            "wallet": None,
        }
    return method


def billing_details(billing: Json) -> Json:
    return {
        "address": address(billing.get("address") or {}),
        "email": billing.get("email"),
        "name": billing.get("name"),
        "phone": billing.get("phone"),
        "tax_id": None,
    }


def balance_transaction(
    account: Account, customer_object: Json, amount: int, kind: str, currency: str, params: Json
) -> Json:
    """Of the credit balance, after `amount` was added to it."""
    return {
        "id": account.new_id("cbtxn_1"),
        "object": "customer_balance_transaction",
        "amount": amount,
        "checkout_session": None,
        "created": account.now(),
        "credit_note": None,
        "currency": currency,
        "customer": customer_object["id"],
        "customer_account": None,
        "description": params.get("description"),
        "ending_balance": customer_object["balance"],
        "invoice": None,
        "livemode": account.livemode,
        "metadata": params.get("metadata") or {},
        "type": kind,
    }
