"""Amounts for people: integer minor units and a currency to `€49.99`, `49,99 €` or `¥500`."""

from __future__ import annotations

ZERO_DECIMAL = frozenset(
    [
        "bif",
        "clp",
        "djf",
        "gnf",
        "jpy",
        "kmf",
        "krw",
        "mga",
        "pyg",
        "rwf",
        "ugx",
        "vnd",
        "vuv",
        "xaf",
        "xof",
        "xpf",
    ]
)
"""https://docs.stripe.com/currencies#zero-decimal"""

MINIMUM_CHARGE = {"eur": 50, "usd": 50, "gbp": 30, "chf": 50, "jpy": 50}
"""https://docs.stripe.com/currencies#minimum-and-maximum-charge-amounts"""

_SYMBOLS = {"eur": "€", "usd": "$", "gbp": "£", "jpy": "¥"}


def minimum_charge(currency: str) -> int:
    return MINIMUM_CHARGE.get(currency, 50)


def format_amount(amount: int, currency: str, locale: str = "en") -> str:
    """`locale` is an IETF tag; Italian gets a decimal comma and a trailing symbol, everything else English
    style.
    """
    digits = 0 if currency in ZERO_DECIMAL else 2
    italian = locale.lower().startswith("it")
    text = f"{abs(amount) / 10**digits:,.{digits}f}"
    if italian:
        text = text.translate(str.maketrans(",.", ".,"))
    sign = "-" if amount < 0 else ""
    symbol = _SYMBOLS.get(currency)
    if symbol is None:
        return f"{sign}{text} {currency.upper()}"
    return f"{sign}{text} {symbol}" if italian else f"{sign}{symbol}{text}"
