"""The delays between attempts: doubling, bounded, jittered downwards."""

from random import Random

from hypothesis import given
from hypothesis import strategies as st

from stripe_payments.backoff import Backoff, delay_after

CHANCE = st.integers().map(Random)


@given(st.integers(-1, 10_000), st.floats(2, 86_400), CHANCE)
def test_delays_stay_within_bounds(failures: int, ceiling: float, chance: Random) -> None:
    assert 0 < delay_after(failures, chance, first=2.0, ceiling=ceiling) <= ceiling


@given(st.integers(1, 10_000), CHANCE)
def test_no_delay_is_shorter_than_the_jitter_allows(failures: int, chance: Random) -> None:
    delay = delay_after(failures, chance, first=1.0, ceiling=3600.0, jitter=0.2)
    assert 0.8 * min(3600, 2.0 ** min(failures - 1, 30)) <= delay


def test_delays_double_up_to_the_ceiling_and_start_over_after_a_success() -> None:
    backoff = Backoff(1.0, 60.0, jitter=0.0)
    assert [backoff.next_delay() for _ in range(8)] == [1, 2, 4, 8, 16, 32, 60, 60]
    backoff.reset()
    assert backoff.next_delay() == 1
