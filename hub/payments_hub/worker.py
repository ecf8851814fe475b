"""The worker: works off the inbox, sweeps Stripe's events for lost deliveries, walks through everything at
night, and recomputes accounts as time passes. Any number may run.

Objects of different accounts are synced at the same time, those of one account one after another, and each
response counts for all that are waiting. A failure is retried with exponential backoff and jitter, 1 s to
1 h.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Sequence
from contextlib import suppress
from functools import partial
from random import Random
from typing import Final

import psycopg
from psycopg_pool import PoolTimeout

from payments_hub.accounts import Accounts
from payments_hub.attempt_limits import AttemptLimits
from payments_hub.background import run_all
from payments_hub.budget import Priority, priority
from payments_hub.catalog import Catalogs
from payments_hub.changes import listen
from payments_hub.database import Database
from payments_hub.errors import HubError
from payments_hub.inbox import ACCEPTED, DOUBTED, Inbox, Waiting
from payments_hub.metrics import MISSED_EVENTS
from payments_hub.open_checkouts import FOLLOW_EVERY_S, OpenCheckouts, list_events
from payments_hub.outbox import Outbox
from payments_hub.payload_batches import PayloadBatches
from payments_hub.shared_fetches import SharedFetches, in_order
from payments_hub.walk import WALK_LOOK_S, Walk
from stripe_payments.backoff import delay_after
from stripe_payments.clock import TrustedClock
from stripe_payments.errors import PaymentError
from stripe_payments.log import Log
from stripe_payments.stripe_api import StripeAPI
from stripe_payments.sync.events import EVENT_TYPES
from stripe_payments.sync.fetch import Fetcher
from stripe_payments.sync.inbox_worker import FIRST_RETRY, LONGEST_RETRY

__all__ = ["Worker"]

_log = Log("worker")

_AT_ONCE: Final = 8
"""Objects; less than a process may open accounts, so that a buyer always finds a place."""
_BATCH: Final = 100
"""Objects that a worker claims at a time, and whose payloads it applies in one transaction."""
_IDLE_S: Final = 5.0
"""A notification wakes the worker sooner; none is relied on."""
_BUSY_S: Final = 0.5
"""Until an object whose account is locked elsewhere is tried again."""
_RATE_LIMITED_S: Final = 2.0
"""Until an object is tried again for which no request to Stripe was left."""
_RECOMPUTE_EVERY_S: Final = 60.0
_RECOMPUTED: Final = 500
_SWEEP_EVERY_S: Final = 60.0
_SWEEP_BEHIND_S: Final = 60
"""Seconds that an event is left to its delivery."""
_SWEEP_OVERLAP_S: Final = 120
"""Seconds of the sweep before that are read again: an event may be listed later than it was created."""
_SWEEP_FIRST_S: Final = 3600
"""Seconds that the first sweep looks back."""
_PRUNE_EVERY_S: Final = 3600.0
_REPLIES_KEPT_H: Final = 48
"""A router repeats a request for half an hour; Stripe keeps idempotency keys for a day or more."""
_PAST_S: Final = 3600
"""Seconds until an account is looked at again whose period has ended and that is still unlocked (offline)."""


class Worker:
    """`run` until cancelled; `work` once, for tests and for `payments-hub work --once`."""

    def __init__(
        self,
        database: Database,
        accounts: Accounts,
        catalogs: Catalogs,
        stripe: StripeAPI,
        clock: TrustedClock,
        *,
        walk_hour: int = 1,
        chance: Random | None = None,
    ) -> None:
        self._database = database
        self._accounts = accounts
        self._catalogs = catalogs
        self._clock = clock
        self._stripe = stripe
        self._fetcher = Fetcher(stripe)
        self._inbox = Inbox(database)
        self._payloads = PayloadBatches(database, accounts, stripe, clock)
        self.walk = Walk(database, self._inbox, stripe, clock, hour=walk_hour)
        self.checkouts = OpenCheckouts(database, self._inbox, stripe, clock)
        self._chance = chance or Random()  # noqa: S311 - jitter
        self._wake = asyncio.Event()

    async def run(self) -> None:
        """Until cancelled."""
        await run_all(
            listen(self._database, ACCEPTED, lambda _payload: self._wake.set()),
            _for_ever(self.recompute_due, _RECOMPUTE_EVERY_S, "recomputing"),
            _for_ever(self.sweep, _SWEEP_EVERY_S, "sweep of events"),
            _for_ever(self.checkouts.follow, FOLLOW_EVERY_S, "following open checkouts"),
            _for_ever(self.walk.run, WALK_LOOK_S, "nightly walk"),
            _for_ever(self.prune, _PRUNE_EVERY_S, "pruning"),
            self._work_on(),
        )

    async def _work_on(self) -> None:
        while True:
            self._wake.clear()
            try:
                pause = await self.work()
            except (PaymentError, HubError, psycopg.Error, PoolTimeout) as error:
                _log.error("inbox processing failed", error=type(error).__name__)
                pause = _IDLE_S
            with suppress(TimeoutError):
                async with asyncio.timeout(pause):
                    await self._wake.wait()

    async def work(self) -> float:
        """Process what is due, until nothing is; the seconds until the next look."""
        await self._catalogs.current()
        while True:
            async with self._inbox.claim(_BATCH) as found:
                if not found:
                    return _IDLE_S
                if not await self._process_all(found):
                    return _BUSY_S

    async def _process_all(self, found: Sequence[Waiting]) -> bool:
        """False if none could be tried."""
        applied = await self._payloads.apply([one for one in found if one.has_payloads])
        permits = asyncio.Semaphore(_AT_ONCE)

        async def process(waiting: Sequence[Waiting]) -> bool:
            async with permits:
                return await self._process(waiting)

        groups = _of_customers([one for one in found if one.object_id not in applied])
        done = await asyncio.gather(*[process(group) for group in groups], return_exceptions=True)
        for outcome in done:  # raised when none of them runs any more
            if isinstance(outcome, BaseException):
                raise outcome
        return bool(applied) or any(done)

    async def _process(self, waiting: Sequence[Waiting]) -> bool:
        """Sync the objects of one customer; False if none could be tried."""
        accounts: dict[str, list[Waiting]] = {}

        async def find(one: Waiting) -> bool:
            account = await self._account_of(one)
            if account is not None:
                accounts.setdefault(account, []).append(one)
            return account is None

        tried = [await self._try([one], partial(find, one)) for one in waiting]
        for account, theirs in accounts.items():
            tried.append(await self._try(theirs, partial(self._sync_all, account, theirs)))
        return any(tried)

    async def _try(self, waiting: Sequence[Waiting], do: Callable[[], Awaitable[bool]]) -> bool:
        """What `do` returns; False too if the account is locked elsewhere or the database is away: that is no
        attempt, and they stay due.
        """
        background = all(one.type == DOUBTED for one in waiting)
        try:
            with priority(Priority.BACKGROUND if background else Priority.SYNC):
                return await do()
        except PaymentError as error:
            if error.code == "ledger_unavailable":
                return False
            retry_after = error.details.get("retry_after")
            at_least = retry_after if isinstance(retry_after, int) else 0
            await self._postpone(waiting, error.code, at_least)
        except (psycopg.Error, PoolTimeout, HubError) as error:
            _log.warning("database failed", object=waiting[0].object_id, reason=type(error).__name__)
            return False
        except Exception as error:  # noqa: BLE001 - one event that breaks us must not stop the others
            _log.error("event processing failed", object=waiting[0].object_id, exc=error)
            await self._postpone(waiting, "internal_error", 0)
        return True

    async def _account_of(self, waiting: Waiting) -> str | None:
        """None for an object of no account here, whose events have ended then."""
        account = await self._accounts.find(waiting.owner, waiting.customer, waiting.object_id)
        if account is None:
            account = await self._accounts.owner_of(await self._fetcher.fetch(waiting.object_id))
        if account is None:
            await self._inbox.finish(waiting.event_ids, "foreign")
        return account

    async def _sync_all(self, account: str, waiting: Sequence[Waiting]) -> bool:
        """False if the account is locked elsewhere, or the database is away."""
        async with self._accounts.open(account, wait=False) as opened:
            if opened is None:
                return False
            received = await self._inbox.still_waiting([name for one in waiting for name in one.event_ids])
            fetches = SharedFetches(opened.reconciler, self._fetcher)
            tried = [
                await self._try([one], partial(self._sync, fetches, one, events))
                for one in in_order(waiting)
                if (events := [name for name in one.event_ids if name in received])
            ]
        return any(tried) or not received

    async def _sync(self, fetches: SharedFetches, waiting: Waiting, events: Sequence[str]) -> bool:
        if fetches.has(waiting.object_id):
            status = "applied"
            await self._inbox.finish(events, status)
        else:
            status = (await fetches.sync(waiting.object_id, waiting.type, events)).status
        _log.info("event applied", event=",".join(events), object=waiting.object_id, outcome=status)
        return True

    async def _postpone(self, waiting: Sequence[Waiting], error: str, at_least: int) -> None:
        for one in waiting:
            if error == "rate_limited":
                delay = max(at_least, _RATE_LIMITED_S) * self._chance.uniform(1, 1.5)
            else:
                delay = delay_after(one.attempts + 1, self._chance, first=FIRST_RETRY, ceiling=LONGEST_RETRY)
            await self._inbox.postpone(
                one.event_ids, max(at_least, delay), error, failed=error != "rate_limited"
            )

    # -- time passes ------------------------------------------------------------------------------

    async def recompute_due(self) -> int:
        """Recompute the accounts of which a period, a trial or a grace period has ended; their number."""
        now = self._clock.now()
        if now is None:
            return 0
        await self._catalogs.current()
        async with self._database.requests.connection() as connection:
            cursor = await connection.execute(
                "SELECT id FROM accounts WHERE recompute_at <= %s ORDER BY recompute_at LIMIT %s",
                (now, _RECOMPUTED),
            )
            due = [row[0] for row in await cursor.fetchall()]
        return sum([await self._recompute(account, now) for account in due])

    async def _recompute(self, account: str, now: int) -> bool:
        """False if the account is locked elsewhere: the next round comes in a minute."""
        try:
            async with self._accounts.open(account, wait=False) as opened:
                if opened is None:
                    return False
                await opened.reconciler.recompute()
        except (PaymentError, HubError, psycopg.Error, PoolTimeout):
            raise
        except Exception as error:  # noqa: BLE001 - one account that breaks us must not stop the others
            _log.error("recomputing failed", account=account, exc=error)
        async with self._database.requests.connection() as connection:
            await connection.execute(
                "UPDATE accounts SET recompute_at = %s WHERE id = %s AND recompute_at <= %s",
                (now + _PAST_S, account, now),
            )
        return True

    async def prune(self) -> int:
        """Delete finished events, replies whose Idempotency-Key has expired, counters of attempts that are
        full again, and what routers were shown long ago; their number.
        """
        async with self._database.requests.connection() as connection:
            replies = await connection.execute(
                "DELETE FROM replies WHERE created_at < now() - make_interval(hours => %s)",
                (_REPLIES_KEPT_H,),
            )
        others = (
            self._inbox,
            AttemptLimits(self._database, "login_attempts"),
            AttemptLimits(self._database, "enrollment_attempts"),
            Outbox(self._database),
        )
        return replies.rowcount + sum([await table.prune() for table in others])

    # -- lost deliveries --------------------------------------------------------------------------

    async def sweep(self, behind: int = _SWEEP_BEHIND_S) -> int:
        """Accept the events since the last sweep, up to `behind` seconds ago, that no delivery brought; their
        number. One worker at a time sweeps.
        """
        async with self._database.requests.connection() as connection, connection.transaction():
            cursor = await connection.execute(
                "SELECT pg_try_advisory_xact_lock(hashtextextended('sweep', 0))"
            )
            if not (row := await cursor.fetchone()) or not row[0] or (now := self._clock.now()) is None:
                return 0
            cursor = await connection.execute("SELECT value FROM cursors WHERE name = 'events'")
            held = await cursor.fetchone()
            until = now - behind
            since = int(held[0]) - _SWEEP_OVERLAP_S if held is not None else until - _SWEEP_FIRST_S
            with priority(Priority.BACKGROUND):
                found = await list_events(self._stripe, since, until, sorted(EVENT_TYPES))
            fresh = await self._inbox.accept_all(found)
            await connection.execute(
                "INSERT INTO cursors (name, value) VALUES ('events', %s)"
                " ON CONFLICT (name) DO UPDATE SET value = excluded.value",
                (str(until),),
            )
        if fresh:
            _log.warning("events that were not delivered", count=len(fresh))
            MISSED_EVENTS.inc(len(fresh))
        return len(fresh)


def _of_customers(waiting: Iterable[Waiting]) -> list[list[Waiting]]:
    """By customer, in the order in which the first of each comes; what names none by itself."""
    groups: dict[str, list[Waiting]] = {}
    for one in waiting:
        groups.setdefault(one.customer or one.object_id, []).append(one)
    return list(groups.values())


async def _for_ever(do: Callable[[], Awaitable[object]], pause: float, what: str) -> None:
    """Until cancelled; a failure is logged and tried again after the pause."""
    while True:
        try:
            await do()
        except (PaymentError, HubError, psycopg.Error, PoolTimeout) as error:
            _log.error(f"{what} failed", error=getattr(error, "code", type(error).__name__))
        await asyncio.sleep(pause)
