"""Routers that buy, change, cancel and poll, whatever happens to the hub meanwhile, and what must be true of
each afterwards.
"""

from __future__ import annotations

import asyncio
import time
import uuid
from collections.abc import Callable
from dataclasses import dataclass, field
from random import Random
from typing import Any, Final

import httpx

from campaigns.hub.hub_under_test import HubUnderTest
from payments_hub.routers import new_secret
from tests.hub.vendor import request_stripe

__all__ = ["LIVES", "BrokenError", "Life"]

CONVERGED_S: Final = 60.0
"""Within which everything has to be right after the last disturbance: no job may be stuck for longer."""
_GIVES_UP_S: Final = 120.0
_LONGEST_ANSWER_S: Final = 30.0
_POLL_S: Final = 0.3
_STATUS_EVERY_S: Final = 3.0
"""As a router's daemon looks after a payment whose page was left."""

PREMIUM: Final = frozenset({"backups", "updates"})
BUSINESS: Final = PREMIUM | {"monitoring"}
NOTHING: Final = frozenset[str]()

_URLS: Final = {"success_url": "http://192.168.1.1/ok", "cancel_url": "http://192.168.1.1/no"}


class BrokenError(Exception):
    """What is wrong with one router, as a sentence."""


@dataclass
class Life:
    """One router. `calm_since` returns when the last disturbance ended (monotonic), or the future."""

    hub: HubUnderTest
    http: httpx.AsyncClient
    chance: Random
    calm_since: Callable[[], float]
    kind: str = ""
    secret: str = field(default_factory=new_secret)
    id: str = ""
    address: str = ""
    """Households have different addresses: enrolments are counted by them."""
    expected: frozenset[str] = NOTHING
    sessions: int = 0

    async def live(self) -> None:
        """Raises BrokenError."""
        await self.enroll()
        await LIVES[self.kind](self)

    # -- HTTP -------------------------------------------------------------------------------------

    async def request(self, verb: str, path: str, body: Any = None, key: str | None = None) -> httpx.Response:
        """The first answer that is final, at whichever instance; a router repeats everything else."""
        headers = {"authorization": f"Bearer {self.secret}", "x-forwarded-for": self.address}
        if key is not None:
            headers["idempotency-key"] = key
        deadline = time.monotonic() + _GIVES_UP_S
        why = ""
        while time.monotonic() < deadline:
            door = self.chance.choice(self.hub.front_doors)
            try:
                reply = await self.http.request(
                    verb, door + path, json=body, headers=headers, timeout=_LONGEST_ANSWER_S
                )
            except httpx.TransportError as error:
                why = type(error).__name__
            else:
                if reply.status_code < 500 and reply.status_code != 429:
                    return reply
                why = f"{reply.status_code} {_code(reply)}"
                if reply.status_code == 500:
                    raise BrokenError(f"{path}: an internal error")
            await asyncio.sleep(self.chance.uniform(0.1, 0.6))
        raise BrokenError(f"{verb} {path}: no final answer in {_GIVES_UP_S:.0f} s, last {why}")

    async def call(self, method: str, **arguments: Any) -> Any:
        """A method under a key of its own, so that a repetition is no second purchase."""
        reply = await self.request(
            "POST", f"/v1/methods/{method}", arguments, key=uuid.UUID(int=self.chance.getrandbits(128)).hex
        )
        if reply.status_code != 200:
            raise BrokenError(f"{method}: {reply.status_code} {_code(reply)}")
        return reply.json()

    async def unlocked(self) -> frozenset[str]:
        reply = await self.request("GET", "/v1/state")
        if reply.status_code != 200:
            raise BrokenError(f"state: {reply.status_code} {_code(reply)}")
        return frozenset(name for name, one in reply.json()["features"].items() if one["unlocked"])

    # -- steps ------------------------------------------------------------------------------------

    async def enroll(self) -> None:
        body = {"secret": self.secret, "board": "bananapi,bpi-r4", "version": "1"}
        reply = await self.request("POST", "/v1/enrollments", body)
        if reply.status_code != 201:
            raise BrokenError(f"enrolment: {reply.status_code} {_code(reply)}")
        self.id = reply.json()["router_id"]

    async def buy(self, price: str, expected: frozenset[str]) -> str:
        session: str = (await self.call("create_checkout_session", price_id=price, **_URLS))["session_id"]
        self.sessions += 1
        self.hub.cloud.pay(session)
        await self.until(expected, session)
        return session

    async def until(self, expected: frozenset[str], session: str | None = None) -> None:
        """Wait for what must be unlocked, as a router does that was paid for: it asks for its session."""
        self.expected = expected
        asked = began = time.monotonic()
        while (found := await self.unlocked()) != expected:
            now = time.monotonic()
            if now - max(began, self.calm_since()) > CONVERGED_S:
                raise BrokenError(f"{self.kind}: {sorted(found)} is unlocked and not {sorted(expected)}")
            if session is not None and now - asked > _STATUS_EVERY_S:
                await self.request("POST", "/v1/methods/payment_status", {"payment_id": session})
                asked = now
            await asyncio.sleep(_POLL_S)

    async def plan(self) -> str:
        await self.buy("premium_monthly", PREMIUM)
        reply = await self.request("GET", "/v1/state")
        plans = reply.json()["en"]["subscriptions"]
        if len(plans) != 1:
            raise BrokenError(f"{len(plans)} plans instead of one")
        return str(plans[0]["id"])


async def _change(life: Life) -> None:
    plan = await life.plan()
    key = f"change-{life.id}"
    body = {"subscription": plan, "price_id": "business_monthly"}
    await life.request("POST", "/v1/methods/change_plan", body, key=key)
    await life.until(BUSINESS)


async def _cancel(life: Life) -> None:
    plan = await life.plan()
    body = {"subscription": plan, "at_period_end": False}
    await life.request("POST", "/v1/methods/cancel_subscription", body, key=f"cancel-{life.id}")
    await life.until(NOTHING)


async def _refund(life: Life) -> None:
    """In the vendor's Dashboard: only a delivery or the sweep can bring it."""
    session = await life.buy("lifetime_once", PREMIUM)
    paid = life.hub.cloud.account.get("checkout.session", session)["payment_intent"]
    await request_stripe(life.hub.cloud, "post", "refunds", payment_intent=paid)
    await life.until(NOTHING)


async def _rotate(life: Life) -> None:
    new = new_secret()
    reply = await life.request("POST", "/v1/credentials/rotate", {"secret": new})
    if reply.status_code != 200:
        raise BrokenError(f"rotation: {reply.status_code} {_code(reply)}")
    life.secret = new
    await life.buy("lifetime_once", PREMIUM)


async def _plan(life: Life) -> None:
    await life.plan()


async def _purchase(life: Life) -> None:
    await life.buy("lifetime_once", PREMIUM)


LIVES: Final[dict[str, Any]] = {
    "plan": _plan,
    "purchase": _purchase,
    "change": _change,
    "cancel": _cancel,
    "refund": _refund,
    "rotate": _rotate,
}


def _code(reply: httpx.Response) -> str:
    try:
        return str(reply.json()["error"]["code"])
    except (ValueError, KeyError):
        return reply.text[:80]
