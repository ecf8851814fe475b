"""What a person can do with payments: view the catalog, buy, see payments, refund; change, cancel and resume
a subscription, open the customer portal, grant a feature.

The APIs (`bus_api`, `http_api`) call these; every refusal is a `PaymentError`.
"""

from stripe_payments.billing.checkout_sessions import CheckoutService
from stripe_payments.billing.customer import CustomerService
from stripe_payments.billing.eligibility import Ownership, catalog_view, read_ownership
from stripe_payments.billing.grants import GrantService
from stripe_payments.billing.payment_status import PaymentStatusService
from stripe_payments.billing.portal import PortalService
from stripe_payments.billing.prices import PriceIds
from stripe_payments.billing.refunds import RefundService
from stripe_payments.billing.subscriptions import SubscriptionService
from stripe_payments.billing.transaction_list import History
from stripe_payments.return_urls import ReturnUrls

__all__ = [
    "CheckoutService",
    "CustomerService",
    "GrantService",
    "History",
    "Ownership",
    "PaymentStatusService",
    "PortalService",
    "PriceIds",
    "RefundService",
    "ReturnUrls",
    "SubscriptionService",
    "catalog_view",
    "read_ownership",
]
