"""The queue of events, and what can happen to many routers at once."""

from __future__ import annotations

import heapq
import itertools
import random
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from random import Random
from typing import Final

from stripe_payments.stripe_api.client import NETWORK_RETRIES
from stripe_payments.sync.poll_plan import Plan

from .router import BOUGHT_ONCE, MONTH, NEVER_BOUGHT, SUBSCRIBES, Look, Router
from .stripe import (
    CREATE_CUSTOMER,
    CREATE_SESSION,
    ENDPOINTS,
    LIVE,
    OK,
    REFUSED,
    Endpoint,
    Limits,
    Outage,
    Sdk,
    StripeAccount,
)

EPOCH: Final = 1_800_000_000
"""What second 0 of a simulation is: any time that the trusted clock believes."""

LATENCY: Final = (0.1, 0.6)
"""Seconds that an answer takes."""

NO_ANSWER_AFTER: Final = 0.02
"""Seconds until a refused connection, or a name that does not resolve, is known."""

TRIES_AGAIN_AFTER: Final = 10.0
"""Seconds after which a buyer who was asked to retry does."""

STARTS: Final = -1
WAY_UP: Final = -2
CLOCK_SET: Final = -3
NOTIFIED: Final = -4
"""What happens to a router in place of its stamp: its daemon starts; the way to the internet is up, its clock
is set, both of which hotplug reports; hotplug reports either.
"""

_Event = tuple[float, int, Router | Callable[[], object], int]


class Fleet:
    """`subscribed`, `bought`: which part of the routers has a plan, has only bought once; the rest never
    bought anything. `first_of_month`: all plans renew at that second, not each at its own.
    """

    def __init__(
        self,
        routers: int,
        *,
        poll_interval: float = 900.0,
        subscribed: float = 0.15,
        bought: float = 0.15,
        limits: Limits = LIVE,
        outages: Iterable[Outage] = (),
        first_of_month: float | None = None,
        seed: int = 1,
    ) -> None:
        self.chance = Random(seed)
        random.seed(seed)  # the SDK's jitter
        self.now = 0.0
        self.epoch = EPOCH
        self.poll_interval = poll_interval
        self.account = StripeAccount(limits, outages)
        self.sdk = Sdk(NETWORK_RETRIES)
        self.right_after: list[float] = []
        self.unlocked_after: list[float] = []
        self.renewals_seen_after: list[float] = []
        self.refused_buyers = 0
        self.watched_since = 0.0
        self._clock = (0.0, 0.0)
        self._second = 0
        self._queue: list[_Event] = []
        self._later: dict[int, list[_Event]] = {}
        self._count = itertools.count()
        self._checkouts = itertools.count(1)
        self.routers = [self._router(subscribed, bought, first_of_month) for _ in range(routers)]

    def _router(self, subscribed: float, bought: float, first_of_month: float | None) -> Router:
        share = self.chance.random()
        if share < subscribed:
            renews_at = self.chance.uniform(0, MONTH) if first_of_month is None else first_of_month
            return Router(self.new_plan(), SUBSCRIBES, renews_at)
        return Router(self.new_plan(), BOUGHT_ONCE if share < subscribed + bought else NEVER_BOUGHT)

    def _interval(self) -> float:
        return self.poll_interval

    def new_plan(self) -> Plan:
        return Plan(self._interval, self.chance)

    # -- the queue --------------------------------------------------------------------------------

    def wake(self, router: Router, when: float) -> None:
        """It has its turn then, unless something else comes first."""
        self._push((when, next(self._count), router, router.stamp))

    def happens(self, router: Router, when: float, what: int) -> None:
        """STARTS, WAY_UP or NOTIFIED, whatever else the router does."""
        self._push((when, next(self._count), router, what))

    def at(self, when: float, what: Callable[[], object]) -> None:
        self._push((when, next(self._count), what, 0))

    def _push(self, event: _Event) -> None:
        second = int(event[0])
        if second <= self._second:
            heapq.heappush(self._queue, event)
        elif (events := self._later.get(second)) is None:
            self._later[second] = [event]
        else:
            events.append(event)

    def run(self, until: float) -> None:
        """Everything that happens before that second."""
        queue, pop = self._queue, heapq.heappop
        while True:
            while queue:
                if queue[0][0] >= until:
                    self.now = until
                    return
                self.now, _, what, stamp = pop(queue)
                if not isinstance(what, Router):
                    what()
                elif stamp == what.stamp:
                    what.turn(self)
                elif stamp == STARTS:
                    what.start(self)
                    if what.connected_at >= self.now:
                        self.happens(what, what.connected_at, WAY_UP)
                elif stamp in (WAY_UP, CLOCK_SET, NOTIFIED):
                    what.nudge(self)
                    if stamp == WAY_UP:
                        self.happens(what, self.now + self.chance.uniform(*self._clock), CLOCK_SET)
            if self._second >= until:
                self.now = until
                return
            # a heap of the current second alone: one in which a week's events wait is slow
            self._second += 1
            if (events := self._later.pop(self._second, None)) is not None:
                queue.extend(events)
                heapq.heapify(queue)

    # -- Stripe -----------------------------------------------------------------------------------

    def request(self, router: Router, endpoint: Endpoint) -> tuple[int, float]:
        """One request: its status, and the seconds until the router knows it."""
        if self.now < router.connected_at:
            return REFUSED, NO_ANSWER_AFTER
        status = self.account.ask(self.now, endpoint)
        low, high = LATENCY
        return status, NO_ANSWER_AFTER if status == REFUSED else low + (high - low) * self.chance.random()

    # -- what happens -----------------------------------------------------------------------------

    def settle_down(self) -> None:
        """Runs until every daemon has been running for long enough to be anywhere in its interval."""
        for router in self.routers:
            self.happens(router, self.chance.uniform(0, self.poll_interval), STARTS)
        self.run(2.5 * self.poll_interval)

    def watch(self, routers: Iterable[Router]) -> None:
        """From now on it is recorded when each of these has seen everything."""
        self.watched_since = self.now
        self.right_after = []
        for router in routers:
            router.right = False
            router.seen = Look(0)

    def restart(self, routers: Sequence[Router]) -> None:
        """All of these daemons start in this very second, with the internet there, and are notified of it."""
        self.power_cut(routers, boot=(0, 0), connecting=(0, 0), clock=(0, 0))

    def power_cut(
        self,
        routers: Sequence[Router],
        *,
        boot: tuple[float, float] = (40.0, 70.0),
        connecting: tuple[float, float] = (5.0, 30.0),
        clock: tuple[float, float] = (3.0, 15.0),
    ) -> None:
        """The power of all of them comes back now. Seconds: until the daemon runs; from there until the
        connection to the internet is up, which hotplug reports; from there until the clock is set, which
        hotplug reports too.
        """
        uniform = self.chance.uniform
        self.watch(routers)
        self._clock = clock
        for router in routers:
            router.stop()
            started = self.now + uniform(*boot)
            router.connected_at = started + uniform(*connecting)
            self.happens(router, started, STARTS)

    def connection_lost(self, routers: Sequence[Router], seconds: float) -> None:
        """None of them reaches the internet for so long; then hotplug runs on all in one second. Those
        that missed a poll are watched from then on.
        """
        back = self.now + seconds
        for router in routers:
            router.connected_at = back
        self.at(back, lambda: self.watch(router for router in routers if router.misses_a_look))
        for router in routers:
            self.happens(router, back, NOTIFIED)

    def outage(self, seconds: float, status: int) -> None:
        """Every request ends so for so long; then those that missed a look are watched."""
        self.account.outages.append(Outage(self.now, self.now + seconds, status))
        self.at(
            self.now + seconds,
            lambda: self.watch(router for router in self.routers if router.misses_a_look),
        )

    def everybody_syncs(self, routers: Sequence[Router]) -> None:
        """`ubus call stripe-payments sync` on all of them in this second, as from a job of cron's."""
        self.watch(routers)
        for router in routers:
            router.sync(self)

    # -- buyers -----------------------------------------------------------------------------------

    def one_buys(self, router: Router, *, pays: bool, subscribes: bool) -> None:
        """The router creates the session; the buyer pays within minutes, or leaves the page open for ever."""
        if not router.running:
            return
        wanted = [CREATE_SESSION]
        if not router.customer:
            wanted = [ENDPOINTS["find_customer"], CREATE_CUSTOMER, CREATE_SESSION]
        for endpoint in wanted:
            if self.request(router, endpoint)[0] != OK:
                self.refused_buyers += 1
                again = partial(self.one_buys, router, pays=pays, subscribes=subscribes)
                self.at(self.now + TRIES_AGAIN_AFTER, again)
                return
        router.customer = True
        number = next(self._checkouts)
        router.opens(self, number)
        if pays:
            paid_at = self.now + self.chance.uniform(40, 240)
            self.at(paid_at, partial(router.pays, self, number, subscribes=subscribes))
