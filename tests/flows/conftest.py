"""A whole simulated world for each test, and the buyer who lives in it.

A test runs once for each mode of `modes`. What the seller does goes through `Buyer.seller`.
"""

from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any, Protocol, Self

import aiohttp
import pytest

from simulator.router.uci_file import parse
from simulator.world import World
from tests.daemon_starts import daemons_start_warm
from tests.flows.feature_observer import FeatureObserver
from tests.flows.hub_mode_router import HubModeRouter
from tests.flows.modes import Mode, modes_of
from tests.flows.sellers import seller_of
from tests.hub.conftest import database_url, postgres, template
from ubus_py import Client

__all__ = ["daemons_start_warm", "database_url", "postgres", "template"]

ONETIME = "price_premium_onetime"
FEATURE = "remote_backup_daily"


class Buyer:
    """A buyer at the router: buys over the bus, checks every place where an unlocked feature shows."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.observer = FeatureObserver(world)
        self.events = self.observer.events
        self.seller = seller_of(world)

    async def listens(self) -> Self:
        """Waits until the bus delivers events to them."""

        async with Client(str(self.world.bus_path)) as another:  # a client does not get its own events

            async def heard() -> bool:
                await another.send("stripe-payments.probe")
                return bool(self.events)

            await self.world.wait_until(heard)
        self.events.clear()
        return self

    async def checkout(self, price: str = ONETIME) -> str:
        """Starts a purchase; returns the session id the buyer is sent away with."""
        reply = await self.world.bus.call(
            "stripe-payments",
            "create_checkout_session",
            {
                "price_id": price,
                "success_url": f"{self.world.front.url}/payment-success",
                "cancel_url": f"{self.world.front.url}/payment-cancel",
            },
        )
        session_id = reply["session_id"]
        assert isinstance(session_id, str)
        return session_id

    async def buy(self, price: str = ONETIME, card: str = "4242424242424242") -> str:
        """Starts a purchase and pays; returns the session id."""
        session_id = await self.checkout(price)
        await self.world.pay(session_id, card)
        return session_id

    def in_uci(self, feature: str = FEATURE) -> dict[str, Any]:
        """The feature's section of /etc/config/stripe-features on disk ({} where there is none)."""
        file = self.world.root / "etc/config/stripe-features"
        section = parse("stripe-features", file.read_text()).section(feature)
        return dict(section.options) if section else {}

    async def everywhere(self, feature: str = FEATURE, *, unlocked: bool, patience_s: float = 30.0) -> None:
        """Waits until bus, UCI file, hotplug and event listener agree on `feature`."""

        async def agreed() -> bool:
            return (
                await self.world.answers_unlocked(feature) is unlocked
                and self.in_uci(feature).get("unlocked") == ("1" if unlocked else "0")
                and [event["unlocked"] for event in self.observer.listeners()[feature]][-1:] == [unlocked]
                and self.observer.scripts()[feature][-1:] == ["unlock" if unlocked else "lock"]
            )

        await self.world.wait_until(agreed, patience_s=patience_s)

    def unlock_count(self, feature: str = FEATURE) -> int:
        """How many `stripe-payments.feature` events unlocked it."""
        return sum(event["unlocked"] is True for event in self.observer.listeners()[feature])

    async def payment(self, payment_id: str) -> dict[str, Any]:
        """`payment_status` over the bus."""
        return await self.world.bus.call("stripe-payments", "payment_status", {"payment_id": payment_id})

    async def becomes(self, payment_id: str, *statuses: str) -> dict[str, Any]:
        """The payment, with one of these statuses. In direct mode one `sync` brings it; in hub mode the hub
        does, by itself.
        """
        if not isinstance(self.world, HubModeRouter):
            await self.world.bus.call("stripe-payments", "sync", {})
            payment = await self.payment(payment_id)
            assert payment["status"] in statuses
            return payment

        async def has_become() -> bool:
            return (await self.payment(payment_id))["status"] in statuses

        await self.world.wait_until(has_become)
        return await self.payment(payment_id)


class WorldMaker(Protocol):
    """Makes a world to enter; elsewhere (tests/interop) one with a real router in it."""

    def __call__(self, *, webhooks: bool = True, configured: bool = True) -> World: ...


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Once for each mode."""
    if (modes := modes_of(metafunc)) and "mode" in metafunc.fixturenames:
        metafunc.parametrize("mode", modes)


@pytest.fixture
def mode() -> Mode:
    """How the router sells; elsewhere (tests/interop) directly."""
    return "direct"


@pytest.fixture
def make_world(request: pytest.FixtureRequest, tmp_path: Path, mode: Mode) -> WorldMaker:
    """Worlds of this test's own."""

    def make(*, webhooks: bool = True, configured: bool = True) -> World:
        if mode == "direct":
            return World(state=tmp_path, webhooks=webhooks, configured=configured)
        assert webhooks, "no router in hub mode is reached by Stripe"
        assert configured, "the vendor configures a router before a customer gets it"
        return HubModeRouter(
            state=tmp_path,
            database_url=request.getfixturevalue("database_url"),
            webhooks=mode == "hub",
        )

    return make


@pytest.fixture
def second_router(request: pytest.FixtureRequest, tmp_path: Path) -> Callable[[World], World]:
    """Makes another router of the same seller, to enter while the first one runs."""

    def make(first: World) -> World:
        if not isinstance(first, HubModeRouter):
            return World(state=tmp_path / "second", stripe=first.stripe)
        url = request.getfixturevalue("database_url")
        return HubModeRouter(state=tmp_path / "second", database_url=url, webhooks=True, beside=first)

    return make


@pytest.fixture
async def world(make_world: WorldMaker) -> AsyncIterator[World]:
    """Stripe notifies the router (or its hub) by webhook, and the router polls."""
    async with make_world() as world:
        yield world
        assert world.stripe.drift == [], "the simulator answered what Stripe's SDK does not know"


@pytest.fixture
async def quiet_world(make_world: WorldMaker) -> AsyncIterator[World]:
    """Behind NAT: Stripe has no address to deliver to."""
    async with make_world(webhooks=False) as world:
        yield world


@pytest.fixture
async def buyer(world: World) -> Buyer:
    """A buyer in `world`."""
    return await Buyer(world).listens()


class LuciUser:
    """A logged-in user's HTTP client: the session id of rpcd, and a cookie jar as a browser has one."""

    def __init__(self, world: World, http: aiohttp.ClientSession, sid: str) -> None:
        self.world = world
        self.http = http
        self.sid = sid
        self.origin = world.front.url

    def url(self, path: str) -> str:
        """The address of `path` on the router."""
        return f"{self.origin}{path}"

    async def hand_over(self) -> aiohttp.ClientResponse:
        """What the LuCI app's shared module does when it loads: the cookie for /api/payments."""
        response = await self.http.post(
            self.url("/api/payments/session"), headers={"Authorization": f"Bearer {self.sid}"}
        )
        await response.read()  # frees the connection
        return response


@pytest.fixture
async def luci_user(world: World) -> AsyncIterator[LuciUser]:
    """root, logged in through rpcd."""
    login = await world.bus.call("session", "login", {"username": "root", "password": "router"})
    sid = login["ubus_rpc_session"]
    assert isinstance(sid, str)
    # quote_cookie and unsafe: aiohttp keeps no cookies of an IP address without it; browsers do.
    jar = aiohttp.CookieJar(unsafe=True)
    async with aiohttp.ClientSession(cookie_jar=jar) as http:
        yield LuciUser(world, http, sid)
