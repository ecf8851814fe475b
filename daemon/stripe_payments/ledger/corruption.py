"""Detecting corruption: SQLite reports it, or a row holds something that cannot have been written.

SQLite checks the structure of its pages, not their contents: a flash that returns other bytes within a text
shows when that is not UTF-8, JSON or compressed data any more.
"""

import json
import sqlite3
import zlib
from collections.abc import Iterable
from typing import Any, Final

__all__ = ["corruption", "decoded", "decoded_list", "is_corruption", "unpacked"]

# https://sqlite.org/rescode.html
_CODES: Final = frozenset({sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB})
_NO_TEXT: Final = "Could not decode to UTF-8"  # Python's own, without a code


def is_corruption(error: BaseException) -> bool:
    """Whether an error of the sqlite3 module means that the file is not what was written."""
    if not isinstance(error, sqlite3.Error):
        return False
    return int(getattr(error, "sqlite_errorcode", 0)) & 0xFF in _CODES or str(error).startswith(_NO_TEXT)


def unpacked(packed: bytes) -> bytes:
    """Decompress a row. Raises sqlite3.DatabaseError, which `is_corruption`, if it is not compressed data."""
    try:
        return zlib.decompress(packed)
    except zlib.error as error:
        raise corruption(f"a row cannot be unpacked: {error}") from error


def decoded(text: str | bytes) -> dict[str, Any]:
    """The JSON object in a row. Raises as `unpacked` does."""
    try:
        found = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise corruption(f"no JSON in a row: {error}") from error
    if not isinstance(found, dict):
        raise corruption("no JSON object in a row")
    return found


def decoded_list(texts: Iterable[bytes]) -> list[dict[str, Any]]:
    """The JSON objects of many rows, which then share the strings of their keys. Raises as `decoded` does."""
    return list(decoded(b'{"rows":[' + b",".join(texts) + b"]}")["rows"])


def corruption(what: str) -> sqlite3.DatabaseError:
    """An error that `is_corruption`."""
    error = sqlite3.DatabaseError(what)
    error.sqlite_errorcode = sqlite3.SQLITE_CORRUPT
    return error
