"""Checkout sessions and their line items."""

from __future__ import annotations

from typing import Any

from ..account import Account
from ..api_errors import Json
from ..clock import DAY


def line_item(
    account: Account, price: Json, quantity: int, product: Json, *, discount: int, metadata: Json
) -> Json:
    subtotal = price["unit_amount"] * quantity
    return {
        "id": account.new_id("li_1"),
        "object": "item",
        "adjustable_quantity": None,
        "amount_discount": discount,
        "amount_subtotal": subtotal,
        "amount_tax": 0,
        "amount_total": subtotal - discount,
        "currency": price["currency"],
        "description": product["name"],
        "metadata": metadata,
        "price": price,
        "quantity": quantity,
    }


def session(account: Account, params: Json, *, items: list[Json], currency: str | None) -> Json:
    """A session with the status `open`."""
    mode = params.get("mode", "payment")
    session_id = f"cs_{'live' if account.livemode else 'test'}_a1{account.token(56)}"
    hosted = params.get("ui_mode", "hosted_page") == "hosted_page"
    discount = sum(item["amount_discount"] for item in items)
    tax = params.get("automatic_tax", {})
    answer: dict[str, Any] = {
        "id": session_id,
        "object": "checkout.session",
        "adaptive_pricing": {
            "enabled": params.get("adaptive_pricing", {}).get("enabled", account.settings["adaptive_pricing"])
        },
        "after_expiration": None,
        "allow_promotion_codes": params.get("allow_promotion_codes"),
        "amount_subtotal": sum(item["amount_subtotal"] for item in items) if items else None,
        "amount_total": sum(item["amount_total"] for item in items) if items else None,
        "automatic_tax": {
            "enabled": tax.get("enabled", False),
            "liability": {"type": "self"} if tax.get("enabled") else None,
            "provider": "stripe" if tax.get("enabled") else None,
            "status": "requires_location_inputs" if tax.get("enabled") else None,
        },
        "billing_address_collection": params.get("billing_address_collection"),
        "cancel_url": params.get("cancel_url"),
        "client_reference_id": params.get("client_reference_id"),
        "client_secret": None if hosted else f"{session_id}_secret_{account.token(40)}",
        "collected_information": None,
        "consent": None,
        "consent_collection": _consent_collection(params),
        "created": account.now(),
        "currency": currency,
        "currency_conversion": None,
        "custom_fields": [],
        "custom_text": {
            "after_submit": None,
            "shipping_address": None,
            "submit": params.get("custom_text", {}).get("submit"),
            "terms_of_service_acceptance": None,
        },
        "customer": params.get("customer"),
        "customer_account": None,
        "customer_creation": None,
        "customer_details": None,
        "customer_email": params.get("customer_email"),
        "discounts": [],
        "expires_at": params.get("expires_at") or account.now() + DAY,
        "invoice": None,
        "invoice_creation": _invoice_creation(params) if mode == "payment" else None,
        "livemode": account.livemode,
        "locale": params.get("locale"),
        "metadata": params.get("metadata", {}),
        "mode": mode,
        "origin_context": params.get("origin_context"),
        "payment_intent": None,
        "payment_link": None,
        "payment_method_collection": params.get("payment_method_collection", "always")
        if mode == "subscription"
        else "if_required",
        "payment_method_configuration_details": None,
        "payment_method_options": {"card": {"request_three_d_secure": "automatic"}},
        "payment_method_types": ["card", "sepa_debit"],
        "payment_status": "unpaid",
        "permissions": None,
        "phone_number_collection": {
            "enabled": params.get("phone_number_collection", {}).get("enabled", False)
        },
        "recovered_from": None,
        "saved_payment_method_options": None,
        "setup_intent": None,
        "shipping_address_collection": None,
        "shipping_cost": None,
        "shipping_options": [],
        "status": "open",
        "submit_type": params.get("submit_type"),
        "subscription": None,
        "success_url": params.get("success_url"),
        "total_details": {"amount_discount": discount, "amount_shipping": 0, "amount_tax": 0}
        if items
        else None,
        "ui_mode": params.get("ui_mode", "hosted_page"),
        "url": f"{account.public_url}/c/pay/{session_id}" if hosted else None,
        "wallet_options": None,
    }
    if mode != "subscription":
        wanted = params.get("customer_creation") or ("if_required" if mode == "payment" else "always")
        answer["customer_creation"] = None if params.get("customer") else wanted
    if params.get("tax_id_collection", {}).get("enabled"):
        given = params["tax_id_collection"]
        answer["tax_id_collection"] = {"enabled": True, "required": given.get("required", "never")}
    if not hosted:
        answer["return_url"] = params.get("return_url")
        answer["redirect_on_completion"] = params.get("redirect_on_completion", "always")
    return answer


def _consent_collection(params: Json) -> Json | None:
    given = params.get("consent_collection")
    if not given:
        return None
    return {
        "payment_method_reuse_agreement": None,
        "promotions": given.get("promotions", "none"),
        "terms_of_service": given.get("terms_of_service", "none"),
    }


def _invoice_creation(params: Json) -> Json:
    given = params.get("invoice_creation", {})
    data = given.get("invoice_data", {})
    return {
        "enabled": given.get("enabled", False),
        "invoice_data": {
            "account_tax_ids": None,
            "custom_fields": data.get("custom_fields") or None,
            "description": data.get("description"),
            "footer": data.get("footer"),
            "issuer": None,
            "metadata": data.get("metadata", {}),
            "rendering_options": None,
        },
    }
