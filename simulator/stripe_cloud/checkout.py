"""Checkout sessions: the buyer's submission, expiry, debits that settle later.

https://docs.stripe.com/payments/checkout/how-checkout-works
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from . import discounts, paying, presentment, taxes
from .account import Account
from .api_errors import Json, invalid, not_simulated
from .billing import invoicing as invoices
from .billing import subscriptions
from .cards import Decline, TestCard, find_card
from .objects import billing as billing_objects
from .objects import catalog, customers, payments
from .paying import Attempt

SESSION_PLACEHOLDER = "{CHECKOUT_SESSION_ID}"


@dataclass(frozen=True)
class Submission:
    """What came of the buyer pressing the button: `state` paid, processing, declined, requires_action."""

    state: str
    decline: Decline | None = None
    challenge_url: str | None = None


def payment_needed(session: Json) -> bool:
    """Whether the page has to ask for a card."""
    if session["mode"] == "setup":
        return True
    if session["mode"] == "payment":
        return bool(session["amount_total"])
    return bool(session["amount_total"]) or session["payment_method_collection"] == "always"


def apply_code(account: Account, session: Json, text: str) -> None:
    """The buyer types a promotion code; StripeApiError 400 if it is none."""
    code = discounts.find_code(account, text)
    if code is None or not session["allow_promotion_codes"]:
        raise invalid(
            "This promotion code is invalid.", code="promotion_code_invalid", param="promotion_code"
        )
    coupon, _ = discounts.coupon_of(account, {"promotion_code": code["id"]}, param="promotion_code")
    with account.changing(session, None):
        session["discounts"] = [{"coupon": coupon["id"], "promotion_code": code["id"]}]
        for item in account.behind(session["id"])["items"]:
            item["amount_discount"] = discounts.amount_off(coupon, item["amount_subtotal"], item["currency"])
            item["amount_total"] = item["amount_subtotal"] - item["amount_discount"]
        items = account.behind(session["id"])["items"]
        session["total_details"]["amount_discount"] = sum(item["amount_discount"] for item in items)
        session["amount_total"] = sum(item["amount_total"] for item in items)


def add_tax(account: Account, session: Json) -> None:
    """Where the buyer's address is known, with automatic tax: that of each line item."""
    if not session["automatic_tax"]["enabled"]:
        return
    customer = account.find(session["customer"]) or {"tax_exempt": "none"}
    items = account.behind(session["id"])["items"]
    for item in items:
        price = catalog.priced_in(account, item["price"], item["currency"])
        net = item["amount_subtotal"] - item["amount_discount"]
        entry = (
            taxes.tax_on(account, net, price["tax_behavior"]) if customer["tax_exempt"] == "none" else None
        )
        item["amount_tax"] = entry["amount"] if entry else 0
        item["amount_total"] = net + taxes.total([entry] if entry else [], "exclusive")
    session["total_details"]["amount_tax"] = sum(item["amount_tax"] for item in items)
    session["amount_total"] = sum(item["amount_total"] for item in items)


def _localize(account: Account, session: Json, currency: str) -> bool:
    """Whether the page shows the prices' own amounts in the buyer's currency: where the session names none.

    https://docs.stripe.com/payments/checkout/localize-prices/manual-currency-prices
    """
    behind = account.behind(session["id"])
    prices = [item["price"] for item in behind["items"]]
    options = [account.behind(price["id"]).get("currency_options", {}) for price in prices]
    if behind["params"].get("currency") or not all(currency in amounts for amounts in options):
        return False
    if session["discounts"] or any(not item["amount_subtotal"] for item in behind["items"]):
        raise not_simulated("a discount or a trial in the buyer's currency")
    for item in behind["items"]:
        shown = catalog.priced_in(account, item["price"], currency)
        amount = shown["unit_amount"] * item["quantity"]
        item.update(currency=currency, amount_subtotal=amount, amount_total=amount)
    total = sum(item["amount_total"] for item in behind["items"])
    session.update(currency=currency, amount_subtotal=total, amount_total=total)
    return True


def submit(
    account: Account,
    session: Json,
    *,
    card: str,
    email: str | None = None,
    name: str | None = None,
    currency: str | None = None,
    authenticated: bool | None = None,
) -> Submission:
    """The buyer presses "Pay".  `card`: a test card's number or short name; ignored where nothing is to be
    paid. `currency`: the buyer's own, where the prices have an amount in it or Adaptive Pricing offers it.

    Raises StripeApiError 400 when the session is not open or the card is none of the test cards.
    """
    if session["status"] != "open":
        raise invalid(f"This Checkout Session is {session['status']}.", code="checkout_session_not_open")
    if (account.find(session["customer"]) or {}).get("deleted"):
        raise invalid("The customer of this Checkout Session was deleted.", code="resource_missing")
    chosen = find_card(card)
    if chosen is None and payment_needed(session):
        raise invalid(
            "Only test cards can be used here: real card numbers have no place in a simulator.",
            code="card_declined",
            param="card",
        )
    details = _customer_details(account, session, email, name)
    add_tax(account, session)
    if currency is not None and currency != session["currency"] and not _localize(account, session, currency):
        if not session["adaptive_pricing"]["enabled"]:
            raise invalid("This Checkout Session has no Adaptive Pricing.", param="currency")
        shown = presentment.details(session["amount_total"] or 0, session["currency"], currency)
        session["presentment_details"] = shown
    if not payment_needed(session):
        chosen = None
    if session["mode"] == "setup":
        assert chosen is not None
        return _set_up(account, session, chosen, details, authenticated)
    if session["mode"] == "subscription":
        attempt = _subscribe(account, session, chosen, details, authenticated)
    else:
        attempt = _pay_once(account, session, chosen, details, authenticated)
    if attempt is None:
        return _complete(account, session, details, "no_payment_required")
    if attempt.state == "requires_action":
        account.behind(session["id"])["pending"] = {
            "card": card,
            "email": email,
            "name": name,
            "currency": currency,
        }
        return Submission("requires_action", challenge_url=f"{account.public_url}/c/pay/{session['id']}/3ds")
    if attempt.state == "declined":
        return Submission("declined", attempt.decline)
    return _complete(account, session, details, "paid" if attempt.state == "succeeded" else "unpaid")


def answer_challenge(account: Account, session: Json, *, passed: bool) -> Submission:
    """The buyer passes or fails the bank's 3-D Secure page."""
    pending = account.behind(session["id"]).pop("pending", None)
    if pending is None:
        raise invalid("No authentication is pending for this Checkout Session.")
    return submit(account, session, **pending, authenticated=passed)


def expire(account: Account, session: Json) -> Json:
    """At `expires_at`, or when the seller asks for it; 400 unless open."""
    if session["status"] != "open":
        raise invalid(
            'Only Checkout Sessions with a status in ["open"] can be expired. This one has a status of '
            f"{session['status']}."
        )
    with account.changing(session, None):
        session.update(status="expired", url=None)
    intent = account.find(session["payment_intent"])
    if intent is not None and intent["status"] in {"requires_payment_method", "requires_action"}:
        paying.cancel(account, intent, "automatic")
    if unfinished := account.behind(session["id"]).get("subscription"):
        subscriptions.abandon(account, account.get("subscription", unfinished))
    account.emit("checkout.session.expired", session)
    return session


def settled(account: Account, session: Json, attempt: Attempt) -> None:
    """A bank debit behind a completed session is final."""
    succeeded = attempt.state == "succeeded"
    if succeeded:
        with account.changing(session, None):
            session["payment_status"] = "paid"
        _invoice_payment(account, session)
    account.emit(f"checkout.session.async_payment_{'succeeded' if succeeded else 'failed'}", session)


def success_address(session: Json) -> str | None:
    """Where the browser goes after paying, with the session id filled in."""
    url: str | None = session["success_url"]
    return url.replace(SESSION_PLACEHOLDER, session["id"]) if url else None


def _customer_details(account: Account, session: Json, email: str | None, name: str | None) -> Json:
    customer = account.find(session["customer"]) or {}
    return {
        "address": None,
        "business_name": None,
        "email": customer.get("email") or session["customer_email"] or email or "buyer@example.com",
        "individual_name": None,
        "name": name or customer.get("name"),
        "phone": None,
        "tax_exempt": "none",
        "tax_ids": [],
    }


def _customer_id(account: Account, session: Json, details: Json, *, required: bool) -> str | None:
    if session["customer"] is not None or not (required or session["customer_creation"] == "always"):
        customer_id: str | None = session["customer"]
        return customer_id
    params = {"email": details["email"], "name": details["name"]}
    customer = account.add(customers.customer(account, params))
    session["customer"] = customer["id"]
    account.emit("customer.created", customer)
    return str(customer["id"])


def _method(account: Account, card: TestCard, customer: str | None, details: Json) -> Json:
    return account.add(customers.payment_method(account, card, customer, details), card=card.number)


def _pay_once(
    account: Account, session: Json, card: TestCard | None, details: Json, authenticated: bool | None
) -> Attempt | None:
    customer = _customer_id(account, session, details, required=False)
    if card is None:
        return None
    data = account.behind(session["id"])["params"].get("payment_intent_data", {})
    intent = account.find(session["payment_intent"])
    if intent is None:
        intent = payments.payment_intent(
            account,
            amount=session["amount_total"],
            currency=session["currency"],
            customer=customer,
            metadata=data.get("metadata", {}),
            description=data.get("description"),
            receipt_email=data.get("receipt_email"),
            setup_future_usage=data.get("setup_future_usage"),
            statement_descriptor_suffix=data.get("statement_descriptor_suffix"),
        )
        account.add(intent, session=session["id"])
        session["payment_intent"] = intent["id"]
        account.emit("payment_intent.created", intent)
    elif intent["amount"] != session["amount_total"]:
        intent["amount"] = session["amount_total"]
    if "presentment_details" in session:
        intent["presentment_details"] = session["presentment_details"]
    method = _method(account, card, customer if data.get("setup_future_usage") else None, details)
    return paying.confirm(account, intent, method, card, on_session=True, authenticated=authenticated)


def _subscribe(
    account: Account, session: Json, card: TestCard | None, details: Json, authenticated: bool | None
) -> Attempt | None:
    customer = _customer_id(account, session, details, required=True)
    assert customer is not None
    behind = account.behind(session["id"])
    unfinished: Any = account.find(behind.get("subscription"))
    if unfinished is None:
        if (
            not session["amount_total"]
            and (refused := subscriptions.check_card(card, authenticated)) is not None
        ):
            return refused
        unfinished = subscriptions.from_checkout(
            account, session, customer, behind["items"], behind["params"]
        )
        behind["subscription"] = unfinished["id"]
    method = _method(account, card, customer, details) if card else None
    attempt = subscriptions.pay_first(account, unfinished, method, card, authenticated=authenticated)
    if attempt is None or attempt.state in {"succeeded", "processing"}:
        session["subscription"] = unfinished["id"]
        session["invoice"] = unfinished["latest_invoice"]
    return attempt


def _set_up(
    account: Account, session: Json, card: TestCard, details: Json, authenticated: bool | None
) -> Submission:
    customer = _customer_id(account, session, details, required=True)
    intent = account.find(session["setup_intent"])
    if intent is None:
        data = account.behind(session["id"])["params"].get("setup_intent_data", {})
        intent = account.add(
            payments.setup_intent(account, customer=customer, metadata=data.get("metadata", {}))
        )
        session["setup_intent"] = intent["id"]
        account.emit("setup_intent.created", intent)
    if card.challenge != "never" and authenticated is None:
        account.behind(session["id"])["pending"] = {
            "card": card.number,
            "email": details["email"],
            "name": details["name"],
        }
        return Submission("requires_action", challenge_url=f"{account.public_url}/c/pay/{session['id']}/3ds")
    method = _method(account, card, customer, details)
    with account.changing(intent, None):
        intent.update(status="succeeded", payment_method=method["id"])
    account.emit("setup_intent.succeeded", intent)
    account.emit("payment_method.attached", method)
    return _complete(account, session, details, "no_payment_required")


def _complete(account: Account, session: Json, details: Json, payment_status: str) -> Submission:
    for used in session["discounts"]:
        code = account.find(used["promotion_code"])
        discounts.redeem(account, account.get("coupon", used["coupon"]), code)
    _keep_email(account, session, details)
    with account.changing(session, None):
        session.update(status="complete", payment_status=payment_status, customer_details=details, url=None)
        if session["automatic_tax"]["enabled"]:
            session["automatic_tax"]["status"] = "complete"
        if session["consent_collection"] is not None:
            session["consent"] = {"promotions": None, "terms_of_service": "accepted"}
    if payment_status != "unpaid":
        _invoice_payment(account, session)
    account.emit("checkout.session.completed", session)
    return Submission("processing" if payment_status == "unpaid" else "paid")


def _keep_email(account: Account, session: Json, details: Json) -> None:
    """A customer without an e-mail address gets the one that was entered.

    https://docs.stripe.com/api/checkout/sessions/create#create_checkout_session-customer
    """
    customer = account.find(session["customer"])
    if customer is not None and not customer.get("email"):
        with account.changing(customer, "customer.updated"):
            customer["email"] = details["email"]


def _invoice_payment(account: Account, session: Json) -> None:
    """`invoice_creation`: the paid invoice of a one-time payment, made after it.

    https://docs.stripe.com/payments/checkout/receipts#paid-invoices
    """
    if session["mode"] != "payment" or not session["invoice_creation"]["enabled"]:
        return
    invoice = account.add(invoices.one_time(account, session, account.behind(session["id"])["items"]))
    if session["payment_intent"] is not None:
        payment = billing_objects.invoice_payment(account, invoice, session["payment_intent"])
        payment.update(status="paid", amount_paid=invoice["amount_paid"])
        payment["status_transitions"]["paid_at"] = account.now()
        account.add(payment)
        account.behind(invoice["id"])["payment"] = payment["id"]
    with account.changing(session, None):
        session["invoice"] = invoice["id"]
    account.emit("invoice.created", invoice)
    account.emit("invoice.paid", invoice)
