"""The fleet's simulation asks what the real poller asks; and a short form of `make fleet`."""

from __future__ import annotations

from pathlib import Path

import pytest

from campaigns.fleet import scenarios
from campaigns.fleet.fleet import Fleet
from campaigns.fleet.stripe import (
    BROKEN,
    LIVE,
    OK,
    REFUSED,
    TOO_MANY,
    Limits,
    Outage,
    Sdk,
    StripeAccount,
)
from stripe_payments.stripe_api.client import NETWORK_RETRIES
from tests.unit.stripe_payments.engine import open_engine, stocked_cloud

DAY = 86_400.0
ROUNDS = 7

MIXES = {"never bought": (0.0, 0.0), "bought once": (0.0, 1.0), "subscribes": (1.0, 0.0)}


def simulated(mix: str, requests: int) -> list[str]:
    """The first requests of a router after its start, as Stripe sees them."""
    subscribed, bought = MIXES[mix]
    fleet = Fleet(1, subscribed=subscribed, bought=bought, first_of_month=20 * DAY)
    asked: list[str] = []
    ask = fleet.account.ask

    def listening(now: float, endpoint: str) -> int:
        asked.append(endpoint)
        return ask(now, endpoint)

    fleet.account.ask = listening  # type: ignore[method-assign]
    fleet.restart(fleet.routers)
    while len(asked) < requests:
        fleet.run(fleet.now + 900.0)
    return asked[:requests]


@pytest.mark.parametrize("mix", MIXES)
async def test_a_simulated_router_sends_the_requests_of_the_real_poller(mix: str, tmp_path: Path) -> None:
    async with stocked_cloud() as cloud, open_engine(cloud, tmp_path / "router") as engine:
        if mix == "bought once":
            await engine.buy()
        elif mix == "subscribes":
            await engine.subscribe()
        before = len(cloud.requests())
        await engine.poller.poll_everything()
        for _ in range(ROUNDS):
            await engine.poller.round([], routine=True)
        asked = [f"{request['method']} {request['path']}" for request in cloud.requests()[before:]]
    assert asked == simulated(mix, len(asked))
    assert (
        len(asked) == {"never bought": 1 + ROUNDS, "bought once": 2 + ROUNDS + 2, "subscribes": 4 + 14}[mix]
    )


def test_the_sdk_repeats_what_it_repeats() -> None:
    sdk = Sdk(NETWORK_RETRIES)
    for status in (REFUSED, BROKEN):
        first, second = (sdk.repeats_in(status, repeated) for repeated in (0, 1))
        assert first is not None
        assert second is not None
        assert 0.5 <= first <= second <= 1.0
        assert sdk.repeats_in(status, 2) is None
    assert sdk.repeats_in(TOO_MANY, 0) is None


def test_the_account_lets_through_what_the_limits_say() -> None:
    account = StripeAccount(Limits(account=10.0, endpoint=4.0, search=2.0))
    assert [account.ask(100.0, "GET /v1/charges") for _ in range(5)] == [OK] * 4 + [TOO_MANY]
    assert [account.ask(100.1, "GET /v1/customers/search") for _ in range(3)] == [OK] * 2 + [TOO_MANY]
    assert [account.ask(100.15, f"GET /v1/{n}") for n in range(6)].count(OK) == 5
    assert account.ask(101.0, "GET /v1/charges") == OK
    assert (account.seen.total(100, 102), account.seen.peak(100, 102)) == (15, 14)
    assert account.seen.refused_share(100, 102) == pytest.approx(20.0)


def test_an_outage_lets_nothing_through_and_a_refused_connection_is_no_request() -> None:
    account = StripeAccount(LIVE, [Outage(10.0, 20.0, BROKEN), Outage(30.0, 40.0, REFUSED)])
    assert [account.ask(at, "GET /v1/charges") for at in (5.0, 15.0, 25.0, 35.0)] == [OK, BROKEN, OK, REFUSED]
    assert account.seen.total(0, 50) == 3


def test_ten_thousand_that_restart_together_stay_below_the_limit_and_are_right_in_time() -> None:
    """Whatever was bought on them: the goals of `make fleet`, one try of each."""
    figures = scenarios.restarts(seeds=1, seconds=950.0)
    assert len([one for one in figures if one.goal is not None]) == 6
    assert [one.name for one in figures if one.ok is False] == []


def test_a_power_cut_of_many_routers_delays_no_purchase() -> None:
    fleet = Fleet(500)
    fleet.settle_down()
    fleet.power_cut(fleet.routers[:300])
    for router in fleet.routers[300:320]:
        fleet.one_buys(router, pays=True, subscribes=True)
    fleet.run(fleet.now + 1000.0)
    assert len(fleet.right_after) == 300
    assert len(fleet.unlocked_after) == 20
    assert max(fleet.unlocked_after) <= 4.0
    assert fleet.account.seen.refused_share(0, fleet.now) == 0.0


def test_a_renewal_is_noticed_in_time_when_all_plans_renew_in_one_second() -> None:
    fleet = Fleet(400, subscribed=1.0, bought=0.0, first_of_month=9000.0)
    fleet.settle_down()
    fleet.run(9000.0 + 900.0)
    assert len(fleet.renewals_seen_after) == 400
    assert fleet.account.seen.peak(9000.0, fleet.now) <= 12
