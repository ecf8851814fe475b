"""The inbox worker: what the webhook accepted is looked at, and looked at again until that has worked.

An event says only "look at this object". Several events for one object are one look. Retries go from 1 s to 1
h with jitter and survive a restart, because they are rows.
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
    from stripe_payments.ledger import InboxEvent, Ledger, Transaction
    from stripe_payments.sync.reconciler import Reconciler

_log = Log("inbox")

BATCH: Final = 50
AT_ONCE: Final = 2
"""Objects looked at at the same time: two of Stripe's four threads stay free for people."""
SOONEST: Final = 0.2
IDLE: Final = 60.0
FIRST_RETRY: Final = 1.0
LONGEST_RETRY: Final = 3600.0
"""Seconds until an accepted event is processed again: doubling from the first to the longest."""


class InboxWorker:
    """Runs until cancelled. `kick()` after an event has been accepted."""

    def __init__(self, ledger: Ledger, reconciler: Reconciler, *, chance: Random | None = None) -> None:
        self._ledger = ledger
        self._reconciler = reconciler
        self._chance = chance or Random()  # noqa: S311 - jitter
        self._wake = asyncio.Event()

    def kick(self) -> None:
        self._wake.set()

    async def run(self) -> None:
        await self._ledger.write(
            lambda tx: tx.inbox.rearm()
        )  # the clock that put them off ended with its boot
        failures = 0
        while True:
            self._wake.clear()
            try:
                pause = await self.work()
            except PaymentError as error:
                failures += 1
                pause = min(IDLE, self._retry_delay(failures))
                _log.error("the inbox cannot be worked off", error=error.code, again_in=round(pause))
            else:
                failures = 0
            with suppress(TimeoutError):
                async with asyncio.timeout(pause):
                    await self._wake.wait()

    async def work(self) -> float:
        """Look at everything that is due; gives the seconds until something is due again.

        Raises PaymentError `ledger_unavailable` where what came of it cannot be noted: then nothing is due
        before that works, lest Stripe be asked again and again.
        """
        now = time.monotonic()
        events = await self._ledger.read(lambda tx: tx.inbox.due(now, BATCH))
        by_object: dict[str, list[InboxEvent]] = defaultdict(list)
        for event in events:
            by_object[event.object_id].append(event)
        permits = asyncio.Semaphore(AT_ONCE)

        unnoted: list[PaymentError] = []

        async def look(object_id: str, waiting: list[InboxEvent]) -> None:
            async with permits:
                try:
                    await self._look(object_id, waiting)
                except PaymentError as error:
                    unnoted.append(error)

        async with asyncio.TaskGroup() as looks:
            for object_id, waiting in by_object.items():
                looks.create_task(look(object_id, waiting))
        if unnoted:
            raise unnoted[0]
        due = await self._ledger.read(lambda tx: tx.inbox.next_due())
        return IDLE if due is None else min(IDLE, max(SOONEST, due + 1 - time.monotonic()))

    async def _look(self, object_id: str, waiting: list[InboxEvent]) -> None:
        ids = [event.event_id for event in waiting]
        try:
            outcome = await self._reconciler.sync(object_id, waiting[-1].type, event_ids=ids)
        except PaymentError as error:
            await self._put_off(waiting, error.code, error.details.get("retry_after"))
        except Exception as error:  # noqa: BLE001 - one event that breaks us must not stop the others
            _log.error("an event could not be applied", event=ids[0], object=object_id, exc=error)
            await self._put_off(waiting, "internal_error", None)
        else:
            _log.info("event applied", event=",".join(ids), object=object_id, outcome=outcome.status)

    async def _put_off(self, waiting: list[InboxEvent], error: str, retry_after: object) -> None:
        now = time.monotonic()
        asked = retry_after if isinstance(retry_after, int) else 0

        def put_off(tx: Transaction) -> None:
            for event in waiting:
                delay = max(asked, self._retry_delay(event.attempts + 1))
                tx.inbox.retry(event.event_id, now + delay, error)

        await self._ledger.write(put_off)

    def _retry_delay(self, attempts: int) -> float:
        return delay_after(attempts, self._chance, first=FIRST_RETRY, ceiling=LONGEST_RETRY)
