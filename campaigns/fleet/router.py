"""One router of the fleet: the daemon's plan, and around it what the poller does with it."""

from __future__ import annotations

import math
from enum import IntFlag
from typing import TYPE_CHECKING, Final

from stripe_payments.entitlements import Subscription
from stripe_payments.sync.poll_plan import SPACING, Plan
from stripe_payments.sync.poll_round import Answer, Kind, Round
from stripe_payments.sync.poller import ROUNDS_AT_ONCE

from .stripe import ENDPOINTS, OK, TOO_MANY

if TYPE_CHECKING:
    from .fleet import Fleet

MONTH: Final = 30 * 86_400

_SHORTEST_SLEEP: Final = 0.1
"""Seconds: the poller's."""


class Look(IntFlag):
    """What has been asked since something happened."""

    CUSTOMER = 1
    SESSIONS = 2
    SUBSCRIPTIONS = 4
    INVOICES = 8
    CHARGES = 16


NEVER_BOUGHT: Final = Look.CUSTOMER
BOUGHT_ONCE: Final = Look.SESSIONS | Look.SUBSCRIPTIONS
SUBSCRIBES: Final = Look.SESSIONS | Look.SUBSCRIPTIONS | Look.INVOICES | Look.CHARGES
"""After which answers nothing that could change a router's entitlements is unknown to it. Without a
subscription there is no invoice and no charge but those that come with the sessions.
"""

_LOOKS: Final[dict[Kind, Look]] = {
    "find_customer": Look.CUSTOMER,
    "sessions": Look.SESSIONS,
    "subscriptions": Look.SUBSCRIPTIONS,
    "invoices": Look.INVOICES,
    "charges": Look.CHARGES,
}


class Router:
    """`needs`: NEVER_BOUGHT, BOUGHT_ONCE or SUBSCRIBES. `renews_at`: when the period of its subscription
    really ends, `period_end` when it thinks so; seconds of the simulation.

    A router does one thing at a time, so of its events in the fleet's queue only one counts: that with its
    latest `stamp`.
    """

    __slots__ = (
        "_looks_left",
        "_pause_until",
        "_repeated",
        "_round",
        "_status",
        "connected_at",
        "customer",
        "heard",
        "needs",
        "open",
        "paid",
        "period_end",
        "plan",
        "renews_at",
        "right",
        "running",
        "seen",
        "stamp",
    )

    def __init__(self, plan: Plan, needs: Look, renews_at: float | None = None) -> None:
        self.plan = plan
        self.needs = needs
        self.customer = needs != NEVER_BOUGHT
        self.renews_at = self.period_end = renews_at
        self.open: dict[int, float] | None = None
        """Open checkouts: their numbers, and when they were opened."""
        self.paid: dict[int, float] | None = None
        """Those of them that were paid, and when."""
        self.seen = Look(0)
        self.right = True
        self.heard = False
        self.running = False
        self.connected_at = 0.0
        self.stamp = 0
        self._round: Round | None = None
        self._status: int | None = None
        self._repeated = 0
        self._looks_left = 0
        self._pause_until = 0.0

    # -- what happens to it -----------------------------------------------------------------------

    def start(self, fleet: Fleet) -> None:
        """The daemon starts: what it had in memory is gone, what it had stored is not."""
        self.stop()
        self.plan = fleet.new_plan()
        self.plan.started(fleet.now)
        self.running = True
        self.step(fleet)

    def stop(self) -> None:
        self.running = self.heard = False
        self.stamp += 1
        self._round = self._status = None
        self._repeated = self._looks_left = 0
        self._pause_until = 0.0

    def sync(self, fleet: Fleet) -> None:
        """A client waits for a full poll (`ubus call stripe-payments sync`)."""
        if not self.running or self._looks_left:
            return
        self.plan.poll_everything()
        self._looks_left = ROUNDS_AT_ONCE
        if self._round is None:
            self._look_on(fleet)

    def nudge(self, fleet: Fleet) -> None:
        """As hotplug does (`sync` in the background)."""
        if self.running:
            self.plan.poll_soon(fleet.now)
            self.noticed(fleet)

    def noticed(self, fleet: Fleet) -> None:
        """A checkout was opened, or the schedule has changed: it is looked at again."""
        if self.running and self._round is None:
            self._sleep_until(fleet, max(fleet.now, self._pause_until))

    def opens(self, fleet: Fleet, number: int) -> None:
        """A buyer is sent to Stripe."""
        if self.open is None:
            self.open = {}
        self.open[number] = fleet.now
        self.noticed(fleet)

    def pays(self, fleet: Fleet, number: int, *, subscribes: bool) -> None:
        """The buyer has paid, and waits for what was bought."""
        if self.paid is None:
            self.paid = {}
        self.paid[number] = fleet.now
        if subscribes and self.renews_at is None:
            self.renews_at = self.period_end = fleet.now + MONTH
            self.needs = SUBSCRIBES
        elif self.needs == NEVER_BOUGHT:
            self.needs = BOUGHT_ONCE

    @property
    def misses_a_look(self) -> bool:
        """Whether it could not ask when it was to."""
        return self.running and self.plan.failing

    # -- what it does -----------------------------------------------------------------------------

    def turn(self, fleet: Fleet) -> None:
        """Its event has come."""
        if not self.running:
            return
        if self._round is None:
            self.step(fleet)
        elif self._status is None:
            self._send(fleet)
        else:
            status, self._status = self._status, None
            self._answered(fleet, status)

    def step(self, fleet: Fleet) -> None:
        """What `Poller._step` does."""
        now, plan = fleet.now, self.plan
        if self.open is not None:
            trusted = fleet.epoch + int(now) if self.heard else None
            plan.set_open_checkouts(
                now, trusted, [(number, fleet.epoch + int(since)) for number, since in self.open.items()]
            )
            if not self.open:
                self.open = None
        news_in = self._boundary(fleet)
        if plan.wake_at() <= now:
            due = plan.due(now, customer=self.customer)
            if due is not None:
                self._begin(fleet, due)
                return
        self._sleep(fleet, news_in)

    def _boundary(self, fleet: Fleet) -> float:
        if self.period_end is None:
            return math.inf
        held = Subscription("", "active", "", current_period_end=fleet.epoch + int(self.period_end))
        trusted = fleet.epoch + int(fleet.now) if self.heard else None
        _, next_in = self.plan.check_boundaries(fleet.now, trusted, (held,), ())
        return math.inf if next_in is None else next_in

    def _sleep(self, fleet: Fleet, news_in: float) -> None:
        now = fleet.now
        delay = max(_SHORTEST_SLEEP, min(self.plan.wake_at() - now, news_in))
        self._sleep_until(fleet, max(now + delay, self._pause_until))

    def _sleep_until(self, fleet: Fleet, when: float) -> None:
        self.stamp += 1
        fleet.wake(self, when)

    def _begin(self, fleet: Fleet, due: Round) -> None:
        self._round = due
        self._repeated = 0
        if due.query is None:
            self._over(fleet)
        else:
            self._send(fleet)

    def _send(self, fleet: Fleet) -> None:
        assert self._round is not None
        assert self._round.query is not None
        kind = self._round.query.kind
        self._status, latency = fleet.request(self, ENDPOINTS[kind])
        self._sleep_until(fleet, fleet.now + latency)

    def _answered(self, fleet: Fleet, status: int) -> None:
        if status != OK:
            again = fleet.sdk.repeats_in(status, self._repeated)
            if again is None:
                self._failed(fleet, status)
            else:
                self._repeated += 1
                self._sleep_until(fleet, fleet.now + again)
            return
        due = self._round
        assert due is not None
        assert due.query is not None
        self._repeated = 0
        self.heard = True
        kind = due.query.kind
        there = kind != "find_customer" or self.customer
        self._learns(fleet, kind, due.query.subject)
        due.answered(Answer(fleet.now, there=there, subscribed=self.renews_at is not None))
        if due.query is None:
            self._over(fleet)
        else:
            self._send(fleet)

    def _learns(self, fleet: Fleet, kind: Kind, subject: int | str | None) -> None:
        if kind == "subscriptions" and self.renews_at is not None and self.period_end is not None:
            while self.renews_at <= fleet.now:
                self.renews_at += MONTH
            if self.period_end < self.renews_at:
                fleet.renewals_seen_after.append(fleet.now - self.period_end)
                self.period_end = self.renews_at
        if self.open is not None:
            if kind == "checkout":
                self._learns_of_checkout(fleet, int(subject or 0))
            elif kind == "sessions":
                for number in list(self.paid or ()):
                    self._learns_of_checkout(fleet, number)
        if not self.right and (look := _LOOKS.get(kind)) is not None:
            self.seen |= look
            if self.seen & self.needs == self.needs:
                self.right = True
                fleet.right_after.append(fleet.now - fleet.watched_since)

    def _learns_of_checkout(self, fleet: Fleet, number: int) -> None:
        assert self.open is not None
        paid_at = (self.paid or {}).pop(number, None)
        if paid_at is not None:
            if self.open.pop(number, None) is not None:
                fleet.unlocked_after.append(fleet.now - paid_at)
        elif number in self.open and self.open[number] + 86_400 <= fleet.now:
            del self.open[number]

    def _over(self, fleet: Fleet) -> None:
        """The round came to its end."""
        self._round = None
        if self._looks_left:
            self._looks_left = 0 if self.plan.done else self._looks_left - 1
            if self._looks_left:
                self._look_on(fleet)
                return
            self.plan.succeeded()
        else:
            self.plan.succeeded()
            self._pause_until = fleet.now + SPACING
        self._sleep(fleet, self._boundary(fleet))

    def _look_on(self, fleet: Fleet) -> None:
        open_ones = list(self.open or ())
        self._begin(fleet, self.plan.round(fleet.now, open_ones, routine=True, customer=self.customer))

    def _failed(self, fleet: Fleet, status: int) -> None:
        self._round = None
        if self._looks_left:
            self._looks_left = 0  # callers that wait are answered; the schedule goes on as it was
        else:
            if status == TOO_MANY:
                self.plan.failed(fleet.now, "rate_limited", fleet.account.limits.retry_after)
            else:
                self.plan.failed(fleet.now, "transient")
            self._pause_until = fleet.now + SPACING
        self._sleep(fleet, self._boundary(fleet))
