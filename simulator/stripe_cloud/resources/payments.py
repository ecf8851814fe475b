"""/v1/payment_intents, /v1/charges, /v1/refunds, /v1/disputes, /v1/balance_transactions, /v1/setup_intents,
/v1/payment_records
"""

from __future__ import annotations

from typing import Any

from .. import disputes, paying
from ..account import Account, merge_metadata
from ..api_errors import Json, not_simulated
from ..billing import collection
from ..objects import payments as objects
from ..rendering import included, list_of


def create_payment_intent(account: Account, params: Json) -> Json:
    """Confirmed at once, off session, with a payment method of the customer's: that of a Dashboard."""
    if not params.get("confirm") or not params.get("off_session") or "payment_method" not in params:
        raise not_simulated("a payment intent without confirm, off_session and a payment_method")
    method = account.get("payment_method", params["payment_method"], param="payment_method")
    intent = account.add(
        objects.payment_intent(
            account,
            amount=params["amount"],
            currency=params["currency"],
            customer=params.get("customer"),
            metadata=params.get("metadata") or {},
        )
    )
    account.emit("payment_intent.created", intent)
    paying.confirm(account, intent, method, collection.card_of(account, method), on_session=False)
    return intent


def update_payment_intent(account: Account, params: Json, intent_id: str) -> Json:
    intent = account.get("payment_intent", intent_id, param="intent")
    with account.changing(intent, None):
        if "metadata" in params:
            intent["metadata"] = merge_metadata(intent["metadata"], params["metadata"])
        if "description" in params:
            intent["description"] = params["description"]
    return intent


def cancel_payment_intent(account: Account, params: Json, intent_id: str) -> Json:
    intent = account.get("payment_intent", intent_id, param="intent")
    paying.cancel(account, intent, params.get("cancellation_reason"))
    return intent


def update_refund(account: Account, params: Json, refund_id: str) -> Json:
    refund = account.get("refund", refund_id)
    with account.changing(refund, "refund.updated"):
        refund["metadata"] = merge_metadata(refund["metadata"], params.get("metadata", {}))
    return refund


def close_dispute(account: Account, params: Json, dispute_id: str) -> Json:
    """The seller accepts the loss."""
    return disputes.close_dispute(account, account.get("dispute", dispute_id), "lost")


def report_payment(account: Account, params: Json) -> Json:
    """A payment that was made somewhere else, and has arrived."""
    if params.get("outcome") != "guaranteed":
        raise not_simulated("a payment record whose payment has not arrived")
    return account.add(objects.payment_record(account, params))


@included("charge", "refunds")
def _refunds(account: Account, charge: Json) -> Any:
    rows = [row for row in account.newest_first("refund") if row["charge"] == charge["id"]]
    return list_of(rows, f"/v1/charges/{charge['id']}/refunds")
