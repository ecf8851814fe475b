"""The ledger: what the router knows of its payments, in SQLite, written by one thread. See `database`."""

from stripe_payments.ledger.checkouts import Checkout, CheckoutState
from stripe_payments.ledger.database import Ledger
from stripe_payments.ledger.queues import Effect, InboxEvent
from stripe_payments.ledger.retention import LedgerCare, Tidied
from stripe_payments.ledger.transaction import Transaction

__all__ = [
    "Checkout",
    "CheckoutState",
    "Effect",
    "InboxEvent",
    "Ledger",
    "LedgerCare",
    "Tidied",
    "Transaction",
]
