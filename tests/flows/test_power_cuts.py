"""The plug is pulled at any moment of a purchase: when power is back, the feature unlocks by itself."""

import asyncio
import contextlib

import pytest

from simulator.world import World
from tests.flows.conftest import FEATURE, ONETIME, Buyer
from tests.flows.modes import shared
from ubus_py import ConnectionLost, StatusError


async def _comes_back_unlocked_once(world: World, buyer: Buyer) -> None:
    await world.daemon.start()
    await world.daemon_answers()
    await buyer.everywhere(unlocked=True)
    assert buyer.unlock_count() >= 1
    # After a crash an effect may be delivered again (at least once), nothing is bought or charged twice.
    charges = await world.account.request("GET", "charges")
    assert [charge["paid"] for charge in charges["data"]] == [True]


async def test_before_the_buyer_was_sent_away(world: World, buyer: Buyer) -> None:
    """Stripe has the session; the router died before it could say so, and starts the same one again."""
    await world.control("faults", {"latency_ms": 1500, "path": "/v1/checkout/sessions"})
    call = asyncio.create_task(buyer.checkout())

    async def asked() -> bool:
        return bool(world.stripe.requests(method="POST", path="/v1/checkout/sessions"))

    await world.wait_until(asked)
    await world.daemon.kill()
    call.cancel()  # the bus does not tell a caller that its server died
    await asyncio.gather(call, return_exceptions=True)
    await world.control("faults", {})
    await world.daemon.start()
    await world.daemon_answers()
    session_id = await buyer.checkout()
    sessions = await world.account.request("GET", "checkout/sessions")
    assert [session["id"] for session in sessions["data"]] == [session_id]
    await world.pay(session_id)
    await buyer.everywhere(unlocked=True)


async def test_while_the_buyer_pays(world: World, buyer: Buyer) -> None:
    session_id = await buyer.checkout()
    await world.daemon.kill()
    await world.pay(session_id)
    await _comes_back_unlocked_once(world, buyer)


async def test_while_the_buyer_pays_and_every_webhook_is_lost(world: World, buyer: Buyer) -> None:
    await world.control("faults", {"webhooks": "drop"})
    session_id = await buyer.checkout()
    await world.daemon.kill()
    await world.pay(session_id)
    await _comes_back_unlocked_once(world, buyer)


@pytest.mark.parametrize(("mode", "delay_s"), shared(0.0, 0.02, 0.05, 0.1, 0.2, 0.4))
async def test_between_the_webhook_and_its_effect(world: World, buyer: Buyer, delay_s: float) -> None:
    session_id = await buyer.checkout()
    await world.pay(session_id)
    await asyncio.sleep(delay_s)  # not a timing: every moment must do
    await world.daemon.kill()
    await _comes_back_unlocked_once(world, buyer)


async def test_what_was_unlocked_stays_unlocked_without_asking_anybody(world: World, buyer: Buyer) -> None:
    await buyer.buy()
    await buyer.everywhere(unlocked=True)
    await world.daemon.kill()
    await world.stripe.stop()
    await world.daemon.start()
    await world.daemon_answers()
    assert await world.unlocked(FEATURE)
    assert buyer.in_uci()["unlocked"] == "1"


async def test_the_bus_daemon_restarts_and_the_service_is_back(world: World, buyer: Buyer) -> None:
    session_id = await buyer.checkout()
    await world.broker.stop()
    await world.broker.start()

    async def back() -> bool:
        with contextlib.suppress(ConnectionLost, StatusError):
            await world.bus.call("stripe-payments", "features", {})
            return True
        return False

    await world.wait_until(back)
    await world.pay(session_id)
    await buyer.everywhere(unlocked=True)


async def test_rpcd_is_away_when_the_feature_unlocks(world: World, buyer: Buyer) -> None:
    session_id = await buyer.checkout()
    await world.router.stop()
    await world.pay(session_id)

    async def known() -> bool:
        return await world.unlocked(FEATURE)

    await world.wait_until(known)
    assert buyer.in_uci().get("unlocked") != "1"
    await world.router.start()
    await buyer.everywhere(unlocked=True)


async def test_stripe_is_away_and_comes_back(world: World, buyer: Buyer) -> None:
    session_id = await buyer.checkout(ONETIME)
    await world.control("faults", {"webhooks": "drop"})
    await world.pay(session_id)
    await world.control("faults", {"status": 500, "webhooks": "drop"})
    await asyncio.sleep(3)
    await world.control("faults", {})
    await world.control("faults", {"webhooks": "drop"})
    await buyer.everywhere(unlocked=True, patience_s=60)
