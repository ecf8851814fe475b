"""SQLite's errors: which of them mean that the file is corrupt, and what to show for the storage's faults.

SQLite checks the structure of its pages, not their contents: a flash that returns other bytes within a text
shows when that is not UTF-8, JSON or compressed data any more.
"""

import json
import sqlite3
from typing import Any, Final

from stripe_payments.errors import PaymentError
from stripe_payments.i18n import _

__all__ = [
    "FILE_CORRUPT",
    "corruption",
    "decoded",
    "is_corruption",
    "translated",
    "unavailable",
]

# https://sqlite.org/rescode.html
_CODES: Final = frozenset({sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB})
_NO_TEXT: Final = "Could not decode to UTF-8"  # Python's own, without a code

# Primary result codes (https://sqlite.org/rescode.html): faults of the file or the flash, not of a function.
_STORAGE: Final = {
    sqlite3.SQLITE_CORRUPT,
    sqlite3.SQLITE_NOTADB,
    sqlite3.SQLITE_FULL,
    sqlite3.SQLITE_IOERR,
    sqlite3.SQLITE_CANTOPEN,
    sqlite3.SQLITE_BUSY,
    sqlite3.SQLITE_LOCKED,
    sqlite3.SQLITE_NOMEM,
    sqlite3.SQLITE_PERM,
}
FILE_CORRUPT: Final = _("the file is corrupt")
_REASONS: Final = {
    sqlite3.SQLITE_FULL: _("the storage is full"),
    sqlite3.SQLITE_IOERR: _("the storage reports an I/O error"),
    sqlite3.SQLITE_CORRUPT: FILE_CORRUPT,
    sqlite3.SQLITE_BUSY: _("another process has the file open"),
    sqlite3.SQLITE_CANTOPEN: _("the file cannot be opened"),
    sqlite3.SQLITE_READONLY: _("the storage is read-only"),
}


def is_corruption(error: BaseException) -> bool:
    """Whether an error of the sqlite3 module means that the file is not what was written."""
    if not isinstance(error, sqlite3.Error):
        return False
    return int(getattr(error, "sqlite_errorcode", 0)) & 0xFF in _CODES or str(error).startswith(_NO_TEXT)


def decoded(text: str | bytes) -> dict[str, Any]:
    """The JSON object in a row. Raises sqlite3.DatabaseError, which `is_corruption`, if it is none."""
    try:
        found = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise corruption(f"no JSON in a row: {error}") from error
    if not isinstance(found, dict):
        raise corruption("no JSON object in a row")
    return found


def corruption(what: str) -> sqlite3.DatabaseError:
    """An error that `is_corruption`."""
    error = sqlite3.DatabaseError(what)
    error.sqlite_errorcode = sqlite3.SQLITE_CORRUPT
    return error


def unavailable(error: sqlite3.Error) -> PaymentError:
    """``ledger_unavailable`` with the reason."""
    return PaymentError("ledger_unavailable", reason=_REASONS.get(_primary_code(error), str(error)))


def translated(error: BaseException) -> BaseException:
    """Faults of the storage as `PaymentError`; everything else as it is."""
    if not isinstance(error, sqlite3.Error):
        return error
    code = _primary_code(error)
    # A write within `Ledger.read` is the caller's mistake (query_only); a medium that turned read-only has a
    # code of its own.
    read_only_medium = getattr(error, "sqlite_errorcode", 0) not in (0, sqlite3.SQLITE_READONLY)
    if code in _STORAGE or (code == sqlite3.SQLITE_READONLY and read_only_medium):
        fault = unavailable(error)
        fault.__cause__ = error
        return fault
    return error


def _primary_code(error: BaseException) -> int:
    """SQLite's primary result code, CORRUPT for every kind of corruption, 0 where there is none."""
    if is_corruption(error):
        return sqlite3.SQLITE_CORRUPT
    return int(getattr(error, "sqlite_errorcode", 0)) & 0xFF
