"""Amounts and dates as a person writes them, in English and Italian."""

from __future__ import annotations

from datetime import UTC, datetime

# Stripe's amounts are in the currency's smallest unit: https://docs.stripe.com/currencies#zero-decimal
_ZERO_DECIMAL = frozenset(
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
_THREE_DECIMAL = frozenset(["bhd", "jod", "kwd", "omr", "tnd"])
_SYMBOLS = {"eur": "€", "usd": "$", "gbp": "£"}

_MONTHS = {
    "en": [
        "January",
        "February",
        "March",
        "April",
        "May",
        "June",
        "July",
        "August",
        "September",
        "October",
        "November",
        "December",
    ],
    "it": [
        "gennaio",
        "febbraio",
        "marzo",
        "aprile",
        "maggio",
        "giugno",
        "luglio",
        "agosto",
        "settembre",
        "ottobre",
        "novembre",
        "dicembre",
    ],
}


def money(amount: int, currency: str, locale: str) -> str:
    """`money(4999, "eur", "it")` is `49,99 €`, in English `€49.99`; unknown symbols keep the ISO code."""
    currency = currency.lower()
    digits = 0 if currency in _ZERO_DECIMAL else 3 if currency in _THREE_DECIMAL else 2
    whole, fraction = divmod(abs(amount), 10**digits)
    number = f"{whole:,}" + (f".{fraction:0{digits}d}" if digits else "")
    sign = "-" if amount < 0 else ""
    symbol = _SYMBOLS.get(currency)
    if locale == "it":
        number = number.translate(str.maketrans(",.", ".,"))
        return f"{sign}{number}\u00a0{symbol or currency.upper()}"
    return f"{sign}{symbol}{number}" if symbol else f"{sign}{currency.upper()}\u00a0{number}"


def day_and_time(stamp: str, locale: str) -> str:
    """An RFC 3339 stamp in words, in UTC: `15 novembre 2023, 14:30 UTC`. What is no stamp comes back as
    is.
    """
    try:
        when = datetime.fromisoformat(stamp).astimezone(UTC)
    except ValueError:
        return stamp
    month = _MONTHS.get(locale, _MONTHS["en"])[when.month - 1]
    return f"{when.day} {month} {when.year}, {when:%H:%M} UTC"
