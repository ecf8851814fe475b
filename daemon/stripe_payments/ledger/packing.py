"""How the rows of `objects` are compressed: zlib with a preset dictionary, which halves them again.

The dictionary is what Stripe's objects have in common: their keys, in Stripe's order, and common values
(https://docs.stripe.com/api, version 2026-10-28). It has to be the same forever: a row can only be read with
the dictionary that it was written with. A row names that one by its Adler-32, so that another dictionary can
be added (RFC 1950, FDICT); rows without one, of schema 3, are read as well.
"""

import json
import zlib
from collections.abc import Mapping
from typing import Any, Final

from stripe_payments.ledger.storage_errors import corruption

__all__ = ["pack", "unpack"]


def pack(raw: Mapping[str, Any]) -> bytes:
    """The object as it is stored in a row."""
    compressor = zlib.compressobj(9, zdict=_DICTIONARY)
    text = json.dumps(raw, ensure_ascii=False, separators=(",", ":")).encode()
    return compressor.compress(text) + compressor.flush()


def unpack(packed: bytes) -> bytes:
    """The JSON text of a row. Raises sqlite3.DatabaseError, which `is_corruption`, if it is not compressed
    data.
    """
    decompressor = zlib.decompressobj(zdict=_DICTIONARY)
    try:
        text = decompressor.decompress(packed) + decompressor.flush()
    except zlib.error as error:
        raise corruption(f"a row cannot be unpacked: {error}") from error
    if not decompressor.eof:
        raise corruption("a row cannot be unpacked: its end is missing")
    return text


_DICTIONARY: Final = """
{"id":"du_1","object":"dispute","amount":0,"balance_transactions":[{"id":"txn_3",
"object":"balance_transaction","amount":0,"available_on":0,"balance_type":"payments","created":0,
"currency":"eur","description":null,"exchange_rate":null,"fee":0,"fee_details":[],"net":0,
"reporting_category":"dispute","source":"du_1","status":"pending","type":"adjustment"}],"charge":"ch_3",
"created":0,"currency":"eur","enhanced_eligibility_types":[],"evidence":{"access_activity_log":null,
"billing_address":null,"cancellation_policy":null,"cancellation_policy_disclosure":null,
"cancellation_rebuttal":null,"customer_communication":null,"customer_email_address":null,
"customer_name":null,"customer_purchase_ip":null,"customer_signature":null,
"duplicate_charge_documentation":null,"duplicate_charge_explanation":null,"duplicate_charge_id":null,
"product_description":null,"receipt":null,"refund_policy":null,"refund_policy_disclosure":null,
"refund_refusal_explanation":null,"service_date":null,"service_documentation":null,
"shipping_address":null,"shipping_carrier":null,"shipping_date":null,"shipping_documentation":null,
"shipping_tracking_number":null,"uncategorized_file":null,"uncategorized_text":null,
"enhanced_evidence":{}},"evidence_details":{"due_by":0,"enhanced_eligibility":{},"has_evidence":false,
"past_due":false,"submission_count":0,"submission_method":"not_submitted"},"is_charge_refundable":false,
"livemode":false,"metadata":{},"network_reason_code":"","payment_intent":"pi_3",
"payment_method_details":{"type":"card","card":{"brand":"visa","case_type":"chargeback","network":"visa",
"network_reason_code":""}},"reason":"fraudulent","status":"lost"}
{"id":"re_3","object":"refund","amount":0,"balance_transaction":"txn_3","charge":"ch_3","created":0,
"currency":"eur","destination_details":{"type":"card","card":{"reference_status":"pending",
"reference_type":"acquirer_reference_number","type":"refund"}},"metadata":{"router_id":"",
"price_alias":"","item":""},"payment_intent":"pi_3","reason":null,"receipt_number":null,
"source_transfer_reversal":null,"status":"succeeded","transfer_reversal":null}
{"id":"sub_1","object":"subscription","application":null,"application_fee_percent":null,
"automatic_tax":{"disabled_reason":null,"enabled":false,"liability":null},"billing_cycle_anchor":0,
"billing_cycle_anchor_config":null,"billing_mode":{"type":"flexible",
"flexible":{"proration_discounts":"included"},"updated_at":0},"billing_schedules":[],
"billing_thresholds":null,"cancel_at":null,"cancel_at_period_end":false,"canceled_at":0,
"cancellation_details":{"comment":null,"feedback":null,"reason":"cancellation_requested"},
"collection_method":"charge_automatically","created":0,"currency":"eur","customer":"cus_",
"customer_account":null,"days_until_due":null,"default_payment_method":"pm_1","default_source":null,
"default_tax_rates":[],"description":"","discounts":[],"ended_at":0,
"invoice_settings":{"account_tax_ids":null,"issuer":{"type":"self"}},"items":{"object":"list",
"data":[{"id":"si_","object":"subscription_item","billing_thresholds":null,"created":0,
"current_period_end":0,"current_period_start":0,"discounts":[],"metadata":{},"plan":{"id":"price_1",
"object":"plan","active":true,"amount":0,"amount_decimal":"","billing_scheme":"per_unit","created":0,
"currency":"eur","interval":"month","interval_count":0,"livemode":false,"metadata":{"router_id":"",
"price_alias":"","item":""},"meter":null,"nickname":"","product":"prod_","tiers_mode":null,
"transform_usage":null,"trial_period_days":null,"usage_type":"licensed"},"price":{"id":"price_1",
"object":"price","active":true,"billing_scheme":"per_unit","created":0,"currency":"eur",
"custom_unit_amount":null,"livemode":false,"lookup_key":"","metadata":{"router_id":"","price_alias":"",
"item":""},"nickname":"","product":"prod_","recurring":{"interval":"month","interval_count":0,
"meter":null,"trial_period_days":null,"usage_type":"licensed"},"tax_behavior":"unspecified",
"tiers_mode":null,"transform_quantity":null,"type":"recurring","unit_amount":0,"unit_amount_decimal":""},
"quantity":0,"subscription":"sub_1","tax_rates":[]}],"has_more":false,"url":"/v1/","total_count":0},
"latest_invoice":"in_1","livemode":false,"metadata":{"router_id":"","price_alias":"","item":""},
"next_pending_invoice_item_invoice":null,"on_behalf_of":null,"pause_collection":null,
"payment_settings":{"payment_method_options":null,"payment_method_types":null,
"save_default_payment_method":"off"},"pending_invoice_item_interval":null,"pending_setup_intent":null,
"pending_update":null,"schedule":null,"start_date":0,"status":"canceled","test_clock":null,
"transfer_data":null,"trial_end":null,
"trial_settings":{"end_behavior":{"missing_payment_method":"create_invoice"}},"trial_start":null}
{"id":"in_1","object":"invoice","account_country":"","account_name":"","account_tax_ids":null,
"amount_due":0,"amount_overpaid":0,"amount_paid":0,"amount_remaining":0,"amount_shipping":0,
"application":null,"attempt_count":0,"attempted":true,"auto_advance":false,
"automatic_tax":{"disabled_reason":null,"enabled":false,"liability":null,"provider":null,"status":null},
"automatically_finalizes_at":null,"billing_reason":"subscription_cycle",
"collection_method":"charge_automatically","created":0,"currency":"eur","custom_fields":null,
"customer":"cus_","customer_account":null,"customer_address":null,"customer_email":null,
"customer_name":null,"customer_phone":null,"customer_shipping":null,"customer_tax_exempt":"none",
"customer_tax_ids":[],"default_payment_method":null,"default_source":null,"default_tax_rates":[],
"description":null,"discounts":[],"due_date":null,"effective_at":0,"ending_balance":0,"footer":null,
"from_invoice":null,"hosted_invoice_url":"https://invoice.stripe.com/i/acct_1",
"invoice_pdf":"https://pay.stripe.com/invoice/acct_1","issuer":{"type":"self"},
"last_finalization_error":null,"latest_revision":null,"lines":{"object":"list","data":[{"id":"il_1",
"object":"line_item","amount":0,"currency":"eur","description":"","discount_amounts":[],
"discountable":true,"discounts":[],"invoice":"in_1","livemode":false,"metadata":{"router_id":"",
"price_alias":"","item":""},"parent":{"invoice_item_details":null,
"subscription_item_details":{"invoice_item":null,"proration":false,"proration_details":null,
"subscription":"sub_1","subscription_item":"si_"},"type":"subscription_item_details"},"period":{"end":0,
"start":0},"pretax_credit_amounts":[],"pricing":{"price_details":{"price":"price_1","product":"prod_"},
"type":"price_details","unit_amount_decimal":""},"quantity":0,"quantity_decimal":"","subtotal":0,
"taxes":[]}],"has_more":false,"url":"/v1/invoices/"},"livemode":false,"metadata":{},
"next_payment_attempt":null,"number":"","on_behalf_of":null,"parent":{"quote_details":null,
"subscription_details":{"metadata":{"router_id":"","price_alias":"","item":""},"subscription":"sub_1"},
"type":"subscription_details"},"payment_settings":{"default_mandate":null,"payment_method_options":null,
"payment_method_types":null},"period_end":0,"period_start":0,"post_payment_credit_notes_amount":0,
"pre_payment_credit_notes_amount":0,"receipt_number":null,"rendering":null,"shipping_cost":null,
"shipping_details":null,"starting_balance":0,"statement_descriptor":null,"status":"paid",
"status_transitions":{"finalized_at":0,"marked_uncollectible_at":null,"paid_at":0,"voided_at":null},
"subtotal":0,"subtotal_excluding_tax":0,"test_clock":null,"total":0,"total_discount_amounts":[],
"total_excluding_tax":0,"total_pretax_credit_amounts":[],"total_taxes":[],"webhooks_delivered_at":0,
"payments":{"object":"list","data":[{"id":"inpay_1","object":"invoice_payment","amount_paid":0,
"amount_requested":0,"created":0,"currency":"eur","invoice":"in_1","is_default":true,"livemode":false,
"payment":{"payment_intent":"pi_3","type":"payment_intent"},"status":"paid",
"status_transitions":{"canceled_at":null,"paid_at":0}}],"has_more":false,"url":"/v1/invoices/"}}
{"id":"pi_3","object":"payment_intent","amount":0,"amount_capturable":0,"amount_details":{"tip":{}},
"amount_received":0,"application":null,"application_fee_amount":null,"automatic_payment_methods":null,
"canceled_at":null,"cancellation_reason":null,"capture_method":"automatic_async","client_secret":"pi_3",
"confirmation_method":"automatic","created":0,"currency":"eur","customer":"cus_","customer_account":null,
"description":"","excluded_payment_method_types":null,"last_payment_error":null,"latest_charge":"ch_3",
"livemode":false,"metadata":{"router_id":"","price_alias":"","item":""},"next_action":null,
"on_behalf_of":null,"payment_method":"pm_1","payment_method_configuration_details":null,
"payment_method_options":{"card":{"installments":null,"mandate_options":null,"network":null,
"request_three_d_secure":"automatic"}},"payment_method_types":["card"],"processing":null,
"receipt_email":null,"review":null,"setup_future_usage":null,"shipping":null,"source":null,
"statement_descriptor":null,"statement_descriptor_suffix":null,"status":"succeeded","transfer_data":null,
"transfer_group":null}
{"id":"cs_live_a1","object":"","adaptive_pricing":{"enabled":false},"after_expiration":null,
"allow_promotion_codes":null,"amount_subtotal":0,"amount_total":0,"automatic_tax":{"enabled":false,
"liability":null,"provider":null,"status":null},"billing_address_collection":null,"cancel_url":"",
"client_reference_id":"","client_secret":null,"collected_information":null,"consent":null,
"consent_collection":null,"created":0,"currency":"eur","currency_conversion":null,"custom_fields":[],
"custom_text":{"after_submit":null,"shipping_address":null,"submit":null,
"terms_of_service_acceptance":null},"customer":"cus_","customer_account":null,"customer_creation":null,
"customer_details":{"address":null,"business_name":null,"email":"","individual_name":null,"name":null,
"phone":null,"tax_exempt":"none","tax_ids":[]},"customer_email":null,"discounts":[],"expires_at":0,
"invoice":null,"invoice_creation":{"enabled":false,"invoice_data":{"account_tax_ids":null,
"custom_fields":null,"description":null,"footer":null,"issuer":null,"metadata":{},
"rendering_options":null}},"livemode":false,"locale":"auto","metadata":{"router_id":"","price_alias":"",
"item":""},"mode":"payment","origin_context":null,"payment_intent":"pi_3","payment_link":null,
"payment_method_collection":"if_required","payment_method_configuration_details":null,
"payment_method_options":{"card":{"request_three_d_secure":"automatic"}},"payment_method_types":["card"],
"payment_status":"paid","permissions":null,"phone_number_collection":{"enabled":false},
"recovered_from":null,"saved_payment_method_options":null,"setup_intent":null,
"shipping_address_collection":null,"shipping_cost":null,"shipping_options":[],"status":"complete",
"submit_type":null,"subscription":null,"success_url":"","total_details":{"amount_discount":0,
"amount_shipping":0,"amount_tax":0},"ui_mode":"hosted_page","url":null,"wallet_options":null,
"line_items":{"object":"list","data":[{"id":"li_1","object":"item","adjustable_quantity":null,
"amount_discount":0,"amount_subtotal":0,"amount_tax":0,"amount_total":0,"currency":"eur","description":"",
"metadata":{},"price":{"id":"price_1","object":"price","active":true,"billing_scheme":"per_unit",
"created":0,"currency":"eur","custom_unit_amount":null,"livemode":false,"lookup_key":"",
"metadata":{"router_id":"","price_alias":"","item":""},"nickname":"","product":"prod_","recurring":null,
"tax_behavior":"unspecified","tiers_mode":null,"transform_quantity":null,"type":"one_time",
"unit_amount":0,"unit_amount_decimal":""},"quantity":0}],"has_more":false,"url":"/v1/checkout/sessions/"}}
{"id":"ch_3","object":"charge","amount":0,"amount_captured":0,"amount_refunded":0,"application":null,
"application_fee":null,"application_fee_amount":null,"balance_transaction":"txn_3",
"billing_details":{"address":{"city":null,"country":null,"line1":null,"line2":null,"postal_code":null,
"state":null},"email":"","name":null,"phone":null,"tax_id":null},"calculated_statement_descriptor":"",
"captured":true,"created":0,"currency":"eur","customer":"cus_","description":"","disputed":false,
"failure_balance_transaction":null,"failure_code":null,"failure_message":null,"fraud_details":{},
"livemode":false,"metadata":{},"on_behalf_of":null,"outcome":{"advice_code":null,
"network_advice_code":null,"network_decline_code":null,"network_status":"approved_by_network",
"reason":null,"risk_level":"normal","risk_score":0,"seller_message":"","type":"authorized"},"paid":true,
"payment_intent":"pi_3","payment_method":"pm_1","payment_method_details":{"type":"card",
"card":{"amount_authorized":0,"authorization_code":null,"brand":"visa",
"checks":{"address_line1_check":null,"address_postal_code_check":null,"cvc_check":"pass"},"country":"",
"exp_month":0,"exp_year":0,"extended_authorization":{"status":"disabled"},"fingerprint":"",
"funding":"credit","incremental_authorization":{"status":"unavailable"},"installments":null,"last4":"",
"mandate":null,"multicapture":{"status":"unavailable"},"network":"visa","network_token":{"used":false},
"network_transaction_id":null,"overcapture":{"maximum_amount_capturable":0,"status":"unavailable"},
"regulated_status":"unregulated","three_d_secure":null,"wallet":null}},"radar_options":{},
"receipt_email":null,"receipt_number":null,"receipt_url":"https://pay.stripe.com/receipts/",
"refunded":false,"review":null,"shipping":null,"source":null,"source_transfer":null,
"statement_descriptor":null,"statement_descriptor_suffix":null,"status":"succeeded","transfer_data":null,
"transfer_group":null,"refunds":{"object":"list","data":[],"has_more":false,"url":"/v1/charges/"}}
""".replace("\n", "").encode()
"""The objects that every payment has are last: zlib finds what is near with fewer bits."""
