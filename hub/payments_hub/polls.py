"""Polls of the fleet at one instance: an overload slows them down, never a buyer.

What counts is how many polls are being answered at the same moment: it grows with a slow database, a busy
processor and a large fleet alike. Half of what is allowed makes all routers poll less often; a poll beyond
it gets 503 with `Retry-After`. A buyer's requests (methods, `Prefer: wait`) are not counted and wait behind
no more polls than are allowed here.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from random import Random
from typing import Final

import psycopg
from psycopg_pool import PoolTimeout

from payments_hub.errors import HubError
from payments_hub.metrics import POLL_AFTER
from stripe_payments.errors import PaymentError
from stripe_payments.log import Log

__all__ = ["Polls"]

_log = Log("polls")

_MOST: Final = 256
"""Polls that are answered at the same time: as many as share one lookup, and a buyer's request with them."""
_STEP_S: Final = 10.0
"""Between two steps up: routers need some time to come back less often."""
_CALM_S: Final = 300.0
"""Without overload, until the interval is halved again."""
_STEPS: Final = 4
_LONGEST_S: Final = 14_400
_RETRY_S: Final = 60
_PASSING: Final = frozenset({"busy", "ledger_unavailable"})
"""Errors that say that this instance, or the database, cannot serve the poll now."""


class Polls:
    """`interval`: seconds between two polls of a router as configured."""

    def __init__(
        self,
        interval: int,
        *,
        chance: Random | None = None,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._interval = interval
        self._chance = chance or Random()  # noqa: S311 - jitter
        self._monotonic = monotonic
        self._answering = 0
        self._steps = 0
        self._stepped_at = float("-inf")
        POLL_AFTER.set(interval)

    @contextmanager
    def answering(self) -> Iterator[None]:
        """While a poll is answered. Raises HubError ``busy`` where too many are, or the database is away."""
        if self._answering >= _MOST // 2:
            self._slow_down()
        if self._answering >= _MOST:
            raise self._busy()
        self._answering += 1
        try:
            yield
        except (psycopg.Error, PoolTimeout) as error:
            _log.error("database failed", reason=type(error).__name__)
            raise self._busy() from error
        except (HubError, PaymentError) as error:
            if error.code not in _PASSING:
                raise
            raise self._busy() from error
        finally:
            self._answering -= 1

    def poll_after(self) -> int:
        """Seconds between two polls of a router: as configured, doubled with each step of an overload. The
        jitter is applied after the cap, so that routers at the cap do not poll in the same second.
        """
        self._calm_down()
        if not self._steps:
            return self._interval
        slowed = min(self._interval << self._steps, max(_LONGEST_S, self._interval))
        return int(slowed * self._chance.uniform(1.0, 1.25))

    def _busy(self) -> HubError:
        """A router that was refused has nothing yet: it comes back sooner than the next poll."""
        return HubError("busy", retry_after=int(min(self._interval, _RETRY_S) * self._chance.uniform(1, 2)))

    def _slow_down(self) -> None:
        self._calm_down()
        now = self._monotonic()
        if self._steps and now - self._stepped_at < _STEP_S:
            return
        self._stepped_at = now
        if self._steps < _STEPS:
            self._steps += 1
            self._record("polls are slowed down")

    def _calm_down(self) -> None:
        while self._steps and self._monotonic() - self._stepped_at >= _CALM_S:
            self._stepped_at += _CALM_S
            self._steps -= 1
            self._record("polls come sooner again")

    def _record(self, message: str) -> None:
        POLL_AFTER.set(self._interval << self._steps)
        _log.warning(message, factor=1 << self._steps, answering=self._answering)
