"""The ledger: what the router knows of its payments, in SQLite, written by one thread. See `store`."""

from stripe_payments.ledger.checkouts import Checkout, CheckoutState
from stripe_payments.ledger.database import Ledger
from stripe_payments.ledger.features import FeatureChange
from stripe_payments.ledger.history import TransactionRow
from stripe_payments.ledger.inbox import InboxEvent
from stripe_payments.ledger.outbox import Effect
from stripe_payments.ledger.retention import LedgerCare, Tidied
from stripe_payments.ledger.transaction import Transaction

__all__ = [
    "Checkout",
    "CheckoutState",
    "Effect",
    "FeatureChange",
    "InboxEvent",
    "Ledger",
    "LedgerCare",
    "Tidied",
    "Transaction",
    "TransactionRow",
]
