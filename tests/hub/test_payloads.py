"""Payloads of events that are applied without fetching their object, and those that are not."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from random import Random
from typing import Any

import psycopg
import pytest

from payments_hub.account_ledger import DOUBT_S
from payments_hub.inbox import Payload
from payments_hub.payload_batches import _Batch
from payments_hub.payloads import applicable
from tests.hub.vendor import Vendor, eventually, request_stripe

VERSION = "2026-10-28.endive"
NOW = 1_800_000_000
AS_OF = NOW - 60
SUBSCRIPTION: dict[str, Any] = {
    "id": "sub_1",
    "object": "subscription",
    "created": NOW - 5000,
    "status": "active",
    "currency": "eur",
    "customer": "cus_1",
    "livemode": False,
    "cancel_at_period_end": True,
    "latest_invoice": "in_1",
    "metadata": {},
    "items": {"object": "list", "data": [], "has_more": False},
}
INVOICE = {"id": "in_1", "object": "invoice", "status": "paid"}
STORED = {"sub_1": SUBSCRIPTION, "in_1": INVOICE}
CUT = {**SUBSCRIPTION, "items": {"object": "list", "data": [], "has_more": True}}
EXPANDED = {**SUBSCRIPTION, "latest_invoice": INVOICE}
OWING = {**SUBSCRIPTION, "status": "past_due"}
OPEN = {**STORED, "in_1": {**INVOICE, "status": "open"}}


def payload(created: int = NOW, raw: dict[str, Any] | str = SUBSCRIPTION) -> Payload:
    return Payload(created, VERSION, raw if isinstance(raw, str) else json.dumps(raw))


@pytest.mark.parametrize(
    ("payloads", "stored", "as_of", "expected"),
    [
        pytest.param([payload()], STORED, AS_OF, NOW, id="a later second"),
        pytest.param([payload(NOW - 1), payload()], STORED, AS_OF, NOW, id="the newest of several"),
        pytest.param([payload()], STORED, NOW, None, id="the second of what is stored"),
        pytest.param([payload(AS_OF - 1)], STORED, AS_OF, None, id="older than what is stored"),
        pytest.param([payload()], STORED, None, None, id="stored by the version before"),
        pytest.param([payload(), payload()], STORED, AS_OF, None, id="two of one second"),
        pytest.param([payload(), None], STORED, AS_OF, None, id="with a deletion, or from a sweep"),
        pytest.param([payload(NOW - 901)], STORED, AS_OF - 9999, None, id="a delivery that is late"),
        pytest.param(
            [replace(payload(), api_version="2020-08-27")], STORED, AS_OF, None, id="another version"
        ),
        pytest.param([payload(raw=CUT)], STORED, AS_OF, None, id="items that are cut off"),
        pytest.param([payload(raw=EXPANDED)], STORED, AS_OF, None, id="an invoice as it was then"),
        pytest.param([payload(raw=OWING)], STORED, AS_OF, None, id="a plan that owes"),
        pytest.param([payload()], {**STORED, "sub_1": OWING}, AS_OF, None, id="a plan that owed"),
        pytest.param([payload()], OPEN, AS_OF, None, id="an invoice that may have changed"),
        pytest.param([payload()], {"sub_1": SUBSCRIPTION}, AS_OF, None, id="an invoice that is not stored"),
        pytest.param([payload()], {}, AS_OF, None, id="a subscription that is not stored"),
        pytest.param([payload(raw={**SUBSCRIPTION, "status": 7})], STORED, AS_OF, None, id="malformed"),
        pytest.param([payload(raw="{")], STORED, AS_OF, None, id="no JSON"),
        pytest.param([payload(raw={**SUBSCRIPTION, "id": "sub_2"})], STORED, AS_OF, None, id="another's id"),
    ],
)
def test_only_what_is_certainly_newer_and_whole_is_applied(
    payloads: list[Payload | None], stored: dict[str, Any], as_of: int | None, expected: int | None
) -> None:
    found = applicable("sub_1", payloads, stored, as_of, VERSION, NOW)
    assert (None if found is None else found[1]) == expected
    assert found is None or found[0] == SUBSCRIPTION


async def test_a_change_is_shown_without_a_request_to_stripe(
    database_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with Vendor.open(database_url, tmp_path, working=False) as vendor:
        router = await vendor.router()

        def waiting() -> list[tuple[str, bool]]:
            with psycopg.connect(database_url) as connection:
                return connection.execute(
                    "SELECT type, payload IS NOT NULL FROM inbox WHERE outcome IS NULL"
                ).fetchall()

        async def delivered() -> bool:
            return all(one["state"] == "delivered" for one in vendor.cloud.deliveries()) and bool(waiting())

        vendor.cloud.pay(await router.checkout("premium_monthly"))
        await eventually(delivered, "the purchase is delivered")
        await vendor.hub.worker.work()
        (plan,) = (await router.state())["en"]["subscriptions"]
        assert (waiting(), plan["cancel_at_period_end"]) == ([], False)

        async def changed(value: str) -> tuple[int, bool]:
            """Requests of the worker, and what the router shows then."""
            vendor.cloud.advance(60)
            await request_stripe(
                vendor.cloud, "post", f"subscriptions/{plan['id']}", cancel_at_period_end=value
            )
            await eventually(delivered, "the change is delivered")
            assert waiting() == [("customer.subscription.updated", True)]
            sent = len(vendor.cloud.requests())
            await vendor.hub.worker.work()
            assert waiting() == []
            (shown,) = (await router.state())["en"]["subscriptions"]
            return len(vendor.cloud.requests()) - sent, shown["cancel_at_period_end"]

        assert await changed("true") == (0, True)
        with monkeypatch.context() as broken:
            broken.setattr(_Batch, "lock", None)
            assert await changed("false") == (1, False), "a batch that fails is fetched"
        assert await changed("true") == (0, True)


def test_in_any_order_the_last_state_is_what_is_stored_in_the_end() -> None:
    """Changes several a second, deliveries that overtake each other, fetches in between, a clock that is
    behind.
    """
    applied = 0
    for seed in range(2000):
        chance = Random(seed)
        changes = sorted(chance.uniform(0, chance.choice((2, 30))) for _ in range(chance.randint(2, 6)))
        states = [{**SUBSCRIPTION, "metadata": {"state": str(number)}} for number in range(len(changes) + 1)]
        arrivals = sorted((at + chance.expovariate(1), number) for number, at in enumerate(changes, 1))
        lag = chance.choice((0, 4))
        stored: Mapping[str, Any] = states[0]
        as_of, waiting = NOW - 60, list[Payload]()
        for moment, number in arrivals:
            waiting.append(payload(NOW + int(changes[number - 1]), states[number]))
            if chance.random() < 0.5 and number != arrivals[-1][1]:
                continue  # the worker comes later
            objects = {**STORED, "sub_1": stored}
            found = applicable("sub_1", waiting, objects, as_of, VERSION, NOW + int(moment - lag))
            if found is not None:
                stored, as_of = found
                applied += 1
            else:
                stored = states[sum(at <= moment for at in changes)]
                as_of = max(as_of, NOW + int(moment - lag) + DOUBT_S)
            waiting.clear()
        assert stored == states[-1], seed
    assert applied > 200
