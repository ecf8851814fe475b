"""A managed router: the seller's methods are on the shell alone, and LuCI has no Settings."""

import asyncio
import json
from typing import Any

import pytest

from simulator.world import World
from tests.flows.conftest import FEATURE, Buyer, LuciUser

pytestmark = pytest.mark.direct_only("in hub mode every router is managed")


async def sellers_command(world: World, method: str, *words: str) -> Any:
    """As `/etc/init.d/stripe-payments METHOD WORDS` does it; the reply's data."""
    reader, writer = await asyncio.open_unix_connection(world.private / "seller.sock")
    writer.write(json.dumps({"method": method, "words": words, "locale": "en"}).encode() + b"\n")
    reply = json.loads(await reader.readline())
    writer.close()
    await writer.wait_closed()
    assert reply["status"] == 0, reply
    return reply["data"]


async def grants_are_on_the_bus(world: World) -> bool:
    found = await world.bus.lookup("stripe-payments")
    return any("grant" in one.methods for one in found)


async def luci_has_settings(user: LuciUser) -> bool:
    page = user.url("/cgi-bin/luci/admin/payments/setup")
    form = {"luci_username": "root", "luci_password": "router"}
    async with user.http.post(page, data=form) as response:
        return response.status == 200


async def manage(world: World, value: str) -> None:
    setting: Any = {"config": "stripe-payments", "section": "main", "values": {"managed": value}}
    await world.bus.call("uci", "set", setting)
    await world.bus.call("uci", "commit", {"config": "stripe-payments"})

    async def shown() -> bool:
        return await grants_are_on_the_bus(world) is (value == "0")

    await world.wait_until(shown)


async def test_the_sellers_methods_are_on_the_shell_alone(
    world: World, buyer: Buyer, luci_user: LuciUser
) -> None:
    assert await luci_has_settings(luci_user)
    await manage(world, "1")
    assert not await luci_has_settings(luci_user)
    await sellers_command(world, "grant", FEATURE)
    await buyer.everywhere(unlocked=True)

    await world.daemon.kill()
    await world.daemon.start()
    await world.daemon_answers()
    assert not await grants_are_on_the_bus(world), "before the settings are read, by the init script's mark"
    await sellers_command(world, "revoke", FEATURE)
    assert not await world.unlocked(FEATURE)

    await manage(world, "0")
    assert await luci_has_settings(luci_user)
