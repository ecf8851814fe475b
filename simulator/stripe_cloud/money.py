"""Amounts as Stripe's pages and messages show them: `€49.99`, `49,99 €` or `¥500`."""

from __future__ import annotations

from decimal import Decimal

from babel.numbers import format_currency

from .api_errors import invalid

_ZERO_DECIMAL = "bif clp djf gnf jpy kmf krw mga pyg rwf vnd vuv xaf xof xpf"
_THREE_DECIMAL = "bhd jod kwd omr tnd"

DIGITS = {
    **dict.fromkeys(_ZERO_DECIMAL.split(), 0),
    **dict.fromkeys(_THREE_DECIMAL.split(), 3),
}
"""Digits of the minor unit where they are not two: https://docs.stripe.com/currencies"""

MINIMUM_CHARGES = {
    "aed": 200,
    "aud": 50,
    "bgn": 100,
    "brl": 50,
    "cad": 50,
    "chf": 50,
    "czk": 1500,
    "dkk": 250,
    "eur": 50,
    "gbp": 30,
    "hkd": 400,
    "huf": 17500,
    "inr": 50,
    "jpy": 50,
    "mxn": 1000,
    "myr": 200,
    "nok": 300,
    "nzd": 50,
    "pln": 200,
    "ron": 200,
    "sek": 300,
    "sgd": 50,
    "thb": 1000,
    "usd": 50,
}
"""https://docs.stripe.com/currencies#minimum-and-maximum-charge-amounts"""

STEPS = {**dict.fromkeys(_THREE_DECIMAL.split(), 10), "isk": 100, "ugx": 100}
"""What amounts must be divisible by: https://docs.stripe.com/currencies#three-decimal, #special-cases"""


def minimum_charge(currency: str) -> int:
    """In minor units; for a currency without a minimum of its own, of the order of 0.50 EUR."""
    return MINIMUM_CHARGES.get(currency, 50)


def maximum_charge(currency: str) -> int:
    return 999_999_999_999 if currency == "idr" else 99_999_999


def check_amount(amount: int, currency: str, *, param: str) -> None:
    """StripeApiError 400 for an amount that cannot be charged in this currency; 0 is free of charge."""
    if amount > maximum_charge(currency):
        raise invalid(
            f"Amount must be no more than {format_amount(maximum_charge(currency), currency)}",
            param=param,
            code="amount_too_large",
        )
    step = STEPS.get(currency, 1)
    if amount % step:
        raise invalid(
            f"Invalid amount: amounts in {currency.upper()} must be divisible by {step}.",
            param=param,
            code="parameter_invalid_integer",
        )


def format_amount(amount: int, currency: str, locale: str = "en") -> str:
    """`amount` in minor units; `locale` is an IETF tag: Italian, or English for any other."""
    value = Decimal(amount).scaleb(-DIGITS.get(currency, 2))
    language = "it" if locale.lower().startswith("it") else "en_US"
    # without quantization: CLDR has no decimals for ISK or UGX, and Stripe's amounts may have some
    return format_currency(value.normalize(), currency.upper(), locale=language, decimal_quantization=False)
