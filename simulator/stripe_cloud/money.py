"""Amounts as Stripe's pages and messages show them: `€49.99`, `49,99 €` or `¥500`."""

from __future__ import annotations

from decimal import Decimal

from babel.numbers import format_currency

_ZERO_DECIMAL = "bif clp djf gnf jpy kmf krw mga pyg rwf vnd vuv xaf xof xpf"
_THREE_DECIMAL = "bhd jod kwd omr tnd"

DIGITS = {
    **dict.fromkeys(_ZERO_DECIMAL.split(), 0),
    **dict.fromkeys(_THREE_DECIMAL.split(), 3),
}
"""Digits of the minor unit where they are not two: https://docs.stripe.com/currencies"""

MINIMUM_CHARGE = {"eur": 50, "usd": 50, "gbp": 30, "chf": 50, "jpy": 50}
"""https://docs.stripe.com/currencies#minimum-and-maximum-charge-amounts"""


def minimum_charge(currency: str) -> int:
    return MINIMUM_CHARGE.get(currency, 50)


def format_amount(amount: int, currency: str, locale: str = "en") -> str:
    """`amount` in minor units; `locale` is an IETF tag: Italian, or English for any other."""
    value = Decimal(amount).scaleb(-DIGITS.get(currency, 2))
    language = "it" if locale.lower().startswith("it") else "en_US"
    # without quantization: CLDR has no decimals for ISK or UGX, and Stripe's amounts may have some
    return format_currency(value.normalize(), currency.upper(), locale=language, decimal_quantization=False)
