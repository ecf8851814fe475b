"""What of the outbox is deleted, and what a router that was away for months still gets."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import psycopg
import pytest

from payments_hub import outbox
from tests.hub.test_stripe_budget import account_of
from tests.hub.vendor import Vendor

Rows = dict[str, list[Any]]


def add(connection: psycopg.Connection[Any], account: str, kind: str, count: int, age: str) -> None:
    connection.execute("SELECT set_config('hub.account', %s, false)", (account,))
    connection.execute(
        "INSERT INTO outbox (account, kind, payload, created_at) SELECT %(account)s, %(kind)s,"
        " json_build_object('n', n, 'age', %(age)s::text), now() - %(age)s::interval"
        " FROM generate_series(1, %(count)s) n",
        {"account": account, "kind": kind, "count": count, "age": age},
    )


def rows(connection: psycopg.Connection[Any], account: str) -> Rows:
    """`[age, n]` of each row, by kind."""
    connection.execute("SELECT set_config('hub.account', %s, false)", (account,))
    found: Rows = {}
    for kind, payload in connection.execute("SELECT kind, payload FROM outbox ORDER BY number").fetchall():
        found.setdefault(kind, []).append([payload["age"], payload["n"]])
    return found


@pytest.mark.parametrize("batch", [3, 7, 1000])
async def test_old_rows_go_and_what_may_not_have_been_seen_stays(
    database_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, batch: int
) -> None:
    monkeypatch.setattr(outbox, "_BATCH", batch)
    monkeypatch.setattr(outbox, "_BATCHES", 4)
    async with Vendor.open(database_url, tmp_path, working=False) as vendor:
        away, busy = await vendor.router(), await vendor.router()
        of_away, of_busy = await account_of(vendor, away), await account_of(vendor, busy)
        with psycopg.connect(database_url, autocommit=True) as connection:
            add(connection, of_busy, "payment", 15, "91 days")
            add(connection, of_away, "subscription", 5, "200 days")
            add(connection, of_busy, "feature", 4, "91 days")
            add(connection, of_busy, "payment", 12, "90 days 1 hour")
            add(connection, of_busy, "feature", 2, "89 days")
            add(connection, of_busy, "subscription", 3, "89 days")
            shown = [(await one.state())["events"] for one in (away, busy)]
            deleted = 0
            for _hour in range(5):
                deleted += await vendor.hub.worker.prune()
            assert deleted == 10 + 4
            assert rows(connection, of_away) == {"subscription": [["200 days", n] for n in range(1, 6)]}
            assert rows(connection, of_busy) == {
                "payment": [["91 days", n] for n in range(11, 16)]
                + [["90 days 1 hour", n] for n in range(1, 13)],
                "feature": [["89 days", 1], ["89 days", 2]],
                "subscription": [["89 days", n] for n in range(1, 4)],
            }
        assert [(await one.state())["events"] for one in (away, busy)] == shown
