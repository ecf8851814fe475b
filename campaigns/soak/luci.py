"""Browsers that have LuCI's pages open, and visitors who mean no good."""

from __future__ import annotations

import asyncio
import itertools
import json
import time
from collections import Counter
from typing import Any, Final

import aiohttp

from simulator.world import World

REAL_INTERVAL_S: Final = 5.0
"""LuCI asks again every five seconds while a page is open (`L.env.pollinterval`)."""

TIMES: Final = 120
"""So many times as often it is done here, when nothing delays it."""

BROWSERS: Final = 4

READS: Final[tuple[tuple[str, dict[str, Any]], ...]] = (
    ("status", {}),
    ("features", {}),
    ("transactions", {"limit": 20}),
    ("subscriptions", {}),
    ("catalog", {}),
    ("has", {"feature": "remote_backup_daily"}),
)
WRONG: Final[tuple[tuple[str, dict[str, Any]], ...]] = (
    ("has", {}),
    ("has", {"feature": 7}),
    ("transactions", {"limit": "many"}),
    ("payment_status", {"payment_id": "../../etc/passwd"}),
    ("create_checkout_session", {"price_id": "price_of_nothing"}),
    ("no_such_method", {}),
    ("refund", {"payment_id": "cs_test_of_somebody_else", "amount": -1}),
)
HTTP: Final[tuple[tuple[str, str, dict[str, Any]], ...]] = (
    ("GET", "/api/payments/health", {}),
    ("GET", "/payment-success?session_id=cs_test_unknown", {}),
    ("GET", "/api/payments/status/cs_test_unknown", {}),
    ("GET", "/api/payments/status/..%2f..%2fetc%2fpasswd", {}),
    ("POST", "/api/payments/create-checkout-session", {"data": b"{"}),
    ("POST", "/api/payments/webhook", {"data": b"{}", "headers": {"Stripe-Signature": "t=1,v1=00"}}),
    ("POST", "/api/payments/webhook", {"data": b"\xff" * 2000}),
    ("POST", "/ubus", {"data": b"[[[["}),
    ("DELETE", "/api/payments/nothing", {}),
)


class Luci:
    """`run` until cancelled; between `pause` and `go_on` no request is made. `done` counts."""

    def __init__(self, world: World) -> None:
        self._world = world
        self.done: Counter[str] = Counter()
        self._going = asyncio.Event()
        self._going.set()
        self._busy = 0

    async def run(self) -> None:
        async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=60)) as http:
            await asyncio.gather(*(self._browse(http, number) for number in range(BROWSERS)))

    async def pause(self) -> None:
        self._going.clear()
        while self._busy:
            await asyncio.sleep(0.05)

    def go_on(self) -> None:
        self._going.set()

    async def _browse(self, http: aiohttp.ClientSession, number: int) -> None:
        sid = ""
        every = BROWSERS * REAL_INTERVAL_S / TIMES
        at = time.monotonic()
        for turn in itertools.count(number):
            await self._going.wait()
            # by the clock, not after each answer: a slow machine would else be spared
            at = max(at + every, time.monotonic() - 10 * every)
            await asyncio.sleep(max(0.0, at - time.monotonic()))
            self._busy += 1
            try:
                if not sid:
                    sid = await self._login(http)
                method, arguments = READS[turn % len(READS)]
                answer = await self._call(http, sid, method, arguments)
                if "error" in answer:
                    sid = ""  # rpcd was restarted: sessions are gone
                else:
                    self.done["LuCI requests"] += 1
                if turn % 5 == 0:
                    await self._call(http, sid, *WRONG[turn // 5 % len(WRONG)])
                    verb, path, options = HTTP[turn // 5 % len(HTTP)]
                    async with http.request(verb, self._world.front.url + path, **options) as response:
                        await response.read()
                    self.done["wrong requests"] += 2
            except (aiohttp.ClientError, TimeoutError, KeyError):
                sid = ""
            finally:
                self._busy -= 1

    async def _login(self, http: aiohttp.ClientSession) -> str:
        unknown = "0" * 32
        answer = await self._call(
            http, unknown, "login", {"username": "root", "password": "router"}, object_="session"
        )
        return str(answer["result"][1]["ubus_rpc_session"])

    async def _call(
        self,
        http: aiohttp.ClientSession,
        sid: str,
        method: str,
        arguments: dict[str, Any],
        *,
        object_: str = "stripe-payments",
    ) -> dict[str, Any]:
        body = {"jsonrpc": "2.0", "id": 1, "method": "call", "params": [sid, object_, method, arguments]}
        async with http.post(self._world.front.url + "/ubus", data=json.dumps(body)) as response:
            answer: Any = await response.json(content_type=None)
        return answer if isinstance(answer, dict) else {"error": answer}
