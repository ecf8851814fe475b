"""Trusted time: from Stripe alone, carried by the monotonic clock, never backwards."""

from hypothesis import given
from hypothesis import strategies as st

from stripe_payments.clock import CONTRADICTED_FOR, CONTRADICTIONS, TrustedClock

NOON = 1_750_000_000


class Monotonic:
    def __init__(self) -> None:
        self.seconds = 1000.0

    def __call__(self) -> float:
        return self.seconds


def test_there_is_no_time_before_the_first_response() -> None:
    clock = TrustedClock(NOON, Monotonic())
    assert clock.now() is None
    assert not clock.trusted
    assert clock.floor == NOON
    assert TrustedClock(None, Monotonic()).floor is None


def test_the_monotonic_clock_continues_it() -> None:
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
    assert clock.observe(NOON + 86_400 * 30 - 5)  # a slow answer: accepted, not needed
    assert not clock.observe(NOON)  # out of a cache
    assert clock.now() == NOON + 86_400 * 30


def test_a_time_below_the_floor_is_ignored() -> None:
    clock = TrustedClock(NOON, Monotonic())
    assert not clock.observe(NOON - 86_400)
    assert clock.now() is None
    assert clock.observe(NOON - 10)  # within the tolerance, but never below an earlier time
    assert clock.now() == NOON


def test_a_header_that_is_no_date_is_ignored() -> None:
    clock = TrustedClock(None, Monotonic())
    for header in (None, "", "soon", "Sun, 99 Jun 2025 25:00:00 GMT"):
        clock.observe_header(header)
        assert clock.now() is None
    clock.observe_header("Sun, 15 Jun 2025 15:06:40 GMT")
    assert clock.now() == NOON


def test_nonsense_is_ignored() -> None:
    clock = TrustedClock(None, Monotonic())
    for nonsense in (-1, 0, 86_400, 2**40):
        assert not clock.observe(nonsense)
    assert clock.now() is None


@given(
    st.none() | st.integers(NOON, NOON + 10**7),
    st.lists(
        st.tuples(st.integers(NOON - 10**7, NOON + 10**8), st.floats(0, 10**6)), max_size=CONTRADICTIONS - 1
    ),
)
def test_few_responses_never_set_it_back_or_below_the_floor(
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


YEAR = 365 * 86_400


def answers(clock: TrustedClock, monotonic: Monotonic, start: int, count: int, every: int) -> list[bool]:
    """What `observe` says to `count` answers of a Stripe whose time is `start` now."""
    began = monotonic.seconds
    said = []
    for _ in range(count):
        said.append(clock.observe(start + int(monotonic.seconds - began)))
        monotonic.seconds += every
    return said


def test_one_response_from_next_year_does_not_keep_the_router_there() -> None:
    monotonic = Monotonic()
    clock = TrustedClock(None, monotonic)
    clock.observe(NOON)
    assert clock.observe(NOON + YEAR)
    said = answers(clock, monotonic, NOON + 10, count=5, every=900)
    assert said == [False, False, False, False, True]
    assert clock.now() == NOON + 10 + 5 * 900
    assert clock.floor == clock.now()


def test_a_floor_from_next_year_neither() -> None:
    monotonic = Monotonic()
    clock = TrustedClock(NOON + YEAR, monotonic)
    assert answers(clock, monotonic, NOON, count=4, every=900) == [False] * 4
    assert clock.now() is None
    assert clock.observe(NOON + 4 * 900)
    assert clock.now() == NOON + 4 * 900
    assert clock.floor == NOON + 4 * 900


def test_many_responses_within_a_moment_do_not_set_it_back() -> None:
    monotonic = Monotonic()
    clock = TrustedClock(NOON + YEAR, monotonic)
    assert not any(answers(clock, monotonic, NOON, count=1000, every=3))
    assert answers(clock, monotonic, NOON + 3000, count=300, every=3)[-1], "an hour of them does"


def test_a_cached_response_never_sets_it_back() -> None:
    monotonic = Monotonic()
    clock = TrustedClock(NOON + YEAR, monotonic)
    for _ in range(1000):
        assert not clock.observe(NOON)
        monotonic.seconds += 900
    assert clock.now() is None


def test_one_response_that_agrees_with_the_clock_discards_the_others() -> None:
    monotonic = Monotonic()
    clock = TrustedClock(None, monotonic)
    clock.observe(NOON + YEAR)
    began = monotonic.seconds
    for _ in range(50):
        assert not any(answers(clock, monotonic, NOON, count=CONTRADICTIONS - 1, every=CONTRADICTED_FOR))
        assert clock.observe(NOON + YEAR + int(monotonic.seconds - began))
    assert clock.now() == NOON + YEAR + int(monotonic.seconds - began)
