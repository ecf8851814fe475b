"""When a router asks Stripe, and what: the plan alone, in a time of its own."""

from __future__ import annotations

from collections.abc import Callable
from random import Random

from stripe_payments.reconcile.plan import Answer, Plan

OPENED = 1_800_000_000
"""Epoch seconds at second 0 of the plan's time."""


class Asked:
    """What a plan asks from second `now` on, each question answered at once. `answer` gives the answer to a
    kind of question, None for the usual one.
    """

    def __init__(self, plan: Plan, *, customer: bool = True) -> None:
        self.plan = plan
        self.customer = customer
        self.now = 0.0
        self.heard = False
        self.open: list[tuple[int, int]] = []
        self.asked: list[tuple[float, str]] = []
        self.answer: Callable[[str], Answer | None] = lambda kind: None

    @property
    def trusted(self) -> int | None:
        return OPENED + int(self.now) if self.heard else None

    def until(self, end: float) -> list[str]:
        """What is asked up to then."""
        before = len(self.asked)
        while True:
            self.plan.checkouts_are(self.now, self.trusted, self.open)
            self.plan.time_passed(self.now, self.trusted, (), ())
            wake_at = self.plan.wake_at()
            if wake_at > self.now:
                if wake_at >= end:
                    self.now = end
                    return [kind for _, kind in self.asked[before:]]
                self.now = wake_at
                continue
            due = self.plan.due(self.now, customer=self.customer)
            while due is not None and due.question is not None:
                kind = due.question.kind
                self.asked.append((self.now, kind))
                self.heard = True
                due.answered(self.answer(kind) or Answer(self.now))
            self.plan.succeeded()
            self.now += 1.0


def a_plan(seed: int = 1) -> Asked:
    plan = Plan(lambda: 900.0, Random(seed))
    plan.started(0.0)
    return Asked(plan)


def test_a_checkout_that_was_left_lying_is_not_hurried_after_a_start() -> None:
    """Its age is known only once Stripe has told the time."""
    asked = a_plan()
    asked.open = [(1, OPENED - 7200)]
    looks = [kind for kind in asked.until(300.0) if kind == "checkout"]
    assert 4 <= len(looks) <= 7


def test_a_purchase_after_an_outage_is_looked_at_at_once() -> None:
    """That it could be begun shows that Stripe is there again."""
    asked = a_plan()
    asked.until(1000.0)
    for _ in range(12):
        asked.now += 600.0
        asked.plan.failed(asked.now, "transient")
    assert asked.plan.wake_at() > asked.now + 600.0
    asked.open = [(1, OPENED + int(asked.now))]
    began = asked.now
    asked.until(began + 60.0)
    looks = [at for at, kind in asked.asked if kind == "checkout" and at >= began]
    assert looks[0] <= began + 3.0


def test_a_new_poll_interval_counts_at_once() -> None:
    interval = [86_400.0]
    plan = Plan(lambda: interval[0], Random(1))
    plan.started(0.0)
    asked = Asked(plan)
    asked.until(100_000.0)
    assert plan.wake_at() > asked.now + 1000.0
    interval[0] = 60.0
    assert asked.until(asked.now + 120.0)
