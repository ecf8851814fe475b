"""A router with the daemon in it, for tests of what the daemon says on the bus and over HTTP.

Real sockets, real SQLite, the simulator's broker, rpcd and Stripe; only the daemon runs in the test's
own process, so that a test can put rows into its ledger and look at what it keeps.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import shutil
import tempfile
import time
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from simulator.router import Router, prepare_root
from simulator.stripe_account import StripeAccount
from simulator.stripe_cloud import StripeCloud
from simulator.ubus_broker import UbusBroker
from stripe_payments.app import App
from stripe_payments.startup_gate import Parts
from ubus_py import Client, StatusError

ONETIME = "price_premium_onetime"
FEATURE = "remote_backup_daily"
PATIENCE_S = 30.0


@dataclass
class Reply:
    """An answer of `stripe-payments.http`, as the gateway gets it."""

    status: int
    reason: str
    headers: dict[str, str]
    body: str

    def json(self) -> Any:
        return json.loads(self.body)

    def as_received(self) -> dict[str, Any]:
        """As the gateway received it."""
        return {"status": self.status, "reason": self.reason, "headers": self.headers, "body": self.body}

    @property
    def error(self) -> tuple[int, str]:
        body = self.json()
        assert set(body) == {"error"}
        assert set(body["error"]) == {"code", "message"}
        return self.status, body["error"]["code"]


class Harness:
    """`bus` is a client of its own, root's; `state` the daemon's directory."""

    def __init__(self, folder: Path, environ: Mapping[str, str] | None = None) -> None:
        self._runtime = Path(tempfile.mkdtemp(prefix="harness-"))  # a socket's path must be short
        self.root = folder / "router"
        self.state = self.root / "etc/stripe-payments"
        self.bus_path = self._runtime / "ubus.sock"
        self.private = self._runtime / "private"
        self.private.mkdir(mode=0o700)
        prepare_root(self.root)
        self.broker = UbusBroker(self.bus_path, self.root / "usr/share/acl.d")
        self.router = Router(self.bus_path, self.root)
        self.bus = Client(str(self.bus_path))
        self.router.watch_config(self._config_changed)
        self.environ = dict(environ or {})
        self.service: App | None = None
        self._running: asyncio.Task[None] | None = None

    async def start(self) -> None:
        await self.broker.start()
        await self.router.start()
        await self.bus.start()
        await self.start_daemon()

    async def stop(self) -> None:
        await self.stop_daemon()
        await self.bus.close()
        await self.router.stop()
        await self.broker.stop()
        shutil.rmtree(self._runtime, ignore_errors=True)

    async def start_daemon(self) -> None:
        self.service = App(str(self.bus_path), self.state, environ=self.environ, private=self.private)
        self._running = asyncio.create_task(self.service.run())
        await self.bus.wait_for("stripe-payments", "stripe-payments.http", timeout=PATIENCE_S)

    async def stop_daemon(self) -> None:
        if self.service is not None and self._running is not None:
            self.service.stop()
            await asyncio.wait_for(self._running, PATIENCE_S)
            self.service = self._running = None

    async def parts(self) -> Parts:
        assert self.service is not None
        return await self.service.gate.parts()

    def _config_changed(self, config: str) -> None:
        """What the init script's reload trigger does."""
        if config == "stripe-payments" and self.service is not None:
            self.service.reload()

    async def configure(self, section: str, **values: str | list[str]) -> None:
        """`uci set stripe-payments.SECTION…; uci commit`; returns when the daemon has read it."""
        before = (await self.parts()).settings()
        await self.bus.call(
            "uci", "set", {"config": "stripe-payments", "section": section, "values": dict(values)}
        )
        await self.bus.call("uci", "commit", {"config": "stripe-payments"})

        async def read() -> bool:
            return (await self.parts()).settings() != before

        await self.until(read)

    async def call(self, method: str, /, **args: Any) -> Any:
        return await self.bus.call("stripe-payments", method, args)

    async def command(self, method: str, *words: str, locale: str | None = "en") -> Any:
        """A seller's command of root's shell: the response, {status, data}."""
        reader, writer = await asyncio.open_unix_connection(self.private / "seller.sock")
        writer.write(json.dumps({"method": method, "words": words, "locale": locale}).encode() + b"\n")
        response = json.loads(await reader.readline())
        writer.close()
        await writer.wait_closed()
        assert set(response) == {"status", "data"}
        return response

    async def refusal(self, method: str, /, **args: Any) -> dict[str, str]:
        """The error with which a method answers; {code, message, hint, user_hint} and the ubus `status`."""
        with pytest.raises(StatusError) as refused:
            await self.call(method, **args)
        body: Any = refused.value.data
        assert set(body) == {"error"}
        assert set(body["error"]) == {"code", "message", "hint", "user_hint"}
        return {**body["error"], "status": refused.value.status.name}

    async def http(
        self,
        method: str,
        path: str,
        body: object = "",
        *,
        query: str = "",
        **headers: str,
    ) -> Reply:
        """One request as the gateway hands it over. A body that is no text is sent as JSON; header names
        are given with underscores."""
        sent = {name.replace("_", "-"): value for name, value in headers.items()}
        sent.setdefault("host", "192.168.1.1")
        if not isinstance(body, str | bytes):
            sent.setdefault("content-type", "application/json")
            body = json.dumps(body)
        text = body.decode("utf-8", "surrogateescape") if isinstance(body, bytes) else body
        reply: Any = await self.bus.call(
            "stripe-payments.http",
            "request",
            {"method": method, "path": path, "query": query, "headers": dict(sent), "body": text},
        )
        assert set(reply) == {"status", "reason", "headers", "body"}
        return Reply(reply["status"], reply["reason"], reply["headers"], reply["body"])

    async def login(self, username: str = "root") -> str:
        reply = await self.bus.call("session", "login", {"username": username, "password": "router"})
        session_id = reply["ubus_rpc_session"]
        assert isinstance(session_id, str)
        return session_id

    async def trust_the_clock(self) -> int:
        """As if Stripe had just answered; returns the trusted time."""
        now = int(time.time())
        (await self.parts()).clock.observe(now)
        return now

    async def add_checkout(self, session_id: str, **columns: Any) -> None:
        """A checkout session that this router created, as the ledger keeps it."""
        facts = {
            "idempotency_key": session_id,
            "price_alias": ONETIME,
            "price_id": "price_1",
            "mode": "payment",
            "success_url": "http://192.168.1.1/payment-success",
            "cancel_url": "http://192.168.1.1/payment-cancel",
            "locale": "auto",
            "created_at": int(time.time()),
            **columns,
        }
        state = facts.pop("state", "open")
        url = facts.pop("url", f"https://checkout.stripe.com/c/pay/{session_id}")

        def add(tx: Any) -> None:
            row = tx.checkouts.add(**facts)
            tx.checkouts.update(row.local_id, session_id=session_id, url=url, state=state)

        await (await self.parts()).ledger.write(add)

    async def until(self, condition: Any) -> None:
        """Waits until the coroutine function `condition` returns something true."""
        deadline = time.monotonic() + PATIENCE_S
        while not await condition():
            assert time.monotonic() < deadline, "not in time"
            await asyncio.sleep(0.02)


@dataclass
class Shop:
    """A harness whose router sells: keys, prices, and a Stripe to pay at."""

    harness: Harness
    stripe: StripeCloud
    account: StripeAccount

    async def checkout(self, **args: Any) -> str:
        reply = await self.harness.call("create_checkout_session", **{"price_id": ONETIME, **args})
        session_id = reply["session_id"]
        assert isinstance(session_id, str)
        return session_id

    async def buy(self) -> str:
        session_id = await self.checkout()
        self.stripe.pay(session_id)

        async def unlocked() -> bool:
            return (await self.harness.call("has", feature=FEATURE))["unlocked"] is True

        await self.harness.until(unlocked)
        return session_id


@contextlib.asynccontextmanager
async def open_harness(folder: Path, **environ: str) -> AsyncIterator[Harness]:
    harness = Harness(folder, environ)
    try:
        await harness.start()
        yield harness
    finally:
        await harness.stop()


@contextlib.asynccontextmanager
async def open_shop(folder: Path) -> AsyncIterator[Shop]:
    stripe = StripeCloud()
    url = await stripe.start()
    try:
        async with open_harness(folder, STRIPE_API_BASE=url) as harness:
            account = StripeAccount(url)
            await harness.call("set_keys", secret_key=account.secret_key)
            await harness.call("provision")
            yield Shop(harness, stripe, account)
    finally:
        await stripe.stop()
