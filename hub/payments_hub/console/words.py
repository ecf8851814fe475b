"""Words for the values of statuses, reasons, roles and outcomes, and how money and times are written."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Final

from payments_hub.texts import Text, _
from stripe_payments.currencies import DIGITS

__all__ = ["ACTIONS", "WORDS", "minor_units", "moment", "money", "word"]

WORDS: Final[Mapping[str, Text]] = {
    # routers
    "prepared": _("not enrolled yet"),
    "replaced": _("replaced"),
    "revoked": _("blocked"),
    "clone": _("a copy of it is in use"),
    "code_reused": _("its code was used again"),
    # features, subscriptions, payments
    "active": _("active"),
    "canceled": _("canceled"),
    "complete": _("complete"),
    "disputed": _("disputed"),
    "ending": _("ends with the period"),
    "expired": _("expired"),
    "failed": _("failed"),
    "grace": _("grace period"),
    "granted": _("granted"),
    "incomplete": _("incomplete"),
    "incomplete_expired": _("expired"),
    "lost": _("lost"),
    "no_payment_required": _("no payment required"),
    "none": _("not purchased"),
    "offline": _("no contact with Stripe"),
    "open": _("open"),
    "paid": _("paid"),
    "partially_refunded": _("refunded in part"),
    "past_due": _("payment overdue"),
    "paused": _("paused"),
    "pending": _("payment is processing"),
    "processing": _("processing"),
    "refunded": _("refunded"),
    "succeeded": _("succeeded"),
    "trialing": _("trial"),
    "uncollectible": _("uncollectible"),
    "unknown": _("unknown"),
    "unpaid": _("not paid"),
    "void": _("voided"),
    "won": _("won"),
    "manual": _("granted manually"),
    # kinds of transactions
    "dispute": _("Dispute"),
    "invoice": _("Invoice"),
    "payment": _("Payment"),
    "refund": _("Refund"),
    # roles and outcomes
    "admin": _("administrator"),
    "support": _("support"),
    "done": _("done"),
    "interrupted": _("interrupted"),
    "refused": _("refused"),
    # reasons of a refund
    "requested_by_customer": _("requested by the customer"),
    "duplicate": _("duplicate payment"),
    "fraudulent": _("fraudulent payment"),
}

ACTIONS: Final[Mapping[str, Text]] = {
    "apply_catalog": _("applied a catalog"),
    "create": _("prepared a router"),
    "create_code": _("created an enrollment code"),
    "create_operator": _("created an operator"),
    "disable_operator": _("disabled an operator"),
    "end_grant": _("ended a grant"),
    "forget": _("erased a router"),
    "grant": _("granted a feature"),
    "import": _("imported routers"),
    "log_in": _("logged in"),
    "refund": _("refunded a payment"),
    "replace": _("replaced a router"),
    "restore": _("unblocked a router"),
    "revoke": _("blocked a router"),
    "rotate": _("requested another credential"),
    "set_password": _("set a password"),
    "sync": _("synced with Stripe"),
    "unflag": _("cleared a flag"),
    "webhook": _("set up the webhook"),
}
"""By the names of the audit log."""


def word(value: object, locale: str) -> str:
    """The word for a value; the value itself where there is none: Stripe adds some."""
    text = str(value or "")
    return WORDS[text].in_locale(locale) if text in WORDS else text


def money(amount: int | None, currency: str | None, locale: str) -> str:
    """``-4.99 EUR``, in Italian ``-4,99 EUR``; `amount` in minor units."""
    if amount is None or not currency:
        return ""
    digits = DIGITS.get(currency, 2)
    text = f"{amount / 10**digits:,.{digits}f}"
    if locale == "it":
        text = text.translate(str.maketrans(",.", ".,"))
    return f"{text} {currency.upper()}"


def minor_units(text: str, currency: str) -> int | None:
    """What `money` wrote, or a person: 4.99 or 4,99. None for anything else."""
    whole, point, fraction = text.strip().replace(",", ".").partition(".")
    digits = DIGITS.get(currency, 2)
    if not whole.isdecimal() or (point and not fraction.isdecimal()) or len(fraction) > digits:
        return None
    return int(whole + fraction.ljust(digits, "0")) if len(whole) <= 12 else None


def moment(text: str | None) -> str:
    """``2026-11-28 15:51 UTC`` of an RFC 3339 time."""
    if not text:
        return ""
    return datetime.fromisoformat(text).astimezone(UTC).strftime("%Y-%m-%d %H:%M UTC")
