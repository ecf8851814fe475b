"""The endpoints: method and path, the SDK's parameter type, the handler, and what a restricted key needs.

Paths and parameter types are those of the SDK's services (`stripe.StripeClient().v1…`).
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

from stripe import params as p
from stripe.params import billing_portal as portal_params
from stripe.params import checkout as checkout_params

from .api_errors import Json, not_simulated
from .resources import (
    catalog,
    checkout_sessions,
    customers,
    invoices,
    payments,
    platform,
    portal,
    schedules,
    subscriptions,
)

Handler = Callable[..., Json]


@dataclass(frozen=True)
class Route:
    """`path` has `{}` where an id stands; `permission` is the resource part of Stripe's `rak_…_read|write`
    names.
    """

    method: str
    path: str
    shape: type | None
    handler: Handler
    permission: str

    @cached_property
    def pattern(self) -> re.Pattern[str]:
        return re.compile(
            "".join("([^/]+)" if part == "{}" else re.escape(part) for part in re.split(r"(\{\})", self.path))
        )

    @property
    def needed(self) -> str:
        """The permission's full name: `rak_customer_read`."""
        return f"rak_{self.permission}_{'read' if self.method == 'GET' else 'write'}"


def _crud(path: str, permission: str, **handlers: tuple[type | None, Handler]) -> list[Route]:
    """create, list, retrieve, update, delete of a resource at their usual places."""
    places = {
        "create": ("POST", path),
        "list": ("GET", path),
        "retrieve": ("GET", path + "/{}"),
        "update": ("POST", path + "/{}"),
        "delete": ("DELETE", path + "/{}"),
    }
    return [Route(*places[verb], shape, handler, permission) for verb, (shape, handler) in handlers.items()]


ROUTES: list[Route] = [
    Route("GET", "/v1/account", p.AccountRetrieveCurrentParams, platform.retrieve_account, "account"),
    Route("GET", "/v1/accounts/{}", p.AccountRetrieveParams, platform.retrieve_account, "account"),
    Route("GET", "/v1/balance", p.BalanceRetrieveParams, platform.retrieve_balance, "balance"),
    Route("GET", "/v1/customers/search", p.CustomerSearchParams, customers.search_customers, "customer"),
    *_crud(
        "/v1/customers",
        "customer",
        create=(p.CustomerCreateParams, customers.create_customer),
        list=(p.CustomerListParams, customers.list_customers),
        retrieve=(p.CustomerRetrieveParams, customers.retrieve_customer),
        update=(p.CustomerUpdateParams, customers.update_customer),
        delete=(p.CustomerDeleteParams, customers.delete_customer),
    ),
    Route(
        "GET",
        "/v1/customers/{}/payment_methods",
        p.CustomerPaymentMethodListParams,
        customers.list_customer_payment_methods,
        "payment_method",
    ),
    *_crud(
        "/v1/payment_methods",
        "payment_method",
        list=(p.PaymentMethodListParams, customers.list_payment_methods),
        retrieve=(p.PaymentMethodRetrieveParams, customers.retrieve_payment_method),
    ),
    *_crud(
        "/v1/products",
        "product",
        create=(p.ProductCreateParams, catalog.create_product),
        list=(p.ProductListParams, catalog.list_products),
        retrieve=(p.ProductRetrieveParams, catalog.retrieve_product),
        update=(p.ProductUpdateParams, catalog.update_product),
        delete=(p.ProductDeleteParams, catalog.delete_product),
    ),
    *_crud(
        "/v1/prices",
        "plan",
        create=(p.PriceCreateParams, catalog.create_price),
        list=(p.PriceListParams, catalog.list_prices),
        retrieve=(p.PriceRetrieveParams, catalog.retrieve_price),
        update=(p.PriceUpdateParams, catalog.update_price),
    ),
    *_crud(
        "/v1/coupons",
        "coupon",
        create=(p.CouponCreateParams, catalog.create_coupon),
        list=(p.CouponListParams, catalog.list_coupons),
        retrieve=(p.CouponRetrieveParams, catalog.retrieve_coupon),
        delete=(p.CouponDeleteParams, catalog.delete_coupon),
    ),
    *_crud(
        "/v1/promotion_codes",
        "promotion_code",
        create=(p.PromotionCodeCreateParams, catalog.create_promotion_code),
        list=(p.PromotionCodeListParams, catalog.list_promotion_codes),
        retrieve=(p.PromotionCodeRetrieveParams, catalog.retrieve_promotion_code),
        update=(p.PromotionCodeUpdateParams, catalog.update_promotion_code),
    ),
    *_crud(
        "/v1/checkout/sessions",
        "checkout_session",
        create=(checkout_params.SessionCreateParams, checkout_sessions.create_session),
        list=(checkout_params.SessionListParams, checkout_sessions.list_sessions),
        retrieve=(checkout_params.SessionRetrieveParams, checkout_sessions.retrieve_session),
        update=(checkout_params.SessionUpdateParams, checkout_sessions.update_session),
    ),
    Route(
        "POST",
        "/v1/checkout/sessions/{}/expire",
        checkout_params.SessionExpireParams,
        checkout_sessions.expire_session,
        "checkout_session",
    ),
    Route(
        "GET",
        "/v1/checkout/sessions/{}/line_items",
        checkout_params.SessionLineItemListParams,
        checkout_sessions.list_line_items,
        "checkout_session",
    ),
    *_crud(
        "/v1/payment_intents",
        "payment_intent",
        create=(p.PaymentIntentCreateParams, payments.create_payment_intent),
        list=(p.PaymentIntentListParams, payments.list_payment_intents),
        retrieve=(p.PaymentIntentRetrieveParams, payments.retrieve_payment_intent),
        update=(p.PaymentIntentUpdateParams, payments.update_payment_intent),
    ),
    Route(
        "POST",
        "/v1/payment_intents/{}/cancel",
        p.PaymentIntentCancelParams,
        payments.cancel_payment_intent,
        "payment_intent",
    ),
    *_crud(
        "/v1/charges",
        "charge",
        list=(p.ChargeListParams, payments.list_charges),
        retrieve=(p.ChargeRetrieveParams, payments.retrieve_charge),
    ),
    *_crud(
        "/v1/refunds",
        "charge",
        create=(p.RefundCreateParams, payments.create_refund),
        list=(p.RefundListParams, payments.list_refunds),
        retrieve=(p.RefundRetrieveParams, payments.retrieve_refund),
        update=(p.RefundUpdateParams, payments.update_refund),
    ),
    *_crud(
        "/v1/disputes",
        "dispute",
        list=(p.DisputeListParams, payments.list_disputes),
        retrieve=(p.DisputeRetrieveParams, payments.retrieve_dispute),
    ),
    Route("POST", "/v1/disputes/{}/close", p.DisputeCloseParams, payments.close_dispute, "dispute"),
    *_crud(
        "/v1/balance_transactions",
        "balance",
        list=(p.BalanceTransactionListParams, payments.list_balance_transactions),
        retrieve=(p.BalanceTransactionRetrieveParams, payments.retrieve_balance_transaction),
    ),
    *_crud(
        "/v1/setup_intents",
        "setup_intent",
        retrieve=(p.SetupIntentRetrieveParams, payments.retrieve_setup_intent),
    ),
    Route(
        "GET",
        "/v1/subscriptions/search",
        p.SubscriptionSearchParams,
        subscriptions.search_subscriptions,
        "subscription",
    ),
    *_crud(
        "/v1/subscriptions",
        "subscription",
        create=(p.SubscriptionCreateParams, subscriptions.create_subscription),
        list=(p.SubscriptionListParams, subscriptions.list_subscriptions),
        retrieve=(p.SubscriptionRetrieveParams, subscriptions.retrieve_subscription),
        update=(p.SubscriptionUpdateParams, subscriptions.update_subscription),
        delete=(p.SubscriptionCancelParams, subscriptions.cancel_subscription),
    ),
    Route(
        "POST",
        "/v1/subscriptions/{}/pause",
        p.SubscriptionPauseParams,
        subscriptions.pause_subscription,
        "subscription",
    ),
    Route(
        "POST",
        "/v1/subscriptions/{}/resume",
        p.SubscriptionResumeParams,
        subscriptions.resume_subscription,
        "subscription",
    ),
    Route(
        "GET",
        "/v1/subscription_items",
        p.SubscriptionItemListParams,
        subscriptions.list_items,
        "subscription",
    ),
    *_crud(
        "/v1/subscription_schedules",
        "subscription",
        create=(p.SubscriptionScheduleCreateParams, schedules.create_schedule),
        retrieve=(p.SubscriptionScheduleRetrieveParams, schedules.retrieve_schedule),
    ),
    Route(
        "POST",
        "/v1/subscription_schedules/{}/release",
        p.SubscriptionScheduleReleaseParams,
        schedules.release_schedule,
        "subscription",
    ),
    Route("GET", "/v1/invoices/search", p.InvoiceSearchParams, invoices.search_invoices, "invoice"),
    Route(
        "POST",
        "/v1/invoices/create_preview",
        p.InvoiceCreatePreviewParams,
        invoices.create_preview,
        "invoice",
    ),
    *_crud(
        "/v1/invoices",
        "invoice",
        list=(p.InvoiceListParams, invoices.list_invoices),
        retrieve=(p.InvoiceRetrieveParams, invoices.retrieve_invoice),
        update=(p.InvoiceUpdateParams, invoices.update_invoice),
    ),
    Route(
        "POST",
        "/v1/invoices/{}/attach_payment",
        p.InvoiceAttachPaymentParams,
        invoices.attach_payment,
        "invoice",
    ),
    Route("POST", "/v1/invoices/{}/pay", p.InvoicePayParams, invoices.pay_invoice, "invoice"),
    Route(
        "POST",
        "/v1/invoices/{}/finalize",
        p.InvoiceFinalizeInvoiceParams,
        invoices.finalize_invoice,
        "invoice",
    ),
    Route("POST", "/v1/invoices/{}/void", p.InvoiceVoidInvoiceParams, invoices.void_invoice, "invoice"),
    Route(
        "POST",
        "/v1/invoices/{}/mark_uncollectible",
        p.InvoiceMarkUncollectibleParams,
        invoices.mark_uncollectible,
        "invoice",
    ),
    Route("GET", "/v1/invoices/{}/lines", p.InvoiceLineItemListParams, invoices.list_lines, "invoice"),
    *_crud(
        "/v1/invoice_payments",
        "invoice",
        list=(p.InvoicePaymentListParams, invoices.list_invoice_payments),
        retrieve=(p.InvoicePaymentRetrieveParams, invoices.retrieve_invoice_payment),
    ),
    Route(
        "POST",
        "/v1/billing_portal/sessions",
        portal_params.SessionCreateParams,
        portal.create_session,
        "customer_portal",
    ),
    *_crud(
        "/v1/billing_portal/configurations",
        "customer_portal",
        create=(portal_params.ConfigurationCreateParams, portal.create_configuration),
        list=(portal_params.ConfigurationListParams, portal.list_configurations),
        retrieve=(portal_params.ConfigurationRetrieveParams, portal.retrieve_configuration),
        update=(portal_params.ConfigurationUpdateParams, portal.update_configuration),
    ),
    *_crud(
        "/v1/events",
        "event",
        list=(p.EventListParams, platform.list_events),
        retrieve=(p.EventRetrieveParams, platform.retrieve_event),
    ),
    *_crud(
        "/v1/webhook_endpoints",
        "webhook",
        create=(p.WebhookEndpointCreateParams, platform.create_webhook_endpoint),
        list=(p.WebhookEndpointListParams, platform.list_webhook_endpoints),
        retrieve=(p.WebhookEndpointRetrieveParams, platform.retrieve_webhook_endpoint),
        update=(p.WebhookEndpointUpdateParams, platform.update_webhook_endpoint),
        delete=(p.WebhookEndpointDeleteParams, platform.delete_webhook_endpoint),
    ),
]


SIMULATED: dict[tuple[str, str], str] = {
    ("POST", "/v1/subscriptions"): (
        "automatic_tax billing_mode cancel_at cancel_at_period_end collection_method customer days_until_due "
        "default_payment_method description discounts items metadata off_session payment_behavior "
        "payment_settings trial_end trial_period_days trial_settings"
    ),
    ("POST", "/v1/subscriptions/{}"): (
        "billing_cycle_anchor cancel_at cancel_at_period_end cancellation_details collection_method "
        "days_until_due default_payment_method description discounts items metadata off_session "
        "pause_collection payment_behavior proration_behavior proration_date trial_end trial_settings"
    ),
    ("DELETE", "/v1/subscriptions/{}"): "cancellation_details invoice_now prorate",
    ("POST", "/v1/subscriptions/{}/pause"): "",
    ("POST", "/v1/invoices/{}"): "auto_advance description footer metadata",
    ("POST", "/v1/invoices/{}/pay"): "off_session paid_out_of_band payment_method",
    ("POST", "/v1/invoices/{}/finalize"): "",
    ("POST", "/v1/refunds"): "amount charge metadata payment_intent reason",
}
"""Of the endpoints whose parameters decide about money: those that have their effect here. Stripe knows more;
another one is answered 501, never ignored.
"""


def check_simulated(route: Route, params: Json) -> None:
    """501 for a parameter that exists at Stripe and would be ignored here."""
    known = SIMULATED.get((route.method, route.path))
    if known is None:
        return
    for name in params:
        if name != "expand" and name not in known.split():
            raise not_simulated(f"the parameter {name} of {route.method} {route.path.replace('{}', 'ID')}")


def find_route(method: str, path: str) -> tuple[Route, tuple[str, ...]] | None:
    """The route and the ids in the path; None if there is none."""
    for route in ROUTES:
        if route.method == method and (match := route.pattern.fullmatch(path)):
            return route, match.groups()
    return None
