"""Chargebacks: opened by the buyer's bank, closed won or lost.  https://docs.stripe.com/disputes/how-
disputes-work
"""

from __future__ import annotations

from .account import Account
from .api_errors import Json, invalid
from .objects import payments as objects

OPEN = frozenset({"needs_response", "under_review", "warning_needs_response", "warning_under_review"})
APPEALED = frozenset({"appeal_needs_response", "appeal_under_review"})


def find_dispute(account: Account, charge: Json) -> Json | None:
    """The dispute about a charge, the newest first."""
    return next((row for row in account.newest_first("dispute") if row["charge"] == charge["id"]), None)


def open_dispute(
    account: Account,
    charge: Json,
    *,
    reason: str = "fraudulent",
    amount: int | None = None,
    inquiry: bool = False,
) -> Json:
    """The bank takes the money back for the time being: `amount` of it where only a part is disputed. With an
    `inquiry` it only asks, and the charge can still be refunded.
    """
    if not charge["paid"]:
        raise invalid(f"Charge {charge['id']} was not paid, so that it cannot be disputed.")
    if charge["disputed"]:
        raise invalid(f"Charge {charge['id']} is disputed already.", code="charge_disputed")
    dispute = account.add(objects.dispute(account, charge, reason))
    if amount is not None:
        if not 0 < amount <= dispute["amount"]:
            raise invalid("The amount of a dispute is at most what is left of the charge.", param="amount")
        dispute["amount"] = amount
    if inquiry:
        dispute.update(status="warning_needs_response", is_charge_refundable=True)
        dispute["payment_method_details"]["card"]["case_type"] = "inquiry"
    else:
        movement = account.add(
            objects.balance_transaction(account, dispute, -dispute["amount"], "adjustment")
        )
        dispute["balance_transactions"].append(movement)
    with account.changing(charge, "charge.updated"):
        charge["disputed"] = True
    account.emit("charge.dispute.created", dispute)
    if not inquiry:
        account.emit("charge.dispute.funds_withdrawn", dispute)
    return dispute


def after_refund(account: Account, charge: Json) -> None:
    """A full refund answers an inquiry. https://docs.stripe.com/disputes/how-disputes-work#inquiries"""
    dispute = find_dispute(account, charge)
    if charge["refunded"] and dispute is not None and dispute["is_charge_refundable"]:
        with account.changing(dispute, None):
            dispute.update(status="warning_closed", is_charge_refundable=False)
        account.emit("charge.dispute.closed", dispute)


def move(account: Account, charge: Json, status: str) -> Json:
    """Evidence was submitted (`under_review`), or an inquiry ends without a dispute (`warning_closed`)."""
    dispute = find_dispute(account, charge)
    inquiry = status.startswith("warning_")
    if dispute is None or dispute["status"] not in OPEN:
        raise invalid(f"Charge {charge['id']} has no open dispute.")
    if inquiry != dispute["status"].startswith("warning_"):
        raise invalid(f"Dispute {dispute['id']} is {dispute['status']}: it cannot become {status}.")
    over = status == "warning_closed"
    with account.changing(dispute, None if over else "charge.dispute.updated"):
        dispute.update(status=status, is_charge_refundable=inquiry and not over)
    if over:
        account.emit("charge.dispute.closed", dispute)
    return dispute


def decide_appeal(account: Account, dispute: Json, status: str) -> Json:
    """A lost dispute goes on: appeal_needs_response, appeal_under_review, and won or lost after that.

    https://docs.stripe.com/api/disputes/object#dispute_object-status
    """
    if dispute["status"] not in {"lost", *APPEALED}:
        raise invalid(f"Dispute {dispute['id']} is {dispute['status']}: it cannot be appealed.")
    with account.changing(dispute, "charge.dispute.updated"):
        dispute["status"] = status
        if status == "won":
            movement = account.add(
                objects.balance_transaction(account, dispute, dispute["amount"], "adjustment")
            )
            dispute["balance_transactions"].append(movement)
    if status == "won":
        account.emit("charge.dispute.funds_reinstated", dispute)
    return dispute


def prevent(account: Account, charge: Json, case_type: str) -> Json:
    """A dispute that never became one. With case type `resolution` the buyer was refunded, with `block` the
    charge stands.
    """
    dispute = account.add(objects.dispute(account, charge))
    with account.changing(charge, "charge.updated"):
        charge["disputed"] = True
    with account.changing(dispute, None):
        dispute["status"] = "prevented"
        dispute["payment_method_details"]["card"]["case_type"] = case_type
    account.emit("charge.dispute.created", dispute)
    return dispute


def close_dispute(account: Account, dispute: Json, outcome: str) -> Json:
    """`outcome`: won (the money comes back) or lost."""
    if dispute["status"] not in OPEN:
        raise invalid(f"Dispute {dispute['id']} is closed already ({dispute['status']}).")
    with account.changing(dispute, None):
        dispute["status"] = outcome
        if outcome == "won":
            movement = account.add(
                objects.balance_transaction(account, dispute, dispute["amount"], "adjustment")
            )
            dispute["balance_transactions"].append(movement)
    account.emit("charge.dispute.closed", dispute)
    if outcome == "won":
        account.emit("charge.dispute.funds_reinstated", dispute)
    return dispute
