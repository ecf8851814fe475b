"""/v1/invoices, /v1/invoice_payments"""

from __future__ import annotations

from typing import Any

from ..account import Account, merge_metadata
from ..api_errors import Json, invalid
from ..billing import collection, invoicing, subscriptions
from ..rendering import included, list_of, page, within
from .stored import matching


def update_invoice(account: Account, params: Json, invoice_id: str) -> Json:
    invoice = account.get("invoice", invoice_id)
    with account.changing(invoice, "invoice.updated"):
        for name, value in params.items():
            if name == "metadata":
                invoice["metadata"] = merge_metadata(invoice["metadata"], value)
            elif name in {"description", "auto_advance", "footer"}:
                invoice[name] = value
    return invoice


def list_invoices(account: Account, params: Json) -> Json:
    rows = [
        row
        for row in matching(account, "invoice", params, "customer", "status", "collection_method")
        if params.get("subscription") in {None, invoicing.subscription_of(row)}
        and within(row["due_date"], params.get("due_date"))
    ]
    return page(account, rows, params, "/v1/invoices")


def pay_invoice(account: Account, params: Json, invoice_id: str) -> Json:
    invoice = account.get("invoice", invoice_id)
    method = None
    if "payment_method" in params:
        method = account.get("payment_method", params["payment_method"], param="payment_method")
    if params.get("paid_out_of_band"):
        collection.check_payable(invoice)
        invoicing.paid_out_of_band(account, invoice)
        sub = account.get("subscription", invoice["parent"]["subscription_details"]["subscription"])
        collection.recovered(account, invoice, sub)
        return invoice
    collection.pay_now(account, invoice, method)
    return invoice


def attach_payment(account: Account, params: Json, invoice_id: str) -> Json:
    invoice = account.get("invoice", invoice_id)
    if ("payment_intent" in params) == ("payment_record" in params):
        raise invalid("Exactly one of payment_intent and payment_record must be provided.")
    kind = "payment_intent" if "payment_intent" in params else "payment_record"
    invoicing.attach_payment(account, invoice, account.get(kind, params[kind], param=kind))
    if invoice["status"] == "paid":
        sub = account.get("subscription", invoice["parent"]["subscription_details"]["subscription"])
        collection.recovered(account, invoice, sub)
    return invoice


def finalize_invoice(account: Account, params: Json, invoice_id: str) -> Json:
    invoice = account.get("invoice", invoice_id)
    if invoice["status"] != "draft":
        raise invalid("This invoice is already finalized.", code="invoice_not_editable")
    invoicing.finalize(account, invoice)
    return invoice


def void_invoice(account: Account, params: Json, invoice_id: str) -> Json:
    invoice = account.get("invoice", invoice_id)
    if invoice["status"] not in {"open", "uncollectible"}:
        raise invalid(f"You can only void open or uncollectible invoices; this one is {invoice['status']}.")
    invoicing.void(account, invoice)
    sub = account.get("subscription", invoice["parent"]["subscription_details"]["subscription"])
    if sub["status"] == "incomplete":
        subscriptions.abandon(account, sub)
    elif sub["status"] == "past_due" and not invoicing.owed(account, sub):
        with account.changing(sub, "customer.subscription.updated"):
            sub["status"] = "active"
    return invoice


def mark_uncollectible(account: Account, params: Json, invoice_id: str) -> Json:
    invoice = account.get("invoice", invoice_id)
    if invoice["status"] != "open":
        raise invalid(f"This invoice is {invoice['status']}, not open.")
    invoicing.mark_uncollectible(account, invoice)
    return invoice


def list_lines(account: Account, params: Json, invoice_id: str) -> Json:
    invoice = account.get("invoice", invoice_id)
    return page(account, invoice["lines"]["data"], params, f"/v1/invoices/{invoice_id}/lines")


def list_invoice_payments(account: Account, params: Json) -> Json:
    wanted = params.get("payment", {})
    rows = [
        row
        for row in matching(account, "invoice_payment", params, "invoice", "status")
        if all(row["payment"].get(name) == value for name, value in wanted.items())
    ]
    return page(account, rows, params, "/v1/invoice_payments")


@included("invoice", "payments")
def _payments(account: Account, invoice: Json) -> Any:
    payments = [row for row in account.newest_first("invoice_payment") if row["invoice"] == invoice["id"]]
    return list_of(payments, f"/v1/invoices/{invoice['id']}/payments")


@included("invoice", "confirmation_secret")
def _confirmation_secret(account: Account, invoice: Json) -> Any:
    intent = invoicing.intent_of(account, invoice)
    return {"client_secret": intent["client_secret"], "type": "payment_intent"} if intent else None
