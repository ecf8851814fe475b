"""What the SDK's resource classes say about a response: which keys, which types, what can be expanded.

`violations(value)` compares an object as it goes over the wire with the annotations of its class
(`stripe.Charge`, `stripe.checkout.Session`, …), deeply.  The simulator can run it on every answer, and its
tests do, so that it cannot drift from the Stripe version that the SDK was generated for.
"""

from __future__ import annotations

import ast
import importlib
import inspect
import sys
import types
import typing
from collections.abc import Iterator
from decimal import Decimal, InvalidOperation
from functools import cache
from typing import Any, ClassVar, Literal, Union, get_args, get_origin

from stripe import ListObject, SearchResultObject, StripeObject
from stripe._object_classes import OBJECT_CLASSES


@cache
def resource_class(object_name: str) -> type | None:
    """The SDK's class for an `object` value such as `"checkout.session"`; None where it has none."""
    entry = OBJECT_CLASSES.get(object_name)
    if entry is None:
        return None
    found: type = getattr(importlib.import_module(entry[0]), entry[1])
    return found


@cache
def fields(shape: type) -> dict[str, Any]:
    """Field name → annotation, with the SDK's forward references resolved."""
    module = sys.modules[shape.__module__]
    hints: dict[str, Any] = {}
    for base in reversed(shape.__mro__):
        if (
            not issubclass(base, StripeObject)
            or base is StripeObject
            or base.__module__.startswith("stripe._list_object")
        ):
            continue
        own = typing.get_type_hints(base, vars(module), _imported_for_typing(sys.modules[base.__module__]))
        hints.update({name: hint for name, hint in own.items() if name in base.__annotations__})
    return {
        name: hint
        for name, hint in hints.items()
        if get_origin(hint) is not ClassVar and not name.startswith("_")
    }


@cache
def _imported_for_typing(module: types.ModuleType) -> dict[str, Any]:
    """The names a module imports under `if TYPE_CHECKING:`; its annotations mention them, its namespace
    lacks them.
    """
    names: dict[str, Any] = {"StripeObject": StripeObject, "ListObject": ListObject}
    for node in ast.parse(inspect.getsource(module)).body:
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test):
            for statement in node.body:
                if (
                    isinstance(statement, ast.ImportFrom)
                    and statement.module
                    and ".params" not in statement.module
                ):
                    source = importlib.import_module(statement.module)
                    for alias in statement.names:
                        names[alias.asname or alias.name] = getattr(source, alias.name)
    return names


def alternatives(annotation: Any) -> list[Any]:
    """The members of a union, flattened; a plain annotation is its own only member."""
    if get_origin(annotation) in {Union, types.UnionType}:
        return [inner for member in get_args(annotation) for inner in alternatives(member)]
    return [annotation]


def shape_of(annotation: Any) -> type | None:
    """The StripeObject class that a field holds (directly, as a list element, or expanded), if any."""
    for member in alternatives(annotation):
        if get_origin(member) in {list, ListObject}:
            return shape_of(get_args(member)[0])
        if isinstance(member, type) and issubclass(member, StripeObject):
            return member
    return None


def expandable(annotation: Any) -> bool:
    """`ExpandableField[T]` is `str | T`: an id that can be had as an object.  So is a list of those."""
    members = alternatives(annotation)
    if any(get_origin(member) is list and expandable(get_args(member)[0]) for member in members):
        return True
    resources = [m for m in members if isinstance(m, type) and issubclass(m, StripeObject)]
    return str in members and bool(resources)


def violations(value: Any, annotation: Any = None, path: str = "") -> list[str]:
    """Every way in which `value` differs from its type, as sentences; empty when it agrees.

    Without an annotation, `value["object"]` names the class.
    """
    if annotation is None:
        kind = value.get("object") if isinstance(value, dict) else None
        if kind in {"list", "search_result"}:
            return list(_listing(value, Any, path, search=kind == "search_result"))
        shape = resource_class(str(kind))
        return list(_resource(value, shape, path)) if shape else [f"{path}: no resource class for {kind!r}"]
    return list(_value(value, annotation, path))


def _resource(value: Any, shape: type, path: str) -> Iterator[str]:
    if not isinstance(value, dict):
        yield f"{path}: expected {shape.__qualname__}, got {value!r}"
        return
    declared = fields(shape)
    if value.get("deleted") is True and "deleted" in declared:
        if unexpected := value.keys() - {"id", "object", "deleted"}:
            yield f"{path}: a deleted object carries {sorted(unexpected)}"
        return
    for name, annotation in declared.items():
        if name in value:
            yield from _value(value[name], annotation, f"{path}.{name}")
        elif type(None) not in alternatives(annotation):
            yield f"{path}.{name}: missing"
    for name in value.keys() - declared.keys():
        yield f"{path}.{name}: {shape.__qualname__} has no such field"
    if value.get("object") == "event":
        yield from violations(value["data"]["object"], None, f"{path}.data.object")


def _listing(value: Any, element: Any, path: str, *, search: bool = False) -> Iterator[str]:
    required = {"object": str, "data": list, "has_more": bool, "url": str}
    optional = {"next_page", "total_count"} if search else {"total_count"}
    if not isinstance(value, dict):
        yield f"{path}: expected a list object, got {value!r}"
        return
    for name, kind in required.items():
        if not isinstance(value.get(name), kind):
            yield f"{path}.{name}: expected {kind.__name__}, got {value.get(name)!r}"
    for name in value.keys() - required.keys() - optional:
        yield f"{path}.{name}: a list has no such field"
    for index, item in enumerate(value.get("data", [])):
        where = f"{path}.data[{index}]"
        yield from violations(item, None, where) if element is Any else _value(item, element, where)


def _value(value: Any, annotation: Any, path: str) -> Iterator[str]:
    members = alternatives(annotation)
    if Any in members:
        return
    if value is None:
        if type(None) not in members:
            yield f"{path}: null is not allowed"
        return
    literals = [choice for member in members if get_origin(member) is Literal for choice in get_args(member)]
    if literals:
        # `Literal[...] | str` leaves room for values of later versions; the simulator speaks this one.
        if value not in literals:
            yield f"{path}: {value!r} is none of {literals[:12]}"
        return
    best: list[str] | None = None
    for member in members:
        if member is type(None):
            continue
        problems = list(_single(value, member, path))
        if not problems:
            return
        best = problems if best is None or len(problems) < len(best) or isinstance(value, dict) else best
    yield from best or []


def _single(value: Any, member: Any, path: str) -> Iterator[str]:
    origin = get_origin(member)
    if origin is list:
        if not isinstance(value, list):
            yield f"{path}: expected a list, got {value!r}"
            return
        for index, item in enumerate(value):
            yield from _value(item, get_args(member)[0], f"{path}[{index}]")
    elif origin in {ListObject, SearchResultObject}:
        yield from _listing(value, get_args(member)[0], path)
    elif getattr(origin, "__name__", "") == "UntypedStripeObject":
        if not isinstance(value, dict):
            yield f"{path}: expected an object, got {value!r}"
            return
        for key, item in value.items():
            yield from _value(item, get_args(member)[0], f"{path}.{key}")
    elif isinstance(member, type) and issubclass(member, StripeObject):
        yield from _resource(value, member, path)
    elif member is Decimal:
        if not isinstance(value, str) or not _is_decimal(value):
            yield f"{path}: expected a decimal string, got {value!r}"
    elif not _is_plain(value, member):
        yield f"{path}: expected {getattr(member, '__name__', member)}, got {value!r}"


def _is_plain(value: Any, kind: Any) -> bool:
    if kind is int:
        return isinstance(value, int) and not isinstance(value, bool)
    if kind is float:
        return isinstance(value, int | float) and not isinstance(value, bool)
    return isinstance(value, kind)


def _is_decimal(text: str) -> bool:
    try:
        Decimal(text)
    except InvalidOperation:
        return False
    return True
