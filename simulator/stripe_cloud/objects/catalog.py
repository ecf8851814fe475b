"""Products, prices, coupons, promotion codes and discounts."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

from ..account import Account
from ..api_errors import Json, invalid


def product(account: Account, params: Json) -> Json:
    now = account.now()
    return {
        "id": params.get("id") or account.new_id("prod", 14),
        "object": "product",
        "active": params.get("active", True),
        "created": now,
        "default_price": None,
        "description": params.get("description"),
        "images": params.get("images", []),
        "livemode": account.livemode,
        "marketing_features": params.get("marketing_features", []),
        "metadata": params.get("metadata", {}),
        "name": params["name"],
        "package_dimensions": params.get("package_dimensions"),
        "shippable": params.get("shippable"),
        "statement_descriptor": params.get("statement_descriptor"),
        "tax_code": params.get("tax_code"),
        "type": params.get("type", "service"),
        "unit_label": params.get("unit_label"),
        "updated": now,
        "url": params.get("url"),
    }


def price(account: Account, params: Json, product_id: str) -> Json:
    recurring = params.get("recurring")
    amount = params.get("unit_amount")
    exact = params.get("unit_amount_decimal")
    if amount is None and exact is not None and exact == int(exact):
        amount = int(exact)
    return {
        "id": account.new_id("price_1"),
        "object": "price",
        "active": params.get("active", True),
        "billing_scheme": params.get("billing_scheme", "per_unit"),
        "created": account.now(),
        "currency": params["currency"].lower(),
        "custom_unit_amount": None,
        "livemode": account.livemode,
        "lookup_key": params.get("lookup_key"),
        "metadata": params.get("metadata", {}),
        "nickname": params.get("nickname"),
        "product": product_id,
        "recurring": _recurring(recurring) if recurring else None,
        "tax_behavior": params.get("tax_behavior", "unspecified"),
        "tiers_mode": params.get("tiers_mode"),
        "transform_quantity": params.get("transform_quantity"),
        "type": "recurring" if recurring else "one_time",
        "unit_amount": amount,
        "unit_amount_decimal": decimal_text(amount if exact is None else exact),
    }


def currency_option(unit_amount: int | None, tax_behavior: str) -> Json:
    return {
        "custom_unit_amount": None,
        "tax_behavior": tax_behavior,
        "unit_amount": unit_amount,
        "unit_amount_decimal": decimal_text(unit_amount),
    }


def priced_in(account: Account, price_object: Json, currency: str) -> Json:
    """The price as it is charged in `currency`: its own, or one of its `currency_options`."""
    if currency == price_object["currency"]:
        return price_object
    option = account.behind(price_object["id"]).get("currency_options", {}).get(currency)
    if option is None:
        raise invalid(
            f"The price specified only supports `{price_object['currency']}`. This doesn't match the "
            f"expected currency: `{currency}`."
        )
    charged = {name: option[name] for name in ("tax_behavior", "unit_amount", "unit_amount_decimal")}
    return {**price_object, "currency": currency, **charged}


def _recurring(params: Json) -> Json:
    return {
        "interval": params["interval"],
        "interval_count": params.get("interval_count", 1),
        "meter": params.get("meter"),
        "trial_period_days": params.get("trial_period_days"),
        "usage_type": params.get("usage_type", "licensed"),
    }


def plan(price_object: Json) -> Json:
    """The older `plan` view of a recurring price; subscription items still carry it."""
    recurring = price_object["recurring"]
    return {
        "id": price_object["id"],
        "object": "plan",
        "active": price_object["active"],
        "amount": price_object["unit_amount"],
        "amount_decimal": price_object["unit_amount_decimal"],
        "billing_scheme": price_object["billing_scheme"],
        "created": price_object["created"],
        "currency": price_object["currency"],
        "interval": recurring["interval"],
        "interval_count": recurring["interval_count"],
        "livemode": price_object["livemode"],
        "metadata": price_object["metadata"],
        "meter": recurring["meter"],
        "nickname": price_object["nickname"],
        "product": price_object["product"],
        "tiers_mode": price_object["tiers_mode"],
        "transform_usage": None,
        "trial_period_days": recurring["trial_period_days"],
        "usage_type": recurring["usage_type"],
    }


def coupon(account: Account, params: Json) -> Json:
    return {
        "id": params.get("id") or account.token(8),
        "object": "coupon",
        "amount_off": params.get("amount_off"),
        "created": account.now(),
        "currency": params.get("currency"),
        "duration": params.get("duration", "once"),
        "duration_in_months": params.get("duration_in_months"),
        "livemode": account.livemode,
        "max_redemptions": params.get("max_redemptions"),
        "metadata": params.get("metadata") or {},
        "name": params.get("name"),
        "percent_off": params.get("percent_off"),
        "redeem_by": params.get("redeem_by"),
        "times_redeemed": 0,
        "valid": True,
    }


def promotion_code(account: Account, params: Json) -> Json:
    restrictions = params.get("restrictions", {})
    return {
        "id": account.new_id("promo_1"),
        "object": "promotion_code",
        "active": params.get("active", True),
        "code": params.get("code") or account.token(8).upper(),
        "created": account.now(),
        "customer": params.get("customer"),
        "customer_account": params.get("customer_account"),
        "expires_at": params.get("expires_at"),
        "livemode": account.livemode,
        "max_redemptions": params.get("max_redemptions"),
        "metadata": params.get("metadata", {}),
        "promotion": {"type": "coupon", "coupon": params["promotion"]["coupon"]},
        "restrictions": {
            "first_time_transaction": restrictions.get("first_time_transaction", False),
            "minimum_amount": restrictions.get("minimum_amount"),
            "minimum_amount_currency": restrictions.get("minimum_amount_currency"),
        },
        "times_redeemed": 0,
    }


def discount(
    account: Account,
    coupon_id: str,
    *,
    promotion_code_id: str | None = None,
    customer: str | None = None,
    subscription: str | None = None,
    session: str | None = None,
    end: int | None = None,
) -> Json:
    return {
        "id": account.new_id("di_1"),
        "object": "discount",
        "checkout_session": session,
        "customer": customer,
        "customer_account": None,
        "end": end,
        "invoice": None,
        "invoice_item": None,
        "promotion_code": promotion_code_id,
        "source": {"type": "coupon", "coupon": coupon_id},
        "start": account.now(),
        "subscription": subscription,
        "subscription_item": None,
    }


def decimal_text(amount: Any) -> str | None:
    """Stripe sends decimals as strings without an exponent or trailing zeros."""
    return None if amount is None else format(Decimal(str(amount)).normalize(), "f")
