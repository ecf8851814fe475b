"""The SQLite file and the one thread that owns it.

A function given to `Ledger.write` runs in that thread under a savepoint of its own; the functions that wait
at the same time share one transaction, hence one fsync ("group commit"), and every caller gets its answer
only after the commit. So a flash that syncs a hundred times a second still takes thousands of webhook events,
and no answer is ever given for something that a power cut could undo.

Write-ahead log with ``locking_mode=EXCLUSIVE``: SQLite then keeps the WAL's index in the heap instead of
shared memory (https://sqlite.org/wal.html#noshm), and a second daemon cannot open the file.
``synchronous=FULL``: each commit is synced.
"""

import asyncio
import queue
import sqlite3
import threading
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, TypeVar

from stripe_payments.errors import PaymentError
from stripe_payments.files import make_private_directory, set_aside, sync_directory
from stripe_payments.i18n import _
from stripe_payments.ledger.corruption import is_damage
from stripe_payments.ledger.schema import STATE, NewerSchemaError, migrate, version_of
from stripe_payments.ledger.transaction import Transaction
from stripe_payments.ledger.wal import has_unreplayed_frames
from stripe_payments.log import Log

__all__ = ["LOG_LEFT_OVER", "META_HELD", "META_REBUILDING", "Ledger"]

META_HELD: Final = "held"
"""Meta key: the features (names, comma-separated) that a new ledger took over from UCI. They do not lock
before it is known what was paid; see `META_REBUILDING`.
"""

META_REBUILDING: Final = "rebuilding"
"""Meta key, present from a new file's first commit until reconciliation has filled it from Stripe. Its value:
`new`, the name that the damaged file before it was kept under, or `LOG_LEFT_OVER`.
"""

LOG_LEFT_OVER: Final = "log"
"""Value of `META_REBUILDING`: the file is whole, but may be older than what it has confirmed; see `log`."""

_log = Log("ledger")

_T = TypeVar("_T")

_BATCH: Final = 256
_WAITING_AT_MOST: Final = 4096
_BUSY_MS: Final = 3000
"""An earlier daemon that is just stopping holds the file a little longer."""
_CACHE_KIB: Final = 1024
_PAGE_BYTES: Final = 1024
"""A commit writes every page that it touches whole, and most touch a row here and there in a dozen tables."""
_CHECKPOINT_PAGES: Final = 1024
_WAL_BYTES: Final = 2 * 1024 * 1024
CHECKED_WHOLE: Final = 16 * 1024 * 1024
"""Bytes that a router's flash gives in well under a second; a ledger is planned to be half of it."""

# Primary result codes (https://sqlite.org/rescode.html): what ails the file or the flash, not the function.
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
_REASONS: Final = {
    sqlite3.SQLITE_FULL: _("the storage is full"),
    sqlite3.SQLITE_IOERR: _("the storage reports an error"),
    sqlite3.SQLITE_CORRUPT: _("the file is damaged"),
    sqlite3.SQLITE_NOTADB: _("the file is damaged"),
    sqlite3.SQLITE_BUSY: _("another process has the file open"),
    sqlite3.SQLITE_CANTOPEN: _("the file cannot be opened"),
    sqlite3.SQLITE_READONLY: _("the storage is read-only"),
}
_CLOSED = _("the service is stopping")
_OVERLOADED = _("too many requests are waiting")


@dataclass(slots=True, eq=False)
class _Job:
    function: Callable[[Transaction], Any]
    future: "asyncio.Future[Any]"
    writes: bool
    durable: bool = True
    result: Any = None
    error: BaseException | None = None


class Ledger:
    """The open ledger. Use it from the event loop that opened it."""

    def __init__(self, path: Path) -> None:
        """For `open` alone."""
        self._path = path
        self._loop = asyncio.get_running_loop()
        self._jobs: queue.SimpleQueue[_Job | None] = queue.SimpleQueue()
        self._waiting = 0
        self._closing = False
        self._fresh = False
        self._set_aside: Path | None = None
        self._damage: str | None = None
        self.damaged = asyncio.Event()
        """Set as soon as the file turns out not to be what was written; then it is to be closed, and opened
        as `condemned`.
        """
        self._opened: asyncio.Future[None] = self._loop.create_future()
        self._ended: asyncio.Future[None] = self._loop.create_future()
        self._thread = threading.Thread(target=self._own, name="ledger", daemon=True)

    @classmethod
    async def open(cls, path: Path, *, condemned: str | None = None) -> "Ledger":
        """Open the file, making or migrating it as needed; a damaged one is set aside and a new one begun.
        `condemned`: what made it known as damaged, whatever a look at it may say now.

        Raises PaymentError ``ledger_unavailable``, which names the reason: no storage, another daemon, or a
        file written by a newer version (which is left untouched).
        """
        ledger = cls(path)
        ledger._damage = condemned
        ledger._thread.start()
        try:
            await asyncio.shield(ledger._opened)
        except asyncio.CancelledError:
            await ledger.close()
            raise
        except PaymentError:
            await ledger.close()
            raise
        return ledger

    @property
    def fresh(self) -> bool:
        """Whether this `open` began a new file: it knows nothing yet, and UCI may know more."""
        return self._fresh

    @property
    def rebuilt(self) -> bool:
        """Whether this `open` found a damaged file and set it aside."""
        return self._set_aside is not None

    @property
    def damage(self) -> str | None:
        """What is wrong with the file, once `damaged` is set."""
        return self._damage

    def condemn(self, damage: str) -> None:
        """Somebody has looked at the file and found it damaged."""
        if self._damage is None:
            self._damage = damage
            _log.error("the ledger is damaged", reason=damage)
            self.damaged.set()

    async def write(self, function: Callable[[Transaction], _T], *, durable: bool = True) -> _T:
        """Run `function` in the ledger's thread and give its value once what it wrote is durable.

        `durable=False` is for a note whose loss costs a repetition and nothing else: the end of this process
        does not undo it, a power cut within the next half a minute may. It spares the flash.

        What it raises is raised here, and nothing it wrote remains; other callers' writes are not touched.
        Raises PaymentError ``ledger_unavailable`` where the storage fails. A caller that is cancelled before
        its turn has written nothing; afterwards the write happens all the same.
        """
        return await self._submit(function, writes=True, durable=durable)

    async def read(self, function: Callable[[Transaction], _T]) -> _T:
        """Run `function`, which must not write, on the last durable state. Raises as `write` does."""
        return await self._submit(function, writes=False)

    async def close(self) -> None:
        """Finish what waits, fold the log into the file and end the thread. May be called again."""
        if not self._closing:
            self._closing = True
            self._jobs.put(None)
        await asyncio.shield(self._ended)
        self._thread.join()

    async def _submit(
        self, function: Callable[[Transaction], _T], *, writes: bool, durable: bool = True
    ) -> _T:
        if self._closing:
            damaged = _REASONS[sqlite3.SQLITE_CORRUPT]
            raise PaymentError("ledger_unavailable", reason=_CLOSED if self._damage is None else damaged)
        if self._waiting >= _WAITING_AT_MOST:
            raise PaymentError("ledger_unavailable", reason=_OVERLOADED)
        future: asyncio.Future[_T] = self._loop.create_future()
        self._waiting += 1
        self._jobs.put(_Job(function, future, writes, durable))
        return await future

    # In the ledger's thread.

    def _own(self) -> None:
        connection: sqlite3.Connection | None = None
        try:
            connection = self._open()
        except PaymentError as error:
            self._tell(_fail, self._opened, error)
        except BaseException as error:  # noqa: BLE001 - the opener must hear of it, whatever it is
            _log.error("the ledger could not be opened", exc=error)
            self._tell(_fail, self._opened, PaymentError("ledger_unavailable", reason=type(error).__name__))
        else:
            self._tell(_succeed, self._opened)
        try:
            self._serve(connection)
        finally:
            if connection is not None:
                _close(connection)
            self._tell(_succeed, self._ended)

    def _serve(self, connection: sqlite3.Connection | None) -> None:
        transaction = Transaction(connection) if connection is not None else None
        stopping = False
        while not stopping:
            batch: list[_Job] = []
            job = self._jobs.get()
            while True:
                if job is None:
                    stopping = True
                elif not job.future.cancelled():
                    batch.append(job)
                else:
                    self._tell(self._deliver, [job], [])
                if len(batch) >= _BATCH:
                    break
                try:
                    job = self._jobs.get_nowait()
                except queue.Empty:
                    break
            if connection is None or transaction is None:
                for refused in batch:
                    refused.error = PaymentError("ledger_unavailable", reason=_CLOSED)
                self._tell(self._deliver, batch, [])
                continue
            # Reads first: they need not wait for a sync, and see only what is durable.
            reads = [job for job in batch if not job.writes]
            if reads:
                self._read_all(connection, transaction, reads)
            writes = [job for job in batch if job.writes]
            while writes:
                writes = self._write_all(connection, transaction, writes)

    def _read_all(self, connection: sqlite3.Connection, transaction: Transaction, jobs: list[_Job]) -> None:
        connection.execute("PRAGMA query_only = ON")
        for job in jobs:
            try:
                job.result = job.function(transaction)
            except BaseException as error:  # noqa: BLE001 - it belongs to whoever asked
                job.error = self._failed(error)
        connection.execute("PRAGMA query_only = OFF")
        transaction.taken_callbacks()
        self._tell(self._deliver, jobs, [])

    def _write_all(
        self, connection: sqlite3.Connection, transaction: Transaction, jobs: list[_Job]
    ) -> list[_Job]:
        """One transaction for all jobs; gives those that have not had their turn because it broke off."""
        done: list[_Job] = []
        callbacks: list[Callable[[], None]] = []
        broken: sqlite3.Error | None = None
        try:
            # in a write-ahead log NORMAL leaves out the sync of a commit, never the order of commits
            connection.execute(f"PRAGMA synchronous = {'FULL' if any(j.durable for j in jobs) else 'NORMAL'}")
            connection.execute("BEGIN IMMEDIATE")
            for job in jobs:
                done.append(job)
                connection.execute("SAVEPOINT job")
                try:
                    job.result = job.function(transaction)
                except BaseException as error:  # noqa: BLE001 - it belongs to whoever asked
                    job.error = self._failed(error)
                    transaction.taken_callbacks()
                    if not connection.in_transaction:
                        # SQLite gives up the whole transaction when the storage fails within it.
                        broken = error if isinstance(error, sqlite3.Error) else sqlite3.OperationalError()
                        break
                    connection.execute("ROLLBACK TO job")
                connection.execute("RELEASE job")
                callbacks += transaction.taken_callbacks()
            else:
                connection.execute("COMMIT")
        except sqlite3.Error as error:
            broken = error
        if broken is not None:
            if connection.in_transaction:
                try:
                    connection.execute("ROLLBACK")
                except sqlite3.Error as error:
                    _log.error("the ledger could not roll back", reason=error)
            transaction.taken_callbacks()
            callbacks = []
            failure = self._failed(broken)
            _log.error("the ledger could not be written", reason=broken, lost=len(done))
            if not done:
                done = jobs
            for job in done:
                job.result = None
                if job.error is None:
                    job.error = failure if isinstance(failure, PaymentError) else _unavailable(broken)
        self._tell(self._deliver, done, callbacks)
        return jobs[len(done) :]

    def _failed(self, error: BaseException) -> BaseException:
        """As whoever asked is told; damage is everybody's matter."""
        if is_damage(error):
            self._tell(self.condemn, str(error))
        return _translated(error)

    def _open(self) -> sqlite3.Connection:
        try:
            make_private_directory(self._path.parent)
            self._fresh = not self._path.exists() or self._path.stat().st_size == 0
        except OSError as error:
            raise PaymentError("ledger_unavailable", reason=error.strerror) from error
        damage, self._damage = self._damage, None
        if damage is None or self._fresh:
            try:
                return self._connect()
            except sqlite3.Error as error:
                if not is_damage(error):
                    _log.error("the ledger could not be opened", reason=error)
                    raise _unavailable(error) from error
                damage = str(error)
        try:
            self._set_aside = set_aside(self._path)
            log = self._path.with_name(f"{self._path.name}-wal")
            if log.exists():
                log.rename(self._set_aside.with_name(f"{self._set_aside.name}-wal"))
                sync_directory(log.parent)
        except OSError as error:
            raise PaymentError("ledger_unavailable", reason=error.strerror) from error
        self._fresh = True
        _log.error("the ledger is damaged: begun anew", reason=damage, kept_as=self._set_aside.name)
        try:
            return self._connect()
        except sqlite3.Error as error:
            raise _unavailable(error) from error

    def _connect(self) -> sqlite3.Connection:
        connection = sqlite3.connect(self._path, timeout=_BUSY_MS / 1000, isolation_level=None)
        try:
            connection.execute("PRAGMA locking_mode = EXCLUSIVE")
            version_of(connection)  # a newer version's file is left as it is
            self._lay_out(connection)
            connection.execute("PRAGMA journal_mode = WAL")
            connection.execute("PRAGMA synchronous = FULL")
            connection.execute(f"PRAGMA cache_size = -{_CACHE_KIB:d}")
            connection.execute(f"PRAGMA wal_autocheckpoint = {_CHECKPOINT_PAGES:d}")
            connection.execute(f"PRAGMA journal_size_limit = {_WAL_BYTES:d}")
            connection.execute("PRAGMA temp_store = MEMORY")
            connection.execute("PRAGMA trusted_schema = OFF")
            if not self._fresh:
                _look_for_damage(connection, self._path.stat().st_size)
            of_yesterday = not self._fresh and self._may_be_of_yesterday(connection)
            before = migrate(connection)
            if self._set_aside is not None:
                _rebuild(connection, self._set_aside.name)
            elif of_yesterday:
                _log.warning("the ledger may lack its last changes: Stripe is asked for all")
                _rebuild(connection, LOG_LEFT_OVER)
            if self._fresh:
                self._path.chmod(0o600)
                sync_directory(self._path.parent)
            _log.info("ledger open", schema_before=before, fresh=self._fresh)
        except NewerSchemaError as error:
            connection.close()
            raise PaymentError(
                "ledger_unavailable",
                reason=_(
                    "it was written by a newer version (schema {found}, this one knows {known}); install "
                    "that version again",
                    found=error.found,
                    known=error.known,
                ),
            ) from error
        except BaseException:
            connection.close()
            raise
        return connection

    def _may_be_of_yesterday(self, connection: sqlite3.Connection) -> bool:
        replayed = connection.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchone()[1]
        try:
            return has_unreplayed_frames(self._path.with_name(f"{self._path.name}-wal"), max(replayed, 0))
        except OSError as error:
            raise PaymentError("ledger_unavailable", reason=error.strerror) from error

    def _lay_out(self, connection: sqlite3.Connection) -> None:
        """Before the first page is written, or while the whole file is written anew."""
        found = connection.execute("PRAGMA page_size").fetchone()[0]
        if not self._fresh and found == _PAGE_BYTES:
            return
        if not self._fresh:
            _look_for_damage(connection, 0)
            connection.execute("PRAGMA journal_mode = DELETE")  # a log has pages of one size
        connection.execute(f"PRAGMA page_size = {_PAGE_BYTES:d}")
        connection.execute("PRAGMA auto_vacuum = INCREMENTAL")  # free pages can be given back later
        if not self._fresh:
            connection.execute("VACUUM")

    def _tell(self, callback: Callable[..., None], *arguments: object) -> None:
        try:
            self._loop.call_soon_threadsafe(callback, *arguments)
        except RuntimeError:  # the loop is gone, and with it everyone who could have waited
            _log.warning("the event loop ended before the ledger was closed")

    # In the event loop.

    def _deliver(self, jobs: list[_Job], callbacks: list[Callable[[], None]]) -> None:
        self._waiting -= len(jobs)
        for callback in callbacks:
            try:
                callback()
            except Exception as error:  # noqa: BLE001 - what is durable must be told to the others all the same
                _log.error("a callback after a commit failed", exc=error)
        for job in jobs:
            if job.future.done():
                continue
            if job.error is None:
                job.future.set_result(job.result)
            elif isinstance(job.error, StopIteration):  # which no future can carry
                job.future.set_exception(RuntimeError(repr(job.error)))
            else:
                job.future.set_exception(job.error)


def _look_for_damage(connection: sqlite3.Connection, size: int) -> None:
    """Raises sqlite3.DatabaseError with SQLITE_CORRUPT. A large file is not read to its end before the daemon
    may work: then the history is left to `LedgerCare`, which reads it a piece at a time.
    """
    checks = ["quick_check(1)"] if size <= CHECKED_WHOLE else [f"quick_check({table})" for table in STATE]
    for check in checks:
        found = connection.execute(f"PRAGMA {check}").fetchone()[0]
        if found != "ok":
            damage = sqlite3.DatabaseError(found)
            damage.sqlite_errorcode = sqlite3.SQLITE_CORRUPT
            raise damage


def _rebuild(connection: sqlite3.Connection, why: str) -> None:
    connection.execute("INSERT OR REPLACE INTO meta (key, value) VALUES (?, ?)", (META_REBUILDING, why))


def _primary(error: BaseException) -> int:
    """SQLite's primary result code, CORRUPT for all kinds of damage, 0 where there is none."""
    if is_damage(error):
        return sqlite3.SQLITE_CORRUPT
    return int(getattr(error, "sqlite_errorcode", 0)) & 0xFF


def _unavailable(error: sqlite3.Error) -> PaymentError:
    return PaymentError("ledger_unavailable", reason=_REASONS.get(_primary(error), str(error)))


def _translated(error: BaseException) -> BaseException:
    """The storage's faults as `PaymentError`; everything else as it is."""
    if not isinstance(error, sqlite3.Error):
        return error
    code = _primary(error)
    # A write within `read` is the caller's mistake (query_only); a medium that turned read-only has a code of
    # its own.
    read_only_medium = getattr(error, "sqlite_errorcode", 0) not in (0, sqlite3.SQLITE_READONLY)
    if code in _STORAGE or (code == sqlite3.SQLITE_READONLY and read_only_medium):
        translated = _unavailable(error)
        translated.__cause__ = error
        return translated
    return error


def _close(connection: sqlite3.Connection) -> None:
    try:
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    except sqlite3.Error as error:  # the log is durable as well; the next start reads it
        _log.warning("the ledger's log could not be folded in", reason=error)
    connection.close()


def _succeed(future: "asyncio.Future[None]") -> None:
    if not future.done():
        future.set_result(None)


def _fail(future: "asyncio.Future[None]", error: BaseException) -> None:
    if not future.done():
        future.set_exception(error)
