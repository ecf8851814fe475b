"""Reads the daemon's log as a program does that trusts logfmt: one entry a line, `name=value` in it, values
quoted where they hold anything but plain characters. https://brandur.org/logfmt
"""

from __future__ import annotations

import re
import unicodedata

__all__ = ["ForgedLogError", "entry"]

_FIELD = re.compile(r'([a-z_]+)=(?:"((?:[^"\\]|\\.)*)"|([^\s"=\\]+))(?: |$)')
_ESCAPE = re.compile(r"\\(?:x([0-9a-f]{2})|u([0-9a-f]{4})|(.))")
_NAMED = {"n": "\n", "r": "\r", "t": "\t", '"': '"', "\\": "\\"}
_TURNS = "\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069"
_LEVELS = frozenset({"debug", "info", "warning", "error", "critical"})


class ForgedLogError(ValueError):
    """A line that is no entry, or that says something twice."""


def entry(line: bytes) -> dict[str, str]:
    """The fields of one line (without its end), as they were before they were written. Raises
    ForgedLogError.
    """
    try:
        text = line.decode("utf-8")
    except UnicodeDecodeError:
        raise ForgedLogError(f"no text: {line!r:.200}") from None
    if any(unicodedata.category(char) in ("Cc", "Cs", "Zl", "Zp") or char in _TURNS for char in text):
        raise ForgedLogError(f"characters that a terminal obeys: {text!r:.200}")
    fields: dict[str, str] = {}
    at = 0
    while at < len(text):
        field = _FIELD.match(text, at)
        if field is None:
            raise ForgedLogError(f"no field at {at}: {text[at : at + 80]!r}")
        name, quoted, bare = field.groups()
        if name in fields:
            raise ForgedLogError(f"{name} is said twice: {text!r:.200}")
        fields[name] = bare if quoted is None else _ESCAPE.sub(_unescaped, quoted)
        at = field.end()
    if list(fields)[:3] != ["level", "part", "msg"] or fields["level"] not in _LEVELS:
        raise ForgedLogError(f"no entry of the daemon's: {text!r:.200}")
    return fields


def _unescaped(found: re.Match[str]) -> str:
    byte, unit, named = found.groups()
    return chr(int(byte or unit, 16)) if named is None else _NAMED.get(named, named)
