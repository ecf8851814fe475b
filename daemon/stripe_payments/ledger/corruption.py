"""How damage of the file shows: SQLite says so, or something is read that nobody can have written.

SQLite checks the structure of its pages, not what is in them: a flash that gives back other bytes within a
text shows when that is no UTF-8, no JSON or no compressed data any more.
"""

import json
import sqlite3
import zlib
from typing import Any, Final

__all__ = ["decoded", "is_damage", "unpacked"]

# https://sqlite.org/rescode.html
_CODES: Final = frozenset({sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB})
_NO_TEXT: Final = "Could not decode to UTF-8"  # Python's own, without a code


def is_damage(error: BaseException) -> bool:
    """Whether an error of SQLite's module says that the file is not what was written."""
    if not isinstance(error, sqlite3.Error):
        return False
    return int(getattr(error, "sqlite_errorcode", 0)) & 0xFF in _CODES or str(error).startswith(_NO_TEXT)


def unpacked(packed: bytes) -> dict[str, Any]:
    """The JSON object that a row holds compressed. Raises sqlite3.DatabaseError, which `is_damage`, where it
    holds none.
    """
    try:
        return decoded(zlib.decompress(packed))
    except zlib.error as error:
        raise _damaged(f"a row cannot be unpacked: {error}") from error


def decoded(text: str | bytes) -> dict[str, Any]:
    """The JSON object in a row. Raises as `unpacked` does."""
    try:
        found = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise _damaged(f"no JSON in a row: {error}") from error
    if not isinstance(found, dict):
        raise _damaged("no JSON object in a row")
    return found


def _damaged(what: str) -> sqlite3.DatabaseError:
    error = sqlite3.DatabaseError(what)
    error.sqlite_errorcode = sqlite3.SQLITE_CORRUPT
    return error
