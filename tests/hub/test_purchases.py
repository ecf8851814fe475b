"""Routers that buy through the hub: what is paid for is the buyer's, at once, and no other router's."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from pathlib import Path
from typing import Any

import psycopg
import pytest

from payments_hub.hub import Hub
from payments_hub.metrics import REGISTRY
from payments_hub.open_checkouts import pause_at
from stripe_payments.stripe_api.webhook_delivery import Hint
from tests.hub.vendor import Caller, Vendor, eventually

PREMIUM = {"backups", "updates"}
BUSINESS = {*PREMIUM, "monitoring"}


async def unlocks(router: Caller, expected: set[str]) -> None:
    async def holds() -> bool:
        return await router.unlocked() == expected

    await eventually(holds, f"unlocked: {sorted(expected)}")


async def buy(vendor: Vendor, router: Caller, price: str, expected: set[str]) -> str:
    session = await router.checkout(price)
    assert vendor.cloud.pay(session)["status"] == "paid"
    await unlocks(router, expected)
    return session


async def test_a_plan_is_the_buyers_and_nobody_elses(vendor: Vendor) -> None:
    buyer, other = await vendor.router(), await vendor.router()
    assert await buyer.unlocked() == set()
    await buy(vendor, buyer, "premium_monthly", PREMIUM)
    state = await buyer.state()
    assert state["it"]["subscriptions"][0]["status"] == "active"
    assert state["en"]["transactions"][0]["amount"] == 499
    theirs = (await other.state())["en"]
    assert not any(price["owned"] for plan in theirs.pop("catalog")["plans"] for price in plan["prices"])
    assert (await other.unlocked(), theirs) == (
        set(),
        {"subscriptions": [], "transactions": [], "next": None},
    )


async def test_a_life_of_a_plan(vendor: Vendor) -> None:
    router = await vendor.router()
    await buy(vendor, router, "premium_monthly", PREMIUM)
    (plan,) = (await router.state())["en"]["subscriptions"]
    quote = await router.call("preview_change", subscription=plan["id"], price_id="business_monthly")
    assert quote["amount_due"] > 0
    await router.call("change_plan", subscription=plan["id"], price_id="business_monthly")
    assert await router.unlocked() == BUSINESS
    cancelled = await router.call("cancel_subscription", subscription=plan["id"])
    assert cancelled["cancel_at_period_end"]
    assert not (await router.call("resume_subscription", subscription=plan["id"]))["cancel_at_period_end"]
    vendor.cloud.advance(32 * 86_400)  # renewed
    await unlocks(router, BUSINESS)

    async def renewed() -> bool:
        return len((await router.state())["en"]["transactions"]) >= 3

    await eventually(renewed, "the renewal's invoice")
    await router.call("cancel_subscription", subscription=plan["id"], at_period_end=False)
    assert await router.unlocked() == set()
    assert (await router.call("portal", return_url="http://192.168.1.1/"))["url"].startswith("http")


async def test_a_refund_and_a_dispute_at_stripe_lock(vendor: Vendor) -> None:
    one, two = await vendor.router(), await vendor.router()
    first = await buy(vendor, one, "lifetime_once", PREMIUM)
    second = await buy(vendor, two, "lifetime_once", PREMIUM)
    row = (await vendor.hub.routers.find(one.id))[0]
    async with vendor.hub.accounts.open(row["account"]) as account:
        assert account is not None
        await account.refunds.refund(first)
    await unlocks(one, set())
    vendor.cloud.dispute(second, "lost")
    await unlocks(two, set())


@pytest.mark.parametrize("price", ["lifetime_once", "premium_monthly"])
async def test_a_bank_debit_waits_until_it_is_paid(vendor: Vendor, price: str) -> None:
    router = await vendor.router()
    session = await router.checkout(price)
    assert vendor.cloud.pay(session, card="bank_debit")["status"] == "processing"

    async def processing() -> bool:
        return str((await router.call("payment_status", payment_id=session))["status"]) == "pending"

    await eventually(processing, "processing")
    assert await router.unlocked() == set()
    (shown,) = (await router.state())["purchases"]
    assert (shown["payment_id"], shown["price"], shown["state"]) == (session, price, "processing")
    vendor.cloud.advance(8 * 86_400)
    await unlocks(router, PREMIUM)
    assert (await router.state())["purchases"] == []


async def test_with_webhooks_lost_a_router_that_asks_gets_it(database_url: str, tmp_path: Path) -> None:
    async with Vendor.open(database_url, tmp_path, webhooks=False) as vendor:
        router = await vendor.router()
        session = await router.checkout("premium_monthly")
        vendor.cloud.pay(session)
        assert await router.unlocked() == set()
        assert (await router.call("payment_status", payment_id=session))["status"] == "paid"
        assert await router.unlocked() == PREMIUM
        (plan,) = (await router.state())["en"]["subscriptions"]
        await router.call("cancel_subscription", subscription=plan["id"], at_period_end=False)
        assert await router.unlocked() == set()
        assert (await router.call("sync"))["changed"] == []


async def test_a_buyer_without_a_page_does_not_wait_for_a_lost_delivery(
    database_url: str, tmp_path: Path
) -> None:
    async with Vendor.open(database_url, tmp_path, webhooks=False, working=False) as vendor:
        router, worker, clock = await vendor.router(), vendor.hub.worker, vendor.hub.clock

        def looks() -> int:
            return len(vendor.cloud.requests(method="GET", path="/v1/events"))

        assert (await worker.checkouts.follow(), looks()) == (0, 0), "no Checkout is open"
        session = await router.checkout("premium_monthly")
        opened = clock.now()
        vendor.cloud.pay(session)
        assert (await worker.checkouts.follow(), looks()) == (0, 1), "left to its delivery at first"
        clock.observe(opened + 4)
        assert (await worker.checkouts.follow(), looks()) == (0, 1), "not due"
        clock.observe(opened + 6)
        async with Hub.open(vendor.hub.config) as second:
            second.clock.observe(opened + 6)
            both = await asyncio.gather(worker.checkouts.follow(), second.worker.checkouts.follow())
        assert (sum(both), looks()) == (1, 2), "one of the workers looks"
        await worker.work()
        assert await router.unlocked() == PREMIUM
        clock.observe(opened + 60)
        assert (await worker.checkouts.follow(), looks()) == (0, 2), "no Checkout is open any more"


async def test_an_open_checkout_costs_a_bounded_number_of_requests(database_url: str, tmp_path: Path) -> None:
    moments, age = [], 0
    while (pause := pause_at(age)) is not None:
        moments.append(age)
        age += pause
    assert (moments[:3], len(moments), age) == ([0, 5, 10], 96, 1800)
    async with Vendor.open(database_url, tmp_path, webhooks=False, working=False) as vendor:
        router, clock = await vendor.router(), vendor.hub.clock
        await router.checkout("premium_monthly")
        opened = clock.now()
        looks = ((0, 1), (5, 2), (119, 3), (125, 3), (134, 4), (595, 5), (620, 5), (625, 6), (1805, 6))
        for second, expected in looks:
            clock.observe(opened + second)
            await vendor.hub.worker.checkouts.follow()
            assert len(vendor.cloud.requests(method="GET", path="/v1/events")) == expected, second


async def test_an_event_that_was_not_delivered_is_swept_up(database_url: str, tmp_path: Path) -> None:
    async with Vendor.open(database_url, tmp_path, webhooks=False) as vendor:
        router = await vendor.router()
        session = await router.checkout("lifetime_once")
        vendor.cloud.pay(session)
        assert await vendor.hub.worker.sweep() == 0, "an event is left to its delivery for a minute"
        missed = REGISTRY.get_sample_value("hub_missed_events_total") or 0
        found = await vendor.hub.worker.sweep(behind=0)
        assert found > 0
        assert REGISTRY.get_sample_value("hub_missed_events_total") == missed + found
        await unlocks(router, PREMIUM)
        assert await vendor.hub.worker.sweep(behind=0) == 0
        row = (await vendor.hub.routers.find(router.id))[0]
        async with vendor.hub.accounts.open(row["account"]) as account:
            assert account is not None
            refunded = await account.refunds.refund(session)
        vendor.cloud.fail_refund(refunded["id"])  # no webhook
        assert await vendor.hub.worker.sweep(behind=0) > 0
        await unlocks(router, PREMIUM)


async def test_an_event_comes_twice_and_to_two_workers(vendor: Vendor, database_url: str) -> None:
    async with Hub.open(vendor.hub.config) as second:
        working = asyncio.create_task(second.worker.run())
        routers = [await vendor.router() for _ in range(4)]
        for router in routers:
            session = await router.checkout("premium_monthly")
            vendor.cloud.pay(session)
        for delivery in vendor.cloud.deliveries():
            vendor.cloud.resend(delivery["event"])
        for router in routers:
            await unlocks(router, PREMIUM)

        async def all_done() -> bool:
            with psycopg.connect(database_url) as connection:
                row = connection.execute("SELECT count(*) FROM inbox WHERE outcome IS NULL").fetchone()
            return row == (0,)

        await eventually(all_done, "no event is left over")
        working.cancel()
        await asyncio.gather(working, return_exceptions=True)
    with psycopg.connect(database_url) as connection:
        connection.execute("SELECT set_config('hub.account', '*', false)")
        unlocked = connection.execute(
            "SELECT payload ->> 'feature', count(*) FROM outbox WHERE kind = 'feature' GROUP BY 1"
        ).fetchall()
    assert dict(unlocked) == {"backups": 4, "updates": 4}, "each once for each router"


async def test_the_period_of_a_plan_that_was_cancelled_ends(database_url: str, tmp_path: Path) -> None:
    """Without a webhook: the worker recomputes the account at the period's end."""
    async with Vendor.open(database_url, tmp_path, webhooks=False, working=False) as vendor:
        router = await vendor.router()
        session = await router.checkout("premium_monthly")
        vendor.cloud.pay(session)
        await router.call("payment_status", payment_id=session)
        (plan,) = (await router.state())["en"]["subscriptions"]
        await router.call("cancel_subscription", subscription=plan["id"])
        assert await vendor.hub.worker.recompute_due() == 0
        vendor.cloud.advance(32 * 86_400)
        await vendor.hub.stripe.list("product", {"limit": 1})  # any response sets the clock
        assert await router.unlocked() == PREMIUM
        row = (await vendor.hub.routers.find(router.id))[0]
        async with vendor.hub.accounts.open(row["account"]):
            assert await vendor.hub.worker.recompute_due() == 0, "locked: not put off, the next round is soon"
        assert await vendor.hub.worker.recompute_due() == 1
        assert await router.unlocked() == set()
        assert await vendor.hub.worker.recompute_due() == 0


@pytest.mark.parametrize("key", ["a-key", None])
async def test_a_repeated_request_is_one_purchase(vendor: Vendor, key: str | None) -> None:
    router = await vendor.router()
    urls = {"success_url": "http://192.168.1.1/ok", "cancel_url": "http://192.168.1.1/no"}

    async def order() -> str:
        made = await router.call("create_checkout_session", key, price_id="premium_monthly", **urls)
        session: str = made["session_id"]
        return session

    assert len(set(await asyncio.gather(*[order() for _ in range(3)]))) == 1


async def test_a_batch_of_events_notifies_once(vendor: Vendor, database_url: str) -> None:
    hints = [Hint(f"evt_{number}", "charge.refunded", f"ch_{number}", None, None) for number in range(3)]
    async with await psycopg.AsyncConnection.connect(database_url, autocommit=True) as listening:
        await listening.execute("LISTEN inbox")
        assert await vendor.hub.inbox.accept_all([*hints, hints[0]]) == {"evt_0", "evt_1", "evt_2"}
        assert await vendor.hub.inbox.accept_all(hints) == set()
        accepted = await asyncio.gather(
            *[
                vendor.hub.inbox.accept(replace(hints[0], event_id=name))
                for name in ("evt_0", "evt_9", "evt_9")
            ]
        )
        assert accepted == [False, True, False]
        await listening.execute("NOTIFY inbox, 'end'")
        heard = []
        async for notify in listening.notifies():
            heard.append(notify.payload)
            if notify.payload == "end":
                break
    assert heard == ["", "", "end"]


async def test_an_event_of_nobody_here_is_finished(vendor: Vendor, database_url: str) -> None:
    """The vendor sells other things with the same Stripe account."""
    with psycopg.connect(database_url, autocommit=True) as connection:
        connection.execute(
            "INSERT INTO inbox (event_id, type, object_id) VALUES ('evt_x', 'charge.refunded', 'ch_unknown1')"
        )

    async def finished() -> bool:
        with psycopg.connect(database_url) as connection:
            return connection.execute("SELECT outcome FROM inbox").fetchone() == ("foreign",)

    await eventually(finished, "finished as foreign")


async def test_finished_events_and_old_replies_are_deleted(database_url: str, tmp_path: Path) -> None:
    async with Vendor.open(database_url, tmp_path, working=False) as vendor:
        router = await vendor.router()
        with psycopg.connect(database_url, autocommit=True) as connection:
            events, replies = await _pruned(vendor, router, connection)
    assert events == [("evt_new",), ("evt_stuck",)]
    assert replies == [("new",)]


async def _pruned(vendor: Vendor, router: Caller, connection: psycopg.Connection[Any]) -> tuple[Any, Any]:
    """What is left of the two tables."""
    connection.execute(
        "INSERT INTO inbox (event_id, type, object_id, outcome, received_at) VALUES"
        " ('evt_old', 'charge.refunded', 'ch_1', 'foreign', now() - interval '31 days'),"
        " ('evt_stuck', 'charge.refunded', 'ch_1', NULL, now() - interval '31 days'),"
        " ('evt_new', 'charge.refunded', 'ch_1', 'foreign', now() - interval '29 days')"
    )
    connection.execute(
        "INSERT INTO replies (router, key, request, status, body, created_at) VALUES"
        " (%(router)s, 'old', 'x', 200, '{}', now() - interval '49 hours'),"
        " (%(router)s, 'new', 'x', 200, '{}', now() - interval '47 hours')",
        {"router": router.id},
    )
    await vendor.hub.worker.prune()
    events = connection.execute("SELECT event_id FROM inbox ORDER BY event_id").fetchall()
    return events, connection.execute("SELECT key FROM replies").fetchall()
