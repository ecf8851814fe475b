"""The rate limit, with the test's own clock."""

from stripe_payments.http_api.rate_limit import RateLimit


class Clock:
    now = 1000.0

    def __call__(self) -> float:
        return self.now


def test_a_burst_then_one_per_interval() -> None:
    clock = Clock()
    limit = RateLimit(burst=3, refill_s=10, monotonic=clock)
    assert [limit.take("a") for _ in range(3)] == [0, 0, 0]
    assert limit.take("a") == 10
    clock.now += 4
    assert limit.take("a") == 6
    clock.now += 6
    assert limit.take("a") == 0
    assert limit.take("a") > 0


def test_each_key_has_its_own_tokens() -> None:
    limit = RateLimit(burst=1, refill_s=10, monotonic=Clock())
    limit.take("a")
    assert limit.take("a") > 0
    assert limit.take("b") == 0


def test_the_number_of_keys_is_bounded() -> None:
    limit = RateLimit(burst=1, refill_s=10, capacity=8, monotonic=Clock())
    for number in range(1000):
        limit.take(f"10.0.0.{number}")
    assert all(limit.take(f"10.0.0.{number}") > 0 for number in range(992, 1000))
    assert not any(limit.take(f"10.0.0.{number}") for number in range(992))


def test_a_long_pause_refills_at_most_the_burst() -> None:
    clock = Clock()
    limit = RateLimit(burst=2, refill_s=1, monotonic=clock)
    limit.take("a")
    clock.now += 1e6
    assert [limit.take("a") for _ in range(3)] == [0, 0, 1]
