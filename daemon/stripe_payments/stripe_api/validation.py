"""From the body of an answer to what may be believed.

Everything behind this point takes Stripe's objects at their word, stores them and hands them on to the bus
and to browsers. So an answer that is not what Stripe documents (a proxy's page, a half of one, a fault of
the software between) is refused as a whole: what was known stays, and Stripe is asked again.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterator, Sequence
from typing import Any, Final, NoReturn

from stripe_payments.stripe_api.shapes import SHAPES, is_object, many

__all__ = ["MAX_DEPTH", "MalformedAnswerError", "checked", "parsed"]

MAX_DEPTH: Final = 48
"""Tables and lists inside each other. Four levels of expansion, with all that is in them, stay below
twenty.
"""

# In JSON's text these two can only be written as escapes; halves of a pair that belong together are no fault.
_UNFIT_ESCAPE = re.compile(r"\\u(?:0000|[dD][89a-fA-F])")
_UNFIT = re.compile("[\0\ud800-\udfff]")


class MalformedAnswerError(Exception):
    """`where`: the kind of object and the field, such as `charge.created`; for logs and people."""

    def __init__(self, where: str) -> None:
        super().__init__(where)
        self.where = where


def parsed(body: str) -> dict[str, Any]:
    """The JSON object in a body. What no text on the bus or in the ledger can hold (NUL, half a surrogate
    pair) becomes U+FFFD. Raises MalformedAnswerError.
    """
    try:
        answer = json.loads(body, parse_constant=_no_json, parse_float=_finite)
    except (ValueError, RecursionError):
        raise MalformedAnswerError("JSON") from None
    if not isinstance(answer, dict):
        raise MalformedAnswerError("JSON object")
    for _, depth in _tables(answer):
        if depth > MAX_DEPTH:
            raise MalformedAnswerError("depth")
    if _UNFIT_ESCAPE.search(body):
        mended: dict[str, Any] = _mended(answer)
        return mended
    return answer


def _no_json(constant: str) -> NoReturn:
    raise ValueError(f"{constant} is no JSON")


def _finite(number: str) -> float:
    value = float(number)
    return value if math.isfinite(value) else _no_json(number)


def checked(
    answer: dict[str, Any], kind: str | None, *, object_id: str | None = None, expanded: Sequence[str] = ()
) -> dict[str, Any]:
    """`answer` itself, if every object in it is as Stripe documents it.

    kind: what was asked for, `list:KIND` for a page of them, None for whatever it is; object_id: the id
    that was asked for; expanded: paths at which the whole object was asked for, so that its id alone will
    not do. Raises MalformedAnswerError.
    """
    if kind is not None and kind.startswith("list:"):
        if not many(kind.removeprefix("list:"))(answer):
            raise MalformedAnswerError(kind)
    elif kind is not None and not (is_object(answer, kind) and object_id in (None, answer["id"])):
        raise MalformedAnswerError(kind)
    for table, _ in _tables(answer):
        shape = SHAPES.get(str(table.get("object")))
        if shape is None or table.get("deleted") is True:
            continue
        for name, check in shape.items():
            if not check(table.get(name)):
                raise MalformedAnswerError(f"{table['object']}.{name}")
    for path in expanded:
        _must_be_whole(answer, path.split("."), path)
    return answer


def _must_be_whole(held: Any, steps: Sequence[str], path: str) -> None:
    for number, step in enumerate(steps):
        if isinstance(held, list):
            for one in held:
                _must_be_whole(one, steps[number:], path)
            return
        held = held.get(step) if isinstance(held, dict) else None
        if isinstance(held, str):
            raise MalformedAnswerError(f"{path} (not expanded)")


def _tables(answer: dict[str, Any]) -> Iterator[tuple[dict[str, Any], int]]:
    """Every table in an answer with its depth, not by recursion: a stranger decides how deep it goes."""
    waiting: list[tuple[Any, int]] = [(answer, 1)]
    while waiting:
        value, depth = waiting.pop()
        if isinstance(value, dict):
            yield value, depth
            waiting += [(inner, depth + 1) for inner in value.values() if isinstance(inner, dict | list)]
        else:
            if depth > MAX_DEPTH:
                raise MalformedAnswerError("depth")
            waiting += [(inner, depth + 1) for inner in value if isinstance(inner, dict | list)]


def _mended(value: Any) -> Any:
    if isinstance(value, str):
        return _UNFIT.sub("\ufffd", value)
    if isinstance(value, dict):
        return {_mended(name): _mended(inner) for name, inner in value.items()}
    return [_mended(inner) for inner in value] if isinstance(value, list) else value
