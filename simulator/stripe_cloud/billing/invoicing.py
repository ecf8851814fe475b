"""Invoices: lines, totals, discounts, the customer's balance; from draft to open, paid, void.

https://docs.stripe.com/invoicing/overview, https://docs.stripe.com/billing/customer/balance
"""

from __future__ import annotations

from typing import Any

from .. import discounts, presentment, taxes
from ..account import Account
from ..api_errors import Json, invalid, not_simulated
from ..clock import DAY, HOUR
from ..money import format_amount, minimum_charge
from ..objects import billing as objects
from ..objects import catalog, payments
from . import balance

DRAFT_FOR = HOUR
"""How long a renewal's invoice stays a draft before Stripe finalises and charges it."""


def cycle_lines(account: Account, sub: Json, *, free: bool = False) -> list[Json]:
    """A line for each item's current period; `free`: during a trial."""
    lines = []
    for item in items_priced(account, sub):
        price = item["price"]
        name = account.get("product", price["product"])["name"]
        amount = 0 if free else price["unit_amount"] * item["quantity"]
        shown = format_amount(price["unit_amount"], sub["currency"])
        text = f"{item['quantity']} × {name} (at {shown} / {price['recurring']['interval']})"
        lines.append(
            objects.line(
                account,
                item,
                amount,
                f"Trial period for {name}" if free else text,
                currency=sub["currency"],
                start=item["current_period_start"],
                end=item["current_period_end"],
                proration=False,
                metadata=dict(sub["metadata"]),
            )
        )
    return lines


def items_priced(account: Account, sub: Json) -> list[Json]:
    """The subscription's items with their prices in its currency."""
    return [
        {**item, "price": catalog.priced_in(account, item["price"], sub["currency"])}
        for item in sub["items"]["data"]
    ]


def draft(account: Account, sub: Json, lines: list[Json], *, reason: str, preview: bool = False) -> Json:
    """An invoice with its totals.  A `preview` is not stored, uses no balance and emits nothing."""
    customer = account.find(sub["customer"]) or {"id": sub["customer"]}
    invoice = objects.invoice(account, sub, customer, lines, reason=reason)
    total_up(account, invoice, sub, int(customer.get("balance") or 0))
    if preview:
        return invoice
    account.add(invoice)
    with account.changing(sub, None):
        sub["latest_invoice"] = invoice["id"]
    account.emit("invoice.created", invoice)
    return invoice


def total_up(account: Account, invoice: Json, sub: Json, held: int) -> None:
    """Subtotal, discounts, total, and what is due after the customer's balance (negative: credit)."""
    lines = invoice["lines"]["data"]
    used: dict[str, int] = {}
    for discount_id in sub["discounts"]:
        discount = account.get("discount", discount_id)
        if discount["end"] is not None and discount["end"] <= account.now():
            continue
        coupon = account.get("coupon", discount["source"]["coupon"])
        for line in lines:
            already = sum(entry["amount"] for entry in line["discount_amounts"])
            off = (
                discounts.amount_off(coupon, line["amount"] - already, invoice["currency"])
                if line["discountable"]
                else 0
            )
            if coupon["amount_off"] is not None:
                off = min(off, coupon["amount_off"] - used.get(discount_id, 0))
            if off > 0:
                line["discount_amounts"].append({"amount": off, "discount": discount_id})
                used[discount_id] = used.get(discount_id, 0) + off
    if invoice["automatic_tax"]["enabled"] and invoice["customer_tax_exempt"] == "none":
        _tax(account, lines)
    all_taxes = [entry for line in lines for entry in line["taxes"]]
    contained = taxes.total(all_taxes, "inclusive")
    subtotal = sum(line["amount"] for line in lines)
    net = subtotal - sum(used.values()) - contained
    invoice.update(
        subtotal=subtotal,
        subtotal_excluding_tax=subtotal - contained,
        total=net + contained + taxes.total(all_taxes, "exclusive"),
        total_excluding_tax=net,
        total_taxes=taxes.summed(all_taxes),
        total_discount_amounts=[{"amount": off, "discount": name} for name, off in used.items()],
        discounts=list(used),
    )
    _apply_balance(invoice, held)
    for line in lines:
        line["discounts"] = [entry["discount"] for entry in line["discount_amounts"]]


def _tax(account: Account, lines: list[Json]) -> None:
    for line in lines:
        price = account.get("price", line["pricing"]["price_details"]["price"])
        charged = catalog.priced_in(account, price, line["currency"])
        amount = line["amount"] - sum(entry["amount"] for entry in line["discount_amounts"])
        entry = taxes.tax_on(account, amount, charged["tax_behavior"])
        line["taxes"] = [entry] if entry else []


def _apply_balance(invoice: Json, held: int) -> None:
    """What is due of the total with the customer's balance `held`; too little to be charged stays there."""
    due = max(0, invoice["total"] + held)
    if due < minimum_charge(invoice["currency"]):
        due = 0
    invoice.update(starting_balance=held, amount_due=due, amount_remaining=due)


def finalize(account: Account, invoice: Json) -> None:
    """Draft to open, with a number, links and a payment intent; straight to paid when nothing is due."""
    customer = account.get("customer", invoice["customer"])
    with account.changing(invoice, None):
        _apply_balance(invoice, customer["balance"])
        sequence = customer["next_invoice_sequence"]
        invoice.update(
            status="open",
            number=f"{customer['invoice_prefix']}-{sequence:04d}",
            effective_at=account.now(),
            hosted_invoice_url=f"{account.public_url}/invoices/{invoice['id']}",
            invoice_pdf=f"{account.public_url}/invoices/{invoice['id']}/pdf",
            automatically_finalizes_at=None,
            ending_balance=invoice["starting_balance"] + invoice["total"] - invoice["amount_due"],
        )
        invoice["status_transitions"]["finalized_at"] = account.now()
        if invoice["collection_method"] == "send_invoice":
            sub = account.get("subscription", invoice["parent"]["subscription_details"]["subscription"])
            invoice["due_date"] = account.now() + sub["days_until_due"] * DAY
    with account.changing(customer, None):
        customer["next_invoice_sequence"] = sequence + 1
        customer["currency"] = invoice["currency"]
    if used := invoice["ending_balance"] - invoice["starting_balance"]:
        owed_later = invoice["amount_due"] == 0 < invoice["ending_balance"]
        kind = "invoice_too_small" if owed_later else "applied_to_invoice"
        balance.change(account, customer, used, kind, invoice=invoice["id"])
    account.emit("invoice.finalized", invoice)
    if invoice["amount_due"] == 0:
        mark_paid(account, invoice)
        return
    intent = payments.payment_intent(
        account,
        amount=invoice["amount_due"],
        currency=invoice["currency"],
        customer=invoice["customer"],
        metadata={},
        description={"subscription_create": "Subscription creation"}.get(
            invoice["billing_reason"], "Subscription update"
        ),
        setup_future_usage="off_session",
    )
    sub = account.find(subscription_of(invoice)) or {}
    if "presentment_details" in sub:
        shown = sub["presentment_details"]["presentment_currency"]
        intent["presentment_details"] = presentment.details(intent["amount"], intent["currency"], shown)
    account.add(intent, invoice=invoice["id"])
    payment = account.add(objects.invoice_payment(account, invoice, intent["id"]))
    account.behind(invoice["id"])["payment"] = payment["id"]
    account.emit("payment_intent.created", intent)


def owed(account: Account, sub: Json) -> list[Json]:
    """The subscription's invoices that are still to be paid."""
    return [
        invoice
        for invoice in account.newest_first("invoice")
        if invoice["status"] in {"open", "uncollectible"}
        and invoice["parent"]["subscription_details"]["subscription"] == sub["id"]
    ]


def one_time(account: Account, session: Json, items: list[Json]) -> Json:
    """The paid invoice of a Checkout session in payment mode; it belongs to no subscription."""
    pays = {
        "id": None,
        "automatic_tax": session["automatic_tax"],
        "collection_method": "charge_automatically",
        "currency": session["currency"],
        "metadata": {},
    }
    now = account.now()
    lines = []
    for item in items:
        price = catalog.priced_in(account, item["price"], session["currency"])
        shown = {**item, "price": price, "subscription": None, "id": None}
        line = objects.line(
            account,
            shown,
            item["amount_subtotal"],
            item["description"],
            currency=session["currency"],
            start=now,
            end=now,
            proration=False,
            metadata={},
        )
        details = {
            "invoice_item": account.new_id("ii_1"),
            "proration": False,
            "proration_details": None,
            "subscription": None,
        }
        line["parent"] = {
            "invoice_item_details": details,
            "subscription_item_details": None,
            "type": "invoice_item_details",
        }
        lines.append(line)
    customer = account.find(session["customer"]) or {"id": session["customer"]}
    invoice = objects.invoice(account, pays, customer, lines, reason="manual")
    total = session["amount_total"]
    if session["total_details"]["amount_tax"]:
        _tax(account, lines)
    invoice.update(
        parent=None,
        metadata=session["invoice_creation"]["invoice_data"]["metadata"],
        status="paid",
        attempted=True,
        auto_advance=False,
        subtotal=session["amount_subtotal"],
        subtotal_excluding_tax=session["amount_subtotal"],
        total=total,
        total_excluding_tax=total - session["total_details"]["amount_tax"],
        total_taxes=taxes.summed([entry for line in lines for entry in line["taxes"]]),
        amount_due=total,
        amount_paid=total,
        ending_balance=0,
        effective_at=now,
        number=f"{account.count('one-time invoice'):04d}",
        hosted_invoice_url=f"{account.public_url}/invoices/{invoice['id']}",
        invoice_pdf=f"{account.public_url}/invoices/{invoice['id']}/pdf",
    )
    invoice["status_transitions"].update(finalized_at=now, paid_at=now)
    return invoice


def subscription_of(invoice: Json) -> str | None:
    """None for the invoice of a one-time payment."""
    parent = invoice["parent"]
    found: str | None = parent["subscription_details"]["subscription"] if parent else None
    return found


def default_payment(account: Account, invoice: Json) -> Json | None:
    """The invoice's payment (an `invoice_payment`), if one was ever needed."""
    return account.find(account.behind(invoice["id"]).get("payment"))


def intent_of(account: Account, invoice: Json) -> Json | None:
    payment = default_payment(account, invoice)
    return account.find(payment["payment"].get("payment_intent")) if payment else None


def attach_payment(account: Account, invoice: Json, paid_by: Json) -> None:
    """Credit a payment intent that succeeded, or a payment record, to an invoice; the default payment keeps
    what remains.

    https://docs.stripe.com/api/invoices/attach_payment
    """
    if invoice["status"] != "open":
        raise invalid(f"This invoice is {invoice['status']}, not open.")
    kind = paid_by["object"]
    arrived = (
        paid_by["amount_received"] if kind == "payment_intent" else paid_by["amount_guaranteed"]["value"]
    )
    if not 0 < arrived <= invoice["amount_remaining"]:
        raise not_simulated("attaching a payment that has not succeeded, or of more than remains")
    payment = objects.invoice_payment(account, invoice, paid_by["id"], kind)
    payment.update(is_default=False, amount_requested=arrived)
    account.add(payment)
    _paid(account, payment, arrived)
    with account.changing(invoice, None):
        invoice["amount_paid"] += arrived
        invoice["amount_remaining"] -= arrived
    _lower_default(account, invoice)


def without_intents(account: Account, invoice: Json) -> None:
    """As an invoice that was final before 15 March 2019: the charges that paid it have no payment intent.

    https://docs.stripe.com/api/invoice-payment/object
    """
    for payment in account.newest_first("invoice_payment"):
        if payment["invoice"] != invoice["id"]:
            continue
        intent = account.get("payment_intent", payment["payment"]["payment_intent"])
        charge = account.get("charge", intent["latest_charge"])
        with account.changing(charge, None):
            charge["payment_intent"] = None
        with account.changing(payment, None):
            payment["payment"] = {"charge": charge["id"], "type": "charge"}
        account.remove(intent)


def reduce(account: Account, invoice: Json, amount: int) -> None:
    """A credit note takes `amount` off what remains to be paid of an open invoice."""
    with account.changing(invoice, None):
        invoice["amount_due"] -= amount
        invoice["amount_remaining"] -= amount
    _lower_default(account, invoice)


def _lower_default(account: Account, invoice: Json) -> None:
    """The invoice's own payment is for what remains; with nothing left, the invoice is paid."""
    if invoice["amount_remaining"] == 0:
        _close_payment(account, invoice, "void_invoice")
        mark_paid(account, invoice)
        return
    default, remaining = default_payment(account, invoice), intent_of(account, invoice)
    assert default is not None
    assert remaining is not None
    with account.changing(default, None):
        default["amount_requested"] = invoice["amount_remaining"]
    with account.changing(remaining, None):
        remaining["amount"] = invoice["amount_remaining"]


def _paid(account: Account, payment: Json, amount: int) -> None:
    with account.changing(payment, None):
        payment.update(status="paid", amount_paid=amount)
        payment["status_transitions"]["paid_at"] = account.now()
    account.emit("invoice_payment.paid", payment)


def mark_paid(account: Account, invoice: Json) -> None:
    """Open (or uncollectible) to paid, with the events that belong to it."""
    remaining = invoice["amount_remaining"]
    with account.changing(invoice, None):
        invoice.update(
            status="paid",
            amount_paid=invoice["amount_due"],
            amount_remaining=0,
            attempted=True,
            next_payment_attempt=None,
            auto_advance=False,
        )
        invoice["status_transitions"]["paid_at"] = account.now()
    payment = default_payment(account, invoice)
    if payment is not None and payment["status"] == "open":
        _paid(account, payment, remaining)
    account.emit("invoice.paid", invoice)
    account.emit("invoice.payment_succeeded", invoice)


def paid_out_of_band(account: Account, invoice: Json) -> None:
    """Cash: the seller says that it was paid, and no charge shows it."""
    _close_payment(account, invoice, "void_invoice")
    mark_paid(account, invoice)


def void(account: Account, invoice: Json) -> None:
    """An invoice that is not to be paid any more."""
    with account.changing(invoice, None):
        invoice.update(status="void", next_payment_attempt=None, auto_advance=False)
        invoice["status_transitions"]["voided_at"] = account.now()
    _close_payment(account, invoice, "void_invoice")
    customer = account.find(invoice["customer"])
    used = invoice["ending_balance"] - invoice["starting_balance"]
    if used and customer is not None and not customer.get("deleted"):
        # https://docs.stripe.com/changelog/2019-12-03/customer-balances-returned-voided-invoices
        balance.change(account, customer, -used, "unapplied_from_invoice", invoice=invoice["id"])
    account.emit("invoice.voided", invoice)


def mark_uncollectible(account: Account, invoice: Json) -> None:
    with account.changing(invoice, None):
        invoice.update(status="uncollectible", next_payment_attempt=None, auto_advance=False)
        invoice["status_transitions"]["marked_uncollectible_at"] = account.now()
    account.emit("invoice.marked_uncollectible", invoice)


def _close_payment(account: Account, invoice: Json, reason: str) -> None:
    payment: Any = default_payment(account, invoice)
    if payment is None or payment["status"] != "open":
        return
    with account.changing(payment, None):
        payment["status"] = "canceled"
        payment["status_transitions"]["canceled_at"] = account.now()
    intent = account.get("payment_intent", payment["payment"]["payment_intent"])
    if intent["status"] not in {"succeeded", "canceled", "processing"}:
        with account.changing(intent, None):
            intent.update(
                status="canceled", canceled_at=account.now(), cancellation_reason=reason, next_action=None
            )
        account.emit("payment_intent.canceled", intent)
