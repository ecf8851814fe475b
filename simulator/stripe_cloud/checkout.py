"""Checkout sessions: creation with Stripe's checks, the buyer's submission, expiry, debits that settle later.

Sources: https://docs.stripe.com/payments/checkout/how-checkout-works,
https://docs.stripe.com/api/checkout/sessions
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from . import discounts, paying
from .account import Account
from .api_errors import Json, invalid
from .billing import invoicing as invoices
from .billing import subscriptions
from .cards import Decline, TestCard, find_card
from .clock import DAY, MINUTE
from .money import format_amount, minimum_charge
from .objects import billing as billing_objects
from .objects import catalog, customers, payments
from .objects import checkout as objects
from .paying import Attempt

SHORTEST_LIFE = 30 * MINUTE
LONGEST_LIFE = DAY
MAX_LINE_ITEMS = 100
SESSION_PLACEHOLDER = "{CHECKOUT_SESSION_ID}"


@dataclass(frozen=True)
class Submission:
    """What came of the buyer pressing the button: `state` paid, processing, declined, requires_action."""

    state: str
    decline: Decline | None = None
    challenge_url: str | None = None


# -- creation --------------------------------------------------------------------------------------


def create_session(account: Account, params: Json) -> Json:
    """A new open session; StripeApiError 400 for combinations that the parameter types alone do not rule
    out.
    """
    mode = params.get("mode")
    if mode is None:
        raise invalid("Missing required param: mode.", param="mode", code="parameter_missing")
    _check_addresses(params)
    _check_combination(params, mode)
    now = account.now()
    if (
        "expires_at" in params
        and not now + SHORTEST_LIFE - 1 <= params["expires_at"] <= now + LONGEST_LIFE + 1
    ):
        raise invalid(
            "The `expires_at` timestamp must be between 30 minutes and 24 hours from Checkout Session "
            "creation.",
            param="expires_at",
        )
    if "customer" in params:
        customer = account.find(params["customer"])
        if customer is None or customer["object"] != "customer" or customer.get("deleted"):
            raise invalid(
                f"No such customer: '{params['customer']}'", param="customer", code="resource_missing"
            )
    _check_consent_and_tax(account, params)
    applied = [
        discounts.coupon_of(account, d, param=f"discounts[{i}]")
        for i, d in enumerate(params.get("discounts", []))
    ]
    items = _line_items(account, params, mode, applied[0][0] if applied else None)
    currency = items[0]["currency"] if items else params.get("currency")
    if mode == "subscription" and "customer" in params:
        subscriptions.check_currency(account, params["customer"], str(currency))
    session = objects.session(account, params, items=items, currency=currency)
    session["discounts"] = [{"coupon": c["id"], "promotion_code": code and code["id"]} for c, code in applied]
    if mode != "setup" and 0 < session["amount_total"] < minimum_charge(session["currency"]):
        least = format_amount(minimum_charge(session["currency"]), session["currency"])
        raise invalid(
            f"The Checkout Session's total amount must convert to at least {least}.", code="amount_too_small"
        )
    account.add(session, items=items, params=params)
    account.schedule(session["expires_at"], "expire_session", session["id"])
    return session


def _check_addresses(params: Json) -> None:
    hosted = params.get("ui_mode", "hosted_page") == "hosted_page"
    if hosted and not params.get("success_url"):
        raise invalid("Missing required param: success_url.", param="success_url", code="parameter_missing")
    for name in ("success_url", "cancel_url", "return_url"):
        if name in params and not is_url(params[name]):
            raise invalid("Not a valid URL", param=name, code="url_invalid")


def is_url(text: str) -> bool:
    """http(s) with a host; Stripe also refuses spaces."""
    try:
        parts = urlsplit(text)
        return parts.scheme in {"http", "https"} and bool(parts.hostname) and " " not in text
    except ValueError:
        return False


def _check_combination(params: Json, mode: str) -> None:
    wrong = {
        "payment": ("subscription_data", "setup_intent_data"),
        "subscription": (
            "payment_intent_data",
            "setup_intent_data",
            "customer_creation",
            "invoice_creation",
            "submit_type",
        ),
        "setup": ("payment_intent_data", "subscription_data", "line_items", "discounts"),
    }[mode]
    for name in wrong:
        if name in params:
            raise invalid(f"You can not pass `{name}` in `{mode}` mode.", param=name)
    if "customer" in params and "customer_email" in params:
        raise invalid(
            "You may only specify one of these parameters: customer, customer_email.", param="customer_email"
        )
    if params.get("discounts") and "allow_promotion_codes" in params:
        raise invalid("You may only specify one of these parameters: allow_promotion_codes, discounts.")
    if len(params.get("discounts", [])) > 1:
        raise invalid("You can only pass one discount.", param="discounts")
    if mode != "setup" and not params.get("line_items"):
        raise invalid("Missing required param: line_items.", param="line_items", code="parameter_missing")
    if len(params.get("line_items", [])) > MAX_LINE_ITEMS:
        raise invalid(f"You can pass at most {MAX_LINE_ITEMS} line items.", param="line_items")


def _check_consent_and_tax(account: Account, params: Json) -> None:
    """What depends on the account's settings, and on a customer that exists already."""
    if (
        params.get("consent_collection", {}).get("terms_of_service") == "required"
        and not (account.settings["terms_of_service_url"])
    ):
        raise invalid(
            "You cannot collect consent to your terms of service unless a URL is set in the Stripe "
            "Dashboard. Update your public business details at https://dashboard.stripe.com/settings/public.",
            param="consent_collection[terms_of_service]",
        )
    update = params.get("customer_update", {})
    if update and "customer" not in params:
        raise invalid("`customer_update` can only be used with `customer`.", param="customer_update")
    if "customer" not in params:
        return
    if params.get("tax_id_collection", {}).get("enabled") and update.get("name") != "auto":
        raise invalid(
            "Tax ID collection requires updating business name on the customer. To enable tax ID collection "
            "for an existing customer, please set `customer_update[name]` to `auto`.",
            param="tax_id_collection",
        )
    customer = account.get("customer", params["customer"], param="customer")
    taxed = params.get("automatic_tax", {}).get("enabled")
    if taxed and not customer.get("address") and update.get("address") != "auto":
        raise invalid(
            "Automatic tax calculation in Checkout requires a valid address on the Customer. Add a valid "
            "address to the Customer or set `customer_update[address]` to `auto`.",
            param="automatic_tax",
            code="customer_tax_location_invalid",
        )


def _line_items(account: Account, params: Json, mode: str, coupon: Json | None) -> list[Json]:
    prices: list[tuple[Json, Json, Json]] = []
    for index, given in enumerate(params.get("line_items", [])):
        where = f"line_items[{index}]"
        price = _price(account, given, where)
        if "quantity" not in given or given["quantity"] < 1:
            raise invalid(f"Quantity is required. Add `quantity` to `{where}`", param=f"{where}[quantity]")
        prices.append((given, price, account.get("product", price["product"])))
    if prices and len({price["currency"] for _, price, _ in prices}) > 1:
        raise invalid(
            "You can not mix prices of different currencies in one Checkout Session.", param="line_items"
        )
    recurring = [price["type"] == "recurring" for _, price, _ in prices]
    if mode == "payment" and any(recurring):
        raise invalid(
            "You specified `payment` mode but passed a recurring price. Either switch to `subscription` "
            "mode or use only "
            "one-time prices."
        )
    if mode == "subscription" and not any(recurring):
        raise invalid(
            "You must provide at least one recurring price in `subscription` mode when using prices."
        )
    trial = mode == "subscription" and subscriptions.trial_wanted(params.get("subscription_data", {}))
    items: list[Json] = []
    for given, price, product in prices:
        shown = {**price, "unit_amount": 0} if trial and price["type"] == "recurring" else price
        quantity = given["quantity"]
        off = (
            discounts.amount_off(coupon, shown["unit_amount"] * quantity, price["currency"]) if coupon else 0
        )
        item = objects.line_item(
            account, shown, quantity, product, discount=off, metadata=given.get("metadata", {})
        )
        item["price"] = price
        items.append(item)
    return items


def _price(account: Account, given: Json, where: str) -> Json:
    if "price" in given:
        price = account.get("price", given["price"], param=f"{where}[price]")
        product = account.find(price["product"])
        if not price["active"]:
            raise invalid(
                "The price specified is inactive. This field only accepts active prices.",
                param=f"{where}[price]",
            )
        if product is None or product.get("deleted") or not product["active"]:
            raise invalid(
                f"The product {price['product']} is marked as inactive, and thus new purchases of it are "
                f"disabled.",
                param=f"{where}[price]",
            )
        return price
    if "price_data" not in given:
        raise invalid(
            f"Missing required param: {where}[price].", param=f"{where}[price]", code="parameter_missing"
        )
    data = given["price_data"]
    if "product" in data:
        product_id = account.get("product", data["product"], param=f"{where}[price_data][product]")["id"]
    elif "product_data" in data:
        product_id = account.add(catalog.product(account, {**data["product_data"], "active": False}))["id"]
    else:
        raise invalid(f"Missing required param: {where}[price_data][product].", code="parameter_missing")
    return account.add(catalog.price(account, {**data, "active": False}, product_id))


# -- the buyer's side ------------------------------------------------------------------------------


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


def submit(
    account: Account,
    session: Json,
    *,
    card: str,
    email: str | None = None,
    name: str | None = None,
    authenticated: bool | None = None,
) -> Submission:
    """The buyer presses "Pay".  `card`: a test card's number or short name; ignored where nothing is to be
    paid.

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
        account.behind(session["id"])["pending"] = {"card": card, "email": email, "name": name}
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
