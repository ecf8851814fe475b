"""What a person can do with payments: look at the catalogue, buy, ask after a payment, list payments, refund;
change, cancel and resume a subscription, go to the portal, grant a feature.

The faces (`bus_api`, `http_api`) call these; every refusal is a `PaymentError`.
"""

from stripe_payments.billing.checkout_sessions import CheckoutService
from stripe_payments.billing.customer import CustomerService
from stripe_payments.billing.eligibility import Ownership, catalog_view, read_ownership
from stripe_payments.billing.grants import GrantService
from stripe_payments.billing.payment_history import History
from stripe_payments.billing.payment_status import PaymentStatusService
from stripe_payments.billing.portal import PortalService
from stripe_payments.billing.refunds import RefundService
from stripe_payments.billing.subscriptions import SubscriptionService

__all__ = [
    "CheckoutService",
    "CustomerService",
    "GrantService",
    "History",
    "Ownership",
    "PaymentStatusService",
    "PortalService",
    "RefundService",
    "SubscriptionService",
    "catalog_view",
    "read_ownership",
]
