"""What a person can do with payments: look at the catalogue, buy, ask after a payment, list payments, refund;
change, cancel and resume a subscription, go to the portal, grant a feature.

The faces (`bus_api`, `http_api`) call these; every refusal is a `PaymentError`.
"""

from .catalog import catalog_view
from .checkout import CheckoutDesk
from .customer import CustomerDesk
from .grants import GrantDesk
from .history import History
from .holdings import Holdings, read_holdings
from .portal import PortalDesk
from .refunds import RefundDesk
from .status import PaymentStatusDesk
from .subscriptions import SubscriptionDesk

__all__ = [
    "CheckoutDesk",
    "CustomerDesk",
    "GrantDesk",
    "History",
    "Holdings",
    "PaymentStatusDesk",
    "PortalDesk",
    "RefundDesk",
    "SubscriptionDesk",
    "catalog_view",
    "read_holdings",
]
