from __future__ import annotations

from random import Random

from hypothesis import given
from hypothesis import strategies as st

from stripe_payments.sync.schedule import (
    FAST,
    FAST_FOR,
    SLOWEST_OPEN,
    Backoff,
    event_retry_delay,
    failure_delay,
    first_routine_delay,
    open_checkout_delay,
    routine_delay,
)

CHANCE = st.integers().map(Random)


def test_an_open_checkout_is_looked_at_every_two_seconds_and_then_ever_more_slowly() -> None:
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


@given(st.integers(-1, 10_000), st.floats(2, 86_400), CHANCE)
def test_failures_back_off_within_bounds(failures: int, ceiling: float, chance: Random) -> None:
    assert 0 < failure_delay(failures, ceiling, chance) <= ceiling


@given(st.integers(0, 10_000), CHANCE)
def test_an_event_is_tried_again_between_a_second_and_an_hour(attempts: int, chance: Random) -> None:
    assert 0.8 <= event_retry_delay(attempts, chance) <= 3600


def test_events_reach_the_hour() -> None:
    assert event_retry_delay(1, Random(1)) <= 1
    assert event_retry_delay(20, Random(1)) >= 0.8 * 3600


@given(st.integers(0, 3600), CHANCE)
def test_a_retry_after_is_honoured_even_when_somebody_kicks(asked: int, chance: Random) -> None:
    backoff = Backoff()
    backoff.failed(100.0, 900.0, chance, asked)
    assert backoff.until >= 100.0 + asked
    backoff.forgive(100.0)
    assert asked == 0 or backoff.until >= 100.0 + asked


def test_a_kick_forgives_our_own_restraint() -> None:
    backoff = Backoff()
    for _ in range(8):
        backoff.failed(0.0, 900.0, Random(1))
    assert backoff.until > 100
    backoff.forgive(1.0)
    assert backoff.until == 0.0
