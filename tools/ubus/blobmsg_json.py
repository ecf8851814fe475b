"""The JSON of libubox: how its tools print tables, and how they read a message given as text. No IO.

It differs from Python's: bytes that are not UTF-8 pass unchanged, doubles have six decimals, an empty
table takes three lines when indented (facts: libubox ``blobmsg_json.c``; json-c for reading).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from ubus_py import ArgType, Encodable, Int8, Table, UsageError

from .json_text import parse_json

_ESCAPES = {ord(char): f"\\{letter}" for char, letter in zip('\b\n\t\r"\\', 'bntr"\\', strict=True)}
_ESCAPES.update({code: f"\\u{code:04x}" for code in range(1, 32) if code not in _ESCAPES})
_MAX_TABS = 16

ARG_TYPE_NAMES: dict[ArgType, str] = {
    ArgType.ARRAY: "Array",
    ArgType.TABLE: "Table",
    ArgType.STRING: "String",
    ArgType.INT32: "Integer",
    ArgType.BOOLEAN: "Boolean",
}
"""What ``ubus -v list`` calls the types; it has no name for the others."""


def format_table(table: Mapping[str, Encodable], *, indent: bool) -> str:
    """A table as the ``ubus`` tool prints it: indented with tabs, or all on one line."""
    return _table(table, 0 if indent else -1)


def format_signature(name: str, args: Mapping[str, ArgType]) -> str:
    """A method as ``ubus -v list`` prints it, such as ``"echo":{"text":"String"}``."""
    inner = ",".join(
        f'{_string(arg)}:"{ARG_TYPE_NAMES.get(kind, "(unknown)")}"' for arg, kind in args.items()
    )
    return f"{_string(name)}:{{{inner}}}"


def _string(text: str) -> str:
    return '"' + text.translate(_ESCAPES) + '"'


def _break(level: int) -> str:
    return "" if level < 0 else "\n" + "\t" * min(level, _MAX_TABS)


def _wrap(parts: list[str], marks: str, level: int) -> str:
    inner = _break(level + 1 if level >= 0 else level)
    return f"{marks[0]}{inner}{(',' + inner).join(parts)}{_break(level)}{marks[1]}"


def _table(table: Mapping[str, Encodable], level: int) -> str:
    colon = ": " if level >= 0 else ":"
    below = level + 1 if level >= 0 else level
    parts = [
        (_string(name) + colon if name else "") + _element(value, below) for name, value in table.items()
    ]
    return _wrap(parts, "{}", level)


def _element(value: Any, level: int) -> str:
    if isinstance(value, str):
        return _string(value)
    if isinstance(value, (bool, Int8)):
        return "true" if value else "false"
    if isinstance(value, int):
        return str(int(value))
    if isinstance(value, float):
        return f"{value:f}"
    if value is None:
        return "null"
    if isinstance(value, Mapping):
        return _table(value, level)
    assert isinstance(value, Sequence)
    below = level + 1 if level >= 0 else level
    return _wrap([_element(item, below) for item in value], "[]", level)


def parse_table(text: str) -> Table:
    """A table given as JSON text, read as json-c reads it (see :mod:`tools.ubus.json_text`).

    Raises :class:`UsageError` when it is no JSON object.
    """
    table = parse_json(text)
    if not isinstance(table, dict):
        raise UsageError("not a JSON object")
    return table
