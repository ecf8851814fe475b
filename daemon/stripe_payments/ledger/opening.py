"""Opening the ledger's file: pragmas, migration, detection of corruption, a new file in place of a corrupt
one.

Write-ahead log with ``locking_mode=EXCLUSIVE``: SQLite then keeps the WAL's index in the heap instead of
shared memory (https://sqlite.org/wal.html#noshm), and a second daemon cannot open the file.
``synchronous=FULL``: a commit is synced before its writers go on, unless all of them renounced that (see
`Ledger.write`).
"""

import sqlite3
import struct
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from stripe_payments.errors import PaymentError
from stripe_payments.files import make_private_directory, set_aside, sync_directory
from stripe_payments.i18n import _
from stripe_payments.ledger.schema import NewerSchemaError, migrate, version_of
from stripe_payments.ledger.storage_errors import corruption, is_corruption, unavailable
from stripe_payments.ledger.transaction import SQLiteTransaction
from stripe_payments.log import Log

__all__ = ["LOG_LEFT_OVER", "META_MUST_NOT_LOCK", "META_REBUILDING", "Opened", "close_file", "open_file"]

META_MUST_NOT_LOCK: Final = "held"
"""Meta key: the features (names, comma-separated) that a new ledger adopted from UCI. They do not lock before
it is known what was paid; see `META_REBUILDING`.
"""

META_REBUILDING: Final = "rebuilding"
"""Meta key, present from a new file's first commit until it has been filled from Stripe. Its value: `new`,
the name under which the corrupt file before it was kept, or `LOG_LEFT_OVER`.
"""

LOG_LEFT_OVER: Final = "log"
"""Value of `META_REBUILDING`: the file is intact, but may be older than what it has confirmed; see
`_has_unreplayed_frames`.
"""

_log = Log("ledger")

_BUSY_MS: Final = 3000
"""An earlier daemon that is just stopping holds the file a little longer."""
_CACHE_KIB: Final = 256
"""Stored objects are read once, at the start; later only the pages that commits write are read again. A
larger cache would hold the complete file, which grows with the history.
"""
_PAGE_BYTES: Final = 512
"""The smallest: a commit writes every page that it touches, and most touch a row here and there in a dozen
tables.
"""
_CHECKPOINT_PAGES: Final = 2048
_WAL_BYTES: Final = 2 * 1024 * 1024

# The log's format: https://sqlite.org/fileformat2.html#the_write_ahead_log
_LOG_HEADER: Final = 32
_FRAME_HEADER: Final = 24
_LOG_MAGIC: Final = {0x377F0682: "<", 0x377F0683: ">"}
_LOG_MASK: Final = 0xFFFFFFFF


@dataclass(frozen=True, slots=True)
class Opened:
    """`fresh`: the file was created just now. `kept_as`: the new path of a corrupt file, if there was one."""

    connection: sqlite3.Connection
    transaction: SQLiteTransaction
    fresh: bool
    kept_as: Path | None


def open_file(path: Path, corrupt: str | None = None) -> Opened:
    """Open the file, creating or migrating it as needed; a corrupt one is set aside and a new one created.
    `corrupt`: why it is known to be corrupt, whatever the checks may find now.

    Raises PaymentError ``ledger_unavailable`` with the reason: no storage, another daemon, or a file written
    by a newer version (which is left untouched).
    """
    try:
        make_private_directory(path.parent)
        fresh = not path.exists() or path.stat().st_size == 0
    except OSError as error:
        raise PaymentError("ledger_unavailable", reason=error.strerror) from error
    if corrupt is None or fresh:
        try:
            return _connect(path, fresh=fresh)
        except sqlite3.Error as error:
            if not is_corruption(error):
                _log.error("ledger cannot be opened", reason=error)
                raise unavailable(error) from error
            corrupt = str(error)
    try:
        kept_as = _set_aside(path)
    except OSError as error:
        raise PaymentError("ledger_unavailable", reason=error.strerror) from error
    _log.error("ledger is corrupt, creating a new one", reason=corrupt, kept_as=kept_as.name)
    try:
        return _connect(path, fresh=True, kept_as=kept_as)
    except sqlite3.Error as error:
        raise unavailable(error) from error


def close_file(connection: sqlite3.Connection) -> None:
    """Fold the log into the file, and close it."""
    try:
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    except sqlite3.Error as error:  # the log is durable as well; the next start replays it
        _log.warning("final checkpoint failed", reason=error)
    connection.close()


def _set_aside(path: Path) -> Path:
    kept_as = set_aside(path)
    log = path.with_name(f"{path.name}-wal")
    if log.exists():
        log.rename(kept_as.with_name(f"{kept_as.name}-wal"))
        sync_directory(log.parent)
    return kept_as


def _connect(path: Path, *, fresh: bool, kept_as: Path | None = None) -> Opened:
    connection = sqlite3.connect(path, timeout=_BUSY_MS / 1000, isolation_level=None)
    try:
        connection.execute("PRAGMA locking_mode = EXCLUSIVE")
        version_of(connection)  # a newer version's file is left as it is
        if fresh:  # before the first page is written
            connection.execute(f"PRAGMA page_size = {_PAGE_BYTES:d}")
            connection.execute("PRAGMA auto_vacuum = INCREMENTAL")  # free pages can be returned later
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("PRAGMA synchronous = FULL")
        connection.execute(f"PRAGMA cache_size = -{_CACHE_KIB:d}")
        connection.execute(f"PRAGMA wal_autocheckpoint = {_CHECKPOINT_PAGES:d}")
        connection.execute(f"PRAGMA journal_size_limit = {_WAL_BYTES:d}")
        connection.execute("PRAGMA temp_store = MEMORY")
        connection.execute("PRAGMA trusted_schema = OFF")
        outdated = False
        if not fresh:
            _check(connection)
            outdated = _may_be_outdated(connection, path)
        before = migrate(connection)
        transaction = SQLiteTransaction(connection)
        transaction.preload()
        if kept_as is not None:
            _mark_rebuilding(connection, kept_as.name)
        elif outdated:
            _log.warning("ledger may lack its last changes: fetching everything from Stripe")
            _mark_rebuilding(connection, LOG_LEFT_OVER)
        if fresh:
            path.chmod(0o600)
            sync_directory(path.parent)
    except NewerSchemaError as error:
        connection.close()
        raise PaymentError(
            "ledger_unavailable",
            reason=_(
                "it was written by a newer version (schema {found}, this version supports {known}); "
                "reinstall that version",
                found=error.found,
                known=error.known,
            ),
        ) from error
    except BaseException:
        connection.close()
        raise
    _log.info("ledger open", schema_before=before, fresh=fresh)
    return Opened(connection, transaction, fresh, kept_as)


def _check(connection: sqlite3.Connection) -> None:
    """Raises sqlite3.DatabaseError with SQLITE_CORRUPT. The file is kept small: all of it is read."""
    found = connection.execute("PRAGMA quick_check(1)").fetchone()[0]
    if found != "ok":
        raise corruption(found)


def _may_be_outdated(connection: sqlite3.Connection, path: Path) -> bool:
    """Whether SQLite did not replay its complete log: it may lack commits that were confirmed."""
    replayed = connection.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchone()[1]
    try:
        return _has_unreplayed_frames(path.with_name(f"{path.name}-wal"), max(replayed, 0))
    except OSError as error:
        raise PaymentError("ledger_unavailable", reason=error.strerror) from error


def _mark_rebuilding(connection: sqlite3.Connection, why: str) -> None:
    connection.execute("INSERT OR REPLACE INTO meta (key, value) VALUES (?, ?)", (META_REBUILDING, why))


# -- the write-ahead log ---------------------------------------------------------------------------


def _has_unreplayed_frames(log: Path, replayed: int) -> bool:
    """Whether SQLite could not replay the complete log: it stops at the first invalid frame. `replayed`: how
    many frames it replayed. Frames of an earlier round of the log do not count. Raises OSError.

    That is normal after a power cut, which may leave the end of the log in any state. But if the flash
    returned other bytes, durable commits lie behind that frame, and the ledger is silently outdated. The two
    cannot be distinguished; so if anything is left over, everything is fetched from Stripe again.
    """
    try:
        content = log.read_bytes()
    except FileNotFoundError:
        return False
    if len(content) <= _LOG_HEADER:  # no frame: the header is synced before the first one
        return False
    page = _page_size(content[:_LOG_HEADER])
    if page is None:
        return True
    salts, frame = content[16:24], _FRAME_HEADER + page
    frames = range(_LOG_HEADER + replayed * frame, len(content) - frame + 1, frame)
    return any(content[at + 8 : at + 16] == salts for at in frames)


def _page_size(header: bytes) -> int | None:
    """None for an invalid header."""
    magic, _version, page = struct.unpack(">3I", header[:12])
    order = _LOG_MAGIC.get(magic)
    if order is None:
        return None
    first = second = 0
    words = struct.unpack(f"{order}6I", header[:24])
    for even, odd in zip(words[::2], words[1::2], strict=True):
        first = first + even + second & _LOG_MASK
        second = second + odd + first & _LOG_MASK
    return int(page) if (first, second) == struct.unpack(">2I", header[24:]) else None
