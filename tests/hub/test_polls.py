"""An overload slows the fleet's polls down, and never a buyer."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack, ExitStack
from pathlib import Path

import psycopg
import pytest

from payments_hub import accounts, polls
from payments_hub.database import VIEWED_AT_ONCE
from payments_hub.errors import HubError
from payments_hub.polls import Polls
from stripe_payments.errors import PaymentError
from tests.hub.test_stripe_budget import account_of
from tests.hub.vendor import Vendor

INTERVAL = 900


class Instance:
    """Polls at an instance whose clock is `now`."""

    def __init__(self) -> None:
        self.now = 0.0
        self.polls = Polls(INTERVAL, monotonic=lambda: self.now)

    def poll(self, beside: int, failure: Exception | None = None) -> int | None:
        """A poll that arrives while others are answered: None, or the Retry-After of its refusal."""
        with ExitStack() as stack:
            for _ in range(beside):
                stack.enter_context(self.polls.answering())
            try:
                with self.polls.answering():
                    if failure is not None:
                        raise failure
            except HubError as error:
                return error.retry_after if error.code == "busy" else None
        return None


def test_polls_are_slowed_down_before_they_are_refused() -> None:
    instance = Instance()
    assert instance.poll(polls._MOST // 2 - 1) is None
    assert instance.polls.poll_after() == INTERVAL
    for step in (2, 4, 8, 16, 16):
        assert instance.poll(polls._MOST // 2) is None
        slowed = min(INTERVAL * step, polls._LONGEST_S)
        assert slowed <= instance.polls.poll_after() <= slowed * 1.25
        instance.now += polls._STEP_S
    answers = {instance.polls.poll_after() for _ in range(50)}
    assert len(answers) > 10, "those at the cap do not come back in the same second"


def test_one_burst_is_one_step_and_calm_takes_it_back() -> None:
    instance = Instance()
    for _ in range(20):
        instance.poll(polls._MOST // 2)
    assert INTERVAL * 2 <= instance.polls.poll_after() <= INTERVAL * 2.5
    instance.now += polls._CALM_S
    assert instance.polls.poll_after() == INTERVAL


@pytest.mark.parametrize(
    ("beside", "failure"),
    [
        (polls._MOST, None),
        (0, psycopg.OperationalError()),
        (0, HubError("busy", retry_after=1)),
        (0, PaymentError("ledger_unavailable")),
    ],
    ids=["too-many", "database-away", "instance-full", "account-unavailable"],
)
def test_a_poll_that_cannot_be_served_comes_back_later(beside: int, failure: Exception | None) -> None:
    instance = Instance()
    answers = [instance.poll(beside, failure) for _ in range(50)]
    assert all(answer is not None and 60 <= answer <= 120 for answer in answers)
    assert len(set(answers)) > 10, "not all in the same second"


def test_another_refusal_stays_what_it_is() -> None:
    with pytest.raises(HubError, match="credential_refused"), Polls(INTERVAL).answering():
        raise HubError("credential_refused")


async def test_an_overload_refuses_polls_and_serves_buyers(
    database_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(polls, "_MOST", 4)
    monkeypatch.setattr(accounts, "_SLOT_S", 60.0)
    async with Vendor.open(database_url, tmp_path, working=False) as vendor:
        fleet, buyer = [await vendor.router() for _ in range(5)], await vendor.router()
        async with AsyncExitStack() as held:
            for number in range(VIEWED_AT_ONCE - 1):
                other = await account_of(vendor, fleet[number])
                await held.enter_async_context(vendor.hub.accounts.view(other, poll=True))
            waiting = [asyncio.create_task(one.request("GET", "/v1/state")) for one in fleet]
            refused, _waiting = await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
            (answer,) = [task.result() for task in refused]
            assert (answer.status_code, answer.json()["error"]["code"]) == (503, "busy")
            assert 60 <= int(answer.headers["retry-after"]) <= 120
            assert (await fleet[0].request("GET", "/v1/catalog")).status_code == 503
            await buyer.checkout("premium_monthly")
            state = await buyer.request("GET", "/v1/state", prefer="wait=20")
            assert state.status_code == 200, "who waits for a payment is served"
            assert state.json()["poll_after"] >= INTERVAL * 2
            assert state.headers["poll-after"] == str(state.json()["poll_after"])
        answers = [(await task).status_code for task in waiting]
        assert sorted(answers) == [200, 200, 200, 200, 503]
