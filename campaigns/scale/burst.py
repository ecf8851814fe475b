"""A burst: two changes of the plan of each of many customers, delivered as fast as they are accepted."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import aiohttp
import psycopg

from campaigns.bench.webhook_sender import send_all, webhook_request
from campaigns.scale import buyers
from campaigns.scale.running_hub import INSTANCES, SECRET, RunningHub
from simulator.stripe_cloud.rendering import render
from simulator.stripe_cloud.routes import find_route
from stripe_payments.ledger.packing import pack
from stripe_payments.stripe_api import sign
from stripe_payments.sync.fetch import stored_form, units_of

__all__ = ["Burst", "burst"]

_APART_S: Final = 10
"""Between two changes of a plan."""
_LONG_AGO_S: Final = 600
"""Between the purchases, which no sweep of events is to find now, and the changes."""
_LAST_S: Final = 600.0
_ASKED: Final = 50
"""Routers whose state is read in the end."""


@dataclass
class Burst:
    """`accepted_in`: seconds until the last 200; `shown_in`: from then until every router's state has both
    changes; `requests`: to Stripe; `wrong`: how many states lack a change; `cpu`: seconds, of worker,
    instance and PostgreSQL.
    """

    events: int
    accepted_in: float = 0.0
    shown_in: float = 0.0
    requests: int = 0
    wrong: int = 0
    cpu: float = 0.0


async def burst(hub: RunningHub, numbers: Sequence[int]) -> Burst:
    """Of these routers of the fleet, which have bought nothing before."""
    plans, bodies = await asyncio.to_thread(_customers, hub, numbers)
    now = hub.cloud.clock.now()
    requests = [
        webhook_request("/stripe/webhook", body, f"t={now},v1={sign(body, SECRET, now)}") for body in bodies
    ]
    done = Burst(len(bodies))
    sent, cpu = len(hub.arrivals), hub.cpu("worker", INSTANCES[0])
    began = time.perf_counter()
    await send_all(hub.ports[INSTANCES[0]], requests)
    accepted = time.perf_counter()
    done.accepted_in = accepted - began
    waiting = "SELECT count(*) FROM inbox WHERE outcome IS NULL"
    while (await asyncio.to_thread(hub.fleet.rows, waiting))[0][0]:
        assert time.perf_counter() - began < _LAST_S, "events are stuck"
        await asyncio.sleep(0.1)
    done.shown_in = time.perf_counter() - accepted
    done.cpu = hub.cpu("worker", INSTANCES[0]) - cpu
    done.requests = len(hub.arrivals) - sent
    accounts = [hub.fleet.account(number) for number in numbers]
    right = "SELECT count(DISTINCT account) FROM features WHERE unlocked AND account = ANY(%s)"
    done.wrong = len(numbers) - int(hub.fleet.rows(right, accounts)[0][0])
    step = max(1, len(numbers) // _ASKED)
    async with aiohttp.ClientSession() as http:
        for number in numbers[::step]:
            headers = {"authorization": f"Bearer {hub.fleet.secret(number)}"}
            async with http.get(f"{hub.url(INSTANCES[1])}/v1/state", headers=headers) as answer:
                (plan,) = (await answer.json())["en"]["subscriptions"]
            done.wrong += not (plan["id"] == plans[number] and plan["cancel_at_period_end"])
    return done


def _customers(hub: RunningHub, numbers: Sequence[int]) -> tuple[dict[int, str], list[bytes]]:
    """A paid plan at Stripe and in the ledger for each; the plans' ids, and the bodies of the events of two
    changes of each, the first ones first.
    """
    account, accounts = hub.cloud.account, {hub.fleet.account(number): number for number in numbers}
    buyers.subscribers(hub, list(accounts))

    def post(path: str, **params: Any) -> Any:
        found = find_route("POST", path)
        assert found is not None
        return found[0].handler(account, params, *found[1])

    plans: dict[int, str] = {}
    rows = []
    at = hub.cloud.clock.now()
    for one in list(account.newest_first("subscription")):
        router = one["metadata"].get("router_id")
        if router in accounts:
            plans[accounts[router]] = one["id"]
            post(f"/v1/invoices/{one['latest_invoice']}/finalize")
            post(f"/v1/invoices/{one['latest_invoice']}/pay", paid_out_of_band=True)
            whole = render(account, one, ["latest_invoice.payments"])
            parts = {raw["id"]: raw for raw in stored_form(units_of(whole, 0.0))}
            rows += [(router, id_, at, pack(raw), at, raw.get("customer")) for id_, raw in parts.items()]
    with psycopg.connect(hub.fleet.database, autocommit=True) as connection, connection.cursor() as cursor:
        customers = {row[0]: row[5] for row in rows}
        cursor.execute(
            "UPDATE accounts SET customer = given.customer"
            " FROM unnest(%s::text[], %s::text[]) given (account, customer) WHERE id = given.account",
            (list(customers), list(customers.values())),
        )
        copied = "COPY objects (account, id, fetched_at, packed, as_of) FROM STDIN"
        with cursor.copy(copied) as copy:
            for row in rows:
                copy.write_row(row[:5])
        cursor.execute("ANALYZE objects")
    hub.cloud.advance(_LONG_AGO_S)
    swept = (
        "INSERT INTO cursors (name, value) VALUES ('events', %s) ON CONFLICT (name) DO UPDATE SET value = %s"
    )
    with psycopg.connect(hub.fleet.database, autocommit=True) as connection:
        connection.execute(swept, [str(hub.cloud.clock.now())] * 2)
    events: list[Any] = []
    account.on_event.append(events.append)
    for change in ({"metadata": {"note": "changed"}}, {"cancel_at_period_end": True}):
        hub.cloud.advance(_APART_S)
        for plan in plans.values():
            post(f"/v1/subscriptions/{plan}", **change)
    account.on_event.remove(events.append)
    hub.cloud.advance(_APART_S)
    updated = [one for one in events if one["type"] == "customer.subscription.updated"]
    return plans, [json.dumps(render(account, one), indent=2).encode() for one in updated]
