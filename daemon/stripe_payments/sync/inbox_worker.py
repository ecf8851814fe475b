"""The inbox worker: stores webhook events, and syncs their objects with retries.

An event only names an object; several events of one object are one sync. Retries are spaced from 1 s to 1 h
with jitter and survive a restart, because they are rows.

While nothing else waits, an object is fetched while its event is still being synced to flash. That changes no
state: the result is applied once the event is durable, and discarded where the event was not stored.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from contextlib import suppress
from dataclasses import dataclass, field
from random import Random
from typing import TYPE_CHECKING, Final

from stripe_payments.backoff import delay_after
from stripe_payments.errors import PaymentError
from stripe_payments.ledger import InboxEvent
from stripe_payments.log import Log

if TYPE_CHECKING:
    from collections.abc import Iterable

    from stripe_payments.ledger import SQLiteLedger, SQLiteTransaction
    from stripe_payments.sync.reconciler import Fetch, Reconciler

_log = Log("inbox")

BATCH: Final = 50
AT_ONCE: Final = 2
"""Objects synced at the same time: two of the four threads for Stripe stay free for people."""
RECENT: Final = 64
"""Event ids that are kept to recognise a duplicate before it is fetched; the inbox recognises all others."""
SOONEST: Final = 0.2
IDLE: Final = 60.0
FIRST_RETRY: Final = 1.0
LONGEST_RETRY: Final = 3600.0
"""Seconds until an accepted event is processed again: doubling from the first to the longest."""


@dataclass(slots=True)
class _Work:
    """The events of one object. `fetch`: of the object, begun after the last of them was received."""

    object_id: str
    events: list[InboxEvent] = field(default_factory=list)
    fetch: Fetch | None = None


class InboxWorker:
    """`accept` stores an event; `run` processes what is stored, until it is cancelled. `kick()` where an
    event was stored by other means.
    """

    def __init__(self, ledger: SQLiteLedger, reconciler: Reconciler, *, chance: Random | None = None) -> None:
        self._ledger = ledger
        self._reconciler = reconciler
        self._chance = chance or Random()  # noqa: S311 - jitter
        self._wake = asyncio.Event()
        self.idle = False
        """Whether `run` waits for events, and processing did not fail: then `accept` fetches early."""
        self._fetches: dict[str, Fetch] = {}
        """The fetches that were begun early and are not applied yet, by event id."""
        self._stored: list[InboxEvent] = []
        """The events of these fetches that are durable."""
        self._recent: deque[str] = deque(maxlen=RECENT)
        self._read_at = 0.0
        """When the inbox may hold something that is due, monotonic seconds."""

    def kick(self) -> None:
        self._read_at = 0.0
        self._wake.set()

    async def accept(self, event_id: str, kind: str, object_id: str, received_at: int) -> bool:
        """Return True when the event is durable, False for a duplicate. `received_at`: trusted epoch seconds.

        Raises PaymentError ``ledger_unavailable``: then it is not stored, as far as is known.
        """
        fetch = self._begin_fetch(event_id, object_id)
        stored = False
        try:
            stored = await self._ledger.write(
                lambda tx: tx.inbox.accept(event_id, kind, object_id, received_at)
            )
        finally:
            if not stored:
                self._discard(event_id, fetch)
        if fetch is None:
            if stored:
                self.kick()
        elif stored:
            self._stored.append(InboxEvent(event_id, kind, object_id, received_at, 0, 0, None))
            self._wake.set()
        return stored

    async def run(self) -> None:
        # retry times of a clock that ended with its boot
        await self._ledger.write(lambda tx: tx.inbox.reset_retries())
        failures = 0
        try:
            while True:
                self._wake.clear()
                try:
                    pause = await self.work()
                except PaymentError as error:
                    failures += 1
                    pause = min(IDLE, self._retry_delay(failures))
                    _log.error("inbox processing failed", error=error.code, again_in=round(pause))
                else:
                    failures = 0
                self.idle = not failures
                with suppress(TimeoutError):
                    async with asyncio.timeout(pause):
                        await self._wake.wait()
                self.idle = False
        finally:  # all that is not finished is in the inbox
            self.idle = False
            self._stored, self._read_at = [], 0.0
            for event_id, fetch in list(self._fetches.items()):
                self._discard(event_id, fetch)

    async def work(self) -> float:
        """Process what is due, until nothing is; return the seconds until something is due again.

        Raises PaymentError `ledger_unavailable` if a result cannot be recorded: then nothing more is
        processed until that works, because each attempt is a request to Stripe.
        """
        while True:
            if not (events := self._take_stored()):
                now = time.monotonic()
                if now < self._read_at:
                    return self._read_at - now
                events = await self._read_due(now)
            if events:
                await self._process(events)

    def _take_stored(self) -> list[InboxEvent]:
        events, self._stored = self._stored, []
        return events

    async def _read_due(self, now: float) -> list[InboxEvent]:
        """What is due, but for events with a fetch of their own; sets when to read again, 0 if at once."""
        self._read_at = now + IDLE  # before the read: a kick meanwhile counts
        try:
            events, due = await self._ledger.read(lambda tx: (tx.inbox.due(now, BATCH), tx.inbox.next_due()))
        except PaymentError:
            self._read_at = 0.0
            raise
        events = [event for event in events if event.event_id not in self._fetches]
        if events:
            self._read_at = 0.0
        elif due is not None:
            self._read_at = min(self._read_at, now + max(SOONEST, due + 1 - now))
        return events

    # -- fetches that are begun early -------------------------------------------------------------

    def _begin_fetch(self, event_id: str, object_id: str) -> Fetch | None:
        """None where other events wait, or this one is a duplicate: it would be a request for nothing."""
        duplicate = event_id in self._recent
        if not duplicate:
            self._recent.append(event_id)
        if duplicate or not self.idle or len(self._fetches) >= AT_ONCE:
            return None
        fetch = self._reconciler.begin_fetch(object_id)
        if fetch is not None:
            self._fetches[event_id] = fetch
        return fetch

    def _discard(self, event_id: str, fetch: Fetch | None) -> None:
        if fetch is not None and self._fetches.get(event_id) is fetch:
            del self._fetches[event_id]
            fetch.cancel()

    # -- processing -------------------------------------------------------------------------------

    async def _process(self, events: Iterable[InboxEvent]) -> None:
        by_object: dict[str, _Work] = {}
        for event in events:
            work = by_object.setdefault(event.object_id, _Work(event.object_id))
            work.events.append(event)
            if fetch := self._fetches.get(event.event_id):
                work.fetch = fetch
        permits = asyncio.Semaphore(AT_ONCE)

        unrecorded: list[PaymentError] = []

        async def process(work: _Work) -> None:
            async with permits:
                try:
                    await self._sync(work)
                except PaymentError as error:
                    unrecorded.append(error)
                finally:
                    for event in work.events:
                        self._discard(event.event_id, self._fetches.get(event.event_id))

        async with asyncio.TaskGroup() as tasks:
            for work in by_object.values():
                tasks.create_task(process(work))
        if unrecorded:
            self._read_at = 0.0
            raise unrecorded[0]

    async def _sync(self, work: _Work) -> None:
        ids = [event.event_id for event in work.events]
        try:
            outcome = await self._reconciler.sync(
                work.object_id, work.events[-1].type, event_ids=ids, fetch=work.fetch
            )
        except PaymentError as error:
            await self._postpone(work, error.code, error.details.get("retry_after"))
        except Exception as error:  # noqa: BLE001 - one event that breaks us must not stop the others
            _log.error("event processing failed", event=ids[0], object=work.object_id, exc=error)
            await self._postpone(work, "internal_error", None)
        else:
            if outcome.overtaken:
                await self._postpone(work, "overtaken", None)
                return
            _log.debug("event applied", event=",".join(ids), object=work.object_id, outcome=outcome.status)

    async def _postpone(self, work: _Work, error: str, retry_after: object) -> None:
        self._read_at = 0.0
        now = time.monotonic()
        at_least = retry_after if isinstance(retry_after, int) else 0

        def postpone(tx: SQLiteTransaction) -> None:
            for event in work.events:
                delay = max(at_least, self._retry_delay(event.attempts + 1))
                tx.inbox.retry(event.event_id, now + delay, error)

        await self._ledger.write(postpone)

    def _retry_delay(self, attempts: int) -> float:
        return delay_after(attempts, self._chance, first=FIRST_RETRY, ceiling=LONGEST_RETRY)
