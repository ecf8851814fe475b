"""Intervals, backoff and the ends of periods."""

from __future__ import annotations

from random import Random
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from stripe_payments.entitlements import Entitlement, Subscription
from stripe_payments.sync.poll_timing import (
    CHARGED_AFTER,
    FAST,
    FAST_FOR,
    SETTLED_AFTER,
    SLOWEST_OPEN,
    Boundaries,
    Due,
    PollBackoff,
    expected_changes,
    first_routine_delay,
    open_checkout_delay,
    routine_delay,
)

CHANCE = st.integers().map(Random)


def test_an_open_checkout_is_polled_every_two_seconds_and_then_less_and_less_often() -> None:
    assert open_checkout_delay(0) == open_checkout_delay(FAST_FOR) == FAST == 2.0
    assert FAST < open_checkout_delay(FAST_FOR + 60) < SLOWEST_OPEN
    assert open_checkout_delay(86_400) == SLOWEST_OPEN == 60.0


@given(st.floats(0, 1e6), st.floats(0, 1e6))
def test_it_never_speeds_up(one: float, other: float) -> None:
    sooner, later = sorted((one, other))
    assert FAST <= open_checkout_delay(sooner) <= open_checkout_delay(later) <= SLOWEST_OPEN


@given(st.floats(60, 86_400), CHANCE)
def test_routine_rounds_are_spread(interval: float, chance: Random) -> None:
    assert 0.8 * interval <= routine_delay(interval, chance) <= 1.2 * interval
    assert 0 <= first_routine_delay(interval, chance) <= interval


@given(st.integers(0, 3600), CHANCE)
def test_a_retry_after_is_honoured_even_after_a_reset(asked: int, chance: Random) -> None:
    backoff = PollBackoff()
    backoff.failed(100.0, 900.0, chance, asked)
    assert backoff.until >= 100.0 + asked
    backoff.reset(100.0)
    assert asked == 0 or backoff.until >= 100.0 + asked


def test_a_reset_ends_our_own_backoff() -> None:
    backoff = PollBackoff()
    for _ in range(8):
        backoff.failed(0.0, 900.0, Random(1))
    assert backoff.until > 100
    backoff.reset(1.0)
    assert backoff.until == 0.0


NOW = 1_750_000_000
END = NOW + 1000


def sub(status: str = "active", **fields: Any) -> Subscription:
    fields.setdefault("current_period_end", END)
    return Subscription("sub_1", status, "price_1", **fields)


def feature(until: int | None, *, unlocked: bool = True) -> Entitlement:
    return Entitlement("backup", unlocked, "sub_1", "plan", until, "active")


def test_a_renewal_is_polled_when_it_begins_and_when_it_has_been_charged() -> None:
    assert expected_changes([sub()]) == [END + SETTLED_AFTER, END + CHARGED_AFTER]
    assert expected_changes([sub("trialing", trial_end=NOW + 5)]) == [
        NOW + 5 + SETTLED_AFTER,
        NOW + 5 + CHARGED_AFTER,
    ]


def test_an_end_is_polled_once() -> None:
    assert expected_changes([sub(cancel_at_period_end=True)]) == [END + SETTLED_AFTER]
    assert expected_changes([sub(cancel_at=NOW + 5)]) == [NOW + 5 + SETTLED_AFTER]
    assert expected_changes([sub(cancel_at=END + 5000)])[0] == END + 5000 + SETTLED_AFTER
    assert expected_changes([sub("canceled"), sub("unpaid"), sub(current_period_end=None)]) == []


def test_nothing_is_due_while_the_time_is_unknown() -> None:
    assert Boundaries(0).due(None, [sub()], [feature(NOW)]) == Due(poll=False, recompute=False, next_in=None)


def test_each_boundary_is_due_once() -> None:
    boundaries = Boundaries(10)
    assert boundaries.due(NOW, [sub()], [feature(END)]) == Due(poll=False, recompute=False, next_in=1000)
    assert boundaries.due(END, [sub()], [feature(END)]) == Due(poll=False, recompute=True, next_in=70)
    assert boundaries.due(END + 70, [sub()], [feature(END)]) == Due(
        poll=True, recompute=False, next_in=CHARGED_AFTER - SETTLED_AFTER
    )
    assert not boundaries.due(END + 71, [sub()], [feature(END)]).poll
    assert boundaries.due(END + 5000, [sub()], [feature(END)]) == Due(
        poll=True, recompute=False, next_in=None
    )


def test_a_renewal_is_polled_again_when_it_has_been_charged() -> None:
    """By then the subscription speaks of its next end only."""
    boundaries = Boundaries(10)
    boundaries.due(END - 3000, [sub()], [])
    renewed = sub(current_period_end=END + 30 * 86_400)
    assert boundaries.due(END + 500, [sub()], []).poll
    assert boundaries.due(END + 600, [renewed], []).next_in == CHARGED_AFTER + 10 - 600
    assert boundaries.due(END + CHARGED_AFTER + 10, [renewed], []).poll
    assert not boundaries.due(END + CHARGED_AFTER + 20, [renewed], []).poll


def test_what_passed_before_the_time_was_known_is_the_first_rounds_work() -> None:
    boundaries = Boundaries(0)
    assert not boundaries.due(END + 10_000, [sub()], []).poll
    assert boundaries.due(NOW, [sub()], []).next_in == 1000 + SETTLED_AFTER, "the clock was set back"


def test_locked_features_and_those_for_ever_have_no_end() -> None:
    boundaries = Boundaries(0)
    assert boundaries.due(NOW, [], [feature(None), feature(END, unlocked=False)]).next_in is None
