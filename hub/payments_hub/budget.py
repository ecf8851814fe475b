"""The rate of requests to Stripe, shared by all instances in one row of PostgreSQL.

A token bucket. A buyer's request takes the last token; what follows an event leaves a quarter of the bucket
to buyers, and what nobody waits for leaves half of it. A 429 of Stripe halves the refill for everybody for a
while. Polls of routers send nothing to Stripe, so they do not come here.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from enum import Enum
from random import Random
from typing import Any, Final

import psycopg
from psycopg_pool import PoolTimeout

from payments_hub.database import Database
from payments_hub.metrics import BUDGET_EXHAUSTED
from stripe_payments.errors import PaymentError
from stripe_payments.log import Log

__all__ = ["LIVE_LIMIT", "TEST_LIMIT", "Priority", "StripeBudget", "priority"]

_log = Log("budget")

LIVE_LIMIT: Final = 80
TEST_LIMIT: Final = 20
"""Requests a second; Stripe accepts 100, and 25 in test mode. https://docs.stripe.com/rate-limits"""
_SMALLEST_BUCKET: Final = 4
_SLOW_S: Final = 30.0
"""After a 429; the refusals of one burst count once."""
_SLOWEST: Final = 16
_LONGEST_PAUSE_S: Final = 0.5
_SHORTEST_PAUSE_S: Final = 0.02


class Priority(Enum):
    """`reserved`: the share of the bucket that is left to requests that come first; `patience`: seconds that
    this one waits for a token.
    """

    BUYER = (0.0, 10.0)
    """Somebody waits for the answer."""
    SYNC = (0.25, 5.0)
    """An event arrived. It may hold the lock of a buyer's account, so it does not wait for long."""
    BACKGROUND = (0.5, 5.0)
    """Sweeps, the nightly walk, imports."""

    def __init__(self, reserved: float, patience: float) -> None:
        self.reserved = reserved
        self.patience = patience


_current: ContextVar[Priority] = ContextVar("priority", default=Priority.BUYER)


@contextmanager
def priority(of: Priority) -> Iterator[None]:
    """What the requests to Stripe in this block are for; a buyer where nothing is said."""
    token = _current.set(of)
    try:
        yield
    finally:
        _current.reset(token)


_AVAILABLE: Final = (
    "least(%(bucket)s, tokens + greatest(0, extract(epoch FROM clock_timestamp() - counted_at)) * %(refill)s"
    " / CASE WHEN clock_timestamp() < slow_until THEN slowed ELSE 1 END)"
)


class StripeBudget:
    """`limit`: requests that are sent in any one second, at most."""

    def __init__(self, database: Database, limit: int, *, chance: Random | None = None) -> None:
        self._database = database
        bucket = max(_SMALLEST_BUCKET, limit / 4)
        self._sizes = {"bucket": bucket, "refill": max(limit - bucket, limit / 4)}
        self._chance = chance or Random()  # noqa: S311 - jitter

    async def take(self) -> None:
        """Return when a request may be sent. Raises PaymentError ``rate_limited``, ``ledger_unavailable``."""
        loop = asyncio.get_running_loop()
        deadline = loop.time() + _current.get().patience
        while (wait := await self.try_take()) > 0:
            if loop.time() >= deadline:
                name = _current.get().name.lower()
                _log.warning("no request to Stripe left", priority=name)
                BUDGET_EXHAUSTED.labels(name).inc()
                raise PaymentError("rate_limited", retry_after=2)
            pause = min(max(wait, _SHORTEST_PAUSE_S), _LONGEST_PAUSE_S)
            await asyncio.sleep(pause * self._chance.uniform(1, 1.5))

    async def refused(self) -> None:
        """Stripe answered 429: fewer requests for everybody, for a while."""
        row = await self._row(
            "UPDATE stripe_budget SET tokens = 0, counted_at = clock_timestamp(),"
            " slowed = CASE WHEN clock_timestamp() < slow_until THEN least(slowed * 2, %(most)s) ELSE 2 END,"
            " slow_until = clock_timestamp() + make_interval(secs => %(slow)s)"
            " WHERE slow_until < clock_timestamp() + make_interval(secs => %(slow)s - 1) RETURNING slowed",
            {"most": _SLOWEST, "slow": _SLOW_S},
        )
        if row is not None:
            _log.warning("Stripe refuses requests: the rate is lowered", divided_by=row[0], seconds=_SLOW_S)

    async def try_take(self) -> float:
        """Take a token: 0, or the seconds until there is one."""
        needed = 1 + _current.get().reserved * self._sizes["bucket"]
        values = {**self._sizes, "needed": needed}
        if await self._row(
            f"UPDATE stripe_budget SET tokens = {_AVAILABLE} - 1, counted_at = clock_timestamp()"
            f" WHERE {_AVAILABLE} >= %(needed)s RETURNING 1",
            values,
        ):
            return 0.0
        row = await self._row(
            f"SELECT {_AVAILABLE}, CASE WHEN clock_timestamp() < slow_until THEN slowed ELSE 1 END"
            " FROM stripe_budget",
            values,
        )
        if row is None:  # empty after a crash of PostgreSQL
            await self._row("INSERT INTO stripe_budget DEFAULT VALUES ON CONFLICT DO NOTHING RETURNING 1", {})
            return _SHORTEST_PAUSE_S
        return max(_SHORTEST_PAUSE_S, float((needed - row[0]) * row[1]) / values["refill"])

    async def _row(self, statement: str, values: Mapping[str, float]) -> tuple[Any, ...] | None:
        try:
            async with self._database.requests.connection() as connection:
                return await (await connection.execute(statement, values)).fetchone()
        except (psycopg.Error, PoolTimeout) as error:
            raise PaymentError("ledger_unavailable", reason=type(error).__name__) from error
