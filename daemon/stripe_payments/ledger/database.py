"""The ledger: one thread owns the write connection, and every write is a function that runs in it.

The functions that wait at the same time share one transaction, hence one fsync ("group commit"), each under a
savepoint of its own; every caller gets its result only after the commit. So a flash that syncs a hundred
times a second still takes thousands of webhook events, and no result is delivered that a power cut could
undo.

opening.py opens the file; what functions may do is in transaction.py.
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
from stripe_payments.i18n import _
from stripe_payments.ledger.opening import Opened, close_file, open_file
from stripe_payments.ledger.storage_errors import FILE_CORRUPT, is_corruption, translated, unavailable
from stripe_payments.ledger.transaction import SQLiteTransaction
from stripe_payments.log import Log

__all__ = ["SQLiteLedger"]

_log = Log("ledger")

_T = TypeVar("_T")

_BATCH: Final = 256
_QUEUED_AT_MOST: Final = 4096

_CLOSED = _("the service is stopping")
_OVERLOADED = _("too many requests are queued")


@dataclass(slots=True, eq=False)
class _Job:
    """A function on its way through the thread, and what became of it."""

    function: Callable[[SQLiteTransaction], Any]
    future: "asyncio.Future[Any]"
    writes: bool
    durable: bool = True
    result: Any = None
    error: BaseException | None = None


class SQLiteLedger:
    """The open ledger. Use it from the event loop that opened it."""

    def __init__(self, path: Path, corrupt: str | None) -> None:
        """For `open` alone."""
        self._path = path
        self._known_corrupt = corrupt
        self._loop = asyncio.get_running_loop()
        self._jobs: queue.SimpleQueue[_Job | None] = queue.SimpleQueue()
        self._queued = 0
        self._closing = False
        self._opened: asyncio.Future[Opened] = self._loop.create_future()
        self._ended: asyncio.Future[None] = self._loop.create_future()
        self._thread = threading.Thread(target=self._run, name="ledger", daemon=True)
        self.corruption: str | None = None
        """What is wrong with the file, once `corrupted` is set."""
        self.corrupted = asyncio.Event()
        """Set as soon as the file is found not to be what was written; then it has to be closed and opened
        again as `corrupt`.
        """

    @classmethod
    async def open(cls, path: Path, *, corrupt: str | None = None) -> "SQLiteLedger":
        """Open the file, creating or migrating it as needed; a corrupt one is set aside and a new one
        created. `corrupt`: why it is known to be corrupt, whatever the checks may find now.

        Raises PaymentError ``ledger_unavailable`` with the reason: no storage, another daemon, or a file
        written by a newer version (which is left untouched).
        """
        ledger = cls(path, corrupt)
        ledger._thread.start()
        try:
            await asyncio.shield(ledger._opened)
        except (asyncio.CancelledError, PaymentError):
            await ledger.close()
            raise
        return ledger

    @property
    def fresh(self) -> bool:
        """Whether this `open` created the file: it is still empty, and UCI may know more."""
        return self._opened.result().fresh

    @property
    def rebuilt(self) -> bool:
        """Whether this `open` found a corrupt file and set it aside."""
        return self._opened.result().kept_as is not None

    def mark_corrupt(self, reason: str) -> None:
        """The file was found to be corrupt, by a query or by a check."""
        if self.corruption is None:
            self.corruption = reason
            _log.error("ledger is corrupt", reason=reason)
            self.corrupted.set()

    async def write(self, function: Callable[[SQLiteTransaction], _T], *, durable: bool = True) -> _T:
        """Run `function` in the ledger's thread; return its value once what it wrote is durable.

        `durable=False` is for a record whose loss costs a repetition and nothing else: the end of this
        process does not undo it, a power cut within the next half a minute may. It spares the flash.

        What it raises is raised here, and nothing it wrote remains; other callers' writes are not affected.
        Raises PaymentError ``ledger_unavailable`` where the storage fails. A caller that is cancelled before
        its turn has written nothing; afterwards the write happens all the same.
        """
        return await self._submit(function, writes=True, durable=durable)

    async def read(self, function: Callable[[SQLiteTransaction], _T]) -> _T:
        """Run `function`, which must not write, on the last durable state. Raises as `write` does."""
        return await self._submit(function, writes=False)

    async def close(self) -> None:
        """Finish queued jobs, fold the log into the file and end the thread. Idempotent."""
        if not self._closing:
            self._closing = True
            self._jobs.put(None)
        await asyncio.shield(self._ended)
        self._thread.join()

    async def _submit(
        self, function: Callable[[SQLiteTransaction], _T], *, writes: bool, durable: bool = True
    ) -> _T:
        if self._closing:
            reason = _CLOSED if self.corruption is None else FILE_CORRUPT
            raise PaymentError("ledger_unavailable", reason=reason)
        if self._queued >= _QUEUED_AT_MOST:
            raise PaymentError("ledger_unavailable", reason=_OVERLOADED)
        future: asyncio.Future[_T] = self._loop.create_future()
        self._queued += 1
        self._jobs.put(_Job(function, future, writes, durable))
        return await future

    # -- in the ledger's thread -------------------------------------------------------------------

    def _run(self) -> None:
        try:
            opened = open_file(self._path, self._known_corrupt)
        except BaseException as error:  # noqa: BLE001 - the caller of `open` gets it, whatever it is
            if not isinstance(error, PaymentError):
                _log.error("ledger cannot be opened", exc=error)
                error = PaymentError("ledger_unavailable", reason=type(error).__name__)
            self._notify(_set_exception, self._opened, error)
            self._notify(_set_result, self._ended, None)
            return
        self._notify(_set_result, self._opened, opened)
        try:
            stopping = False
            while not stopping:
                batch, stopping = self._next_batch()
                # Reads first: they need not wait for a sync, and see only what is durable.
                self._read(opened, [job for job in batch if not job.writes])
                writes = [job for job in batch if job.writes]
                while writes:
                    writes = self._commit(opened, writes)
        finally:
            close_file(opened.connection)
            self._notify(_set_result, self._ended, None)

    def _next_batch(self) -> tuple[list[_Job], bool]:
        """Wait for a job and take all that are queued behind it, up to _BATCH; whether `close` was called."""
        batch: list[_Job] = []
        job = self._jobs.get()
        while True:
            if job is None:
                return batch, True
            if job.future.cancelled():
                self._notify(self._deliver, [job])
            else:
                batch.append(job)
            if len(batch) >= _BATCH:
                return batch, False
            try:
                job = self._jobs.get_nowait()
            except queue.Empty:
                return batch, False

    def _read(self, opened: Opened, jobs: list[_Job]) -> None:
        if not jobs:
            return
        opened.connection.execute("PRAGMA query_only = ON")
        for job in jobs:
            try:
                job.result = job.function(opened.transaction)
            except BaseException as error:  # noqa: BLE001 - raised in the caller
                job.error = self._failed(error)
        opened.connection.execute("PRAGMA query_only = OFF")
        self._notify(self._deliver, jobs)

    def _commit(self, opened: Opened, jobs: list[_Job]) -> list[_Job]:
        """Run the jobs in one transaction; return those that did not run because the storage failed before
        their turn.
        """
        connection, transaction = opened.connection, opened.transaction
        done: list[_Job] = []
        storage_error: sqlite3.Error | None = None
        try:
            # in a write-ahead log NORMAL leaves out the sync of a commit, never the order of commits
            synchronous = "FULL" if any(job.durable for job in jobs) else "NORMAL"
            connection.execute(f"PRAGMA synchronous = {synchronous}")
            connection.execute("BEGIN IMMEDIATE")
            for job in jobs:
                done.append(job)
                connection.execute("SAVEPOINT job")
                try:
                    job.result = job.function(transaction)
                except BaseException as error:  # noqa: BLE001 - raised in the caller
                    job.error = self._failed(error)
                    transaction.rolled_back()
                    if not connection.in_transaction:
                        # SQLite rolls the complete transaction back when the storage fails within it
                        storage_error = (
                            error if isinstance(error, sqlite3.Error) else sqlite3.OperationalError()
                        )
                        break
                    connection.execute("ROLLBACK TO job")
                connection.execute("RELEASE job")
            else:
                connection.execute("COMMIT")
        except sqlite3.Error as error:
            storage_error = error
        if storage_error is not None:
            done = done or jobs
            self._roll_back(opened, done, storage_error)
        self._notify(self._deliver, done)
        return jobs[len(done) :]

    def _roll_back(self, opened: Opened, jobs: list[_Job], storage_error: sqlite3.Error) -> None:
        """Nothing of these jobs is in the file: all of them fail."""
        if opened.connection.in_transaction:
            try:
                opened.connection.execute("ROLLBACK")
            except sqlite3.Error as error:
                _log.error("rollback failed", reason=error)
        opened.transaction.rolled_back()
        _log.error("commit failed", reason=storage_error, lost=len(jobs))
        failure = self._failed(storage_error)
        for job in jobs:
            job.result = None
            if job.error is None:
                job.error = failure if isinstance(failure, PaymentError) else unavailable(storage_error)

    def _failed(self, error: BaseException) -> BaseException:
        """The error for the caller; corruption ends the ledger for everyone."""
        if is_corruption(error):
            self._notify(self.mark_corrupt, str(error))
        return translated(error)

    def _notify(self, callback: Callable[..., None], *arguments: object) -> None:
        """Call back in the event loop."""
        try:
            self._loop.call_soon_threadsafe(callback, *arguments)
        except RuntimeError:  # the loop has ended, and every caller with it
            _log.warning("event loop ended before the ledger was closed")

    # -- in the event loop ------------------------------------------------------------------------

    def _deliver(self, jobs: list[_Job]) -> None:
        self._queued -= len(jobs)
        for job in jobs:
            if job.error is None:
                _set_result(job.future, job.result)
            elif isinstance(job.error, StopIteration):  # which no future can carry
                _set_exception(job.future, RuntimeError(repr(job.error)))
            else:
                _set_exception(job.future, job.error)


def _set_result(future: "asyncio.Future[Any]", result: object) -> None:
    if not future.done():
        future.set_result(result)


def _set_exception(future: "asyncio.Future[Any]", error: BaseException) -> None:
    if not future.done():
        future.set_exception(error)
