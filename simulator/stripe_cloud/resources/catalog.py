"""/v1/products, /v1/prices, /v1/coupons, /v1/promotion_codes"""

from __future__ import annotations

from typing import Any

from ..account import Account, merge_metadata
from ..api_errors import Json, StripeApiError, invalid, not_simulated
from ..money import check_amount
from ..objects import catalog as objects
from ..rendering import included, page
from .stored import matching


def create_product(account: Account, params: Json) -> Json:
    if "id" in params and account.find(params["id"]):
        raise StripeApiError(
            400, f"Product already exists: {params['id']}", code="resource_already_exists", param="id"
        )
    product = account.add(objects.product(account, params))
    account.emit("product.created", product)
    if "default_price_data" in params:
        price = account.add(objects.price(account, params["default_price_data"], product["id"]))
        _set_currency_options(account, price, params["default_price_data"])
        account.emit("price.created", price)
        product["default_price"] = price["id"]
    return product


def update_product(account: Account, params: Json, product_id: str) -> Json:
    product = _present(account.get("product", product_id))
    with account.changing(product, "product.updated"):
        for name, value in params.items():
            if name == "metadata":
                product["metadata"] = merge_metadata(product["metadata"], value)
            elif name == "default_price":
                product["default_price"] = account.get("price", value, param="default_price")["id"]
            elif name in product:
                product[name] = None if value == "" else value
        product["updated"] = account.now()
    return product


def delete_product(account: Account, params: Json, product_id: str) -> Json:
    product = _present(account.get("product", product_id))
    if any(price["product"] == product_id for price in account.newest_first("price")):
        raise invalid("This product cannot be deleted because it has one or more user-created prices.")
    account.emit("product.deleted", product)
    return account.remove(product)


def list_products(account: Account, params: Json) -> Json:
    ids = params.get("ids")
    rows = [
        row
        for row in matching(account, "product", params, "active", "shippable", "type", "url")
        if ids is None or row["id"] in ids
    ]
    return page(account, rows, params, "/v1/products")


def create_price(account: Account, params: Json) -> Json:
    if ("product" in params) == ("product_data" in params):
        raise invalid("Missing required param: product.", param="product", code="parameter_missing")
    amounts = {"unit_amount", "unit_amount_decimal", "custom_unit_amount"} & params.keys()
    if params.get("billing_scheme", "per_unit") == "per_unit" and len(amounts) != 1:
        raise invalid("Missing required param: unit_amount.", param="unit_amount", code="parameter_missing")
    if params.get("unit_amount", 0) < 0:
        raise invalid("Invalid non-negative integer", param="unit_amount", code="parameter_invalid_integer")
    if len(params["currency"]) != 3 or not params["currency"].isalpha():
        raise invalid(f"Invalid currency: {params['currency']}.", param="currency")
    check_amount(params.get("unit_amount", 0), params["currency"].lower(), param="unit_amount")
    key = params.get("lookup_key")
    holder = next((row for row in account.newest_first("price") if key and row["lookup_key"] == key), None)
    if holder is not None and not params.get("transfer_lookup_key"):
        raise invalid(
            f"A price (`{holder['id']}`) already uses that lookup key.",
            param="lookup_key",
            code="resource_already_exists",
        )
    if "product" in params:
        product = _present(account.get("product", params["product"], param="product"))
    else:
        data = params["product_data"]
        product = account.add(objects.product(account, data))
        account.emit("product.created", product)
    if holder is not None:
        with account.changing(holder, "price.updated"):
            holder["lookup_key"] = None
    price = account.add(objects.price(account, params, product["id"]))
    _set_currency_options(account, price, params)
    account.emit("price.created", price)
    return price


def update_price(account: Account, params: Json, price_id: str) -> Json:
    price = account.get("price", price_id)
    key = params.get("lookup_key")
    if (
        price["tax_behavior"] != "unspecified"
        and params.get("tax_behavior", price["tax_behavior"]) != (price["tax_behavior"])
    ):
        raise invalid("The tax_behavior of a price cannot be changed once it is set.", param="tax_behavior")
    with account.changing(price, "price.updated"):
        for other in account.newest_first("price"):
            if key and other["lookup_key"] == key and other is not price:
                if not params.get("transfer_lookup_key"):
                    raise invalid(
                        f"A price (`{other['id']}`) already uses that lookup key.", param="lookup_key"
                    )
                other["lookup_key"] = None
        for name, value in params.items():
            if name == "metadata":
                price["metadata"] = merge_metadata(price["metadata"], value)
            elif name in price:
                price[name] = value if value != "" else None
    _set_currency_options(account, price, params)
    return price


def list_prices(account: Account, params: Json) -> Json:
    keys = params.get("lookup_keys")
    recurring = params.get("recurring", {})
    rows = [
        row
        for row in matching(account, "price", params, "active", "currency", "product", "type")
        if (keys is None or row["lookup_key"] in keys)
        and all((row["recurring"] or {}).get(name) == value for name, value in recurring.items())
    ]
    return page(account, rows, params, "/v1/prices")


def create_coupon(account: Account, params: Json) -> Json:
    if ("amount_off" in params) == ("percent_off" in params):
        raise invalid(
            "You must pass either amount_off or percent_off.", param="amount_off", code="parameter_missing"
        )
    if "amount_off" in params and "currency" not in params:
        raise invalid(
            "Must provide currency when using amount_off.", param="currency", code="parameter_missing"
        )
    if params.get("duration") == "repeating" and "duration_in_months" not in params:
        raise invalid(
            "Missing required param: duration_in_months.",
            param="duration_in_months",
            code="parameter_missing",
        )
    if "id" in params and account.find(params["id"]):
        raise invalid("Coupon already exists.", code="resource_already_exists", param="id")
    coupon = account.add(objects.coupon(account, params))
    account.emit("coupon.created", coupon)
    return coupon


def delete_coupon(account: Account, params: Json, coupon_id: str) -> Json:
    coupon = _present(account.get("coupon", coupon_id))
    account.emit("coupon.deleted", coupon)
    return account.remove(coupon)


def create_promotion_code(account: Account, params: Json) -> Json:
    _present(account.get("coupon", params["promotion"].get("coupon", ""), param="promotion[coupon]"))
    code = params.get("code", "").upper()
    if code and any(
        row["active"] and row["code"].upper() == code for row in account.newest_first("promotion_code")
    ):
        raise invalid("An active promotion code with this code exists already.", param="code")
    created = account.add(objects.promotion_code(account, params))
    account.emit("promotion_code.created", created)
    return created


def update_promotion_code(account: Account, params: Json, code_id: str) -> Json:
    code = account.get("promotion_code", code_id)
    with account.changing(code, "promotion_code.updated"):
        if "active" in params:
            code["active"] = params["active"]
        if "metadata" in params:
            code["metadata"] = merge_metadata(code["metadata"], params["metadata"])
    return code


def list_promotion_codes(account: Account, params: Json) -> Json:
    rows = [
        row
        for row in matching(account, "promotion_code", params, "active", "code", "customer")
        if params.get("coupon") in {None, row["promotion"]["coupon"]}
    ]
    return page(account, rows, params, "/v1/promotion_codes")


@included("price", "currency_options")
def _currency_options(account: Account, price: Json) -> Any:
    own = objects.currency_option(price["unit_amount"], price["tax_behavior"])
    return {price["currency"]: own, **account.behind(price["id"]).get("currency_options", {})}


def _set_currency_options(account: Account, price: Json, params: Json) -> None:
    options = account.behind(price["id"]).setdefault("currency_options", {})
    for name, given in (params.get("currency_options") or {}).items():
        currency, where = name.lower(), f"currency_options[{name}]"
        if given.keys() - {"unit_amount", "tax_behavior"} or "unit_amount" not in given:
            raise not_simulated(f"{where} with anything but unit_amount and tax_behavior")
        if currency == price["currency"]:
            raise invalid(f"Invalid {where}.", param=where)
        check_amount(given["unit_amount"], currency, param=f"{where}[unit_amount]")
        options[currency] = objects.currency_option(
            given["unit_amount"], given.get("tax_behavior", "unspecified")
        )


@included("coupon", "applies_to")
def _applies_to(account: Account, coupon: Json) -> Any:
    return None


def _present(obj: Json) -> Json:
    if obj.get("deleted"):
        raise invalid(f"No such {obj['object']}: '{obj['id']}'", code="resource_missing")
    return obj
