"""Payment intents, charges, payment records, balance transactions, refunds, disputes, setup intents."""

from __future__ import annotations

from ..account import Account
from ..api_errors import Json
from ..cards import Decline, TestCard
from ..clock import DAY
from .customers import billing_details

FEE_PERCENT = 1.5
FEE_FIXED = 25
"""Stripe's price for European cards, roughly; the simulator only needs some fee."""


def payment_intent(
    account: Account,
    *,
    amount: int,
    currency: str,
    customer: str | None,
    metadata: Json,
    description: str | None = None,
    receipt_email: str | None = None,
    setup_future_usage: str | None = None,
    method_types: list[str] | None = None,
    statement_descriptor_suffix: str | None = None,
) -> Json:
    intent_id = account.new_id("pi_3")
    return {
        "id": intent_id,
        "object": "payment_intent",
        "amount": amount,
        "amount_capturable": 0,
        "amount_details": {"tip": {}},
        "amount_received": 0,
        "application": None,
        "application_fee_amount": None,
        "automatic_payment_methods": None,
        "canceled_at": None,
        "cancellation_reason": None,
        "capture_method": "automatic_async",
        "client_secret": f"{intent_id}_secret_{account.token(25)}",
        "confirmation_method": "automatic",
        "created": account.now(),
        "currency": currency,
        "customer": customer,
        "customer_account": None,
        "description": description,
        "excluded_payment_method_types": None,
        "last_payment_error": None,
        "latest_charge": None,
        "livemode": account.livemode,
        "metadata": metadata,
        "next_action": None,
        "on_behalf_of": None,
        "payment_method": None,
        "payment_method_configuration_details": None,
        "payment_method_options": {"card": _card_options()},
        "payment_method_types": method_types or ["card", "sepa_debit"],
        "processing": None,
        "receipt_email": receipt_email,
        "review": None,
        "setup_future_usage": setup_future_usage,
        "shipping": None,
        "source": None,
        "statement_descriptor": None,
        "statement_descriptor_suffix": statement_descriptor_suffix,
        "status": "requires_payment_method",
        "transfer_data": None,
        "transfer_group": None,
    }


def _card_options() -> Json:
    return {
        "installments": None,
        "mandate_options": None,
        "network": None,
        "request_three_d_secure": "automatic",
    }


def setup_intent(account: Account, *, customer: str | None, metadata: Json) -> Json:
    intent_id = account.new_id("seti_1")
    return {
        "id": intent_id,
        "object": "setup_intent",
        "application": None,
        "automatic_payment_methods": None,
        "cancellation_reason": None,
        "client_secret": f"{intent_id}_secret_{account.token(25)}",
        "created": account.now(),
        "customer": customer,
        "customer_account": None,
        "description": None,
        "excluded_payment_method_types": None,
        "flow_directions": None,
        "last_setup_error": None,
        "latest_attempt": None,
        "livemode": account.livemode,
        "mandate": None,
        "metadata": metadata,
        "next_action": None,
        "on_behalf_of": None,
        "payment_method": None,
        "payment_method_configuration_details": None,
        "payment_method_options": {},
        "payment_method_types": ["card", "sepa_debit"],
        "single_use_mandate": None,
        "status": "requires_payment_method",
        "usage": "off_session",
    }


def payment_record(account: Account, params: Json) -> Json:
    """A payment that did not go through Stripe, as its seller reported it."""
    amounts = dict.fromkeys(("authorized", "canceled", "failed", "guaranteed", "refunded"), 0)
    amounts["guaranteed"] = params["amount_requested"]["value"]
    currency = params["amount_requested"]["currency"]
    reported = params["payment_method_details"].get("custom", {}).get("display_name", "Cash")
    reference = params.get("processor_details", {}).get("custom", {}).get("payment_reference")
    customer = params.get("customer_details", {}).get("customer")
    return {
        "id": account.new_id("pr"),
        "object": "payment_record",
        "amount": params["amount_requested"],
        **{f"amount_{name}": {"currency": currency, "value": value} for name, value in amounts.items()},
        "amount_requested": params["amount_requested"],
        "application": None,
        "created": account.now(),
        "customer_details": {"customer": customer, "email": None, "name": None, "phone": None},
        "customer_presence": params.get("customer_presence"),
        "description": params.get("description"),
        "latest_payment_attempt_record": None,
        "livemode": account.livemode,
        "metadata": params.get("metadata") or {},
        "payment_method_details": {
            "billing_details": None,
            "custom": {"display_name": reported, "type": None},
            "payment_method": None,
            "type": "custom",
        },
        "processor_details": {"custom": {"payment_reference": reference}, "type": "custom"},
        "reported_by": "self",
        "shipping_details": None,
    }


def charge(account: Account, intent: Json, method: Json, card: TestCard, *, authenticated: bool) -> Json:
    """A charge in the state `pending`; `paying` decides what becomes of it."""
    charge_id = account.new_id("ch_3" if card.kind == "card" else "py_3")
    shown = {name: intent[name] for name in ("presentment_details",) if name in intent}
    return {
        **shown,
        "id": charge_id,
        "object": "charge",
        "amount": intent["amount"],
        "amount_captured": 0,
        "amount_refunded": 0,
        "application": None,
        "application_fee": None,
        "application_fee_amount": None,
        "balance_transaction": None,
        "billing_details": billing_details(method["billing_details"]),
        "calculated_statement_descriptor": "ROUTER OS" if card.kind == "card" else None,
        "captured": False,
        "created": account.now(),
        "currency": intent["currency"],
        "customer": intent["customer"],
        "description": intent["description"],
        "disputed": False,
        "failure_balance_transaction": None,
        "failure_code": None,
        "failure_message": None,
        "fraud_details": {},
        "livemode": account.livemode,
        "metadata": dict(intent["metadata"]),
        "on_behalf_of": None,
        "outcome": None,
        "paid": False,
        "payment_intent": intent["id"],
        "payment_method": method["id"],
        "payment_method_details": _method_details(intent, method, card, authenticated=authenticated),
        "radar_options": {},
        "receipt_email": intent["receipt_email"],
        "receipt_number": None,
        "receipt_url": None,
        "refunded": False,
        "review": None,
        "shipping": None,
        "source": None,
        "source_transfer": None,
        "statement_descriptor": None,
        "statement_descriptor_suffix": None,
        "status": "pending",
        "transfer_data": None,
        "transfer_group": None,
    }


def outcome(decline: Decline | None) -> Json:
    """`charge.outcome` after the issuer answered."""
    refused = decline is not None
    return {
        "advice_code": "try_again_later" if refused else None,
        "network_advice_code": None,
        "network_decline_code": "05" if refused else None,
        "network_status": "declined_by_network" if refused else "approved_by_network",
        "reason": decline.decline_code if decline else None,
        "risk_level": "normal",
        "risk_score": 12,
        "seller_message": "The bank returned a decline." if refused else "Payment complete.",
        "type": "issuer_declined" if refused else "authorized",
    }


def _method_details(intent: Json, method: Json, card: TestCard, *, authenticated: bool) -> Json:
    if card.kind == "sepa_debit":
        return {
            "type": "sepa_debit",
            "sepa_debit": {
                "bank_code": method["sepa_debit"]["bank_code"],
                "branch_code": method["sepa_debit"]["branch_code"],
                "country": card.country,
                "expected_debit_date": None,
                "fingerprint": card.fingerprint,
                "last4": card.last4,
                "mandate": None,
            },
        }
    return {
        "type": "card",
        "card": {
            "amount_authorized": intent["amount"],
            "authorization_code": None,
            "brand": card.brand,
            "checks": dict(method["card"]["checks"]),
            "country": card.country,
            "exp_month": card.exp_month,
            "exp_year": card.exp_year,
            "extended_authorization": {"status": "disabled"},
            "fingerprint": card.fingerprint,
            "funding": card.funding,
            "incremental_authorization": {"status": "unavailable"},
            "installments": None,
            "last4": card.last4,
            "mandate": None,
            "multicapture": {"status": "unavailable"},
            "network": card.brand,
            "network_token": {"used": False},
            "network_transaction_id": None,
            "overcapture": {"maximum_amount_capturable": intent["amount"], "status": "unavailable"},
            "regulated_status": "unregulated",
            "three_d_secure": _three_d_secure() if authenticated else None,
            "wallet": None,
        },
    }


def _three_d_secure() -> Json:
    return {
        "authentication_flow": "challenge",
        "electronic_commerce_indicator": "05",
        "exemption_indicator": None,
        "result": "authenticated",
        "result_reason": None,
        "transaction_id": "0b4c4f4e-0000-4000-8000-73696d756c61",
        "version": "2.2.0",
    }


def payment_error(decline: Decline, charge_id: str | None, method: Json | None) -> Json:
    """`payment_intent.last_payment_error` (and what the person on the Checkout page reads)."""
    error: Json = {
        "code": decline.code,
        "doc_url": "https://stripe.com/docs/error-codes/" + decline.code.replace("_", "-"),
        "message": decline.en,
        "type": "card_error",
    }
    if charge_id:
        error["charge"] = charge_id
    if decline.code in {"card_declined", "expired_card", "authentication_required"}:
        error["decline_code"] = decline.decline_code
    if method:
        error["payment_method"] = method
    if decline.code == "incorrect_cvc":
        error["param"] = "cvc"
    return error


def balance_transaction(account: Account, source: Json, amount: int, kind: str) -> Json:
    """`kind`: charge, payment, refund, adjustment.  Negative amounts leave the account's balance."""
    fee = round(amount * FEE_PERCENT / 100) + FEE_FIXED if amount > 0 and kind in {"charge", "payment"} else 0
    details = [
        {
            "amount": fee,
            "application": None,
            "currency": source["currency"],
            "description": "Stripe processing fees",
            "type": "stripe_fee",
        }
    ]
    return {
        "id": account.new_id("txn_3"),
        "object": "balance_transaction",
        "amount": amount,
        "available_on": account.now() + 7 * DAY,
        "balance_type": "payments",
        "created": account.now(),
        "currency": source["currency"],
        "description": source.get("description"),
        "exchange_rate": None,
        "fee": fee,
        "fee_details": details if fee else [],
        "net": amount - fee,
        "reporting_category": {"adjustment": "dispute", "payment": "charge"}.get(kind, kind),
        "source": source["id"],
        "status": "pending",
        "type": kind,
    }


def refund(account: Account, charge_object: Json, amount: int, params: Json) -> Json:
    kind = charge_object["payment_method_details"]["type"]
    details: Json = {"type": kind}
    if kind == "card":
        details["card"] = {
            "reference_status": "pending",
            "reference_type": "acquirer_reference_number",
            "type": "refund",
        }
    shown: Json = {}
    if presented := charge_object.get("presentment_details"):
        part = round(presented["presentment_amount"] * amount / charge_object["amount"])
        shown["presentment_details"] = {**presented, "presentment_amount": part}
    return {
        **shown,
        "id": account.new_id("re_3" if kind == "card" else "pyr_1"),
        "object": "refund",
        "amount": amount,
        "balance_transaction": None,
        "charge": charge_object["id"],
        "created": account.now(),
        "currency": charge_object["currency"],
        "destination_details": details,
        "metadata": params.get("metadata") or {},
        "payment_intent": charge_object["payment_intent"],
        "reason": params.get("reason"),
        "receipt_number": None,
        "source_transfer_reversal": None,
        "status": "succeeded" if kind == "card" else "pending",
        "transfer_reversal": None,
    }


_EVIDENCE = [
    "access_activity_log",
    "billing_address",
    "cancellation_policy",
    "cancellation_policy_disclosure",
    "cancellation_rebuttal",
    "customer_communication",
    "customer_email_address",
    "customer_name",
    "customer_purchase_ip",
    "customer_signature",
    "duplicate_charge_documentation",
    "duplicate_charge_explanation",
    "duplicate_charge_id",
    "product_description",
    "receipt",
    "refund_policy",
    "refund_policy_disclosure",
    "refund_refusal_explanation",
    "service_date",
    "service_documentation",
    "shipping_address",
    "shipping_carrier",
    "shipping_date",
    "shipping_documentation",
    "shipping_tracking_number",
    "uncategorized_file",
    "uncategorized_text",
]


def dispute(account: Account, charge_object: Json, reason: str = "fraudulent") -> Json:
    return {
        "id": account.new_id("du_1"),
        "object": "dispute",
        "amount": charge_object["amount"] - charge_object["amount_refunded"],
        "balance_transactions": [],
        "charge": charge_object["id"],
        "created": account.now(),
        "currency": charge_object["currency"],
        "enhanced_eligibility_types": [],
        "evidence": {**dict.fromkeys(_EVIDENCE), "enhanced_evidence": {}},
        "evidence_details": {
            "due_by": account.now() + 9 * DAY,
            "enhanced_eligibility": {},
            "has_evidence": False,
            "past_due": False,
            "submission_count": 0,
            "submission_method": "not_submitted",
        },
        "is_charge_refundable": False,
        "livemode": account.livemode,
        "metadata": {},
        "network_reason_code": "10.4",
        "payment_intent": charge_object["payment_intent"],
        "payment_method_details": {
            "type": "card",
            "card": {
                "brand": "visa",
                "case_type": "chargeback",
                "network": "visa",
                "network_reason_code": "10.4",
            },
        },
        "reason": reason,
        "status": "needs_response",
    }
