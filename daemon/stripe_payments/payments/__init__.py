"""What a person can do with payments: look at the catalogue, buy, ask after a payment, list payments, refund.

The faces (`bus_api`, `http_api`) call these; every refusal is a `PaymentError`.
"""

from .catalog import catalog_view
from .checkout import CheckoutDesk
from .customer import CustomerDesk
from .history import History
from .holdings import Holdings, read_holdings
from .refunds import RefundDesk
from .status import PaymentStatusDesk

__all__ = [
    "CheckoutDesk",
    "CustomerDesk",
    "History",
    "Holdings",
    "PaymentStatusDesk",
    "RefundDesk",
    "catalog_view",
    "read_holdings",
]
