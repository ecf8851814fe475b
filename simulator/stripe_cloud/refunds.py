"""Money back: full, partial, and everything that Stripe refuses.  https://docs.stripe.com/refunds"""

from __future__ import annotations

from . import disputes
from .account import Account
from .api_errors import Json, invalid
from .clock import DAY
from .money import format_amount
from .objects import payments as objects

DEBIT_REFUND_TAKES = 5 * DAY


def create_refund(account: Account, params: Json) -> Json:
    """Raises StripeApiError: `charge_already_refunded`, `charge_disputed`, an amount above the rest,
    nothing paid.
    """
    charge = _charge(account, params)
    if charge["refunded"]:
        raise invalid(f"Charge {charge['id']} has already been refunded.", code="charge_already_refunded")
    dispute = disputes.find_dispute(account, charge)
    if charge["disputed"] and not (dispute and dispute["is_charge_refundable"]):
        raise invalid(
            f"Charge {charge['id']} has been charged back; cannot issue a refund.", code="charge_disputed"
        )
    if not charge["paid"]:
        raise invalid(
            f"Charge {charge['id']} has not been paid, so it cannot be refunded.",
            code="charge_not_refundable",
        )
    rest = charge["amount"] - charge["amount_refunded"]
    amount = params.get("amount", rest)
    if amount < 1:
        raise invalid(
            "This value must be greater than or equal to 1.", param="amount", code="parameter_invalid_integer"
        )
    if amount > rest:
        wanted, left = format_amount(amount, charge["currency"]), format_amount(rest, charge["currency"])
        raise invalid(
            f"Refund amount ({wanted}) is greater than unrefunded amount on charge ({left})", param="amount"
        )
    refund = objects.refund(account, charge, amount, params)
    movement = account.add(objects.balance_transaction(account, refund, -amount, "refund"))
    refund["balance_transaction"] = movement["id"]
    account.add(refund)
    if refund["status"] == "pending":
        account.schedule(account.now() + DEBIT_REFUND_TAKES, "settle_refund", refund["id"])
    before = {"amount_refunded": charge["amount_refunded"], "refunded": charge["refunded"]}
    with account.changing(charge, None):
        charge["amount_refunded"] += amount
        charge["refunded"] = charge["amount_refunded"] == charge["amount"]
    account.emit("refund.created", refund)
    account.emit(
        "charge.refunded", charge, {name: old for name, old in before.items() if charge[name] != old}
    )
    disputes.after_refund(account, charge)
    return refund


def settle_refund(account: Account, refund: Json) -> None:
    """A refund of a bank debit has reached the buyer's account."""
    with account.changing(refund, "refund.updated"):
        refund["status"] = "succeeded"


def fail_refund(account: Account, refund: Json, *, charge_follows: bool) -> None:
    """The buyer's bank sent the money back to us. Whether the charge's amount_refunded follows is not
    documented: both are possible here.  https://docs.stripe.com/refunds#failed-refunds
    """
    with account.changing(refund, "refund.updated"):
        refund.update(status="failed", failure_reason="expired_or_canceled_card")
    if charge_follows:
        charge = account.get("charge", refund["charge"])
        with account.changing(charge, "charge.updated"):
            charge["amount_refunded"] -= refund["amount"]
            charge["refunded"] = False
    account.emit("refund.failed", refund)


def _charge(account: Account, params: Json) -> Json:
    if ("charge" in params) == ("payment_intent" in params):
        raise invalid(
            "One of charge or payment_intent must be provided, and only one.", code="parameter_missing"
        )
    if "charge" in params:
        return account.get("charge", params["charge"], param="charge")
    intent = account.get("payment_intent", params["payment_intent"], param="payment_intent")
    if intent["status"] != "succeeded":
        raise invalid(
            f"This PaymentIntent ({intent['id']}) does not have a successful charge to refund.",
            param="payment_intent",
        )
    return account.get("charge", intent["latest_charge"])
