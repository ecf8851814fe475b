"""The customer's credit balance and the list of its transactions. Negative is credit.

https://docs.stripe.com/billing/customer/balance
"""

from __future__ import annotations

from ..account import Account
from ..api_errors import Json
from ..objects import customers as objects


def change(
    account: Account,
    customer: Json,
    amount: int,
    kind: str,
    *,
    currency: str | None = None,
    invoice: str | None = None,
    credit_note: str | None = None,
    params: Json | None = None,
) -> Json:
    """Add `amount` to the balance; returns the transaction. `kind` is one of Stripe's types: `adjustment`,
    `applied_to_invoice`, `credit_note`, ...
    """
    with account.changing(customer, "customer.updated"):
        customer["balance"] += amount
    shown = currency or customer["currency"] or account.CURRENCY
    transaction = objects.balance_transaction(account, customer, amount, kind, shown, params or {})
    transaction.update(invoice=invoice, credit_note=credit_note)
    return account.add(transaction)
