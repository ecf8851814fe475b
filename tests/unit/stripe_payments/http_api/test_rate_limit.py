"""A budget against guessing, on a clock that the test turns."""

from stripe_payments.http_api.rate_limit import Budget


class Clock:
    now = 1000.0

    def __call__(self) -> float:
        return self.now


def test_so_many_failures_then_one_at_a_time() -> None:
    clock = Clock()
    budget = Budget(burst=3, refill=10, monotonic=clock)
    assert [budget.spend("a") for _ in range(3)] == [0, 0, 0]
    assert budget.spend("a") == 10
    clock.now += 4
    assert budget.spend("a") == 6
    clock.now += 6
    assert budget.spend("a") == 0
    assert budget.spend("a") > 0


def test_one_address_does_not_pay_for_another() -> None:
    budget = Budget(burst=1, refill=10, monotonic=Clock())
    budget.spend("a")
    assert budget.spend("a") > 0
    assert budget.spend("b") == 0


def test_invented_addresses_cost_a_bounded_memory() -> None:
    budget = Budget(burst=1, refill=10, capacity=8, monotonic=Clock())
    for number in range(1000):
        budget.spend(f"10.0.0.{number}")
    assert all(budget.spend(f"10.0.0.{number}") > 0 for number in range(992, 1000))
    assert not any(budget.spend(f"10.0.0.{number}") for number in range(992))


def test_a_long_pause_gives_no_more_than_the_burst() -> None:
    clock = Clock()
    budget = Budget(burst=2, refill=1, monotonic=clock)
    budget.spend("a")
    clock.now += 1e6
    assert [budget.spend("a") for _ in range(3)] == [0, 0, 1]
