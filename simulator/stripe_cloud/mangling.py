"""Answers that are JSON and nevertheless nonsense, as a broken proxy or a bug may send them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

Change = Callable[[Any], Any]


def _leaves(change: Change) -> Change:
    """`change` at every value that holds no others."""

    def changed(value: Any) -> Any:
        if isinstance(value, dict):
            return {name: changed(inner) for name, inner in value.items()}
        if isinstance(value, list):
            return [changed(inner) for inner in value]
        return change(value)

    return changed


def _retyped(value: Any) -> Any:
    """Of another type: text for a number, a number for text, the other way round for true and false."""
    if isinstance(value, str):
        return len(value)
    return 1 if value is None else str(value)


def _inside_out(value: Any) -> Any:
    """Lists where objects belong, objects where lists do."""
    if isinstance(value, dict):
        return [_inside_out(inner) for inner in value.values()]
    if isinstance(value, list):
        return {str(number): _inside_out(inner) for number, inner in enumerate(value)}
    return value


def _halved(first: int) -> Change:
    """Every second field is missing, at every depth."""

    def changed(value: Any) -> Any:
        if isinstance(value, dict):
            kept = list(value.items())[first::2]
            return {name: changed(inner) for name, inner in kept}
        if isinstance(value, list):
            return [changed(inner) for inner in value]
        return value

    return changed


MANGLED: dict[str, Change] = {
    "list": lambda answer: [answer],
    "null": lambda answer: None,
    "empty": lambda answer: {},
    "nulls": _leaves(lambda value: None),
    "types": _leaves(_retyped),
    "inside out": lambda answer: {name: _inside_out(value) for name, value in answer.items()},
    "odd fields": _halved(1),
    "even fields": _halved(0),
}
"""What can be made of an answer's object, by name."""
