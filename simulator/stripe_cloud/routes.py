"""The endpoints: method and path, the SDK's parameter type, the handler, and what a restricted key needs.

Paths and parameter types are those of the SDK's services (`stripe.StripeClient().v1…`).
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cached_property

from stripe import params as p
from stripe.params import billing_portal as portal_params
from stripe.params import checkout as checkout_params

from . import checkout_creation, credit_notes, portal, refunds
from .billing import changes
from .resources import (
    catalog,
    checkout_sessions,
    customers,
    invoices,
    payments,
    platform,
    schedules,
    stored,
    subscriptions,
)
from .resources.stored import Handler


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


def _resource(path: str, permission: str, **handlers: tuple[type | None, Handler]) -> list[Route]:
    """The endpoints of a resource at their usual places; a verb of its own is an action on one object,
    `POST path/ID/verb`.
    """
    places = {
        "search": ("GET", f"{path}/search"),
        "create": ("POST", path),
        "list": ("GET", path),
        "retrieve": ("GET", path + "/{}"),
        "update": ("POST", path + "/{}"),
        "delete": ("DELETE", path + "/{}"),
    }
    return [
        Route(*places.get(verb, ("POST", f"{path}/{{}}/{verb}")), shape, handler, permission)
        for verb, (shape, handler) in handlers.items()
    ]


ROUTES: list[Route] = [
    Route("GET", "/v1/account", p.AccountRetrieveCurrentParams, platform.retrieve_account, "account"),
    Route("GET", "/v1/accounts/{}", p.AccountRetrieveParams, platform.retrieve_account, "account"),
    Route("GET", "/v1/balance", p.BalanceRetrieveParams, platform.retrieve_balance, "balance"),
    *_resource(
        "/v1/customers",
        "customer",
        search=(p.CustomerSearchParams, stored.search_all("customer", "/v1/customers")),
        create=(p.CustomerCreateParams, customers.create_customer),
        list=(p.CustomerListParams, stored.list_all("customer", "/v1/customers", "email")),
        retrieve=(p.CustomerRetrieveParams, stored.retrieve("customer")),
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
    *_resource(
        "/v1/customers/{}/balance_transactions",
        "customer",
        create=(p.CustomerBalanceTransactionCreateParams, customers.create_balance_transaction),
        list=(p.CustomerBalanceTransactionListParams, customers.list_balance_transactions),
        retrieve=(p.CustomerBalanceTransactionRetrieveParams, customers.retrieve_balance_transaction),
    ),
    *_resource(
        "/v1/payment_methods",
        "payment_method",
        list=(
            p.PaymentMethodListParams,
            stored.list_all("payment_method", "/v1/payment_methods", "customer", "type"),
        ),
        retrieve=(p.PaymentMethodRetrieveParams, stored.retrieve("payment_method")),
    ),
    *_resource(
        "/v1/products",
        "product",
        create=(p.ProductCreateParams, catalog.create_product),
        list=(p.ProductListParams, catalog.list_products),
        retrieve=(p.ProductRetrieveParams, stored.retrieve("product")),
        update=(p.ProductUpdateParams, catalog.update_product),
        delete=(p.ProductDeleteParams, catalog.delete_product),
    ),
    *_resource(
        "/v1/prices",
        "plan",
        create=(p.PriceCreateParams, catalog.create_price),
        list=(p.PriceListParams, catalog.list_prices),
        retrieve=(p.PriceRetrieveParams, stored.retrieve("price")),
        update=(p.PriceUpdateParams, catalog.update_price),
    ),
    *_resource(
        "/v1/coupons",
        "coupon",
        create=(p.CouponCreateParams, catalog.create_coupon),
        list=(p.CouponListParams, stored.list_all("coupon", "/v1/coupons")),
        retrieve=(p.CouponRetrieveParams, stored.retrieve("coupon")),
        delete=(p.CouponDeleteParams, catalog.delete_coupon),
    ),
    *_resource(
        "/v1/promotion_codes",
        "promotion_code",
        create=(p.PromotionCodeCreateParams, catalog.create_promotion_code),
        list=(p.PromotionCodeListParams, catalog.list_promotion_codes),
        retrieve=(p.PromotionCodeRetrieveParams, stored.retrieve("promotion_code")),
        update=(p.PromotionCodeUpdateParams, catalog.update_promotion_code),
    ),
    *_resource(
        "/v1/checkout/sessions",
        "checkout_session",
        create=(checkout_params.SessionCreateParams, checkout_creation.create_session),
        list=(checkout_params.SessionListParams, checkout_sessions.list_sessions),
        retrieve=(checkout_params.SessionRetrieveParams, stored.retrieve("checkout.session")),
        update=(checkout_params.SessionUpdateParams, checkout_sessions.update_session),
        expire=(checkout_params.SessionExpireParams, checkout_sessions.expire_session),
    ),
    Route(
        "GET",
        "/v1/checkout/sessions/{}/line_items",
        checkout_params.SessionLineItemListParams,
        checkout_sessions.list_line_items,
        "checkout_session",
    ),
    *_resource(
        "/v1/payment_intents",
        "payment_intent",
        create=(p.PaymentIntentCreateParams, payments.create_payment_intent),
        list=(
            p.PaymentIntentListParams,
            stored.list_all("payment_intent", "/v1/payment_intents", "customer"),
        ),
        retrieve=(p.PaymentIntentRetrieveParams, stored.retrieve("payment_intent", param="intent")),
        update=(p.PaymentIntentUpdateParams, payments.update_payment_intent),
        cancel=(p.PaymentIntentCancelParams, payments.cancel_payment_intent),
    ),
    *_resource(
        "/v1/charges",
        "charge",
        list=(p.ChargeListParams, stored.list_all("charge", "/v1/charges", "customer", "payment_intent")),
        retrieve=(p.ChargeRetrieveParams, stored.retrieve("charge")),
    ),
    *_resource(
        "/v1/refunds",
        "charge",
        create=(p.RefundCreateParams, refunds.create_refund),
        list=(p.RefundListParams, stored.list_all("refund", "/v1/refunds", "charge", "payment_intent")),
        retrieve=(p.RefundRetrieveParams, stored.retrieve("refund")),
        update=(p.RefundUpdateParams, payments.update_refund),
    ),
    *_resource(
        "/v1/disputes",
        "dispute",
        list=(p.DisputeListParams, stored.list_all("dispute", "/v1/disputes", "charge", "payment_intent")),
        retrieve=(p.DisputeRetrieveParams, stored.retrieve("dispute")),
        close=(p.DisputeCloseParams, payments.close_dispute),
    ),
    *_resource(
        "/v1/balance_transactions",
        "balance",
        list=(
            p.BalanceTransactionListParams,
            stored.list_all("balance_transaction", "/v1/balance_transactions", "currency", "source", "type"),
        ),
        retrieve=(p.BalanceTransactionRetrieveParams, stored.retrieve("balance_transaction")),
    ),
    *_resource(
        "/v1/setup_intents",
        "setup_intent",
        retrieve=(p.SetupIntentRetrieveParams, stored.retrieve("setup_intent", param="intent")),
    ),
    *_resource(
        "/v1/subscriptions",
        "subscription",
        search=(p.SubscriptionSearchParams, stored.search_all("subscription", "/v1/subscriptions")),
        create=(p.SubscriptionCreateParams, subscriptions.create_subscription),
        list=(p.SubscriptionListParams, subscriptions.list_subscriptions),
        retrieve=(p.SubscriptionRetrieveParams, stored.retrieve("subscription")),
        update=(p.SubscriptionUpdateParams, subscriptions.update_subscription),
        delete=(p.SubscriptionCancelParams, subscriptions.cancel_subscription),
        pause=(p.SubscriptionPauseParams, subscriptions.pause_subscription),
        resume=(p.SubscriptionResumeParams, subscriptions.resume_subscription),
    ),
    *_resource(
        "/v1/subscription_items",
        "subscription",
        create=(p.SubscriptionItemCreateParams, subscriptions.create_item),
        list=(p.SubscriptionItemListParams, subscriptions.list_items),
        retrieve=(p.SubscriptionItemRetrieveParams, subscriptions.retrieve_item),
        update=(p.SubscriptionItemUpdateParams, subscriptions.update_item),
        delete=(p.SubscriptionItemDeleteParams, subscriptions.delete_item),
    ),
    *_resource(
        "/v1/subscription_schedules",
        "subscription",
        create=(p.SubscriptionScheduleCreateParams, schedules.create_schedule),
        retrieve=(p.SubscriptionScheduleRetrieveParams, stored.retrieve("subscription_schedule")),
        update=(p.SubscriptionScheduleUpdateParams, schedules.update_schedule),
        release=(p.SubscriptionScheduleReleaseParams, schedules.release_schedule),
    ),
    Route("POST", "/v1/invoices/create_preview", p.InvoiceCreatePreviewParams, changes.preview, "invoice"),
    *_resource(
        "/v1/invoices",
        "invoice",
        search=(p.InvoiceSearchParams, stored.search_all("invoice", "/v1/invoices")),
        list=(p.InvoiceListParams, invoices.list_invoices),
        retrieve=(p.InvoiceRetrieveParams, stored.retrieve("invoice")),
        update=(p.InvoiceUpdateParams, invoices.update_invoice),
        attach_payment=(p.InvoiceAttachPaymentParams, invoices.attach_payment),
        pay=(p.InvoicePayParams, invoices.pay_invoice),
        finalize=(p.InvoiceFinalizeInvoiceParams, invoices.finalize_invoice),
        void=(p.InvoiceVoidInvoiceParams, invoices.void_invoice),
        mark_uncollectible=(p.InvoiceMarkUncollectibleParams, invoices.mark_uncollectible),
    ),
    Route("GET", "/v1/invoices/{}/lines", p.InvoiceLineItemListParams, invoices.list_lines, "invoice"),
    *_resource(
        "/v1/credit_notes",
        "credit_note",
        create=(p.CreditNoteCreateParams, credit_notes.create),
        list=(
            p.CreditNoteListParams,
            stored.list_all("credit_note", "/v1/credit_notes", "customer", "invoice"),
        ),
        retrieve=(p.CreditNoteRetrieveParams, stored.retrieve("credit_note")),
    ),
    *_resource(
        "/v1/invoice_payments",
        "invoice",
        list=(p.InvoicePaymentListParams, invoices.list_invoice_payments),
        retrieve=(p.InvoicePaymentRetrieveParams, stored.retrieve("invoice_payment")),
    ),
    Route(
        "POST",
        "/v1/payment_records/report_payment",
        p.PaymentRecordReportPaymentParams,
        payments.report_payment,
        "payment_records",
    ),
    *_resource(
        "/v1/payment_records",
        "payment_records",
        retrieve=(p.PaymentRecordRetrieveParams, stored.retrieve("payment_record")),
    ),
    Route(
        "POST",
        "/v1/billing_portal/sessions",
        portal_params.SessionCreateParams,
        portal.create_session,
        "customer_portal",
    ),
    *_resource(
        "/v1/billing_portal/configurations",
        "customer_portal",
        create=(portal_params.ConfigurationCreateParams, portal.create_configuration),
        list=(
            portal_params.ConfigurationListParams,
            stored.list_all(
                "billing_portal.configuration", "/v1/billing_portal/configurations", "active", "is_default"
            ),
        ),
        retrieve=(portal_params.ConfigurationRetrieveParams, stored.retrieve("billing_portal.configuration")),
        update=(portal_params.ConfigurationUpdateParams, portal.update_configuration),
    ),
    *_resource(
        "/v1/events",
        "event",
        list=(p.EventListParams, platform.list_events),
        retrieve=(p.EventRetrieveParams, stored.retrieve("event")),
    ),
    *_resource(
        "/v1/webhook_endpoints",
        "webhook",
        create=(p.WebhookEndpointCreateParams, platform.create_webhook_endpoint),
        list=(p.WebhookEndpointListParams, platform.list_webhook_endpoints),
        retrieve=(p.WebhookEndpointRetrieveParams, platform.retrieve_webhook_endpoint),
        update=(p.WebhookEndpointUpdateParams, platform.update_webhook_endpoint),
        delete=(p.WebhookEndpointDeleteParams, platform.delete_webhook_endpoint),
    ),
]


def find_route(method: str, path: str) -> tuple[Route, tuple[str, ...]] | None:
    """The route and the ids in the path; None if there is none."""
    for route in ROUTES:
        if route.method == method and (match := route.pattern.fullmatch(path)):
            return route, match.groups()
    return None
