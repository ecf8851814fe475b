"""Credit notes and their lines."""

from __future__ import annotations

from ..account import Account
from ..api_errors import Json
from ..rendering import list_of


def credit_note(account: Account, invoice: Json, amount: int, before: int, params: Json) -> Json:
    """About `amount` of a final invoice, `before` of it not yet paid. One line stands for the whole."""
    note_id = account.new_id("cn_1")
    kind = "pre_payment" if before == amount else "mixed" if before else "post_payment"
    return {
        "id": note_id,
        "object": "credit_note",
        "amount": amount,
        "amount_shipping": 0,
        "created": account.now(),
        "currency": invoice["currency"],
        "customer": invoice["customer"],
        "customer_account": None,
        "customer_balance_transaction": None,
        "discount_amount": 0,
        "discount_amounts": [],
        "effective_at": account.now(),
        "invoice": invoice["id"],
        "lines": list_of([_line(account, invoice, amount)], f"/v1/credit_notes/{note_id}/lines"),
        "livemode": account.livemode,
        "memo": params.get("memo"),
        "metadata": params.get("metadata") or {},
        "number": f"{invoice['number']}-CN-{account.count('credit note ' + invoice['id']):02d}",
        "out_of_band_amount": params.get("out_of_band_amount"),
        "pdf": f"{account.public_url}/invoices/{invoice['id']}/pdf",
        "post_payment_amount": amount - before,
        "pre_payment_amount": before,
        "pretax_credit_amounts": [],
        "reason": params.get("reason"),
        "refunds": [],
        "shipping_cost": None,
        "status": "issued",
        "subtotal": amount,
        "subtotal_excluding_tax": amount,
        "total": amount,
        "total_excluding_tax": amount,
        "total_taxes": [],
        "type": kind,
        "voided_at": None,
    }


def _line(account: Account, invoice: Json, amount: int) -> Json:
    return {
        "id": account.new_id("cnli_1"),
        "object": "credit_note_line_item",
        "amount": amount,
        "description": f"Credit for {invoice['number']}",
        "discount_amount": 0,
        "discount_amounts": [],
        "invoice_line_item": None,
        "livemode": account.livemode,
        "metadata": {},
        "pretax_credit_amounts": [],
        "quantity": 1,
        "tax_rates": [],
        "taxes": [],
        "type": "custom_line_item",
        "unit_amount": amount,
        "unit_amount_decimal": str(amount),
    }
