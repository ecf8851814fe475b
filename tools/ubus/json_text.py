"""JSON as json-c reads it, through which text enters the bus. No IO.

A shell script that works with the ``ubus`` tool works with ours: json-c takes single quotes, raw control
characters, comments, a comma too many at the end, leading zeros and words in any case; it stops after the
first value, whatever follows; and it refuses what nests deeper than 32. (Facts: json-c ``json_tokener.c``,
without its strict flag; each was checked against the tool.)
"""

from __future__ import annotations

import re
from typing import Final

from ubus_py import UsageError, Value

MAX_DEPTH: Final = 32
"""Values inside each other, the innermost number or text included (``JSON_TOKENER_DEFAULT_DEPTH``)."""

_SPACE = re.compile(r"(?:[ \t\n\r]+|/\*.*?\*/|//[^\n]*(?:\n|$))*", re.DOTALL)
_NUMBER = re.compile(r"(-?)(?=[0-9]|(?<=-)\.[0-9])([0-9]*)((?:\.[0-9]*)?)(?:[eE]([+-]?[0-9]*))?")
_WORD = re.compile(r"-?infinity|nan|true|false|null", re.IGNORECASE)
_WORDS: dict[str, Value] = {
    "infinity": float("inf"),
    "-infinity": float("-inf"),
    "nan": float("nan"),
    "true": True,
    "false": False,
    "null": None,
}
_AFTER_A_WORD = frozenset(" \t\n\r,]}/")
_PLAIN = {quote: re.compile(rf"[^{quote}\\]*") for quote in "'\""}
_ESCAPES = {"b": "\b", "n": "\n", "r": "\r", "t": "\t", "f": "\f", '"': '"', "\\": "\\", "/": "/"}
_CODE_UNIT = re.compile(r"[0-9a-fA-F]{4}")
_LEAST, _MOST = -(1 << 63), (1 << 63) - 1


def parse_json(text: str) -> Value:
    """The first value in ``text``. Raises :class:`UsageError`.

    Integers beyond 64 bits become the nearest one; halves of a surrogate pair without the other become
    U+FFFD; text ends at its first NUL, as it would for every reader on the bus.
    """
    return _Reader(text).value(1)


class _Reader:
    def __init__(self, text: str) -> None:
        self._text = text
        self._at = 0

    def _fail(self, why: str) -> UsageError:
        return UsageError(f"not JSON: {why} at character {self._at}")

    def _next(self) -> str:
        """The next character that is no space and in no comment; empty at the end."""
        space = _SPACE.match(self._text, self._at)
        self._at = space.end() if space else self._at
        return self._text[self._at : self._at + 1]

    def value(self, depth: int) -> Value:
        first = self._next()
        if depth > MAX_DEPTH:
            raise self._fail(f"nested deeper than {MAX_DEPTH}")
        if first == "{":
            return self._object(depth)
        if first == "[":
            return self._array(depth)
        if first in _PLAIN:
            return self._string(first)
        return self._word_or_number(depth)

    def _object(self, depth: int) -> Value:
        table: dict[str, Value] = {}
        self._at += 1
        while (quote := self._next()) != "}":
            if quote not in _PLAIN:
                raise self._fail("a name expected")
            name = self._string(quote)
            if self._next() != ":":
                raise self._fail("a colon expected")
            self._at += 1
            table[name] = self.value(depth + 1)
            if not self._goes_on("}"):
                return table
        self._at += 1
        return table

    def _array(self, depth: int) -> Value:
        array: list[Value] = []
        self._at += 1
        while self._next() != "]":
            array.append(self.value(depth + 1))
            if not self._goes_on("]"):
                return array
        self._at += 1
        return array

    def _goes_on(self, end: str) -> bool:
        """Past the comma, or past the end."""
        char = self._next()
        if char not in {",", end}:
            raise self._fail(f"a comma or {end} expected")
        self._at += 1
        return char == ","

    def _word_or_number(self, depth: int) -> Value:
        number = _NUMBER.match(self._text, self._at)
        found = number or _WORD.match(self._text, self._at)
        if found is None:
            raise self._fail("a value expected")
        after = self._text[found.end() : found.end() + 1]
        if depth > 1 and after not in _AFTER_A_WORD:  # also where the text ends
            raise self._fail("a word or number that does not end")
        self._at = found.end()
        if number is None:
            return _WORDS[found.group().lower()]
        sign, digits, fraction, exponent = number.groups()
        if not fraction and exponent is None:
            if len(digits.lstrip("0")) > 19:
                return _LEAST if sign else _MOST
            return max(_LEAST, min(_MOST, int(sign + digits)))
        power = exponent if exponent and exponent[-1].isdigit() else "0"
        return float(f"{sign}{digits or '0'}{fraction}e{power}")

    def _string(self, quote: str) -> str:
        text, parts = self._text, []
        self._at += 1
        while True:
            plain = _PLAIN[quote].match(text, self._at)
            assert plain is not None  # it matches nothing, too
            parts.append(plain.group())
            self._at = plain.end() + 1
            mark = text[plain.end() : self._at]
            if mark == quote:
                return _well_formed("".join(parts))
            if not mark:
                raise self._fail("a text that does not end")
            escape = text[self._at : self._at + 1]
            self._at += 1
            if escape in _ESCAPES:
                parts.append(_ESCAPES[escape])
            elif escape == "u" and (unit := _CODE_UNIT.match(text, self._at)):
                parts.append(self._code_point(unit))
            else:
                raise self._fail("an unknown escape")

    def _code_point(self, unit: re.Match[str]) -> str:
        code = int(unit.group(), 16)
        self._at = unit.end()
        if 0xD800 <= code < 0xDC00 and self._text.startswith("\\u", self._at):
            low = _CODE_UNIT.match(self._text, self._at + 2)
            if low and 0xDC00 <= (second := int(low.group(), 16)) < 0xE000:
                self._at = low.end()
                return chr(0x10000 + ((code - 0xD800) << 10) + second - 0xDC00)
        return "\ufffd" if 0xD800 <= code < 0xE000 else chr(code)


def _well_formed(text: str) -> str:
    return text.partition("\0")[0]
