"""What is relied on in Stripe's objects: of each, the fields that are read here and what they may hold.

Types and which fields there always are: the annotations of the SDK's resource classes. A field that is not
listed is nobody's business and may hold anything.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Final, TypeAlias

__all__ = ["SHAPES", "Check", "many", "reference"]

Check: TypeAlias = "Callable[[object], bool]"

LONGEST_TEXT: Final = 5000
"""Characters; Stripe's own longest field (metadata, descriptions, addresses of pages) is shorter."""

LARGEST_AMOUNT: Final = 10**15
"""Minor units. Stripe takes twelve digits at most; https://docs.stripe.com/currencies#minimum-and-maximum"""

LAST_MOMENT: Final = 253_402_300_799
"""Epoch seconds of the end of the year 9999, the last that RFC 3339 can write."""

_ID = re.compile(r"[A-Za-z0-9_]{1,255}")
_CUSTOM_ID = re.compile(r"[!-~]{1,255}")  # products, and prices that once were plans, are named by people
_WORD = re.compile(r"[a-zA-Z0-9_.-]{1,100}")
_CURRENCY = re.compile(r"[a-z]{3}")
_PAGE = re.compile(r"https?://[!-~]+")


def text(value: object) -> bool:
    return value is None or (isinstance(value, str) and len(value) <= LONGEST_TEXT)


def word(value: object) -> bool:
    """A status, a code, a kind: Stripe may invent new ones, but they are words."""
    return isinstance(value, str) and _WORD.fullmatch(value) is not None


def flag(value: object) -> bool:
    return isinstance(value, bool)


def count(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and abs(value) <= LARGEST_AMOUNT


def moment(value: object) -> bool:
    return count(value) and 0 <= value <= LAST_MOMENT  # type: ignore[operator]


def currency(value: object) -> bool:
    return isinstance(value, str) and _CURRENCY.fullmatch(value) is not None


def page(value: object, longest: int = LONGEST_TEXT) -> bool:
    """An address that a browser is sent to: no other scheme may get into a link."""
    return isinstance(value, str) and len(value) <= longest and _PAGE.fullmatch(value) is not None


def document(value: object) -> bool:
    """The address of a receipt or an invoice: a hundred of them have to go into one answer on the bus."""
    return page(value, 2048)


def identity(value: object) -> bool:
    return isinstance(value, str) and _ID.fullmatch(value) is not None


def customer_identity(value: object) -> bool:
    return identity(value) and str(value).startswith("cus_")


def custom_identity(value: object) -> bool:
    return isinstance(value, str) and _CUSTOM_ID.fullmatch(value) is not None


def marks(value: object) -> bool:
    return isinstance(value, dict) and all(isinstance(held, str) for held in value.values())


def names(value: object) -> bool:
    return isinstance(value, list) and all(isinstance(name, str) for name in value)


def maybe(check: Check) -> Check:
    """May be null or absent."""
    return lambda value: value is None or check(value)


def is_object(value: object, kind: str) -> bool:
    """Whether it is a whole object of that kind; its own fields are looked at by themselves."""
    return isinstance(value, dict) and value.get("object") == kind and custom_identity(value.get("id"))


def reference(kind: str) -> Check:
    """The id of an object, or the object; null where there is none."""
    return lambda value: value is None or custom_identity(value) or is_object(value, kind)


def many(kind: str) -> Check:
    """One page of a list of whole objects."""

    def check(value: object) -> bool:
        if not isinstance(value, dict):
            return False
        if value.get("object") not in ("list", "search_result") or not flag(value.get("has_more")):
            return False
        data = value.get("data")
        return isinstance(data, list) and all(is_object(one, kind) for one in data)

    return check


def record(**fields: Check) -> Check:
    """A part of an object, with these fields in it."""
    return lambda value: (
        isinstance(value, dict) and all(check(value.get(name)) for name, check in fields.items())
    )


def rows(**fields: Check) -> Check:
    """A plain list of such parts."""
    part = record(**fields)
    return lambda value: isinstance(value, list) and all(part(one) for one in value)


_OF_SUBSCRIPTION: Final = record(subscription=reference("subscription"), metadata=maybe(marks))

SHAPES: Final[Mapping[str, Mapping[str, Check]]] = {
    "checkout.session": {
        "id": identity,
        "status": maybe(word),
        "payment_status": word,
        "mode": word,
        "livemode": flag,
        "created": moment,
        "expires_at": maybe(moment),
        "amount_total": maybe(count),
        "amount_subtotal": maybe(count),
        "currency": maybe(currency),
        "url": maybe(page),
        "customer": reference("customer"),
        "client_reference_id": text,
        "metadata": maybe(marks),
        "payment_intent": reference("payment_intent"),
        "subscription": reference("subscription"),
        "invoice": reference("invoice"),
        "line_items": maybe(many("item")),
    },
    "item": {"price": reference("price")},
    "payment_intent": {
        "id": identity,
        "status": word,
        "livemode": flag,
        "created": moment,
        "amount": count,
        "currency": currency,
        "customer": reference("customer"),
        "description": text,
        "metadata": marks,
        "latest_charge": reference("charge"),
        "last_payment_error": maybe(record(code=maybe(word), decline_code=maybe(word))),
    },
    "charge": {
        "id": identity,
        "paid": flag,
        "refunded": flag,
        "disputed": flag,
        "livemode": flag,
        "created": moment,
        "amount": count,
        "amount_captured": count,
        "amount_refunded": count,
        "currency": currency,
        "customer": reference("customer"),
        "failure_code": maybe(word),
        "metadata": marks,
        "payment_intent": reference("payment_intent"),
        "receipt_url": maybe(document),
        "refunds": maybe(many("refund")),
    },
    "refund": {
        "id": identity,
        "status": maybe(word),
        "created": moment,
        "amount": count,
        "currency": currency,
        "charge": reference("charge"),
        "payment_intent": reference("payment_intent"),
        "reason": maybe(word),
    },
    "dispute": {
        "id": identity,
        "status": word,
        "livemode": flag,
        "created": moment,
        "amount": count,
        "currency": currency,
        "charge": reference("charge"),
        "payment_intent": reference("payment_intent"),
    },
    "invoice": {
        "status": maybe(word),
        "created": moment,
        "amount_due": count,
        "amount_paid": count,
        "total": maybe(count),
        "total_taxes": maybe(rows(amount=count)),
        "currency": currency,
        "customer": reference("customer"),
        "metadata": maybe(marks),
        "hosted_invoice_url": maybe(document),
        "invoice_pdf": maybe(document),
        "status_transitions": maybe(record(paid_at=maybe(moment), finalized_at=maybe(moment))),
        "lines": maybe(many("line_item")),
        "parent": maybe(record(subscription_details=maybe(_OF_SUBSCRIPTION))),
        "payments": maybe(many("invoice_payment")),
        # before 2025-03-31
        "subscription": reference("subscription"),
        "subscription_details": maybe(record(metadata=maybe(marks))),
        "payment_intent": reference("payment_intent"),
    },
    "line_item": {
        "amount": count,
        "description": text,
        "period": maybe(record(end=maybe(moment))),
        "pricing": maybe(record(price_details=maybe(record(price=reference("price"))))),
        "parent": maybe(record(subscription_item_details=maybe(record(proration=maybe(flag))))),
        "price": reference("price"),
        "proration": maybe(flag),
    },
    "invoice_payment": {
        "invoice": reference("invoice"),
        "payment": maybe(record(payment_intent=reference("payment_intent"))),
    },
    "subscription": {
        "id": identity,
        "status": word,
        "livemode": flag,
        "created": moment,
        "currency": maybe(currency),
        "customer": reference("customer"),
        "metadata": marks,
        "items": many("subscription_item"),
        "latest_invoice": reference("invoice"),
        "cancel_at": maybe(moment),
        "cancel_at_period_end": flag,
        "ended_at": maybe(moment),
        "trial_end": maybe(moment),
        "pause_collection": maybe(record()),
        "pending_update": maybe(
            record(expires_at=maybe(moment), subscription_items=maybe(rows(price=reference("price"))))
        ),
        # before 2025-03-31
        "current_period_start": maybe(moment),
        "current_period_end": maybe(moment),
    },
    "subscription_item": {
        "price": reference("price"),
        "quantity": maybe(count),
        "current_period_start": maybe(moment),
        "current_period_end": maybe(moment),
    },
    "price": {
        "active": flag,
        "currency": currency,
        "lookup_key": text,
        "metadata": marks,
        "product": reference("product"),
        "recurring": maybe(record(interval=word, interval_count=maybe(count), usage_type=maybe(word))),
        "unit_amount": maybe(count),
    },
    "product": {"active": flag, "metadata": marks},
    "customer": {"id": customer_identity, "created": maybe(moment), "metadata": maybe(marks)},
    "webhook_endpoint": {
        "id": identity,
        "url": text,
        "status": word,
        "livemode": flag,
        "api_version": maybe(word),
        "enabled_events": names,
        "metadata": marks,
        "secret": text,
    },
    "billing_portal.configuration": {"id": identity, "metadata": maybe(marks)},
    "billing_portal.session": {"url": page},
}
"""By the object's own `object`. What is not `maybe` is always there."""
