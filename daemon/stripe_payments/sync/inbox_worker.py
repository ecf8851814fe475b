"""The inbox worker: syncs the objects of accepted webhook events, with retries.

An event only names an object; several events of one object are one sync. Retries are spaced from 1 s to 1 h
with jitter and survive a restart, because they are rows.
"""

from __future__ import annotations

import asyncio
import time
from collections import defaultdict
from contextlib import suppress
from random import Random
from typing import TYPE_CHECKING, Final

from stripe_payments.backoff import delay_after
from stripe_payments.errors import PaymentError
from stripe_payments.log import Log

if TYPE_CHECKING:
    from collections.abc import Sequence

    from stripe_payments.ledger import InboxEvent, SQLiteLedger, SQLiteTransaction
    from stripe_payments.sync.reconciler import Reconciler

_log = Log("inbox")

BATCH: Final = 50
AT_ONCE: Final = 2
"""Objects synced at the same time: two of the four threads for Stripe stay free for people."""
SOONEST: Final = 0.2
IDLE: Final = 60.0
FIRST_RETRY: Final = 1.0
LONGEST_RETRY: Final = 3600.0
"""Seconds until an accepted event is processed again: doubling from the first to the longest."""


class InboxWorker:
    """Runs until cancelled. `kick()` after an event has been accepted."""

    def __init__(self, ledger: SQLiteLedger, reconciler: Reconciler, *, chance: Random | None = None) -> None:
        self._ledger = ledger
        self._reconciler = reconciler
        self._chance = chance or Random()  # noqa: S311 - jitter
        self._wake = asyncio.Event()

    def kick(self) -> None:
        self._wake.set()

    async def run(self) -> None:
        # retry times of a clock that ended with its boot
        await self._ledger.write(lambda tx: tx.inbox.rearm())
        failures = 0
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
            with suppress(TimeoutError):
                async with asyncio.timeout(pause):
                    await self._wake.wait()

    async def work(self) -> float:
        """Process what is due, until nothing is; return the seconds until something is due again.

        Raises PaymentError `ledger_unavailable` if a result cannot be recorded: then nothing more is
        processed until that works, because each attempt is a request to Stripe.
        """
        while True:
            now = time.monotonic()
            events, due = await self._ledger.read(
                lambda tx, now=now: (tx.inbox.due(now, BATCH), tx.inbox.next_due())  # type: ignore[misc]
            )
            if not events:
                return IDLE if due is None else min(IDLE, max(SOONEST, due + 1 - now))
            await self._process(events)

    async def _process(self, events: Sequence[InboxEvent]) -> None:
        by_object: dict[str, list[InboxEvent]] = defaultdict(list)
        for event in events:
            by_object[event.object_id].append(event)
        permits = asyncio.Semaphore(AT_ONCE)

        unrecorded: list[PaymentError] = []

        async def process(object_id: str, waiting: list[InboxEvent]) -> None:
            async with permits:
                try:
                    await self._sync(object_id, waiting)
                except PaymentError as error:
                    unrecorded.append(error)

        async with asyncio.TaskGroup() as tasks:
            for object_id, waiting in by_object.items():
                tasks.create_task(process(object_id, waiting))
        if unrecorded:
            raise unrecorded[0]

    async def _sync(self, object_id: str, waiting: list[InboxEvent]) -> None:
        ids = [event.event_id for event in waiting]
        try:
            outcome = await self._reconciler.sync(object_id, waiting[-1].type, event_ids=ids)
        except PaymentError as error:
            await self._postpone(waiting, error.code, error.details.get("retry_after"))
        except Exception as error:  # noqa: BLE001 - one event that breaks us must not stop the others
            _log.error("event processing failed", event=ids[0], object=object_id, exc=error)
            await self._postpone(waiting, "internal_error", None)
        else:
            if outcome.overtaken:
                await self._postpone(waiting, "overtaken", None)
                return
            _log.info("event applied", event=",".join(ids), object=object_id, outcome=outcome.status)

    async def _postpone(self, waiting: list[InboxEvent], error: str, retry_after: object) -> None:
        now = time.monotonic()
        at_least = retry_after if isinstance(retry_after, int) else 0

        def postpone(tx: SQLiteTransaction) -> None:
            for event in waiting:
                delay = max(at_least, self._retry_delay(event.attempts + 1))
                tx.inbox.retry(event.event_id, now + delay, error)

        await self._ledger.write(postpone)

    def _retry_delay(self, attempts: int) -> float:
        return delay_after(attempts, self._chance, first=FIRST_RETRY, ceiling=LONGEST_RETRY)
