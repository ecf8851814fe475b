"""Check request parameters against the SDK's published types (`stripe.params.*`).

The types are the authority: a parameter that the pinned SDK does not declare does not exist, a value of
another type is refused, each with the 400 that Stripe sends.  Nothing here knows a single parameter by name
except `metadata`, whose size limits the types cannot express (https://docs.stripe.com/api/metadata).
"""

from __future__ import annotations

import sys
import types
from collections.abc import Mapping
from decimal import Decimal, InvalidOperation
from functools import cache
from typing import Any, Literal, NotRequired, Required, Union, get_args, get_origin

from stripe import RequestOptions
from stripe._stripe_context import StripeContext
from typing_extensions import get_type_hints, is_typeddict

from .api_errors import Json, StripeApiError, invalid
from .form_encoding import join_name

METADATA_KEYS = 50
METADATA_KEY_LENGTH = 40
METADATA_VALUE_LENGTH = 500
STRING_LENGTH = 5_000
"""Stripe's general cap on a string parameter."""


@cache
def declared(shape: type) -> dict[str, Any]:
    """Name → annotation of every parameter a TypedDict of the SDK declares, per-request options left out."""
    module = vars(sys.modules[shape.__module__])
    hints = get_type_hints(
        shape, module, {"StripeContext": StripeContext, "Mapping": Mapping}, include_extras=True
    )
    return {name: _bare(hint) for name, hint in hints.items() if name not in _OPTIONS}


_OPTIONS = frozenset(RequestOptions.__annotations__)


def validate(given: Json, shape: type | None) -> Json:
    """The parameters, converted to Python values (int, bool, float, Decimal, list, dict).

    Raises StripeApiError 400: `parameter_unknown`, `parameter_missing`, `parameter_invalid_integer`,
    `parameter_invalid_empty`, or an `invalid_request_error` without a code, each with `param` and a message.
    """
    if shape is None:
        if given:
            raise _unknown([next(iter(given))])
        return {}
    return _object(given, shape, [])


def _object(given: Any, shape: type, path: list[str]) -> Json:
    if not isinstance(given, dict):
        raise invalid(f"Invalid object: {join_name(path)}", param=join_name(path))
    known = declared(shape)
    for name in given:
        if name not in known:
            raise _unknown([*path, name])
    result = {name: _value(value, known[name], [*path, name]) for name, value in given.items()}
    for name in sorted(shape.__required_keys__):  # type: ignore[attr-defined]
        if name in known and name not in given:
            where = join_name([*path, name])
            raise invalid(f"Missing required param: {where}.", param=where, code="parameter_missing")
    return result


def _value(given: Any, annotation: Any, path: list[str]) -> Any:
    members = _members(annotation)
    literals = [value for member in members if get_origin(member) is Literal for value in get_args(member)]
    choices = [value for value in literals if value != ""]
    others = [member for member in members if get_origin(member) is not Literal]
    if choices and str in others:
        # `Literal["a", "b"] | str` is the SDK's spelling of an enum that may grow; the server of this
        # version is strict.
        others.remove(str)
    if given == "" and isinstance(given, str):
        return _emptied("" in literals, others, path)
    if isinstance(given, str) and given in choices:
        return given
    if not others:
        raise _not_a_choice(given, choices, path)
    failure: StripeApiError | None = None
    for member in sorted(others, key=_preference(given)):
        try:
            return _single(given, member, path)
        except StripeApiError as error:
            failure = failure or error
    assert failure is not None
    raise failure


def _emptied(emptyable: bool, others: list[Any], path: list[str]) -> Any:
    if emptyable or any(get_origin(other) is dict for other in others):
        return ""
    if others == [str] and len(path) > 1 and path[-2] == "metadata":
        return ""
    where = join_name(path)
    raise invalid(
        f"You passed an empty string for '{where}'. We assume empty values are an attempt to unset a "
        f"parameter; however "
        f"'{where}' cannot be unset. You should remove '{where}' from your request or supply a non-empty "
        f"value.",
        param=where,
        code="parameter_invalid_empty",
    )


def _single(given: Any, annotation: Any, path: list[str]) -> Any:
    where = join_name(path)
    origin = get_origin(annotation)
    if origin is list:
        return _list(given, get_args(annotation)[0], path)
    if origin is dict:
        return _mapping(given, get_args(annotation)[1], path)
    if is_typeddict(annotation):
        return _object(given, annotation, path)
    if isinstance(given, dict | list):
        raise invalid(f"Invalid {_PLAIN.get(annotation, 'string')}: {where}", param=where)
    if annotation is str:
        if len(given) > STRING_LENGTH:
            raise invalid(f"Invalid string: {where} must be at most {STRING_LENGTH} characters", param=where)
        return given
    if annotation is int:
        try:
            return int(given)
        except ValueError:
            raise invalid(
                f"Invalid integer: {given}", param=where, code="parameter_invalid_integer"
            ) from None
    if annotation is bool:
        if given not in {"true", "false"}:
            raise invalid(f"Invalid boolean: {given}", param=where)
        return given == "true"
    if annotation is float or annotation is Decimal:
        try:
            number = Decimal(given)
        except InvalidOperation:
            raise invalid(f"Invalid decimal: {given}", param=where) from None
        return float(number) if annotation is float else number
    raise TypeError(f"{where}: no rule for the annotation {annotation!r}")


_PLAIN: dict[Any, str] = {
    str: "string",
    int: "integer",
    bool: "boolean",
    float: "decimal",
    Decimal: "decimal",
}


def _list(given: Any, element: Any, path: list[str]) -> list[Any]:
    if isinstance(given, dict):
        if not all(key.isdecimal() and len(key) < 6 for key in given):
            raise invalid("Invalid array", param=join_name(path))
        given = [given[key] for key in sorted(given, key=int)]
    if not isinstance(given, list):
        raise invalid("Invalid array", param=join_name(path))
    return [_value(value, element, [*path, str(index)]) for index, value in enumerate(given)]


def _mapping(given: Any, element: Any, path: list[str]) -> Json:
    if not isinstance(given, dict):
        raise invalid("Invalid object", param=join_name(path))
    if path[-1] == "metadata":
        _check_metadata(given, path)
    return {key: _value(value, element, [*path, key]) for key, value in given.items()}


def _check_metadata(given: Json, path: list[str]) -> None:
    if len(given) > METADATA_KEYS:
        raise invalid(f"Metadata can have up to {METADATA_KEYS} keys.", param=join_name(path))
    for key, value in given.items():
        where = join_name([*path, key])
        if len(key) > METADATA_KEY_LENGTH:
            raise invalid(
                f"Metadata keys can have up to {METADATA_KEY_LENGTH} characters: {key}", param=where
            )
        if isinstance(value, str) and len(value) > METADATA_VALUE_LENGTH:
            raise invalid(
                f"Metadata values can have up to {METADATA_VALUE_LENGTH} characters, but you passed in a "
                f"value that is "
                f"{len(value)} characters.",
                param=where,
            )


def _unknown(path: list[str]) -> StripeApiError:
    where = join_name(path)
    return invalid(f"Received unknown parameter: {where}", param=where, code="parameter_unknown")


def _not_a_choice(given: Any, choices: list[Any], path: list[str]) -> StripeApiError:
    names = [str(choice) for choice in choices]
    listed = ", ".join(names[:-1]) + f", or {names[-1]}" if len(names) > 1 else "".join(names)
    return invalid(f"Invalid {path[-1]}: must be one of {listed}", param=join_name(path))


def _preference(given: Any) -> Any:
    """For a union try first what the value looks like: objects and lists for brackets, numbers before
    strings.
    """

    def rank(member: Any) -> int:
        structured = get_origin(member) in {list, dict} or is_typeddict(member)
        return int(structured != isinstance(given, dict | list)) * 2 + int(member is str)

    return rank


def _members(annotation: Any) -> list[Any]:
    """The alternatives of a union, flattened; the SDK's `UntypedStripeObject[...]` alternative is only for
    type checkers.
    """
    annotation = _bare(annotation)
    if get_origin(annotation) in {Union, types.UnionType}:
        flat = [inner for member in get_args(annotation) for inner in _members(member)]
        return [member for member in flat if not _untyped(member)]
    return [annotation]


def _untyped(member: Any) -> bool:
    return getattr(get_origin(member), "__name__", "") == "UntypedStripeObject"


def _bare(annotation: Any) -> Any:
    while get_origin(annotation) in {NotRequired, Required}:
        annotation = get_args(annotation)[0]
    return annotation
