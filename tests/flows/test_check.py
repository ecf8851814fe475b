"""`check` in a whole world: a healthy router has nothing to complain of, and a sick one still answers."""

import contextlib
import json
from typing import Any

import aiohttp
import pytest

from simulator.world import World
from tests.flows.conftest import Buyer
from ubus_py import UbusError

pytestmark = pytest.mark.direct_only("in hub mode other things are checked: tests/hub/test_router.py")


async def check(world: World, locale: str = "en") -> dict[str, Any]:
    reply: Any = await world.bus.call("stripe-payments", "check", {"locale": locale})
    return {one["id"]: one for one in reply["checks"]}


async def test_a_healthy_router(world: World, buyer: Buyer) -> None:
    await buyer.buy()
    await buyer.everywhere(unlocked=True)
    await world.bus.call("stripe-payments", "sync", {})

    async def settled() -> bool:
        found = await check(world)
        return all(one["severity"] == "ok" for name, one in found.items() if name not in ("key_mode", "tls"))

    await world.wait_until(settled)
    assert world.account.secret_key not in json.dumps(await check(world))


async def test_stripe_is_asked_little(world: World) -> None:
    before = len(world.stripe.requests())
    await check(world)
    assert len(world.stripe.requests()) - before <= 4


async def test_the_web_server_has_lost_the_bus(world: World) -> None:
    """uhttpd does not connect again to an ubusd that was restarted, and LuCI's pages fail with it."""

    async def web_statuses() -> list[int]:
        found = []
        async with aiohttp.ClientSession(world.front.url) as browser:
            for path in ("/ubus/list/session", "/cgi-bin/luci/"):
                async with browser.get(path) as response:
                    found.append(response.status)
        return found

    async def named() -> bool:
        with contextlib.suppress(UbusError):
            return "lost its connection to ubusd" in (await check(world))["gateway"]["detail"]
        return False

    works = await web_statuses()
    await world.broker.stop()
    await world.broker.start()
    await world.wait_until(named)
    english, italian = (await check(world))["gateway"], (await check(world, "it"))["gateway"]
    assert (english["severity"], english["hint"]) == ("error", "Run: service uhttpd restart")
    assert "ha perso la connessione" in italian["detail"]
    assert await web_statuses() == [500, 502]
    await world.front.restart()
    assert (await check(world))["gateway"]["severity"] == "ok"
    assert await web_statuses() == works


async def test_a_ledger_that_cannot_be_written(world: World) -> None:
    """The kernel refuses every byte that would make a file of the daemon's larger than one page."""
    assert world.daemon.pid is not None
    world.daemon.limit_files(1024)
    english, italian = (await check(world))["ledger"], (await check(world, "it"))["ledger"]
    assert english["severity"] == italian["severity"] == "error"
    assert "cannot store payments" in english["detail"]
    assert "non può salvare" in italian["detail"]
    assert "Free some space" in english["hint"]
    assert "Libera spazio" in italian["hint"]
    world.daemon.limit_files(None)
    assert (await check(world))["ledger"]["ok"]
