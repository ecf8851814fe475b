"""The ledger: what the router knows of its payments, in SQLite, written by one thread. See `store`."""

from stripe_payments.ledger.care import LedgerCare, Tidied
from stripe_payments.ledger.checkouts import Checkout, CheckoutState
from stripe_payments.ledger.features import FeatureChange
from stripe_payments.ledger.inbox import InboxEvent
from stripe_payments.ledger.outbox import Effect
from stripe_payments.ledger.store import Ledger
from stripe_payments.ledger.transaction import Transaction
from stripe_payments.ledger.transactions import TransactionRow

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
