"""A buyer waits for Stripe, and the service stops or crashes: the buyer gets a true answer in JSON, and a
retry continues the same order.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import aiohttp
import pytest

from simulator.browser_front import gateway
from simulator.world import World
from tests.flows.conftest import ONETIME, LuciUser
from tests.flows.modes import shared
from tests.flows.test_http_api import CREATE, order
from ubus_py import Encodable, StatusError

ORDERS = {"method": "POST", "path": "/v1/checkout/sessions"}
ANSWER_S = 30.0
"""The longest that a buyer waits for an answer."""

Interruption = Callable[[World], Awaitable[None]]


async def _stops(world: World) -> None:
    await world.daemon.stop()


async def _crashes(world: World) -> None:
    await world.daemon.kill()


INTERRUPTIONS: dict[str, Interruption] = {"a stop": _stops, "a crash": _crashes}


@asynccontextmanager
async def waiting_order(world: World, user: LuciUser) -> AsyncIterator[asyncio.Task[aiohttp.ClientResponse]]:
    """An order over HTTP whose request has arrived at Stripe, which takes long."""
    await world.control("faults", {"latency_ms": 3000, "count": 1, **ORDERS})
    await user.hand_over()
    headers = {"Origin": user.origin}
    request = asyncio.create_task(user.http.post(user.url(CREATE), json=order(user), headers=headers))

    async def arrived() -> bool:
        return any(
            seen["method"] == "POST" and seen["path"] == ORDERS["path"] for seen in world.stripe.requests()
        )

    await world.wait_until(arrived)
    yield request
    request.cancel()


@pytest.mark.parametrize(("mode", "name"), shared(*INTERRUPTIONS))
async def test_an_interrupted_order_is_answered_in_json(
    world: World, luci_user: LuciUser, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(gateway, "CALL_TIMEOUT", 2.0)  # of the simulated router
    async with waiting_order(world, luci_user) as request:
        await INTERRUPTIONS[name](world)
        response = await asyncio.wait_for(request, ANSWER_S)
        assert response.status == 503
        assert int(response.headers["Retry-After"]) > 0
        error = (await response.json())["error"]
        assert error["code"] in ("starting", "service_unavailable")
        assert error["message"].startswith(("The payment service is starting", "The payment service is not"))
    await start_again(world)
    headers = {"Origin": luci_user.origin}

    async def ordered() -> bool:
        async with luci_user.http.post(
            luci_user.url(CREATE), json=order(luci_user), headers=headers
        ) as retry:
            return retry.status == 200

    await world.wait_until(ordered)
    made = (await world.account.request("GET", "checkout/sessions"))["data"]
    assert len(made) == 1


async def start_again(world: World) -> None:
    """On a real router a service that was stopped stays so, and one that crashed comes back by itself."""
    openwrt = getattr(world, "openwrt", None)
    if openwrt is None:
        await world.daemon.start()
    else:
        await asyncio.to_thread(openwrt.sh, "/etc/init.d/stripe-payments start")


@pytest.mark.parametrize(
    ("mode", "method"),
    [
        *shared("create_checkout_session", "sync"),
        ("direct", "check"),  # in hub mode it sends nothing to Stripe
    ],
)
async def test_a_call_on_the_bus_is_answered_when_the_service_stops(world: World, method: str) -> None:
    """The bus does not notify a caller whose server has left: it would wait for 30 s."""
    before = len(world.stripe.requests())
    await world.control("faults", {"latency_ms": 8000, "count": 50})
    arguments: dict[str, Encodable] = {"price_id": ONETIME} if method == "create_checkout_session" else {}
    call = asyncio.create_task(world.bus.call("stripe-payments", method, arguments, timeout=ANSWER_S))

    async def arrived() -> bool:
        return len(world.stripe.requests()) > before

    await world.wait_until(arrived)
    await world.daemon.stop()
    with pytest.raises(StatusError) as refused:
        await asyncio.wait_for(call, 5)
    body: Any = refused.value.data
    assert body["error"]["code"] == "starting"
    assert body["error"]["hint"]
    assert "never retrieved" not in world.daemon.log_text()
