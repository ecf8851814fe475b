"""The ledger: what is known of a router's payments. `interface` is what the payment rules see of it;
`database` is the one in SQLite, written by one thread.
"""

from stripe_payments.ledger.checkouts import Checkout, CheckoutState
from stripe_payments.ledger.database import SQLiteLedger
from stripe_payments.ledger.interface import Ledger, Transaction
from stripe_payments.ledger.queues import Effect, InboxEvent
from stripe_payments.ledger.retention import Retention, Tidied
from stripe_payments.ledger.transaction import SQLiteTransaction

__all__ = [
    "Checkout",
    "CheckoutState",
    "Effect",
    "InboxEvent",
    "Ledger",
    "Retention",
    "SQLiteLedger",
    "SQLiteTransaction",
    "Tidied",
    "Transaction",
]
