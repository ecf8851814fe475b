"""How many decimal digits Stripe's amounts have in each currency. Pure.

Source: https://docs.stripe.com/currencies, zero-decimal and three-decimal currencies. Of its special cases,
ISK and UGX are written without decimals but sent with two (500 is 5 UGX), and HUF and TWD have two decimals
except in payouts: all four have two digits here. LuCI has the same table in `stripe-payments/format.js`;
`tests/structure/test_currencies.py` compares them.
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


def decimal_amount(amount: int, currency: str) -> str:
    """Return an amount in minor units as a decimal number: 4999 EUR is `49.99`, 500 JPY is `500`."""
    digits = DIGITS.get(currency.lower(), 2)
    whole, fraction = divmod(abs(amount), 10**digits)
    sign = "-" if amount < 0 else ""
    return f"{sign}{whole}.{fraction:0{digits}d}" if digits else f"{sign}{whole}"
