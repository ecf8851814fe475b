"""A purchase over HTTP survives the restart of each program on its way, at each step.

Every answer is JSON (a page is HTML), the right one comes within 30 s of the restart, and none says something
untrue to the buyer.
"""

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import aiohttp
import pytest

from simulator.world import World
from tests.flows.conftest import FEATURE, ONETIME, Buyer
from tests.flows.modes import shared
from tests.flows.test_interrupted_checkout import ORDERS, start_again

ANSWER_S = 30.0
CREATE = "/api/payments/create-checkout-session"
NOT_YET = {"pending", "unpaid"}

Restart = Callable[[World], Awaitable[None]]


async def _rpcd(world: World) -> None:
    await world.router.stop()
    await world.router.start()


async def _procd(world: World) -> None:
    await world.router.stop_procd()
    await asyncio.sleep(0.5)
    await world.router.start_procd()


async def _uhttpd(world: World) -> None:
    await world.front.restart()


async def _daemon(world: World) -> None:
    await world.daemon.stop()
    await start_again(world)


RESTARTS: dict[str, Restart] = {
    "rpcd": _rpcd,
    "procd": _procd,
    "uhttpd": _uhttpd,
    "the daemon": _daemon,
}


class HttpBuyer:
    """Retries as a browser's page does, and logs in again where the router says so."""

    def __init__(self, world: World, http: aiohttp.ClientSession) -> None:
        self.world = world
        self._http = http
        self._session = ""

    async def insist(self, method: str, path: str, body: Any = None) -> Any:
        """The body of the first 200; each answer before it must be a documented error in JSON."""
        deadline = time.monotonic() + ANSWER_S
        while True:
            headers = {"Authorization": f"Bearer {self._session}"} if body else {}
            try:
                async with self._http.request(
                    method, f"{self.world.front.url}{path}", json=body, headers=headers
                ) as answer:
                    assert answer.content_type == "application/json", await answer.text()
                    content = await answer.json()
                    status = answer.status
            except aiohttp.ClientConnectionError:
                status, content = 0, None  # the browser shows that there is no connection
            if status == 200:
                return content
            assert time.monotonic() < deadline, content
            if status == 401:
                await self._log_in()
            else:
                assert status in (0, 503), content
                await asyncio.sleep(0.1)

    async def page(self, path: str) -> str:
        """The page as it is shown at last; one that comes earlier says to wait."""
        deadline = time.monotonic() + ANSWER_S
        while True:
            try:
                async with self._http.get(f"{self.world.front.url}{path}") as answer:
                    assert answer.content_type == "text/html"
                    text = await answer.text()
                    if answer.status == 200:
                        return text
                    assert answer.status == 503
                    assert "Retry-After" in answer.headers
            except aiohttp.ClientConnectionError:
                pass
            assert time.monotonic() < deadline
            await asyncio.sleep(0.1)

    async def _log_in(self) -> None:
        login: dict[str, Any] = {"jsonrpc": "2.0", "id": 1, "method": "call"}
        nobody = "0" * 32
        login["params"] = [nobody, "session", "login", {"username": "root", "password": "router"}]
        async with self._http.post(f"{self.world.front.url}/ubus", json=login) as answer:
            result = (await answer.json()).get("result", [])
        if len(result) == 2:
            self._session = result[1]["ubus_rpc_session"]
        else:  # rpcd is not back yet
            await asyncio.sleep(0.1)


@pytest.fixture
async def http_buyer(world: World) -> AsyncIterator[HttpBuyer]:
    timeout = aiohttp.ClientTimeout(total=ANSWER_S + 1)
    async with aiohttp.ClientSession(timeout=timeout) as http:
        yield HttpBuyer(world, http)


async def _during(world: World, request: Awaitable[Any], restart: Restart) -> Any:
    """The result of the request, in the middle of which the restart happens."""
    asking = asyncio.ensure_future(request)
    await asyncio.sleep(0.3)
    began = time.monotonic()
    await restart(world)
    result = await asking
    assert time.monotonic() - began < ANSWER_S
    return result


@pytest.mark.parametrize(("mode", "name"), shared(*RESTARTS))
async def test_a_purchase_survives_a_restart_at_each_step(
    world: World, buyer: Buyer, http_buyer: HttpBuyer, name: str
) -> None:
    restart = RESTARTS[name]
    await world.control("faults", {"latency_ms": 1000, "count": 1, **ORDERS})
    order = {"price_id": ONETIME, "success_url": f"{world.front.url}/payment-success"}
    created = await _during(world, http_buyer.insist("POST", CREATE, order), restart)
    session = created["session_id"]
    status = f"/api/payments/status/{session}"

    before = await _during(world, http_buyer.insist("GET", status), restart)
    assert before["status"] in NOT_YET

    async def pay() -> None:
        await world.pay(session)

    await _during(world, pay(), restart)
    seen: list[str] = []

    async def until_paid() -> None:
        while not seen or seen[-1] != "paid":
            seen.append((await http_buyer.insist("GET", status))["status"])
            await asyncio.sleep(0.1)

    page = await _during(world, http_buyer.page(f"/payment-success?session_id={session}"), restart)
    assert "annull" not in page
    assert "cancel" not in page.lower().replace("payment-cancel", "")
    await asyncio.wait_for(_during(world, until_paid(), restart), ANSWER_S)
    assert set(seen) <= {*NOT_YET, "paid"}

    async def unlocked() -> bool:
        return await world.answers_unlocked(FEATURE) is True and buyer.in_uci().get("unlocked") == "1"

    await world.wait_until(unlocked)
    made = (await world.account.request("GET", "checkout/sessions"))["data"]
    assert [one["id"] for one in made] == [session]
