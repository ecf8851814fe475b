"""Automatic tax: one rate for the account, on top of an amount or contained in it.

The rate is a setting, `tax_percent`; 0, as of an account without registrations, which collects no tax. For a
price whose `tax_behavior` is unspecified the account's default decides.
https://docs.stripe.com/tax/products-prices-tax-codes-tax-behavior
"""

from __future__ import annotations

from .account import Account
from .api_errors import Json


def tax_on(account: Account, amount: int, behavior: str) -> Json | None:
    """An entry of a line's `taxes` for `amount` (minor units, discounts taken off); None without tax."""
    percent = account.settings["tax_percent"]
    if not percent or not amount:
        return None
    decided = account.settings["tax_behavior"] if behavior == "unspecified" else behavior
    inclusive = decided == "inclusive"
    tax = round(amount * percent / (100 + percent if inclusive else 100))
    return {
        "amount": tax,
        "tax_behavior": decided,
        "tax_rate_details": {"tax_rate": f"txr_{percent}_{decided}"},
        "taxability_reason": "standard_rated",
        "taxable_amount": amount - tax if inclusive else amount,
        "type": "tax_rate_details",
    }


def total(taxes: list[Json], behavior: str) -> int:
    """Of the taxes of one behavior."""
    return sum(int(entry["amount"]) for entry in taxes if entry["tax_behavior"] == behavior)


def summed(taxes: list[Json]) -> list[Json]:
    """An invoice's `total_taxes`: one entry for each rate and behavior."""
    found: dict[str, Json] = {}
    for entry in taxes:
        rate = entry["tax_rate_details"]["tax_rate"]
        known = found.setdefault(rate, {**entry, "amount": 0, "taxable_amount": 0})
        known["amount"] += entry["amount"]
        known["taxable_amount"] += entry["taxable_amount"]
    return list(found.values())
