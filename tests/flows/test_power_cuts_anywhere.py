"""The plug is pulled at any moment, while Stripe and the network misbehave: the seed picks how and when.

More seeds: `STRIPE_PAYMENTS_SEEDS=100 pytest tests/flows/test_power_cuts_anywhere.py`.
"""

import asyncio
import contextlib
import os
import random
from typing import Any

import pytest

from simulator.world import World
from tests.flows.conftest import FEATURE, ONETIME, Buyer
from tests.flows.modes import DELIVERIES, MODES, Mode, shared
from ubus_py import UbusError

SEEDS = int(os.environ.get("STRIPE_PAYMENTS_SEEDS", "4"))
WEBHOOKS: dict[Mode, list[str]] = {mode: [how for name, how in DELIVERIES if name == mode] for mode in MODES}
FAULTS: tuple[dict[str, Any], ...] = (
    {},
    {"latency_ms": 300},
    {"status": 500, "count": 2, "method": "POST", "path": "/v1/checkout/sessions*"},
    {"status": 500, "count": 1, "method": "POST", "path": "/v1/customers", "when": "after"},
    {"status": 500, "count": 4, "method": "GET"},
    {"status": 429, "count": 2, "retry_after": 1},
    {"drop_connection": True, "count": 2, "method": "POST", "when": "after"},
    {"truncate": True, "count": 1, "method": "POST", "when": "after"},
)


async def _session(world: World) -> str:
    """A buyer who presses the button again until there is a session."""
    while True:
        with contextlib.suppress(UbusError):
            order = {"price_id": ONETIME}
            reply = await world.bus.call("stripe-payments", "create_checkout_session", order, timeout=5)
            return str(reply["session_id"])
        await asyncio.sleep(0.2)


@pytest.mark.parametrize(("mode", "seed"), shared(*range(SEEDS)))
async def test_paid_once_and_unlocked(world: World, buyer: Buyer, mode: Mode, seed: int) -> None:
    chance = random.Random(seed)
    await world.control("faults", {"webhooks": chance.choice(WEBHOOKS[mode]), **chance.choice(FAULTS)})

    async def purchase() -> None:
        session_id = await _session(world)
        await asyncio.sleep(chance.uniform(0, 1.5))
        await world.pay(session_id)

    buying = asyncio.create_task(purchase())
    for _ in range(chance.randint(1, 3)):
        await asyncio.sleep(chance.uniform(0, 2))
        await world.daemon.kill()
        await asyncio.sleep(chance.uniform(0, 0.3))
        await world.daemon.start()
    await asyncio.wait_for(buying, 60)
    await buyer.everywhere(unlocked=True, patience_s=60)

    for kind in ("charges", "customers", "checkout/sessions"):
        made = (await world.account.request("GET", kind))["data"]
        assert len(made) == 1, f"{len(made)} {kind}"
    # delivered at least once, and never of a lock in between
    assert set(buyer.observer.scripts()[FEATURE]) == {"unlock"}
    assert "Traceback" not in world.daemon.log_text()
