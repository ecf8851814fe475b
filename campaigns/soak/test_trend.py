"""Growth is distinguished from noise, and a report that finds any is not ok."""

from __future__ import annotations

import math
from collections import Counter
from random import Random

import pytest

from campaigns.soak.campaign import WARM_MONTHS, figures, is_long_enough
from campaigns.soak.run import Rest, Soaked
from campaigns.soak.samples import Sample
from campaigns.soak.trend import trend
from stripe_payments.ledger.retention import Tidied

MIB = 2**20


def test_a_straight_line_is_found_exactly() -> None:
    found = trend([x / 10 for x in range(400)], [3.0 + 2.5 * x / 10 for x in range(400)])
    assert found.slope == pytest.approx(2.5)
    assert found.error == pytest.approx(0.0, abs=1e-9)
    assert found.at_least == pytest.approx(2.5)


def test_noise_is_no_growth_and_a_slow_leak_below_it_is() -> None:
    chance = Random(4)
    noise = [chance.gauss(40.0, 0.5) for _ in range(600)]
    hours = [second / 3600 for second in range(600)]
    calm = trend(hours, noise)
    assert calm.at_least == 0.0
    assert calm.error < 3.0
    leaking = trend(hours, [y + 12.0 * hour for hour, y in zip(hours, noise, strict=True)])
    assert 6.0 < leaking.at_least < 12.0


def test_two_samples_prove_nothing() -> None:
    assert trend([0.0, 1.0], [0.0, 1.0]).at_least == 0.0
    assert math.isinf(trend([1.0] * 50, [2.0] * 50).error)


def soaked(
    *,
    leaks: float = 0.0,
    descriptors: int = 0,
    threads: int = 0,
    kept_kib: int = 40,
    warm_at: int = WARM_MONTHS,
) -> Soaked:
    """Ten minutes, an hour's worth of household; `leaks` in MiB an hour, the others in all of it; `warm_at`:
    the month from which on it counts.
    """
    chance = Random(1)

    def rest(month: int, share: float) -> Rest:
        held = Counter(file=6, unix=3, tcp=4 + round(descriptors * share))
        resident = int((40 + leaks * share / 6) * MIB)
        ledger = 400_000 + int(200 * kept_kib * 1024 * share)
        return Rest(month, held, 9 + round(threads * share), resident, ledger, 0, 0, 0)

    return Soaked(
        samples=[
            Sample(
                at=float(second),
                resident=int((40 + chance.gauss(0, 0.2) + leaks * second / 3600) * MIB),
                descriptors=13,
                threads=9,
                ledger=400_000,
                log=second * 1000,
                checkouts=0,
                events=0,
                effects=0,
            )
            for second in range(600)
        ],
        rests=[rest(warm_at + month, month / 100) for month in range(101)],
        done=Counter({"purchases": 202, "simulated days": 6400}),
        done_when_warm=Counter({"purchases": 2, "simulated days": 64}),
        requests=Counter({"LuCI requests": 12_000}),
        seconds=600.0,
        ledger_bytes=400_000,
        tidied=Tidied(events=10, size=300_000),
        cramped=Tidied(size=200_000),
    )


def missed(run: Soaked) -> set[str]:
    return {one.name for one in figures(run) if one.ok is False}


def test_a_daemon_that_does_not_grow_is_ok() -> None:
    assert missed(soaked()) == set()


def test_whatever_grows_is_said() -> None:
    assert missed(soaked(leaks=20.0)) == {
        "memory (anonymous): grows by at least",
        "memory at rest, a month of the household (64 days): grows by at least",
    }
    assert missed(soaked(descriptors=1)) == {"descriptors at rest, more than when warm"}
    assert missed(soaked(threads=1)) == {"threads at rest, more than when warm"}
    assert missed(soaked(kept_kib=70)) == {"ledger, for each purchase with its renewals and changes"}


def test_one_that_was_not_warm_says_nothing_about_memory_and_the_rest_all_the_same() -> None:
    cold = soaked(leaks=20.0, descriptors=1, warm_at=WARM_MONTHS - 1)
    assert not is_long_enough(cold)
    assert is_long_enough(soaked())
    assert missed(cold) == {"descriptors at rest, more than when warm"}
