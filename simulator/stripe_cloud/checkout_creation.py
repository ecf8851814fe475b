"""Checkout sessions: creation, with the checks that the parameter types alone do not make.

https://docs.stripe.com/api/checkout/sessions/create
"""

from __future__ import annotations

from urllib.parse import urlsplit

from . import discounts
from .account import Account
from .api_errors import Json, invalid
from .billing import subscriptions
from .clock import DAY, MINUTE
from .money import format_amount, minimum_charge
from .objects import catalog
from .objects import checkout as objects
from .simulated import check_billable

SHORTEST_LIFE = 30 * MINUTE
LONGEST_LIFE = DAY
MAX_LINE_ITEMS = 100


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
        check_billable(price)
        if "quantity" not in given or given["quantity"] < 1:
            raise invalid(f"Quantity is required. Add `quantity` to `{where}`", param=f"{where}[quantity]")
        prices.append((given, price, account.get("product", price["product"])))
    currency = params.get("currency") or (prices[0][1]["currency"] if prices else "")
    if "currency" not in params and any(price["currency"] != currency for _, price, _ in prices):
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
        shown = catalog.priced_in(account, price, currency)
        if trial and price["type"] == "recurring":
            shown = {**shown, "unit_amount": 0}
        quantity = given["quantity"]
        off = discounts.amount_off(coupon, shown["unit_amount"] * quantity, currency) if coupon else 0
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
