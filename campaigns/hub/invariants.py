"""What must be true in the database and at Stripe when everything has settled."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from itertools import pairwise
from typing import Any

from campaigns.hub.hub_under_test import HubUnderTest
from campaigns.hub.lives import CONVERGED_S, BrokenError, Life

__all__ = ["check"]

_DELIVERED_S = 120.0


async def check(hub: HubUnderTest, lives: Sequence[Life]) -> None:
    """Raises BrokenError."""
    await _everything_is_delivered(hub)
    await _inbox_is_worked_off(hub)
    for life in lives:
        found = await life.unlocked()
        if found != life.expected:
            raise BrokenError(f"{life.kind}: {sorted(found)} at the end and not {sorted(life.expected)}")
        account = str(hub.rows("SELECT account FROM routers WHERE id = %s", life.id)[0][0])
        _nothing_is_doubled(hub, life, account)
        _each_change_is_said_once(hub, life, account)


async def _everything_is_delivered(hub: HubUnderTest) -> None:
    """Stripe repeats what was refused after 1, 3, 10 and 60 s."""
    deadline = time.monotonic() + _DELIVERED_S
    while left := [one["type"] for one in hub.cloud.deliveries() if one["state"] == "pending"]:
        if time.monotonic() > deadline:
            raise BrokenError(f"deliveries are refused: {left}")
        await asyncio.sleep(0.2)


async def _inbox_is_worked_off(hub: HubUnderTest) -> None:
    deadline = time.monotonic() + CONVERGED_S
    query = "SELECT object_id, type, attempts, error FROM inbox WHERE outcome IS NULL"
    while left := await asyncio.to_thread(hub.rows, query):
        if time.monotonic() > deadline:
            raise BrokenError(f"events are stuck: {left}")
        await asyncio.sleep(0.2)


def _nothing_is_doubled(hub: HubUnderTest, life: Life, account: str) -> None:
    objects = hub.cloud.state()["objects"]

    def of(kind: str, **wanted: Any) -> list[Any]:
        found = [one for one in objects.get(kind, []) if one["customer"] in customers]
        return [one for one in found if all(one[name] == value for name, value in wanted.items())]

    customers = {
        one["id"] for one in objects.get("customer", []) if one["metadata"].get("router_id") == account
    }
    if len(customers) != 1:
        raise BrokenError(f"{life.kind}: {len(customers)} customers at Stripe")
    if len(sessions := of("checkout.session")) != life.sessions:
        raise BrokenError(f"{life.kind}: {len(sessions)} sessions at Stripe instead of {life.sessions}")
    plans = 1 if life.kind in ("plan", "change", "cancel") else 0
    if len(found := of("subscription")) != plans:
        raise BrokenError(f"{life.kind}: {len(found)} subscriptions at Stripe")
    paid = of("charge", paid=True)
    most = 2 if life.kind == "change" else 1
    if not 1 <= len(paid) <= most:
        raise BrokenError(f"{life.kind}: {len(paid)} charges at Stripe")
    unfinished = hub.rows("SELECT 1 FROM checkouts WHERE account = %s AND state <> 'complete'", account)
    if unfinished:
        raise BrokenError(f"{life.kind}: a checkout is not complete")


def _each_change_is_said_once(hub: HubUnderTest, life: Life, account: str) -> None:
    rows = hub.rows(
        "SELECT payload ->> 'feature', payload ->> 'unlocked', payload::text FROM outbox"
        " WHERE account = %s AND kind = 'feature' ORDER BY number",
        account,
    )
    for feature in {row[0] for row in rows}:
        changes = [row for row in rows if row[0] == feature]
        if any(one == other for one, other in pairwise(changes)) or changes[0][1] != "true":
            raise BrokenError(f"{life.kind}: {feature} changed as {changes}")
