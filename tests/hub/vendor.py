"""A vendor: a hub on real sockets, a simulated Stripe, and routers that call it."""

from __future__ import annotations

import asyncio
import socket
import ssl
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, nullcontext
from dataclasses import dataclass, field, replace
from email.utils import formatdate
from pathlib import Path
from typing import Any

import httpx
import uvicorn
from starlette.types import ASGIApp, Message, Receive, Scope, Send
from stripe import StripeClient

from payments_hub.catalog import parse
from payments_hub.config import Config
from payments_hub.console import create_console
from payments_hub.hub import Hub
from payments_hub.listeners import BoundedProtocol
from payments_hub.routers import new_secret
from payments_hub.statements import rotate_keys
from payments_hub.web import Part, create_app
from simulator.stripe_cloud import StripeCloud
from stripe_payments.setup import Provisioner
from stripe_payments.sync.events import EVENT_TYPES

KEY = "sk_test_51VendorVendorVendor"
PATIENCE_S = 30.0
TLS = ssl.create_default_context()
"""Of all clients: reading the certificate authorities takes a hundredth of a second."""

CATALOG = """
[seller]
name = "Example Networks"
support_url = "https://example.org/help"

[features.backups]
title = "Daily backups"
title_it = "Backup giornalieri"

[features.updates]
title = "Updates"

[features.monitoring]
title = "Monitoring"

[plans.premium]
title = "Premium"
features = ["updates", "backups"]

[plans.business]
title = "Business"
features = ["updates", "backups", "monitoring"]

[products.lifetime]
title = "Premium for ever"
title_it = "Premium per sempre"
features = ["updates", "backups"]

[prices.premium_monthly]
of = "premium"
amount = 499
currency = "eur"
interval = "month"

[prices.business_monthly]
of = "business"
amount = 1499
currency = "eur"
interval = "month"

[prices.lifetime_once]
of = "lifetime"
amount = 4999
currency = "eur"
interval = "none"
"""


@dataclass
class Caller:
    """A router as the hub sees it: a secret and HTTP."""

    http: httpx.AsyncClient
    secret: str = field(default_factory=new_secret)
    id: str = ""

    async def enroll(self, code: str | None = None) -> httpx.Response:
        body = {"secret": self.secret, "board": "bananapi,bpi-r4", "version": "0.9"}
        reply = await self.http.post("/v1/enrollments", json=body | ({"code": code} if code else {}))
        if reply.status_code == 201:
            self.id = reply.json()["router_id"]
        return reply

    async def request(self, verb: str, path: str, body: Any = None, **headers: str) -> httpx.Response:
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        given = {"authorization": f"Bearer {self.secret}", **named}
        return await self.http.request(verb, path, json=body, headers=given, timeout=PATIENCE_S)

    async def call(self, method: str, key: str | None = None, **arguments: Any) -> Any:
        """A method's reply; raises AssertionError for an error."""
        headers = {"idempotency_key": key} if key else {}
        reply = await self.request("POST", f"/v1/methods/{method}", arguments, **headers)
        assert reply.status_code == 200, reply.text
        return reply.json()

    async def state(self) -> dict[str, Any]:
        reply = await self.request("GET", "/v1/state")
        assert reply.status_code == 200, reply.text
        body: dict[str, Any] = reply.json()
        return body

    async def unlocked(self) -> set[str]:
        return {name for name, held in (await self.state())["features"].items() if held["unlocked"]}

    async def checkout(self, price: str) -> str:
        """The id of a new Checkout session."""
        urls = {"success_url": "http://192.168.1.1/ok", "cancel_url": "http://192.168.1.1/no"}
        session: str = (await self.call("create_checkout_session", price_id=price, **urls))["session_id"]
        return session


@dataclass
class Vendor:
    """`hub` is in this process, so that its parts can be used directly; `url` is where it listens."""

    hub: Hub
    cloud: StripeCloud
    url: str
    http: httpx.AsyncClient

    @classmethod
    @asynccontextmanager
    async def open(
        cls,
        database_url: str,
        folder: Path,
        *,
        cloud: StripeCloud | None = None,
        webhooks: bool = True,
        catalog: str | None = CATALOG,
        working: bool = True,
        **settings: Any,
    ) -> AsyncIterator[Vendor]:
        """`cloud`: one that is there to be started; `catalog`: None for a hub that sells nothing yet."""
        async with cloud or StripeCloud() as cloud:
            port = free_port()
            url = f"http://127.0.0.1:{port}"
            secret = await register(cloud, f"{url}/stripe/webhook") if webhooks else "whsec_of_nobody_at_all"
            signing_keys = folder / "signing-keys.json"
            rotate_keys(signing_keys)
            config = Config(
                database_url=database_url,
                stripe_secret_key=KEY,
                webhook_secret=secret,
                signing_key_file=signing_keys,
                api_base=cloud.url,
                **{"hub_url": "https://hub.example.org", "stripe_limit": 2000, **settings},
            )
            async with Hub.open(config) as hub:
                if catalog is not None:
                    await apply_catalog(hub, catalog)
                served = _serving(_at_the_hubs_time(create_app(hub), hub), port, date_header=False)
                async with served, httpx.AsyncClient(base_url=url, verify=TLS) as http:
                    vendor = cls(hub, cloud, url, http)
                    async with vendor.worker() if working else nullcontext():
                        yield vendor

    @asynccontextmanager
    async def worker(self) -> AsyncIterator[None]:
        """A worker, in this process."""
        working = asyncio.create_task(self.hub.worker.run())
        try:
            yield
        finally:
            working.cancel()
            await asyncio.gather(working, return_exceptions=True)

    @asynccontextmanager
    async def instance(self, only: Part | None = None, **settings: Any) -> AsyncIterator[Vendor]:
        """Another instance on the same database, with other settings."""
        port = free_port()
        url = f"http://127.0.0.1:{port}"
        async with (
            Hub.open(replace(self.hub.config, **settings)) as hub,
            _serving(create_app(hub, only), port),
            httpx.AsyncClient(base_url=url, verify=TLS) as http,
        ):
            yield Vendor(hub, self.cloud, url, http)

    @asynccontextmanager
    async def console(self) -> AsyncIterator[httpx.AsyncClient]:
        """The console's own listener; the client keeps cookies and follows no redirect."""
        port = free_port()
        async with (
            _serving(create_console(self.hub), port),
            httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}", timeout=PATIENCE_S, verify=TLS) as client,
        ):
            yield client

    def caller(self) -> Caller:
        return Caller(self.http)

    async def router(self) -> Caller:
        """An enrolled router."""
        caller = self.caller()
        assert (await caller.enroll(await self.hub.routers.new_enrollment_code())).status_code == 201
        return caller


async def apply_catalog(hub: Hub, document: str = CATALOG) -> None:
    settings = parse(document).settings

    async def store(_prices: object) -> None:
        return None

    async def reload() -> None:
        return None

    provisioner = Provisioner(hub.stripe, lambda: settings, store, lambda: "test", reload)
    reply = await provisioner.provision()
    await hub.catalogs.apply(document, {row["id"]: row["price_id"] for row in reply["prices"]})


async def eventually(holds: Callable[[], Awaitable[Any]], what: str) -> Any:
    """Wait until `holds` returns something true, and return that."""
    deadline = time.monotonic() + PATIENCE_S
    while not (found := await holds()):
        assert time.monotonic() < deadline, f"not within {PATIENCE_S:.0f} s: {what}"
        await asyncio.sleep(0.02)
    return found


async def request_stripe(cloud: StripeCloud, method: str, path: str, **params: Any) -> Any:
    """A request of the vendor's own to Stripe; the response's body."""
    client: Any = StripeClient(KEY, base_addresses={"api": cloud.url})
    return (await asyncio.to_thread(client.raw_request, method, f"/v1/{path}", **params)).data


async def register(cloud: StripeCloud, url: str) -> str:
    """Register a webhook endpoint; its secret."""
    events = sorted(EVENT_TYPES)
    return str(
        (await request_stripe(cloud, "post", "webhook_endpoints", url=url, enabled_events=events))["secret"]
    )


def free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port: int = free.getsockname()[1]
        return port


def _at_the_hubs_time(app: ASGIApp, hub: Hub) -> ASGIApp:
    """Answers have the hub's time as their Date: the web server takes it from the machine's clock, which in a
    test does not follow that of the simulated Stripe.
    """

    async def dated(scope: Scope, receive: Receive, send: Send) -> None:
        async def send_dated(message: Message) -> None:
            if message["type"] == "http.response.start":
                date = formatdate(hub.clock.now(), usegmt=True).encode()
                message["headers"] = [*message["headers"], (b"date", date)]
            await send(message)

        await app(scope, receive, send_dated)

    return dated


@asynccontextmanager
async def _serving(app: ASGIApp, port: int, *, date_header: bool = True) -> AsyncIterator[None]:
    """A web server of an instance. At its end a router that waits for a change is not waited for."""
    config = uvicorn.Config(
        app,
        host="127.0.0.1",
        port=port,
        http=BoundedProtocol,
        log_config=None,
        access_log=False,
        timeout_graceful_shutdown=1,
        date_header=date_header,
    )
    server = uvicorn.Server(config)
    serving = asyncio.create_task(server._serve())  # `serve` would take the process's signals
    try:
        deadline = time.monotonic() + PATIENCE_S
        while not server.started:
            assert time.monotonic() < deadline
            await asyncio.sleep(0.01)
        yield
    finally:
        server.should_exit = True
        await asyncio.gather(serving, return_exceptions=True)
