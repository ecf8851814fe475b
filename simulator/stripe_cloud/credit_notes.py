"""Credit notes: less to pay on an open invoice; money, credit or cash back on a paid one.

https://docs.stripe.com/api/credit_notes/create
"""

from __future__ import annotations

from . import refunds
from .account import Account
from .api_errors import Json, invalid, not_simulated
from .billing import balance, collection, invoicing
from .objects import credit_notes as objects

PARTS = ("refund_amount", "credit_amount", "out_of_band_amount")
"""How what exceeds the invoice's remaining amount goes back."""


def create(account: Account, params: Json) -> Json:
    """400 unless the parts make up exactly what the invoice has no longer to be paid."""
    invoice = account.get("invoice", params["invoice"], param="invoice")
    if invoice["status"] not in {"open", "paid"} or invoice["parent"] is None:
        raise invalid(f"A credit note cannot be issued for an invoice that is {invoice['status']}.")
    if "amount" not in params:
        raise not_simulated("a credit note by lines")
    amount = params["amount"]
    credited = invoice["pre_payment_credit_notes_amount"] + invoice["post_payment_credit_notes_amount"]
    if not 0 < amount <= invoice["total"] - credited:
        raise invalid("The credit note's amount is more than is left of the invoice.", param="amount")
    before = min(amount, invoice["amount_remaining"])
    if sum(params.get(name, 0) for name in PARTS) != amount - before:
        raise invalid(
            "The sum of credit amount, refund amount and out of band amount must equal the post payment "
            f"amount ({amount - before})."
        )
    note = objects.credit_note(account, invoice, amount, before, params)
    if params.get("refund_amount"):
        note["refunds"] = [_refund(account, invoice, params["refund_amount"])]
    if params.get("credit_amount"):
        customer = account.get("customer", invoice["customer"])
        transaction = balance.change(
            account,
            customer,
            -params["credit_amount"],
            "credit_note",
            invoice=invoice["id"],
            credit_note=note["id"],
        )
        note["customer_balance_transaction"] = transaction["id"]
    account.add(note)
    account.emit("credit_note.created", note)
    with account.changing(invoice, "invoice.updated"):
        invoice["pre_payment_credit_notes_amount"] += before
        invoice["post_payment_credit_notes_amount"] += amount - before
    if before:
        invoicing.reduce(account, invoice, before)
        if invoice["status"] == "paid":
            sub = account.get("subscription", invoice["parent"]["subscription_details"]["subscription"])
            collection.recovered(account, invoice, sub)
    return note


def _refund(account: Account, invoice: Json, amount: int) -> Json:
    intent = invoicing.intent_of(account, invoice)
    if intent is None:
        raise invalid("The invoice has no payment that can be refunded.", param="refund_amount")
    refund = refunds.create_refund(account, {"payment_intent": intent["id"], "amount": amount})
    return {
        "amount_refunded": amount,
        "payment_record_refund": None,
        "refund": refund["id"],
        "type": "refund",
    }
