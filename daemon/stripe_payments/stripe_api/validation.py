"""Parse and validate Stripe's responses.

The rest of the daemon trusts Stripe's objects: it stores them and passes them on to the bus and to browsers.
So a response that is not what Stripe documents (a proxy's page, a truncated body, an error of software in
between) is rejected as a whole: the stored state stays, and the request is retried later.

`SHAPES` lists, for each object, the fields that the daemon reads and what they may hold. Source of the types
and of which fields are always present: the annotations of the SDK's resource classes. A field that is not
listed is not read and may hold anything.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, NoReturn, TypeAlias

__all__ = ["MAX_DEPTH", "SHAPES", "Expected", "MalformedResponseError", "check", "read_response"]

Check: TypeAlias = "Callable[[object], bool]"

MAX_DEPTH: Final = 48
"""Objects and lists inside each other. Four levels of expansion and all they contain stay below twenty."""

LONGEST_TEXT: Final = 5000
"""Characters; Stripe's own longest field (metadata, descriptions, URLs of pages) is shorter."""

LONGEST_DOCUMENT_URL: Final = 2048
"""Characters: a hundred of them have to fit into one reply on the bus."""

LARGEST_AMOUNT: Final = 10**15
"""Minor units. Stripe takes twelve digits at most; https://docs.stripe.com/currencies#minimum-and-maximum"""

LAST_TIMESTAMP: Final = 253_402_300_799
"""Epoch seconds of the end of the year 9999, the last that RFC 3339 can write."""

_ID = re.compile(r"[A-Za-z0-9_]{1,255}")
_CUSTOM_ID = re.compile(r"[!-~]{1,255}")  # sellers name products, and prices that once were plans
_WORD = re.compile(r"[a-zA-Z0-9_.-]{1,100}")
_CURRENCY = re.compile(r"[a-z]{3}")
_URL = re.compile(r"https?://[!-~]+")

# In JSON text these two can only be written as escapes; a complete surrogate pair is valid.
_UNFIT_ESCAPE = re.compile(r"\\u(?:0000|[dD][89a-fA-F])")
_UNFIT = re.compile("[\0\ud800-\udfff]")


class MalformedResponseError(Exception):
    """`where`: the kind of object and the field, such as `charge.created`; for logs and people."""

    def __init__(self, where: str) -> None:
        super().__init__(where)
        self.where = where


@dataclass(frozen=True, slots=True)
class Expected:
    """What a response has to be.

    kind: the object's own `object` (None: any); is_list: one page of them; object_id: the id that was
    requested; expanded: paths at which the complete object was requested, so that its id alone is not enough;
    required: fields that must not be empty.
    """

    kind: str | None = None
    is_list: bool = False
    object_id: str | None = None
    expanded: Sequence[str] = ()
    required: Sequence[str] = ()


def read_response(body: str, expected: Expected) -> dict[str, Any]:
    """The JSON object in a response's body, validated. Characters that neither the bus nor the ledger can
    hold (NUL, half a surrogate pair) become U+FFFD. Raises MalformedResponseError.
    """
    try:
        response = json.loads(body, parse_constant=_not_json, parse_float=_finite)
    except (ValueError, RecursionError):
        raise MalformedResponseError("JSON") from None
    if not isinstance(response, dict):
        raise MalformedResponseError("JSON object")
    check(response, expected)
    if _UNFIT_ESCAPE.search(body):
        replaced: dict[str, Any] = _without_unfit(response)
        return replaced
    return response


def check(response: dict[str, Any], expected: Expected) -> None:
    """Check every object in a response against `SHAPES`. Raises MalformedResponseError."""
    kind = expected.kind
    if kind is not None:
        right = list_of(kind) if expected.is_list else object_of(kind)
        if not right(response) or expected.object_id not in (None, response.get("id")):
            raise MalformedResponseError(f"list of {kind}" if expected.is_list else kind)
    for found in _objects(response):
        shape = SHAPES.get(str(found.get("object")))
        if shape is None or found.get("deleted") is True:
            continue
        for name, is_right in shape.items():
            if not is_right(found.get(name)):
                raise MalformedResponseError(f"{found['object']}.{name}")
        if found["object"] == "checkout.session" and not _payment_is_named(found):
            raise MalformedResponseError("checkout.session.payment_intent")
    for path in expected.expanded:
        _check_expanded(response, path.split("."), path)
    for name in expected.required:
        if not response.get(name):
            raise MalformedResponseError(f"{kind}.{name}")


def _payment_is_named(session: dict[str, Any]) -> bool:
    """Without its payment intent, the refunds and disputes of a payment could not be found, and it would stay
    unlocked. Only a total of nothing is "paid" without one
    (https://docs.stripe.com/payments/checkout/no-cost-orders).
    """
    return (
        session["mode"] != "payment"
        or session["payment_status"] != "paid"
        or not session.get("amount_total")
        or session.get("payment_intent") is not None
    )


def _not_json(constant: str) -> NoReturn:
    raise ValueError(f"{constant} is not JSON")


def _finite(number: str) -> float:
    value = float(number)
    return value if math.isfinite(value) else _not_json(number)


def _check_expanded(value: Any, steps: Sequence[str], path: str) -> None:
    for number, step in enumerate(steps):
        if isinstance(value, list):
            for item in value:
                _check_expanded(item, steps[number:], path)
            return
        value = value.get(step) if isinstance(value, dict) else None
        if isinstance(value, str):
            raise MalformedResponseError(f"{path} (not expanded)")


def _objects(response: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """Every JSON object in a response; iterative, because the sender decides how deep it is nested. What is
    in an event is left out: it has the shape of the API version of its time, and only ids are read of it.
    """
    waiting: list[tuple[Any, int]] = [(response, 1)]
    while waiting:
        value, depth = waiting.pop()
        if depth > MAX_DEPTH:
            raise MalformedResponseError("depth")
        if isinstance(value, dict):
            yield value
            value = () if value.get("object") == "event" else value.values()
        waiting += [(inner, depth + 1) for inner in value if isinstance(inner, dict | list)]


def _without_unfit(value: Any) -> Any:
    if isinstance(value, str):
        return _UNFIT.sub("\ufffd", value)
    if isinstance(value, dict):
        return {_without_unfit(name): _without_unfit(inner) for name, inner in value.items()}
    return [_without_unfit(inner) for inner in value] if isinstance(value, list) else value


# -- what a field may hold ------------------------------------------------------------------------


def text(value: object) -> bool:
    return value is None or (isinstance(value, str) and len(value) <= LONGEST_TEXT)


def word(value: object) -> bool:
    """A status, a code, a kind: Stripe may add new ones, but they are words."""
    return isinstance(value, str) and _WORD.fullmatch(value) is not None


def flag(value: object) -> bool:
    return isinstance(value, bool)


def integer(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and abs(value) <= LARGEST_AMOUNT


def not_negative(value: object) -> bool:
    """An amount that is never below zero: of a charge, a refund, a dispute."""
    return isinstance(value, int) and integer(value) and value >= 0


def timestamp(value: object) -> bool:
    return integer(value) and 0 <= value <= LAST_TIMESTAMP  # type: ignore[operator]


def currency(value: object) -> bool:
    return isinstance(value, str) and _CURRENCY.fullmatch(value) is not None


def url(value: object, longest: int = LONGEST_TEXT) -> bool:
    """Something a browser is sent to: no other scheme may get into a link."""
    return isinstance(value, str) and len(value) <= longest and _URL.fullmatch(value) is not None


def document_url(value: object) -> bool:
    """The URL of a receipt or an invoice."""
    return url(value, LONGEST_DOCUMENT_URL)


def stripe_id(value: object) -> bool:
    return isinstance(value, str) and _ID.fullmatch(value) is not None


def customer_id(value: object) -> bool:
    return stripe_id(value) and str(value).startswith("cus_")


def custom_id(value: object) -> bool:
    return isinstance(value, str) and _CUSTOM_ID.fullmatch(value) is not None


def string_map(value: object) -> bool:
    return isinstance(value, dict) and all(isinstance(entry, str) for entry in value.values())


def string_list(value: object) -> bool:
    return isinstance(value, list) and all(isinstance(entry, str) for entry in value)


def maybe(is_right: Check) -> Check:
    """May be null or absent."""
    return lambda value: value is None or is_right(value)


def object_of(kind: str) -> Check:
    """A complete object of that kind; its own fields are checked separately."""
    return lambda value: (
        isinstance(value, dict) and value.get("object") == kind and custom_id(value.get("id"))
    )


def reference(kind: str) -> Check:
    """The id of an object, or the object; null where there is none."""
    is_object = object_of(kind)
    return lambda value: value is None or custom_id(value) or is_object(value)


def list_of(kind: str) -> Check:
    """One page of a list of complete objects."""
    is_object = object_of(kind)

    def is_page(value: object) -> bool:
        if not isinstance(value, dict):
            return False
        if value.get("object") not in ("list", "search_result") or not flag(value.get("has_more")):
            return False
        data = value.get("data")
        return isinstance(data, list) and all(is_object(entry) for entry in data)

    return is_page


def record(**fields: Check) -> Check:
    """A part of an object, with these fields in it."""
    return lambda value: (
        isinstance(value, dict) and all(is_right(value.get(name)) for name, is_right in fields.items())
    )


def records(**fields: Check) -> Check:
    """A plain list of such parts."""
    is_record = record(**fields)
    return lambda value: isinstance(value, list) and all(is_record(entry) for entry in value)


_OF_SUBSCRIPTION: Final = record(subscription=reference("subscription"), metadata=maybe(string_map))

SHAPES: Final[Mapping[str, Mapping[str, Check]]] = {
    "checkout.session": {
        "id": stripe_id,
        "status": maybe(word),
        "payment_status": word,
        "mode": word,
        "livemode": flag,
        "created": timestamp,
        "expires_at": maybe(timestamp),
        "amount_total": maybe(integer),
        "amount_subtotal": maybe(integer),
        "currency": maybe(currency),
        "url": maybe(url),
        "customer": reference("customer"),
        "client_reference_id": text,
        "metadata": maybe(string_map),
        "payment_intent": reference("payment_intent"),
        "subscription": reference("subscription"),
        "invoice": reference("invoice"),
        "line_items": maybe(list_of("item")),
    },
    "item": {"price": reference("price")},
    "payment_intent": {
        "id": stripe_id,
        "status": word,
        "livemode": flag,
        "created": timestamp,
        "amount": integer,
        "currency": currency,
        "customer": reference("customer"),
        "description": text,
        "metadata": string_map,
        "latest_charge": reference("charge"),
        "last_payment_error": maybe(record(code=maybe(word), decline_code=maybe(word))),
    },
    "charge": {
        "id": stripe_id,
        "paid": flag,
        "refunded": flag,
        "disputed": flag,
        "livemode": flag,
        "created": timestamp,
        "amount": not_negative,
        "amount_captured": not_negative,
        "amount_refunded": not_negative,
        "currency": currency,
        "customer": reference("customer"),
        "failure_code": maybe(word),
        "metadata": string_map,
        "payment_intent": reference("payment_intent"),
        "receipt_url": maybe(document_url),
        "refunds": maybe(list_of("refund")),
    },
    "refund": {
        "id": stripe_id,
        "status": maybe(word),
        "created": timestamp,
        "amount": not_negative,
        "currency": currency,
        "charge": reference("charge"),
        "payment_intent": reference("payment_intent"),
        "reason": maybe(word),
    },
    "dispute": {
        "id": stripe_id,
        "status": word,
        "livemode": flag,
        "created": timestamp,
        "amount": not_negative,
        "currency": currency,
        "charge": reference("charge"),
        "payment_intent": reference("payment_intent"),
    },
    "invoice": {
        "status": maybe(word),
        "created": timestamp,
        "amount_due": integer,
        "amount_paid": integer,
        "collection_method": maybe(word),
        "due_date": maybe(timestamp),
        "starting_balance": maybe(integer),
        "ending_balance": maybe(integer),
        "total": maybe(integer),
        "total_taxes": maybe(records(amount=integer)),
        "currency": currency,
        "customer": reference("customer"),
        "metadata": maybe(string_map),
        "hosted_invoice_url": maybe(document_url),
        "invoice_pdf": maybe(document_url),
        "status_transitions": maybe(record(paid_at=maybe(timestamp), finalized_at=maybe(timestamp))),
        "lines": maybe(list_of("line_item")),
        "parent": maybe(record(subscription_details=maybe(_OF_SUBSCRIPTION))),
        "payments": maybe(list_of("invoice_payment")),
    },
    "line_item": {
        "amount": integer,
        "description": text,
        "period": maybe(record(end=maybe(timestamp))),
        "pricing": maybe(record(price_details=maybe(record(price=reference("price"))))),
        "parent": maybe(record(subscription_item_details=maybe(record(proration=maybe(flag))))),
    },
    "invoice_payment": {
        "invoice": reference("invoice"),
        "status": word,
        "created": timestamp,
        "payment": maybe(record(payment_intent=reference("payment_intent"))),
    },
    "subscription": {
        "id": stripe_id,
        "status": word,
        "livemode": flag,
        "created": timestamp,
        "currency": maybe(currency),
        "customer": reference("customer"),
        "metadata": string_map,
        "items": list_of("subscription_item"),
        "latest_invoice": reference("invoice"),
        "cancel_at": maybe(timestamp),
        "cancel_at_period_end": flag,
        "ended_at": maybe(timestamp),
        "trial_end": maybe(timestamp),
        "pause_collection": maybe(record()),
        "status_details": maybe(record()),
        "pending_update": maybe(
            record(expires_at=maybe(timestamp), subscription_items=maybe(records(price=reference("price"))))
        ),
    },
    "subscription_item": {
        "price": reference("price"),
        "quantity": maybe(integer),
        "current_period_start": maybe(timestamp),
        "current_period_end": maybe(timestamp),
    },
    "price": {
        "active": flag,
        "currency": currency,
        "lookup_key": text,
        "metadata": string_map,
        "product": reference("product"),
        "recurring": maybe(record(interval=word, interval_count=maybe(integer), usage_type=maybe(word))),
        "unit_amount": maybe(integer),
    },
    "product": {"active": flag, "metadata": string_map},
    "customer": {"id": customer_id, "created": maybe(timestamp), "metadata": maybe(string_map)},
    "webhook_endpoint": {
        "id": stripe_id,
        "url": text,
        "status": word,
        "livemode": flag,
        "api_version": maybe(word),
        "enabled_events": string_list,
        "metadata": string_map,
        "secret": text,
    },
    "billing_portal.configuration": {"id": stripe_id, "metadata": maybe(string_map)},
    "billing_portal.session": {"url": url},
}
"""By the object's own `object`. What is not `maybe` is always there."""
