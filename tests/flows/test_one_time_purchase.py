"""A one-time purchase of Premium."""

import asyncio
import os
import sys
from pathlib import Path
from typing import Any

import pytest

from simulator.daemon_process import REPOSITORY
from simulator.world import World
from tests.flows.conftest import FEATURE, ONETIME, Buyer
from tests.flows.hub_mode_router import HubModeRouter
from tests.flows.modes import DELIVERIES
from tests.flows.sellers import RefusedError
from ubus_py import StatusError

LINES_OF_A_PURCHASE = 8
"""At level info: a router keeps its log in a small buffer in memory."""


@pytest.mark.parametrize(("mode", "webhooks"), DELIVERIES)
async def test_paying_unlocks_everywhere_whatever_becomes_of_the_webhooks(
    world: World, buyer: Buyer, webhooks: str
) -> None:
    await world.control("faults", {"webhooks": webhooks})
    before = len(world.daemon.log_text().splitlines())
    session_id = await buyer.checkout()
    for _ in range(3):  # as the page that waits for the payment
        await buyer.payment(session_id)
    await world.pay(session_id)
    await buyer.everywhere(unlocked=True)
    lines = world.daemon.log_text().splitlines()[before:]
    assert 2 <= len(lines) <= LINES_OF_A_PURCHASE, "\n".join(lines)
    section = buyer.in_uci()
    assert section["source"] == session_id
    assert "until" not in section
    assert buyer.unlock_count() == 1


@pytest.mark.direct_only("in hub mode Stripe reaches no router, so every router is behind NAT")
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
        payment = await buyer.becomes(session_id, "unpaid", "failed")
        return bool(payment.get("failure"))

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
    await buyer.becomes(session_id, "pending")
    assert not await world.unlocked(FEATURE)

    async def shown() -> list[tuple[str, str]]:
        purchases: Any = (await world.bus.call("stripe-payments", "status", {}))["purchases"]
        return [(one["price"], one["state"]) for one in purchases]

    async def processing() -> bool:
        return await shown() == [("price_premium_onetime", "processing")]

    await world.wait_until(processing)
    await world.control("clock/advance", {"seconds": 10 * 86400})
    await buyer.becomes(session_id, "paid")
    await buyer.everywhere(unlocked=True)
    assert (await buyer.payment(session_id))["status"] == "paid"
    assert await shown() == []


async def test_a_full_refund_locks_and_a_partial_one_does_not(world: World, buyer: Buyer) -> None:
    session_id = await buyer.buy()
    await buyer.everywhere(unlocked=True)
    await buyer.seller.refund(session_id, 1000)
    assert (await buyer.payment(session_id))["status"] == "partially_refunded"
    assert await world.unlocked(FEATURE)
    with pytest.raises(RefusedError, match="amount_too_large"):
        await buyer.seller.refund(session_id, 4000)
    await buyer.seller.refund(session_id)
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
    await buyer.becomes(session_id, "disputed")
    assert await world.unlocked(FEATURE)

    async def said() -> bool:
        features: Any = await world.bus.call("stripe-payments", "features", {})
        return bool(features["features"][FEATURE]["disputed"])

    await world.wait_until(said)
    await world.control(
        "dispute", {"payment_intent": await _payment_intent(world, session_id), "outcome": outcome}
    )
    await buyer.becomes(session_id, "paid" if unlocked else "disputed")

    async def settled() -> bool:
        return await world.unlocked(FEATURE) is unlocked and not await said()

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
    prices = await world.account.request("GET", "prices", lookup_keys=[ONETIME])
    session = await world.account.request(
        "POST",
        "checkout/sessions",
        mode="payment",
        customer=customer["id"],
        line_items=[{"price": prices["data"][0]["id"], "quantity": 1}],
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
    secret = secret_key_of(world)
    assert secret not in world.daemon.log_text()
    assert secret not in str(status)
    for file in (world.root / "etc/config").iterdir():
        assert secret not in file.read_text()


@pytest.mark.direct_only("in hub mode no router has a key")
async def test_the_key_is_kept_in_a_file_of_roots(world: World) -> None:
    kept = world.root / "etc/stripe-payments/secrets.json"
    assert secret_key_of(world) in kept.read_text()
    assert kept.stat().st_mode & 0o777 == 0o600


@pytest.mark.own_interpreter("/proc/PID/environ is the daemon's own")
@pytest.mark.parametrize("mode", ["hub", "hub-without-webhooks"])
async def test_in_hub_mode_the_key_is_nowhere_on_the_router(world: World, buyer: Buyer) -> None:
    await buyer.buy()
    await buyer.everywhere(unlocked=True)
    assert world.daemon.pid is not None
    environment = Path(f"/proc/{world.daemon.pid}/environ").read_bytes()
    secret = secret_key_of(world).encode()
    files = [file for file in world.root.rglob("*") if file.is_file()]
    assert files
    assert [file for file in files if secret in file.read_bytes()] == []
    assert secret not in environment


def secret_key_of(world: World) -> str:
    """The key of the Stripe account, where the seller keeps it."""
    return (
        world.vendor.hub.config.stripe_secret_key
        if isinstance(world, HubModeRouter)
        else world.account.secret_key
    )


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
