"""A one-time purchase of Premium."""

import asyncio
import os
import sys
from typing import Any

import pytest

from simulator.daemon_process import REPOSITORY
from simulator.world import World
from tests.flows.conftest import FEATURE, ONETIME, Buyer
from ubus_py import StatusError


@pytest.mark.parametrize("webhooks", ["on", "drop", "duplicate", "reorder"])
async def test_paying_unlocks_everywhere_whatever_becomes_of_the_webhooks(
    world: World, buyer: Buyer, webhooks: str
) -> None:
    await world.control("faults", {"webhooks": webhooks})
    session_id = await buyer.buy()
    await buyer.everywhere(unlocked=True)
    section = buyer.in_uci()
    assert section["source"] == session_id
    assert "until" not in section
    assert buyer.unlock_count() == 1


async def test_it_works_behind_nat_without_any_webhook(quiet_world: World) -> None:
    buyer = Buyer(quiet_world)
    await buyer.buy()
    await buyer.everywhere(unlocked=True)


async def test_the_ubus_tool_prints_it(world: World, buyer: Buyer) -> None:
    await buyer.buy()
    await buyer.everywhere(unlocked=True)
    tool = await asyncio.create_subprocess_exec(
        sys.executable,
        *("-m", "tools.ubus", "-s", str(world.bus_path)),
        *("call", "stripe-payments", "has", f'{{"feature":"{FEATURE}"}}'),
        stdout=asyncio.subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": f"{REPOSITORY}:{REPOSITORY / 'daemon'}"},
    )
    printed, _ = await tool.communicate()
    assert tool.returncode == 0
    assert printed.decode() == '{\n\t"unlocked": true\n}\n'


async def test_a_declined_card_unlocks_nothing_and_says_why(world: World, buyer: Buyer) -> None:
    session_id = await buyer.checkout()
    outcome = await world.pay(session_id, "4000000000000002")
    assert "declined" in str(outcome)

    async def reported() -> bool:
        payment = await buyer.payment(session_id)
        return bool(payment.get("failure"))

    await world.bus.call("stripe-payments", "sync", {})
    await world.wait_until(reported)
    payment: Any = await buyer.payment(session_id)
    assert payment["status"] in {"unpaid", "failed"}
    assert payment["failure"]["code"] == "card_declined"
    assert "declined" in payment["failure"]["message"].lower()
    assert not await world.unlocked(FEATURE)
    # The session is still open: another card may follow, and then it unlocks.
    await world.pay(session_id)
    await buyer.everywhere(unlocked=True)


async def test_a_card_that_wants_3d_secure_unlocks_after_the_challenge(world: World, buyer: Buyer) -> None:
    await buyer.buy(card="4000002500003155")
    await buyer.everywhere(unlocked=True)


async def test_a_bank_debit_is_pending_until_it_settles(world: World, buyer: Buyer) -> None:
    session_id = await buyer.buy(card="bank_debit")
    await world.bus.call("stripe-payments", "sync", {})
    assert (await buyer.payment(session_id))["status"] == "pending"
    assert not await world.unlocked(FEATURE)
    await world.control("clock/advance", {"seconds": 10 * 86400})
    await world.bus.call("stripe-payments", "sync", {})
    await buyer.everywhere(unlocked=True)
    assert (await buyer.payment(session_id))["status"] == "paid"


async def test_a_full_refund_locks_and_a_partial_one_does_not(world: World, buyer: Buyer) -> None:
    session_id = await buyer.buy()
    await buyer.everywhere(unlocked=True)
    await world.bus.call("stripe-payments", "refund", {"payment_id": session_id, "amount": 1000})
    assert (await buyer.payment(session_id))["status"] == "partially_refunded"
    assert await world.unlocked(FEATURE)
    with pytest.raises(StatusError) as too_much:
        await world.bus.call("stripe-payments", "refund", {"payment_id": session_id, "amount": 4000})
    assert code_of(too_much.value) == "amount_too_large"
    await world.bus.call("stripe-payments", "refund", {"payment_id": session_id})
    await buyer.everywhere(unlocked=False)
    assert (await buyer.payment(session_id))["status"] == "refunded"


@pytest.mark.parametrize(("outcome", "unlocked"), [("won", True), ("lost", False)])
async def test_a_dispute_locks_only_when_it_is_lost(
    world: World, buyer: Buyer, outcome: str, unlocked: bool
) -> None:
    session_id = await buyer.buy()
    await buyer.everywhere(unlocked=True)
    await world.control(
        "dispute", {"payment_intent": await _payment_intent(world, session_id), "outcome": "open"}
    )
    await world.bus.call("stripe-payments", "sync", {})
    assert (await buyer.payment(session_id))["status"] == "disputed"
    assert await world.unlocked(FEATURE)
    await world.control(
        "dispute", {"payment_intent": await _payment_intent(world, session_id), "outcome": outcome}
    )
    await world.bus.call("stripe-payments", "sync", {})

    async def settled() -> bool:
        return await world.unlocked(FEATURE) is unlocked

    await world.wait_until(settled)


async def test_the_catalog_shows_what_is_owned_and_it_is_not_sold_twice(world: World, buyer: Buyer) -> None:
    await buyer.buy()
    await buyer.everywhere(unlocked=True)
    catalog: Any = await world.bus.call("stripe-payments", "catalog", {})
    prices = {
        price["id"]: price for item in catalog["plans"] + catalog["products"] for price in item["prices"]
    }
    assert prices[ONETIME]["owned"] is True
    with pytest.raises(StatusError) as again:
        await buyer.checkout()
    assert code_of(again.value) == "already_owned"


async def test_a_second_click_does_not_buy_twice(world: World, buyer: Buyer) -> None:
    first, second = await asyncio.gather(buyer.checkout(), buyer.checkout())
    assert first == second


async def test_two_routers_on_one_account_never_see_each_others_purchase(world: World, buyer: Buyer) -> None:
    # The other router's purchase, as Stripe would deliver it to every endpoint of the account.
    customer = await world.account.request("POST", "customers", metadata={"router_id": "another-router"})
    catalog: Any = await world.bus.call("stripe-payments", "catalog", {})
    price = next(p for item in catalog["products"] for p in item["prices"] if p["id"] == ONETIME)
    session = await world.account.request(
        "POST",
        "checkout/sessions",
        mode="payment",
        customer=customer["id"],
        line_items=[{"price": price["price_id"], "quantity": 1}],
        success_url="https://example.com/done",
        metadata={"router_id": "another-router"},
        payment_intent_data={"metadata": {"router_id": "another-router"}},
    )
    await world.pay(session["id"])
    await world.bus.call("stripe-payments", "sync", {})
    await buyer.buy("price_premium_monthly")
    await buyer.everywhere(unlocked=True)
    assert buyer.in_uci()["source"].startswith("sub_")
    with pytest.raises(StatusError):
        await buyer.payment(session["id"])


async def test_no_secret_reaches_a_log_a_file_or_a_reply(world: World, buyer: Buyer) -> None:
    await buyer.buy()
    await buyer.everywhere(unlocked=True)
    status = await world.bus.call("stripe-payments", "status", {})
    secret = world.account.secret_key
    kept = world.root / "etc/stripe-payments/secrets.json"
    assert secret in kept.read_text()
    assert kept.stat().st_mode & 0o777 == 0o600
    assert secret not in world.daemon.log_text()
    assert secret not in str(status)
    for file in (world.root / "etc/config").iterdir():
        assert secret not in file.read_text()


async def _payment_intent(world: World, session_id: str) -> str:
    session = await world.account.request("GET", f"checkout/sessions/{session_id}")
    payment_intent = session["payment_intent"]
    assert isinstance(payment_intent, str)
    return payment_intent


def code_of(error: StatusError) -> str:
    """The documented code in an error reply's body."""
    body: Any = error.data
    code: str = body["error"]["code"]
    assert body["error"]["message"]
    return code
