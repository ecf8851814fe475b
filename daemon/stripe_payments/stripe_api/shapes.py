"""Whether an answer is Stripe's: the fields that this program decides by, with their types.

A broken proxy, a captive portal or a bug in between may send JSON that is no such object, or half of one.
From a charge without `refunded` one would conclude that nothing was refunded, from a subscription without
`status` that it has ended; so an answer that is not whole is treated as none, and asked for again later. A
field may be null where Stripe says so; more fields, and objects not listed here, are no matter of ours.

The shapes are those of the pinned API version (https://docs.stripe.com/api), which never lose a field.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any, Final

__all__ = ["misshapen"]

_Check = Callable[[object], bool]


def _text(value: object) -> bool:
    return isinstance(value, str)


def _number(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _flag(value: object) -> bool:
    return isinstance(value, bool)


def _mapping(value: object) -> bool:
    return isinstance(value, dict)


def _object(value: object) -> bool:
    return isinstance(value, dict) and _text(value.get("id")) and _text(value.get("object"))


def _reference(value: object) -> bool:
    """An id, or the object itself where it is expanded."""
    return (_text(value) and value != "") or _object(value)


def _list(value: object) -> bool:
    return (
        isinstance(value, dict)
        and value.get("object") == "list"
        and isinstance(found := value.get("data"), list)
        and all(isinstance(one, dict) and _text(one.get("object")) for one in found)
    )


def _or_null(check: _Check) -> _Check:
    return lambda value: value is None or check(value)


_SHAPES: Final[Mapping[str, Mapping[str, _Check]]] = {
    "list": {"data": lambda value: isinstance(value, list), "has_more": _flag},
    "search_result": {"data": lambda value: isinstance(value, list)},
    "customer": {"id": _text, "metadata": _or_null(_mapping)},
    "checkout.session": {
        "id": _text,
        "created": _number,
        "mode": _text,
        "status": _or_null(_text),
        "payment_status": _text,
        "amount_total": _or_null(_number),
        "currency": _or_null(_text),
        "client_reference_id": _or_null(_text),
        "metadata": _or_null(_mapping),
        "customer": _or_null(_reference),
        "payment_intent": _or_null(_reference),
        "subscription": _or_null(_reference),
    },
    "payment_intent": {
        "id": _text,
        "created": _number,
        "status": _text,
        "amount": _number,
        "currency": _text,
        "metadata": _mapping,
        "customer": _or_null(_reference),
        "latest_charge": _or_null(_reference),
        "last_payment_error": _or_null(_mapping),
    },
    "charge": {
        "id": _text,
        "created": _number,
        "paid": _flag,
        "refunded": _flag,
        "disputed": _flag,
        "amount": _number,
        "amount_captured": _number,
        "amount_refunded": _number,
        "payment_intent": _or_null(_reference),
    },
    "refund": {"id": _text, "amount": _number, "status": _or_null(_text), "charge": _or_null(_reference)},
    "dispute": {"id": _text, "amount": _number, "status": _text, "charge": _reference},
    "invoice": {
        "id": _text,
        "created": _number,
        "status": _or_null(_text),
        "amount_due": _number,
        "amount_paid": _number,
        "currency": _text,
        "customer": _or_null(_reference),
        "parent": _or_null(_mapping),
    },
    "invoice_payment": {"payment": _mapping},
    "subscription": {
        "id": _text,
        "created": _number,
        "status": _text,
        "items": _list,
        "cancel_at": _or_null(_number),
        "cancel_at_period_end": _flag,
        "trial_end": _or_null(_number),
        "pause_collection": _or_null(_mapping),
        "latest_invoice": _or_null(_reference),
        "metadata": _mapping,
        "customer": _reference,
    },
    "subscription_item": {
        "current_period_start": _number,
        "current_period_end": _number,
        "price": _object,
    },
    "price": {"id": _text, "active": _flag, "currency": _text, "product": _reference},
    "product": {"id": _text, "active": _flag, "metadata": _mapping},
    "webhook_endpoint": {"id": _text, "url": _text, "status": _text},
    "billing_portal.session": {"url": _text},
    "billing_portal.configuration": {"id": _text, "metadata": _or_null(_mapping)},
}

_WHERE_EXPANDED: Final[Mapping[str, Mapping[str, _Check]]] = {
    "checkout.session": {"line_items": _list},
    "charge": {"refunds": _list},
    "invoice": {"payments": _list},
}
"""Fields that are only there because they were asked for."""


def misshapen(answer: object, kind: str | None) -> str | None:
    """What is wrong with an answer of the API that has to be a `kind`, for the log; None if nothing is."""
    if not isinstance(answer, dict) or not _text(answer.get("object")):
        return "no object"
    if kind is not None and answer["object"] != kind:
        return f"{answer['object']} instead of {kind}"
    return next(_problems(answer), None)


def _problems(value: Any) -> Iterator[str]:
    if isinstance(value, list):
        for one in value:
            yield from _problems(one)
    if not isinstance(value, dict):
        return
    kind = value.get("object")
    if isinstance(kind, str) and value.get("deleted") is not True:
        for name, check in _SHAPES.get(kind, {}).items():
            if name not in value or not check(value[name]):
                yield f"{kind} without a proper {name}"
        for name, check in _WHERE_EXPANDED.get(kind, {}).items():
            if name in value and not check(value[name]):
                yield f"{kind} without a proper {name}"
    for inner in value.values():
        yield from _problems(inner)
