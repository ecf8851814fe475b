"""Stripe's amounts in each currency: decimal digits, smallest and largest charge, granularity. Pure.

Source: https://docs.stripe.com/currencies, zero-decimal and three-decimal currencies, special cases, minimum
and maximum charge amounts. ISK and UGX are written without decimals but sent with two (500 is 5 UGX), and HUF
and TWD have two decimals except in payouts: all four have two digits here. LuCI has the same tables in
`stripe-payments/format.js`; `tests/structure/test_currencies.py` compares them.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

_ZERO_DECIMAL: Final = "bif clp djf gnf jpy kmf krw mga pyg rwf vnd vuv xaf xof xpf"
_THREE_DECIMAL: Final = "bhd jod kwd omr tnd"

DIGITS: Final[Mapping[str, int]] = {
    **dict.fromkeys(_ZERO_DECIMAL.split(), 0),
    **dict.fromkeys(_THREE_DECIMAL.split(), 3),
}
"""The currencies whose amounts do not have two digits, in lower case as Stripe sends them."""

STEPS: Final[Mapping[str, int]] = {
    **dict.fromkeys(_THREE_DECIMAL.split(), 10),
    **dict.fromkeys(("isk", "ugx"), 100),
}
"""What an amount must be a multiple of, where that is not 1: the last digit of three-decimal currencies is 0,
and ISK and UGX have no fractions.
"""

MINIMUM_CHARGES: Final[Mapping[str, int]] = {
    **dict.fromkeys(["aud", "brl", "cad", "chf", "eur", "inr", "jpy", "nzd", "sgd", "usd"], 50),
    **dict.fromkeys(["aed", "myr", "pln", "ron"], 200),
    **dict.fromkeys(["nok", "sek"], 300),
    **dict.fromkeys(["mxn", "thb"], 1000),
    "bgn": 100,
    "czk": 1500,
    "dkk": 250,
    "gbp": 30,
    "hkd": 400,
    "huf": 17500,
}
"""The smallest charge in minor units. For other currencies Stripe converts the minimum of the account's
settlement currency, which is not known here.
"""

_MAXIMUM_CHARGE: Final = 99_999_999
_MAXIMUM_CHARGES: Final[Mapping[str, int]] = {"idr": 999_999_999_999}

LARGEST_AMOUNT: Final = max(_MAXIMUM_CHARGES.values())
"""The largest amount in minor units of any currency."""


def minimum_charge(currency: str) -> int:
    """Stripe's smallest charge, in minor units; 1 where none is published for the currency."""
    return MINIMUM_CHARGES.get(currency.lower(), 1)


def maximum_charge(currency: str) -> int:
    """Stripe's largest charge, in minor units."""
    return _MAXIMUM_CHARGES.get(currency.lower(), _MAXIMUM_CHARGE)


def step(currency: str) -> int:
    """What every amount must be a multiple of, in minor units."""
    return STEPS.get(currency.lower(), 1)


def decimal_amount(amount: int, currency: str) -> str:
    """Return an amount in minor units as a decimal number: 4999 EUR is `49.99`, 500 JPY is `500`."""
    digits = DIGITS.get(currency.lower(), 2)
    whole, fraction = divmod(abs(amount), 10**digits)
    sign = "-" if amount < 0 else ""
    return f"{sign}{whole}.{fraction:0{digits}d}" if digits else f"{sign}{whole}"
