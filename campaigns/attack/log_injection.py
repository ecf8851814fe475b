"""Texts that strangers choose and the daemon logs: the bytes of the log of a real process, read line by
line.
"""

from __future__ import annotations

import contextlib
import json
import time
from collections.abc import Awaitable, Callable
from typing import Any

import aiohttp

from campaigns.attack.answering_stripe import AnsweringStripe, Change
from campaigns.attack.cases import Cases
from campaigns.attack.gateway_requests import sendable
from campaigns.attack.hostile_texts import FORMULAS, HEADER_BREAKS, LINE_BREAKS, MARKUP
from campaigns.attack.log_lines import ForgedLogError, entry
from simulator.stripe_cloud import StripeCloud
from simulator.world import World
from stripe_payments.stripe_api import sign
from ubus_py import StatusError, UbusError

__all__ = ["log_injection"]

_WORDS = frozenset({"forged", "the key was given away"})


class _Log:
    """The daemon's log file, and how far it has been read."""

    def __init__(self, world: World) -> None:
        self._file = world.root / "var/log/stripe-payments.log"
        self._at = 0

    def news(self) -> list[bytes]:
        """The whole lines since the last time."""
        with self._file.open("rb") as file:
            file.seek(self._at)
            content = file.read()
        whole = content[: content.rfind(b"\n") + 1]
        self._at += len(whole)
        return whole.split(b"\n")[:-1]


def check(lines: list[bytes]) -> str | None:
    """Whether every line is one entry of the daemon's own."""
    for line in lines:
        try:
            fields = entry(line)
        except ForgedLogError as error:
            return str(error)
        if fields["msg"] in _WORDS:
            return f"a forged entry: {line!r:.200}"
    return None


class _Sources:
    """Everything that a stranger, Stripe, an administrator can have logged."""

    def __init__(self, world: World, proxy: AnsweringStripe) -> None:
        self._world = world
        self._proxy = proxy
        kept = json.loads((world.root / "etc/stripe-payments/secrets.json").read_text())
        self._secret: str = kept["webhook_secret"]
        self.all: dict[str, Callable[[str], Awaitable[None]]] = {
            "a webhook's event": self._event,
            "a forged webhook": self._forged,
            "an error of Stripe's": self._error,
            "an object of Stripe's": self._object,
            "the configuration": self._configuration,
            "arguments on the bus": self._arguments,
            "an address over HTTP": self._address,
        }

    async def _post(self, body: bytes, secret: str) -> None:
        now = int(time.time())
        headers = {"Stripe-Signature": f"t={now},v1={sign(body, secret, now)}"}
        url = f"{self._world.front.url}/api/payments/webhook"
        async with aiohttp.ClientSession() as http, http.post(url, data=body, headers=headers):
            pass

    async def _event(self, text: str) -> None:
        subject = {"id": "ch_1", "object": "charge"}
        for reported in (
            {"id": text, "type": text},
            {"id": [text], "type": {text: text}, "data": text},
            {"id": "evt_1", "type": text, "data": {"object": subject}},
            {"id": "evt_2", "type": "charge.refunded", "livemode": text, "data": {"object": subject}},
        ):
            await self._post(json.dumps(reported).encode(), self._secret)

    async def _forged(self, text: str) -> None:
        await self._post(json.dumps({"id": text}).encode(), "whsec_guess")

    async def _error(self, text: str) -> None:
        for status in (400, 402, 403, 500):
            body = json.dumps({"error": {"type": text, "code": text, "message": text, "param": text}})
            self._proxy.begin([Change(request, body=body, status=status) for request in range(4)])
            await self._call("portal")
        self._proxy.begin()

    async def _object(self, text: str) -> None:
        places = [(("data", 0, "id"), text), (("data", 0, "status"), text), (("data", 0, "currency"), text)]
        for path, value in places:
            self._proxy.begin([Change(request, places=[(path, value)]) for request in range(6)])
            await self._call("sync")
        self._proxy.begin()

    async def _configuration(self, text: str) -> None:
        for option in ("poll_interval", "public_url", "locale", "allowed_origin"):
            change: dict[str, Any] = {
                "config": "stripe-payments",
                "section": "main",
                "values": {option: text},
            }
            try:
                await self._world.bus.call("uci", "set", change)
            except UbusError:
                continue
        await self._world.bus.call("uci", "commit", {"config": "stripe-payments"})
        self._world.daemon.reload()

    async def _arguments(self, text: str) -> None:
        await self._call("grant", feature="remote_backup_daily", note=text)
        await self._call("grant", feature=text, until=text)
        await self._call("create_checkout_session", price_id=text, success_url=text, locale=text)
        await self._call("payment_status", payment_id=text)
        await self._call(text)

    async def _address(self, text: str) -> None:
        request: dict[str, Any] = {
            "method": text,
            "path": f"/payment-success{text}",
            "query": text,
            "headers": {"host": text},
        }
        await self._world.bus.call("stripe-payments.http", "request", request)

    async def _call(self, method: str, **args: Any) -> None:
        with contextlib.suppress(StatusError):  # a refusal is right
            await self._world.bus.call("stripe-payments", method or "x", args, timeout=60)


async def log_injection(cases: Cases) -> None:
    """Each text by each way; whatever then stands in the log is one entry a line and says only what it
    says.
    """
    texts = [str(sendable(text)) for text in (*LINE_BREAKS, *HEADER_BREAKS, *MARKUP, *FORMULAS)]
    async with StripeCloud() as cloud, AnsweringStripe(cloud.url) as proxy:
        environment = {"STRIPE_API_BASE": proxy.url}
        async with World(state=cases.folder, stripe=cloud, environment=environment) as world:
            sources, log = _Sources(world, proxy), _Log(world)
            cases.note(check(log.news()), "the start")
            lines = made = 0
            every = [(name, text) for text in texts for name in sources.all]
            for name, text in cases.some(every):
                await sources.all[name](text)
                news = log.news()
                lines += len(news)
                made += 1
                cases.note(check(news), f"{name}: {text[:60]!r}")
            cases.note(None if lines > made / 2 else f"only {lines} lines were logged", "the log")
