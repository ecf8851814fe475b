"""Trusted time: from Stripe alone, carried by the monotonic clock, never backwards."""

from hypothesis import given
from hypothesis import strategies as st

from stripe_payments.reconcile.trusted_clock import TrustedClock

NOON = 1_750_000_000


class Monotonic:
    def __init__(self) -> None:
        self.seconds = 1000.0

    def __call__(self) -> float:
        return self.seconds


def test_there_is_no_time_before_stripe_was_heard() -> None:
    clock = TrustedClock(NOON, Monotonic())
    assert clock.now() is None
    assert not clock.trusted
    assert clock.floor == NOON
    assert TrustedClock(None, Monotonic()).floor is None


def test_the_monotonic_clock_carries_it_on() -> None:
    monotonic = Monotonic()
    clock = TrustedClock(None, monotonic)
    assert clock.observe(NOON)
    monotonic.seconds += 3600.5
    assert clock.now() == NOON + 3600
    assert clock.trusted
    assert clock.floor == NOON + 3600


def test_it_follows_stripe_forward_but_not_back() -> None:
    monotonic = Monotonic()
    clock = TrustedClock(None, monotonic)
    clock.observe(NOON)
    assert clock.observe(NOON + 86_400 * 30)  # the router slept
    assert clock.now() == NOON + 86_400 * 30
    assert clock.observe(NOON + 86_400 * 30 - 5)  # a slow answer: believed, not needed
    assert not clock.observe(NOON)  # out of a cache
    assert clock.now() == NOON + 86_400 * 30


def test_a_time_below_the_floor_is_not_believed() -> None:
    clock = TrustedClock(NOON, Monotonic())
    assert not clock.observe(NOON - 86_400)
    assert clock.now() is None
    assert clock.observe(NOON - 10)  # within the tolerance, but never below what was once told
    assert clock.now() == NOON


def test_nonsense_is_not_believed() -> None:
    clock = TrustedClock(None, Monotonic())
    for nonsense in (-1, 0, 86_400, 2**40):
        assert not clock.observe(nonsense)
    assert clock.now() is None


@given(
    st.none() | st.integers(NOON, NOON + 10**7),
    st.lists(st.tuples(st.integers(NOON - 10**7, NOON + 10**8), st.floats(0, 10**6))),
)
def test_whatever_is_observed_it_never_runs_backwards_or_below_the_floor(
    floor: int | None, answers: list[tuple[int, float]]
) -> None:
    monotonic = Monotonic()
    clock = TrustedClock(floor, monotonic)
    last = floor or 0
    for date, passed in answers:
        monotonic.seconds += passed
        clock.observe(date)
        now = clock.now()
        if now is not None:
            assert now >= last
            last = now
