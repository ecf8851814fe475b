"""When a router asks Stripe, and what: the plan alone, in a time of its own."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stripe_payments.entitlements import Subscription
from stripe_payments.sync.poll_plan import FOLLOW_UP, Fault, Plan
from stripe_payments.sync.poll_round import REQUESTS, Answer, Kind, Query
from stripe_payments.sync.poll_timing import CHARGED_AFTER, DAY, SEARCHES, SETTLED_AFTER, SPREAD

INTERVAL = 900.0
OPENED = 1_800_000_000
"""Epoch seconds at second 0 of the plan's time."""
LISTS = ["sessions", "subscriptions", "invoices", "charges"]


class Asked:
    """What a plan asks from second `now` on, each question answered at once. `answer` gives the answer to a
    kind of question, None for the usual one; `fault` what a round comes to instead.
    """

    def __init__(self, plan: Plan, *, customer: bool = True, subscribed: bool = True) -> None:
        self.plan = plan
        self.customer = customer
        self.subscribed = subscribed
        self.now = 0.0
        self.heard = False
        self.open: list[tuple[int, int]] = []
        self.held: list[Subscription] = []
        self.asked: list[tuple[float, str]] = []
        self.rounds = 0
        self.fault: Fault | None = None
        self.answer: Callable[[Kind], Answer | None] = lambda kind: None

    @property
    def trusted(self) -> int | None:
        return OPENED + int(self.now) if self.heard else None

    def until(self, end: float) -> list[str]:
        """What is asked up to then."""
        before = len(self.asked)
        while True:
            self.plan.set_open_checkouts(self.now, self.trusted, self.open)
            _, news_in = self.plan.check_boundaries(self.now, self.trusted, self.held, ())
            wake_at = self.plan.wake_at()
            if wake_at <= self.now:
                self.round()
                continue
            self.now = min(wake_at, self.now + (end if news_in is None else news_in), end)
            if self.now >= end:
                return [kind for _, kind in self.asked[before:]]

    def round(self) -> None:
        due = self.plan.due(self.now, customer=self.customer)
        assert due is not None
        self.rounds += 1
        requests = 0
        while due.query is not None:
            kind = due.query.kind
            self.asked.append((self.now, kind))
            requests += 2 if kind == "dispute" else 1
            assert requests <= REQUESTS
            if self.fault is not None:
                self.plan.failed(self.now, self.fault)
                break
            self.heard = True
            usual = Answer(
                self.now, there=kind != "find_customer" or self.customer, subscribed=self.subscribed
            )
            due.answered(self.answer(kind) or usual)
        else:
            self.plan.succeeded()
        self.now += 1.0


def a_plan(
    seed: int = 1, *, interval: float = INTERVAL, customer: bool = True, subscribed: bool = True
) -> Asked:
    plan = Plan(lambda: interval, Random(seed))
    plan.started(0.0)
    return Asked(plan, customer=customer, subscribed=subscribed)


def most_in_a_second(moments: list[float]) -> int:
    return max(Counter(int(moment) for moment in moments).values())


# -- how much ---------------------------------------------------------------------------------------


def test_a_first_poll_everything_takes_two_rounds() -> None:
    asked = a_plan()
    assert asked.until(SPREAD * INTERVAL + 2 * FOLLOW_UP) == LISTS
    assert asked.rounds == 2
    assert asked.plan.done


def test_invoices_and_charges_are_not_listed_without_a_subscription() -> None:
    asked = a_plan(subscribed=False)
    assert asked.until(SPREAD * INTERVAL + 2 * FOLLOW_UP) == LISTS[:2]
    assert asked.plan.done


def test_older_sessions_are_listed_page_by_page() -> None:
    asked = a_plan()
    pages = ["cs_20", "cs_40", None]

    def answer(kind: Kind) -> Answer | None:
        if kind == "sessions":
            return Answer(asked.now, more="cs_20")
        return Answer(asked.now, more=pages.pop(1)) if kind == "older_sessions" else None

    asked.answer = answer
    assert asked.until(SPREAD * INTERVAL + 4 * FOLLOW_UP) == [*LISTS, "older_sessions", "older_sessions"]
    assert asked.plan.done


def test_afterwards_sessions_are_listed_each_time_and_the_rest_in_turns() -> None:
    asked = a_plan()
    asked.until(1000.0)
    kinds = asked.until(1000.0 + 9.9 * INTERVAL)
    assert kinds[::2] == ["sessions"] * len(kinds[::2])
    assert len(kinds) >= 16
    assert Counter(kinds[1::2]).keys() == {"subscriptions", "invoices", "charges"}
    assert min(Counter(kinds[1::2]).values()) >= 2


def test_of_a_customer_without_a_subscription_mostly_sessions_are_listed() -> None:
    asked = a_plan(subscribed=False)
    asked.until(1000.0)
    kinds = Counter(asked.until(1000.0 + 30 * INTERVAL))
    assert 24 <= kinds.pop("sessions") <= 38
    assert kinds.keys() == {"subscriptions", "invoices", "charges"}
    assert 8 <= kinds.total() <= 13


def test_a_first_subscription_resumes_all_turns() -> None:
    asked = a_plan(subscribed=False)
    asked.until(1000.0)
    asked.subscribed = True
    kinds = Counter(asked.until(1000.0 + 10 * INTERVAL))
    assert kinds.pop("sessions") <= kinds.total() + 1
    assert kinds.keys() == {"subscriptions", "invoices", "charges"}


def test_the_customer_of_a_router_without_purchases_is_searched_rarely() -> None:
    asked = a_plan(customer=False)
    assert asked.until(INTERVAL) == ["find_customer"]
    later = asked.until(INTERVAL + 10 * SEARCHES * INTERVAL)
    assert 8 <= len(later) <= 13


def test_the_customer_is_searched_at_least_once_a_day() -> None:
    asked = a_plan(interval=7200.0, customer=False)
    asked.until(7200.0)
    assert asked.until(7200.0 + 1.2 * DAY)


def test_a_found_customer_is_polled_at_once() -> None:
    asked = a_plan(customer=False)
    asked.until(INTERVAL)
    asked.customer = True
    asked.plan.poll_now(asked.now)
    due = asked.plan.due(asked.now, customer=False)
    assert due is not None
    assert due.query == Query("find_customer")
    due.answered(Answer(asked.now))
    assert due.query == Query("sessions")


def test_a_purchase_ends_the_rare_polling() -> None:
    asked = a_plan(customer=False)
    asked.until(INTERVAL)
    asked.customer = True
    asked.open = [(1, OPENED + int(asked.now))]
    asked.until(asked.now + 30.0)
    asked.open = []
    assert "sessions" in asked.until(asked.now + 1.3 * INTERVAL)


def test_a_customer_that_is_gone_is_searched_for() -> None:
    asked = a_plan()
    asked.answer = lambda kind: Answer(asked.now, there=False) if kind == "invoices" else None
    assert asked.until(INTERVAL)[:4] == ["sessions", "subscriptions", "invoices", "find_customer"]


def test_what_the_key_may_not_list_is_left_out() -> None:
    asked = a_plan()
    asked.answer = lambda kind: Answer(asked.now, refused=True) if kind == "invoices" else None
    assert asked.until(INTERVAL) == LISTS
    assert asked.plan.done


def test_an_open_dispute_comes_before_anything_else() -> None:
    asked = a_plan()
    reported = iter([["ch_1", "ch_2"]])
    asked.answer = lambda kind: Answer(asked.now, disputed=next(reported, ())) if kind == "charges" else None
    assert asked.until(SPREAD * INTERVAL + 5 * FOLLOW_UP) == [*LISTS, "dispute", "dispute"]
    assert asked.plan.done


# -- when everybody's moment comes ----------------------------------------------------------------------


@pytest.mark.parametrize("customer", [True, False])
def test_routers_that_start_together_do_not_poll_together(customer: bool) -> None:
    moments = []
    for seed in range(2000):
        asked = a_plan(seed, customer=customer)
        asked.until(INTERVAL)
        moments += [moment for moment, _ in asked.asked]
        assert asked.plan.done
    assert most_in_a_second(moments) <= 40  # of 2000, or 8000


def test_a_router_that_may_lack_a_purchase_polls_at_once() -> None:
    plan = Plan(lambda: INTERVAL, Random(1))
    plan.started(100.0, urgent=True)
    assert plan.wake_at() <= 100.0


def test_routers_that_come_online_together_do_not_poll_together() -> None:
    moments = []
    for seed in range(2000):
        asked = a_plan(seed)
        asked.fault = "transient"
        asked.until(3600.0)
        asked.fault = None
        asked.asked.clear()
        asked.plan.poll_soon(3600.0)
        asked.plan.poll_soon(3605.0)  # the clock, a little later
        asked.until(3600.0 + INTERVAL)
        assert [kind for _, kind in asked.asked[:4]] == LISTS
        moments += [moment for moment, _ in asked.asked[:4]]
    assert most_in_a_second(moments) <= 40


def test_network_up_without_an_outage_changes_nothing() -> None:
    asked = a_plan()
    planned = asked.plan.wake_at()
    asked.plan.poll_soon(1.0)
    assert asked.plan.wake_at() == planned
    asked.until(2000.0)
    planned = asked.plan.wake_at()
    asked.plan.poll_soon(asked.now)
    assert asked.plan.wake_at() == planned


def test_network_up_polls_at_once_where_a_purchase_may_be_missing() -> None:
    asked = a_plan()
    asked.plan.poll_soon(1.0, urgent=True)
    assert asked.plan.wake_at() <= 1.0


def test_open_checkouts_are_polled_soon_after_network_up() -> None:
    moments = []
    for seed in range(300):
        asked = a_plan(seed)
        asked.open = [(1, OPENED - 60)]
        asked.fault = "transient"
        asked.until(600.0)
        asked.fault = None
        asked.asked.clear()
        asked.plan.poll_soon(600.0)
        asked.until(606.0)
        moments.append(next(moment for moment, kind in asked.asked if kind == "checkout"))
    assert max(moments) <= 606.0
    assert most_in_a_second(moments) <= 120


def test_renewals_of_the_same_second_are_polled_spread_and_sparingly() -> None:
    end = 5 * int(INTERVAL)
    first, second = [], []
    for seed in range(1000):
        asked = a_plan(seed)
        asked.held = [Subscription("sub_1", "active", "price_1", current_period_end=OPENED + end)]
        asked.until(end)
        asked.asked.clear()
        # nothing else is due meanwhile
        asked.plan._routine_at = 1e9
        kinds = asked.until(end + SETTLED_AFTER + SPREAD * INTERVAL + 5)
        assert kinds[:2] == ["subscriptions", "invoices"]
        del asked.asked[2:]
        first.append(asked.asked[0][0])
        asked.plan._routine_at = 1e9
        asked.until(end + CHARGED_AFTER + SPREAD * INTERVAL + 5)
        assert [kind for _, kind in asked.asked[2:4]] == ["subscriptions", "invoices"]
        second.append(asked.asked[2][0])
    assert most_in_a_second(first) <= 10
    assert most_in_a_second(second) <= 10


def test_poll_now_is_immediate() -> None:
    asked = a_plan()
    asked.until(1000.0)
    asked.plan.poll_now(asked.now)
    assert asked.until(asked.now + 2 * FOLLOW_UP) == LISTS


# -- what goes wrong --------------------------------------------------------------------------------


def test_after_one_failure_only_what_failed_is_retried() -> None:
    """Else a fleet that once meets the limit never gets below it again."""
    asked = a_plan()
    while len(asked.asked) < 2:
        asked.until(asked.now + 1.0)
    asked.fault = "rate_limited"
    assert asked.until(asked.now + 2 * FOLLOW_UP) == ["invoices"]
    asked.fault = None
    assert asked.until(asked.now + 200.0) == ["invoices", "charges"]


def test_after_an_outage_everything_is_polled_again() -> None:
    asked = a_plan()
    asked.until(1000.0)
    asked.fault = "transient"
    asked.until(1000.0 + 4 * INTERVAL)
    asked.fault = None
    assert asked.until(asked.now + 1.1 * INTERVAL)[:4] == LISTS


def test_routers_that_met_the_same_short_outage_do_not_come_back_together() -> None:
    moments = []
    for seed in range(6000):
        asked = a_plan(seed)
        asked.until(900.0)
        asked.fault = "transient"
        asked.until(960.0)
        failing = asked.plan.failing
        asked.fault = None
        asked.asked.clear()
        asked.until(1100.0)
        if failing:
            moments += [moment for moment, _ in asked.asked if moment > 961.0]
    assert len(moments) > 400
    assert most_in_a_second(moments) < len(moments) / 12


def test_too_many_requests_slow_a_router_down_to_once_a_day_and_no_further() -> None:
    asked = a_plan()
    asked.until(1000.0)
    asked.fault = "rate_limited"
    asked.until(asked.now + 10 * DAY)
    asked.asked.clear()
    asked.until(asked.now + 30 * DAY)
    assert 30 <= len(asked.asked) <= 70
    asked.fault = None
    before = len(asked.asked)
    asked.until(asked.now + 60 * DAY)
    assert len(asked.asked) - before > 100, "and it finds back"
    assert asked.asked[-1][0] - asked.asked[-3][0] < 1.3 * INTERVAL


def test_a_buyer_is_served_despite_rate_limits() -> None:
    asked = a_plan()
    asked.until(1000.0)
    asked.fault = "rate_limited"
    asked.until(asked.now + 2 * DAY)
    asked.fault = None
    asked.open = [(1, OPENED + int(asked.now))]
    began = asked.now
    looks = [kind for kind in asked.until(began + 60.0) if kind == "checkout"]
    assert len(looks) > 20


def test_a_purchase_after_an_outage_is_polled_at_once() -> None:
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


def test_an_abandoned_checkout_is_not_polled_fast_after_a_start() -> None:
    """Its age is known only once Stripe has given the time."""
    asked = a_plan()
    asked.open = [(1, OPENED - 7200)]
    looks = [kind for kind in asked.until(300.0) if kind == "checkout"]
    assert 4 <= len(looks) <= 7


def test_a_new_poll_interval_counts_at_once() -> None:
    interval = [86_400.0]
    plan = Plan(lambda: interval[0], Random(1))
    plan.started(0.0)
    asked = Asked(plan)
    asked.until(100_000.0)
    assert plan.wake_at() > asked.now + 1000.0
    interval[0] = 60.0
    assert asked.until(asked.now + 120.0)


EVENTS = st.sampled_from(
    ["kick", "nudge", "urgent", "account", "open", "close", "transient", "rate_limited", "refused", "broken"]
)


@settings(deadline=None)
@given(
    seed=st.integers(0, 2**32),
    events=st.lists(st.tuples(EVENTS, st.floats(0, 4000)), max_size=12),
    customer=st.booleans(),
    subscribed=st.booleans(),
    more=st.integers(0, 3),
    disputed=st.integers(0, 3),
)
def test_after_any_events_everything_is_polled_in_the_end(
    seed: int,
    events: list[tuple[str, float]],
    customer: bool,
    subscribed: bool,
    more: int,
    disputed: int,
) -> None:
    """And never more than two requests in a round."""
    asked = a_plan(seed, customer=customer, subscribed=subscribed)
    left = {"older_sessions": more, "dispute": disputed}

    def answer(kind: Kind) -> Answer | None:
        if kind == "sessions":
            return Answer(asked.now, more="cs_1" if more else None, disputed=["cs_9"] * bool(disputed))
        if kind == "older_sessions":
            left[kind] -= 1
            return Answer(asked.now, more="cs_2" if left[kind] > 0 else None)
        return None

    asked.answer = answer
    for event, seconds in events:
        asked.until(asked.now + seconds)
        match event:
            case "kick":
                asked.plan.poll_now(asked.now)
            case "nudge" | "urgent":
                asked.plan.poll_soon(asked.now, urgent=event == "urgent")
            case "account":
                asked.plan.account_changed()
                asked.plan.poll_now(asked.now)
            case "open":
                asked.open.append((len(asked.asked), OPENED + int(asked.now)))
            case "close":
                del asked.open[:1]
            case "transient" | "rate_limited" | "refused" | "broken":
                asked.fault = event
                asked.until(asked.now + seconds)
                asked.fault = None
    asked.open.clear()
    asked.asked.clear()
    disputed = 0
    asked.plan.poll_everything()
    asked.until(asked.now + 2.5 * DAY)
    kinds = {kind for _, kind in asked.asked}
    assert asked.plan.complete
    wanted = {"sessions", "subscriptions"} if customer else {"find_customer"}
    assert wanted | ({"invoices", "charges"} if customer and subscribed else set()) <= kinds
