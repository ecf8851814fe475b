"""Adaptive Pricing: the buyer pays in a currency of their own, the account's objects stay in theirs.

https://docs.stripe.com/payments/currencies/localize-prices/adaptive-pricing
"""

from __future__ import annotations

from .api_errors import Json, not_simulated
from .money import DIGITS

RATES = {"eur": 1.0, "usd": 1.1, "gbp": 0.85, "chf": 0.95, "jpy": 165.0, "cop": 4_300.0}
"""Units for one euro. Stripe's rates change; here a test can calculate with them."""


def details(amount: int, currency: str, presented_in: str) -> Json:
    """`presentment_details` of `amount` (minor units of `currency`)."""
    if not {currency, presented_in} <= RATES.keys():
        raise not_simulated(f"Adaptive Pricing from {currency} to {presented_in}")
    digits = DIGITS.get(presented_in, 2) - DIGITS.get(currency, 2)
    shown = round(amount * RATES[presented_in] / RATES[currency] * 10**digits)
    return {"presentment_amount": shown, "presentment_currency": presented_in}
