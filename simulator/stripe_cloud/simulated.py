"""Which parameters have their effect here. Stripe knows more; another one is answered 501, never ignored.

An endpoint's line names its parameters, nested ones in brackets: `items[price quantity]`. Without brackets,
everything inside is played. `name=value|value` plays only these values of an enum.
"""

from __future__ import annotations

import re
from functools import cache
from pathlib import Path
from typing import Any

import stripe

from .api_errors import Json, StripeApiError, not_simulated, unknown_url
from .form_encoding import join_name

_PAGE = "limit starting_after ending_before"
_LIST = f"created {_PAGE}"
_CUSTOMER = (
    "address balance description email invoice_prefix invoice_settings metadata name next_invoice_sequence "
    "phone preferred_locales shipping tax_exempt"
)
_PRODUCT = (
    "active description images marketing_features metadata name package_dimensions shippable "
    "statement_descriptor tax_code unit_label url"
)
_RECURRING = "recurring[interval interval_count]"
_AMOUNT = "unit_amount unit_amount_decimal"
_DISCOUNTS = "discounts[coupon discount promotion_code]"
_TRIAL = "trial_end trial_period_days trial_settings[end_behavior[missing_payment_method]]"
_ITEM = "deleted metadata plan price quantity"
_ITEM_CHANGE = "metadata payment_behavior plan price proration_behavior proration_date quantity"
_PORTAL = (
    "business_profile default_return_url login_page metadata name features[customer_update "
    "invoice_history payment_method_update subscription_cancel[enabled mode=at_period_end] "
    "subscription_pause[enabled duration[type=indefinite]] subscription_update[enabled=false]]"
)

SIMULATED: dict[str, str] = {
    "GET /v1/account": "",
    "GET /v1/accounts/{}": "",
    "GET /v1/balance": "",
    "GET /v1/customers/search": "limit page query",
    "POST /v1/customers": _CUSTOMER,
    "GET /v1/customers": f"email {_LIST}",
    "GET /v1/customers/{}": "",
    "POST /v1/customers/{}": _CUSTOMER,
    "DELETE /v1/customers/{}": "",
    "GET /v1/customers/{}/payment_methods": f"type {_PAGE}",
    "POST /v1/customers/{}/balance_transactions": "amount currency description metadata",
    "GET /v1/customers/{}/balance_transactions": f"invoice {_LIST}",
    "GET /v1/customers/{}/balance_transactions/{}": "",
    "GET /v1/payment_methods": f"customer type {_PAGE}",
    "GET /v1/payment_methods/{}": "",
    "POST /v1/products": (
        f"id type {_PRODUCT} default_price_data[currency currency_options metadata {_RECURRING} tax_behavior "
        f"{_AMOUNT}]"
    ),
    "GET /v1/products": f"active ids shippable type url {_LIST}",
    "GET /v1/products/{}": "",
    "POST /v1/products/{}": f"default_price {_PRODUCT}",
    "DELETE /v1/products/{}": "",
    "POST /v1/prices": (
        "active billing_scheme=per_unit currency currency_options lookup_key metadata nickname product "
        "tax_behavior transfer_lookup_key product_data[active id metadata name statement_descriptor tax_code "
        "unit_label] "
        f"recurring[interval interval_count meter usage_type] {_AMOUNT}"
    ),
    "GET /v1/prices": f"active currency lookup_keys product recurring type {_LIST}",
    "GET /v1/prices/{}": "",
    "POST /v1/prices/{}": (
        "active currency_options lookup_key metadata nickname tax_behavior transfer_lookup_key"
    ),
    "POST /v1/coupons": (
        "amount_off currency duration duration_in_months id max_redemptions metadata name percent_off "
        "redeem_by"
    ),
    "GET /v1/coupons": _LIST,
    "GET /v1/coupons/{}": "",
    "DELETE /v1/coupons/{}": "",
    "POST /v1/promotion_codes": "active code expires_at max_redemptions metadata promotion",
    "GET /v1/promotion_codes": f"active code coupon customer {_LIST}",
    "GET /v1/promotion_codes/{}": "",
    "POST /v1/promotion_codes/{}": "active metadata",
    "POST /v1/checkout/sessions": (
        "adaptive_pricing allow_promotion_codes automatic_tax[enabled] cancel_url client_reference_id "
        "consent_collection[promotions terms_of_service] currency custom_text[submit[message]] customer "
        "customer_creation customer_email customer_update discounts expires_at "
        "invoice_creation[enabled invoice_data[custom_fields "
        f"description footer metadata]] line_items[metadata price price_data[currency product product_data "
        f"{_RECURRING} tax_behavior {_AMOUNT}] quantity] locale metadata mode=payment|setup|subscription "
        "payment_intent_data[description metadata receipt_email setup_future_usage "
        "statement_descriptor_suffix] payment_method_collection redirect_on_completion return_url "
        "setup_intent_data[metadata] submit_type "
        f"subscription_data[billing_mode[type] description metadata {_TRIAL}] success_url tax_id_collection "
        "ui_mode"
    ),
    "GET /v1/checkout/sessions": (
        f"customer customer_details payment_intent payment_link status subscription {_LIST}"
    ),
    "GET /v1/checkout/sessions/{}": "",
    "POST /v1/checkout/sessions/{}": "metadata",
    "POST /v1/checkout/sessions/{}/expire": "",
    "GET /v1/checkout/sessions/{}/line_items": _PAGE,
    "POST /v1/payment_intents": "amount confirm currency customer metadata off_session payment_method",
    "GET /v1/payment_intents": f"customer {_LIST}",
    "GET /v1/payment_intents/{}": "",
    "POST /v1/payment_intents/{}": "description metadata",
    "POST /v1/payment_intents/{}/cancel": "cancellation_reason",
    "GET /v1/charges": f"customer payment_intent {_LIST}",
    "GET /v1/charges/{}": "",
    "POST /v1/refunds": "amount charge metadata payment_intent reason",
    "GET /v1/refunds": f"charge payment_intent {_LIST}",
    "GET /v1/refunds/{}": "",
    "POST /v1/refunds/{}": "metadata",
    "GET /v1/disputes": f"charge payment_intent {_LIST}",
    "GET /v1/disputes/{}": "",
    "POST /v1/disputes/{}/close": "",
    "GET /v1/balance_transactions": f"currency source type {_LIST}",
    "GET /v1/balance_transactions/{}": "",
    "GET /v1/setup_intents/{}": "",
    "GET /v1/subscriptions/search": "limit page query",
    "POST /v1/subscriptions": (
        "automatic_tax[enabled] billing_mode[type] cancel_at cancel_at_period_end collection_method currency "
        f"customer days_until_due default_payment_method description {_DISCOUNTS} "
        "items[metadata price quantity] metadata off_session payment_behavior "
        "payment_settings[save_default_payment_method] " + _TRIAL
    ),
    "GET /v1/subscriptions": (
        f"collection_method current_period_end current_period_start customer plan price status {_LIST}"
    ),
    "GET /v1/subscriptions/{}": "",
    "POST /v1/subscriptions/{}": (
        "billing_cycle_anchor cancel_at cancel_at_period_end cancellation_details[comment feedback] "
        f"collection_method days_until_due default_payment_method description {_DISCOUNTS} "
        f"items[id {_ITEM}] metadata off_session pause_collection payment_behavior proration_behavior "
        "proration_date trial_end trial_settings[end_behavior[missing_payment_method]]"
    ),
    "DELETE /v1/subscriptions/{}": "cancellation_details[comment feedback] invoice_now prorate",
    "POST /v1/subscriptions/{}/pause": "type=subscription",
    "POST /v1/subscriptions/{}/resume": "billing_cycle_anchor payment_behavior proration_behavior",
    "POST /v1/subscription_items": f"subscription {_ITEM_CHANGE}",
    "GET /v1/subscription_items": f"subscription {_PAGE}",
    "GET /v1/subscription_items/{}": "",
    "POST /v1/subscription_items/{}": f"off_session {_ITEM_CHANGE}",
    "DELETE /v1/subscription_items/{}": "proration_behavior proration_date payment_behavior",
    "POST /v1/subscription_schedules": "from_subscription",
    "GET /v1/subscription_schedules/{}": "",
    "POST /v1/subscription_schedules/{}": "end_behavior phases[end_date items[price quantity] start_date]",
    "POST /v1/subscription_schedules/{}/release": "preserve_cancel_date",
    "GET /v1/invoices/search": "limit page query",
    "POST /v1/invoices/create_preview": (
        f"currency customer {_DISCOUNTS} preview_mode subscription "
        "subscription_details[billing_cycle_anchor cancel_at cancel_at_period_end "
        f"cancel_now items[id {_ITEM}] proration_behavior proration_date trial_end]"
    ),
    "GET /v1/invoices": f"collection_method customer due_date status subscription {_LIST}",
    "GET /v1/invoices/{}": "",
    "POST /v1/invoices/{}": "auto_advance description footer metadata",
    "POST /v1/invoices/{}/attach_payment": "payment_intent payment_record",
    "POST /v1/invoices/{}/pay": "off_session paid_out_of_band payment_method",
    "POST /v1/invoices/{}/finalize": "",
    "POST /v1/invoices/{}/void": "",
    "POST /v1/invoices/{}/mark_uncollectible": "",
    "GET /v1/invoices/{}/lines": _PAGE,
    "POST /v1/credit_notes": (
        "amount credit_amount invoice memo metadata out_of_band_amount reason refund_amount"
    ),
    "GET /v1/credit_notes": f"customer invoice {_LIST}",
    "GET /v1/credit_notes/{}": "",
    "GET /v1/invoice_payments": (f"invoice payment[payment_intent payment_record type] status {_LIST}"),
    "GET /v1/invoice_payments/{}": "",
    "POST /v1/payment_records/report_payment": (
        "amount_requested[currency value] customer_details[customer] customer_presence description "
        "guaranteed[guaranteed_at] initiated_at metadata outcome=guaranteed "
        "payment_method_details[custom[display_name] type=custom] "
        "processor_details[custom[payment_reference] type=custom]"
    ),
    "GET /v1/payment_records/{}": "",
    "POST /v1/billing_portal/sessions": (
        "configuration customer flow_data[after_completion subscription_cancel[subscription] "
        "subscription_pause type=payment_method_update|subscription_cancel|subscription_pause] locale "
        "return_url"
    ),
    "POST /v1/billing_portal/configurations": _PORTAL,
    "GET /v1/billing_portal/configurations": f"active is_default {_PAGE}",
    "GET /v1/billing_portal/configurations/{}": "",
    "POST /v1/billing_portal/configurations/{}": f"active {_PORTAL}",
    "GET /v1/events": f"delivery_success type types {_LIST}",
    "GET /v1/events/{}": "",
    "POST /v1/webhook_endpoints": "api_version description enabled_events metadata url",
    "GET /v1/webhook_endpoints": _PAGE,
    "GET /v1/webhook_endpoints/{}": "",
    "POST /v1/webhook_endpoints/{}": "description disabled enabled_events metadata url",
    "DELETE /v1/webhook_endpoints/{}": "",
}

_NAME = re.compile(r"(\w+)(\[?)(?:=([\w|]+))?|\]")

Played = dict[str, Any]
"""Parameter name → what is played of it: a dict of nested parameters, a set of values, None for all."""


@cache
def played(endpoint: str) -> Played:
    """The line of `METHOD /path` in SIMULATED, parsed; KeyError for an endpoint without one."""
    nested: list[Played] = [{}]
    for name, bracket, values in _NAME.findall("expand " + SIMULATED[endpoint]):
        if not name:
            nested.pop()
        elif bracket:
            nested.append({})
            nested[-2][name] = nested[-1]
        else:
            nested[-1][name] = set(values.split("|")) if values else None
    return nested[0]


def check_simulated(method: str, path: str, params: Json) -> None:
    """501 for a parameter, or a value of it, that exists at Stripe and would be ignored here."""
    ignored = _ignored(params, played(f"{method} {path}"))
    if ignored is not None:
        raise not_simulated(f"the parameter {ignored} of {method} {path.replace('{}', 'ID')}")


def no_endpoint(method: str, path: str) -> StripeApiError:
    """501 for an endpoint that the SDK knows and that is not simulated; 404 where Stripe has none either."""
    if any(verb == method and pattern.fullmatch(path) for verb, pattern in _endpoints_of_the_sdk()):
        return not_simulated(f"the endpoint {method} {path}")
    return unknown_url(method, path)


@cache
def _endpoints_of_the_sdk() -> set[tuple[str, re.Pattern[str]]]:
    found: set[tuple[str, re.Pattern[str]]] = set()
    for module in Path(stripe.__file__).parent.rglob("*_service.py"):
        for method, path in re.findall(r'"(get|post|delete)",\s+"(/v1/[^"]+)"', module.read_text("utf-8")):
            found.add((method.upper(), re.compile(re.sub(r"{\w+}", "[^/]+", path))))
    return found


def check_billable(price: Json) -> None:
    """501 for a price that can exist here, but whose use is not billed."""
    if price["unit_amount"] is None or (price["recurring"] or {}).get("usage_type") == "metered":
        raise not_simulated(f"billing {price['id']}: metered usage, or a fraction of the smallest unit")


def _ignored(value: Any, known: Any, path: tuple[str, ...] = ()) -> str | None:
    """The name of the first parameter that is not played, as Stripe spells it."""
    if isinstance(known, set):
        return None if str(value).lower() in known else f"{join_name([*path])}={value}"
    if known is None or not isinstance(value, dict | list):
        return None
    entries = value.items() if isinstance(value, dict) else ((str(i), each) for i, each in enumerate(value))
    for name, inner in entries:
        if isinstance(value, dict) and name not in known:
            return join_name([*path, name])
        found = _ignored(inner, known[name] if isinstance(value, dict) else known, (*path, name))
        if found is not None:
            return found
    return None
