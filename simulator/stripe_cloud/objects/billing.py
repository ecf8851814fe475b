"""Subscriptions, subscription items, invoices, invoice lines, invoice payments."""

from __future__ import annotations

from ..account import Account
from ..api_errors import Json
from ..rendering import list_of
from .catalog import decimal_text, plan


def subscription(account: Account, customer: str, params: Json, *, currency: str) -> Json:
    """Without items and with the status `incomplete`; `billing.subscriptions` fills in the rest."""
    now = account.now()
    mode = params.get("billing_mode", {"type": "flexible"})
    flexible = {"proration_discounts": mode.get("flexible", {}).get("proration_discounts", "included")}
    tax = params.get("automatic_tax", {}).get("enabled", False)
    trial = params.get("trial_settings", {}).get("end_behavior", {})
    return {
        "id": account.new_id("sub_1"),
        "object": "subscription",
        "application": None,
        "application_fee_percent": None,
        "automatic_tax": {
            "disabled_reason": None,
            "enabled": tax,
            "liability": {"type": "self"} if tax else None,
        },
        "billing_cycle_anchor": now,
        "billing_cycle_anchor_config": None,
        "billing_mode": {
            "type": mode["type"],
            "flexible": flexible if mode["type"] == "flexible" else None,
            "updated_at": now if mode["type"] == "flexible" else None,
        },
        "billing_schedules": [],
        "billing_thresholds": None,
        "cancel_at": None,
        "cancel_at_period_end": False,
        "canceled_at": None,
        "cancellation_details": {"comment": None, "feedback": None, "reason": None},
        "collection_method": params.get("collection_method", "charge_automatically"),
        "created": now,
        "currency": currency,
        "customer": customer,
        "customer_account": None,
        "days_until_due": params.get("days_until_due"),
        "default_payment_method": params.get("default_payment_method"),
        "default_source": None,
        "default_tax_rates": [],
        "description": params.get("description"),
        "discounts": [],
        "ended_at": None,
        "invoice_settings": {"account_tax_ids": None, "issuer": {"type": "self"}},
        "items": {},
        "latest_invoice": None,
        "livemode": account.livemode,
        "metadata": params.get("metadata") or {},
        "next_pending_invoice_item_invoice": None,
        "on_behalf_of": None,
        "pause_collection": None,
        "payment_settings": {
            "payment_method_options": None,
            "payment_method_types": None,
            "save_default_payment_method": params.get("payment_settings", {}).get(
                "save_default_payment_method", "off"
            ),
        },
        "pending_invoice_item_interval": None,
        "pending_setup_intent": None,
        "pending_update": None,
        "schedule": None,
        "start_date": now,
        "status": "incomplete",
        "test_clock": None,
        "transfer_data": None,
        "trial_end": None,
        "trial_settings": {
            "end_behavior": {"missing_payment_method": trial.get("missing_payment_method", "create_invoice")}
        },
        "trial_start": None,
    }


def items_list(subscription_id: str, items: list[Json]) -> Json:
    answer = list_of(items, f"/v1/subscription_items?subscription={subscription_id}")
    answer["total_count"] = len(items)
    return answer


def subscription_item(
    account: Account,
    subscription_id: str,
    price: Json,
    quantity: int,
    *,
    start: int,
    end: int,
    metadata: Json,
) -> Json:
    return {
        "id": account.new_id("si", 14),
        "object": "subscription_item",
        "billing_thresholds": None,
        "created": account.now(),
        "current_period_end": end,
        "current_period_start": start,
        "discounts": [],
        "metadata": metadata,
        "plan": plan(price),
        "price": price,
        "quantity": quantity,
        "subscription": subscription_id,
        "tax_rates": [],
    }


def line(
    account: Account,
    item: Json,
    amount: int,
    description: str,
    *,
    currency: str,
    start: int,
    end: int,
    proration: bool,
    metadata: Json,
) -> Json:
    """A line about a subscription item; discounts and the invoice's id are added by `billing.invoicing`."""
    return {
        "id": account.new_id("il_1"),
        "object": "line_item",
        "amount": amount,
        "currency": currency,
        "description": description,
        "discount_amounts": [],
        "discountable": not proration,
        "discounts": [],
        "invoice": None,
        "livemode": account.livemode,
        "metadata": metadata,
        "parent": {
            "invoice_item_details": None,
            "subscription_item_details": {
                "invoice_item": None,
                "proration": proration,
                "proration_details": {"credited_items": None} if proration else None,
                "subscription": item["subscription"],
                "subscription_item": item["id"],
            },
            "type": "subscription_item_details",
        },
        "period": {"end": end, "start": start},
        "pretax_credit_amounts": [],
        "pricing": {
            "price_details": {"price": item["price"]["id"], "product": item["price"]["product"]},
            "type": "price_details",
            "unit_amount_decimal": decimal_text(item["price"]["unit_amount"]),
        },
        "quantity": item["quantity"],
        "quantity_decimal": decimal_text(item["quantity"]),
        "subtotal": amount,
        "taxes": [],
    }


def invoice(account: Account, sub: Json, customer: Json, lines: list[Json], *, reason: str) -> Json:
    """A draft without totals (see `billing.invoicing.total_up`)."""
    invoice_id = account.new_id("in_1")
    for entry in lines:
        entry["invoice"] = invoice_id
    now = account.now()
    return {
        "id": invoice_id,
        "object": "invoice",
        "account_country": account.COUNTRY,
        "account_name": account.NAME,
        "account_tax_ids": None,
        "amount_due": 0,
        "amount_overpaid": 0,
        "amount_paid": 0,
        "amount_remaining": 0,
        "amount_shipping": 0,
        "application": None,
        "attempt_count": 0,
        "attempted": False,
        "auto_advance": True,
        "automatic_tax": {
            "disabled_reason": None,
            "enabled": sub["automatic_tax"]["enabled"],
            "liability": {"type": "self"} if sub["automatic_tax"]["enabled"] else None,
            "provider": "stripe" if sub["automatic_tax"]["enabled"] else None,
            "status": "complete" if sub["automatic_tax"]["enabled"] else None,
        },
        "automatically_finalizes_at": None,
        "billing_reason": reason,
        "collection_method": sub["collection_method"],
        "created": now,
        "currency": sub["currency"],
        "custom_fields": None,
        "customer": customer["id"],
        "customer_account": None,
        "customer_address": customer.get("address"),
        "customer_email": customer.get("email"),
        "customer_name": customer.get("name"),
        "customer_phone": customer.get("phone"),
        "customer_shipping": None,
        "customer_tax_exempt": customer.get("tax_exempt", "none"),
        "customer_tax_ids": [],
        "default_payment_method": None,
        "default_source": None,
        "default_tax_rates": [],
        "description": None,
        "discounts": [],
        "due_date": None,
        "effective_at": None,
        "ending_balance": None,
        "footer": None,
        "from_invoice": None,
        "hosted_invoice_url": None,
        "invoice_pdf": None,
        "issuer": {"type": "self"},
        "last_finalization_error": None,
        "latest_revision": None,
        "lines": list_of(lines, f"/v1/invoices/{invoice_id}/lines"),
        "livemode": account.livemode,
        "metadata": {},
        "next_payment_attempt": None,
        "number": None,
        "on_behalf_of": None,
        "parent": {
            "quote_details": None,
            "subscription_details": {"metadata": dict(sub["metadata"]), "subscription": sub["id"]},
            "type": "subscription_details",
        },
        "payment_settings": {
            "default_mandate": None,
            "payment_method_options": None,
            "payment_method_types": None,
        },
        "period_end": now,
        "period_start": now,
        "post_payment_credit_notes_amount": 0,
        "pre_payment_credit_notes_amount": 0,
        "receipt_number": None,
        "rendering": None,
        "shipping_cost": None,
        "shipping_details": None,
        "starting_balance": 0,
        "statement_descriptor": None,
        "status": "draft",
        "status_transitions": {
            "finalized_at": None,
            "marked_uncollectible_at": None,
            "paid_at": None,
            "voided_at": None,
        },
        "subtotal": 0,
        "subtotal_excluding_tax": 0,
        "test_clock": None,
        "total": 0,
        "total_discount_amounts": [],
        "total_excluding_tax": 0,
        "total_pretax_credit_amounts": [],
        "total_taxes": [],
        "webhooks_delivered_at": now,
    }


def invoice_payment(
    account: Account, invoice_object: Json, paid_by: str, kind: str = "payment_intent"
) -> Json:
    """`kind`: of the object whose id is `paid_by`; payment_intent, charge or payment_record."""
    return {
        "id": account.new_id("inpay_1"),
        "object": "invoice_payment",
        "amount_paid": None,
        "amount_requested": invoice_object["amount_due"],
        "created": account.now(),
        "currency": invoice_object["currency"],
        "invoice": invoice_object["id"],
        "is_default": True,
        "livemode": account.livemode,
        "payment": {kind: paid_by, "type": kind},
        "status": "open",
        "status_transitions": {"canceled_at": None, "paid_at": None},
    }
