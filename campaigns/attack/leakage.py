"""A router's whole life with marked secrets; then everything that it left is searched for them.

The secret key and the webhook's secret may be in `secrets.json` and, the key, in the Authorization header of
requests to Stripe. Nowhere else: not in a log, an answer, an event, a command line, an environment, a file,
a page, the ledger, a core file, an encrypted backup.
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import json
import os
import secrets
import signal
import time
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any
from urllib.parse import quote

import aiohttp

from campaigns.attack.answering_stripe import AnsweringStripe
from campaigns.attack.cases import Cases
from simulator.stripe_cloud import StripeCloud
from simulator.tests.ubus_broker.raw_client import RawClient
from simulator.world import World
from stripe_payments.bus_api import api
from stripe_payments.stripe_api import sign
from tests.examples.router_with_backups import BackupServer, RouterWithBackups
from tests.flows.conftest import Buyer
from ubus_py import StatusError
from ubus_py.wire import Attr, AttrValue, MessageType

__all__ = ["Secrets", "leakage", "spellings"]

MONITOR_OBJECT = 3
PATIENCE_S = 120.0
_WINDOW = 10
"""So many characters of a secret in a row give away too much: people are shown the last four."""


class Secrets:
    """What is to be found nowhere. `key` and `other_key` are Stripe keys, `webhook` a signing secret that was
    entered; the one that Stripe makes is added by `also`.
    """

    def __init__(self) -> None:
        self.key = f"sk_test_51{secrets.token_hex(24)}"
        self.other_key = f"rk_test_51{secrets.token_hex(24)}"
        self.webhook = f"whsec_{secrets.token_hex(20)}"
        self._named = {
            "the key": self.key,
            "the restricted key": self.other_key,
            "the webhook secret": self.webhook,
        }

    def also(self, name: str, value: str) -> None:
        self._named[name] = value

    def found_in(self, content: bytes) -> list[str]:
        return [
            name for name, value in self._named.items() if any(one in content for one in spellings(value))
        ]

    @property
    def names(self) -> list[str]:
        return list(self._named)


def spellings(secret: str) -> list[bytes]:
    """A secret as programs write it, and any part of it that is too long to be chance."""
    core = secret.rpartition("_")[2]
    windows = [core[at : at + _WINDOW] for at in range(len(core) - _WINDOW + 1)]
    whole = [
        base64.b64encode(f"{prefix}{secret}".encode()).rstrip(b"=")[4:-4].decode()
        for prefix in ("", "x", "xx")
    ]
    return [text.encode() for text in (*windows, *whole, secret.encode().hex(), quote(secret), core[::-1])]


class _Tap:
    """Everything that passes on the bus, but for calls of the daemon's methods: some bring the keys in."""

    def __init__(self, client: RawClient) -> None:
        self._client = client
        self._over = False
        self.seen: list[bytes] = []

    @classmethod
    @contextlib.asynccontextmanager
    async def on(cls, path: Path) -> AsyncIterator[_Tap]:
        tap = cls(await RawClient.connect(path))
        add: dict[int, AttrValue] = {Attr.OBJID: MONITOR_OBJECT, Attr.METHOD: "add"}
        await tap._client.send(MessageType.INVOKE, MONITOR_OBJECT, add)
        listening = asyncio.create_task(tap._listen())
        try:
            yield tap
        finally:
            tap._over = True
            await tap._client.close()  # which ends the listening: there is nothing more to be read
            await asyncio.gather(listening, return_exceptions=True)

    async def _listen(self) -> None:
        while not self._over:
            with contextlib.suppress(TimeoutError):
                frame = await self._client.frame()
                if frame.type == MessageType.MONITOR and not _is_call(frame.body):
                    self.seen.append(frame.body)


_METHODS = (b"request\0", *(f"{method.name}\0".encode() for method in api))
_SHOWN_TYPE, _SHOWN_FRAME = 4, 5


def _is_call(shown: bytes) -> bool:
    """Whether a frame that a monitor is shown calls one of the daemon's methods."""
    parts: dict[int, bytes] = {}
    at = 0
    while at + 4 <= len(shown):
        word = int.from_bytes(shown[at : at + 4], "big")
        length = word & 0xFFFFFF
        parts[word >> 24 & 0x7F] = shown[at + 4 : at + length]
        at += max(4, length + 3 & ~3)
    if int.from_bytes(parts[_SHOWN_TYPE], "big") != MessageType.INVOKE:
        return False
    return any(method in parts[_SHOWN_FRAME][:80] for method in _METHODS)


class _Life:
    """One router from its first key to its last crash. `left`: what it left, by the name of the place."""

    def __init__(self, world: World, secrets_: Secrets, stripe: AnsweringStripe) -> None:
        self.world = world
        self.secrets = secrets_
        self.stripe = stripe
        self.answers: list[bytes] = []
        self.left: dict[str, bytes] = {}

    async def call(self, method: str, **args: Any) -> Any:
        """A call whose refusal is an answer too."""
        try:
            return await self.world.bus.call("stripe-payments", method, args, timeout=60)
        except StatusError as refused:
            return refused.data

    async def fetch(self, http: aiohttp.ClientSession, method: str, path: str, **options: Any) -> None:
        async with http.request(method, self.world.front.url + path, **options) as response:
            body = await response.read()
            self.answers.append(f"{method} {path} {response.status} {response.headers} ".encode() + body)

    async def keys(self) -> None:
        """Wrong ones first: a refusal must not repeat them."""
        key, webhook = self.secrets.key, self.secrets.webhook
        for wrong in (
            {"secret_key": key.replace("sk_", "sk-")},
            {"secret_key": f"{key}$"},
            {"secret_key": f"Bearer {key}"},
            {"secret_key": webhook},
            {"webhook_secret": key},
            {"webhook_secret": f"x{webhook}"},
            {"publishable_key": key},
            {"secret_key": key, "publishable_key": "pk_live_1234567890abcdef"},
            {"secret_key": key * 20},
            {"secret_key": [key]},
            {"secret_key": {"key": key}},
            {"webhook_secret": f"{webhook}\nx"},
        ):
            await self.call("set_keys", **wrong)
        for method in ("create_checkout_session", "payment_status", "grant", "portal", "refund", "has"):
            await self.call(method, price_id=key, payment_id=key, feature=key, return_url=key, reason=key)
        await self.call(
            "set_keys", secret_key=f" {key}\n", webhook_secret=webhook, publishable_key="pk_test_1234567890"
        )
        await self.call("provision")
        await self.world.wait_until(self.world._sells, patience_s=PATIENCE_S)
        await self.call("setup_webhook", url=self.world.front.url)
        kept = json.loads((self.world.root / "etc/stripe-payments/secrets.json").read_text())
        self.secrets.also("the secret of the endpoint", kept["webhook_secret"])

    async def business(self) -> None:
        """Purchases, declines, refunds, a subscription, and everything that looks at them."""
        buyer = Buyer(self.world)
        await buyer.buy(card="4000000000000002")
        bought = await buyer.buy()
        await buyer.everywhere(unlocked=True, patience_s=PATIENCE_S)
        await self.call("refund", payment_id=bought)
        await self.call("refund", payment_id=bought)
        await buyer.buy("price_premium_monthly")
        await buyer.everywhere("email_support", unlocked=True, patience_s=PATIENCE_S)
        for method in (
            "status",
            "catalog",
            "features",
            "subscriptions",
            "transactions",
            "check",
            "grants",
            "sync",
        ):
            await self.call(method)
        held: Any = await self.call("subscriptions")
        subscription = held["subscriptions"][0]["id"]
        await self.call("preview_change", subscription=subscription, price_id="price_business_monthly")
        await self.call("cancel_subscription", subscription=subscription)
        await self.call("portal", return_url=f"{self.world.front.url}/")
        for object_id in (bought, subscription, "pi_unknown", "ch_unknown"):
            await self.call("payment_status", payment_id=object_id)

    async def misfortune(self) -> None:
        """Stripe fails in every way that it can; then it takes the key away."""
        for fault in (
            {"status": 500},
            {"status": 429, "retry_after": 1},
            {"status": 402},
            {"drop_connection": True},
            {"truncate": True},
        ):
            await self.world.control("faults", {**fault, "count": 2})
            await self.call("sync")
            await self.call("portal")
        await self.world.control("faults", {})
        await self.world.control("keys", {"key": self.secrets.key, "expired": True})
        for method in ("sync", "status", "check", "provision"):
            await self.call(method)
        await self.world.control("keys", {"key": self.secrets.other_key, "missing": ["rak_charge_read"]})
        await self.call("set_keys", secret_key=self.secrets.other_key)
        for method in ("sync", "check", "status"):
            await self.call(method)

    async def visitors(self) -> None:
        """Over HTTP: strangers, forgers, and a user of LuCI."""
        endpoint = json.loads((self.world.root / "etc/stripe-payments/secrets.json").read_text())[
            "webhook_secret"
        ]
        login: Any = await self.world.bus.call("session", "login", {"username": "root", "password": "router"})
        sid = login["ubus_rpc_session"]
        async with aiohttp.ClientSession(cookie_jar=aiohttp.CookieJar(unsafe=True)) as http:
            for path in (
                "/payment-success",
                "/payment-cancel",
                "/api/payments/health",
                "/api/payments/status/cs_x",
            ):
                await self.fetch(http, "GET", path)
            body, now = b'{"id": "evt_1", "type": "x"}', int(time.time())
            for signature in (
                None,
                "t=1,v1=00",
                f"t={now},v1={sign(body, endpoint, now)}",
                f"t={now},v1={endpoint}",
            ):
                headers = {"Stripe-Signature": signature} if signature else {}
                await self.fetch(http, "POST", "/api/payments/webhook", data=body, headers=headers)
            bearer = {"Authorization": f"Bearer {sid}"}
            await self.fetch(http, "POST", "/api/payments/session", headers=bearer)
            order = {"price_id": "price_business_monthly"}
            await self.fetch(
                http, "POST", "/api/payments/create-checkout-session", json=order, headers=bearer
            )
            form = {"luci_username": "root", "luci_password": "router"}
            await self.fetch(http, "POST", "/cgi-bin/luci/", data=form)
            for page in ("settings", "shop", "features", "transactions"):
                await self.fetch(http, "GET", f"/cgi-bin/luci/admin/payments/{page}")
            for target, method in (
                ("stripe-payments", "status"),
                ("stripe-payments", "check"),
                ("service", "list"),
            ):
                call = [sid, target, method, {}]
                await self.fetch(
                    http, "POST", "/ubus", json={"jsonrpc": "2.0", "id": 1, "method": "call", "params": call}
                )
            for config in ("stripe-payments", "stripe-features"):
                call = [sid, "uci", "get", {"config": config}]
                await self.fetch(
                    http, "POST", "/ubus", json={"jsonrpc": "2.0", "id": 1, "method": "call", "params": call}
                )

    def look_at_process(self, name: str) -> None:
        pid = self.world.daemon.pid
        for file in ("cmdline", "environ", "limits"):
            self.left[f"/proc {file}, {name}"] = Path(f"/proc/{pid}/{file}").read_bytes()

    async def crash(self) -> None:
        """As bad as it gets: with a core file, were one allowed."""
        before = set(Path.cwd().iterdir())
        for number in (signal.SIGABRT, signal.SIGSEGV):
            pid = self.world.daemon.pid
            assert pid is not None
            os.kill(pid, number)
            await self.world.wait_until(self._gone, patience_s=PATIENCE_S)
            await self.world.daemon.start()
            await self.world.daemon_answers(patience_s=PATIENCE_S)
            await self.call("status")
        cores = [path for path in set(Path.cwd().iterdir()) - before if "core" in path.name]
        self.left["core files"] = b"".join(path.read_bytes() for path in cores)
        for path in cores:
            path.unlink()

    async def _gone(self) -> bool:
        return self.world.daemon.pid is None

    async def back_up(self, scratch: Path) -> None:
        """With the example package, encrypted."""
        (scratch / "server").mkdir(parents=True)
        server = BackupServer(scratch / "server")
        await server.start()
        router = RouterWithBackups(self.world, scratch)
        try:
            router.install()
            await router.trust(server.folder / "server.pem")
            router.aim_at(f"{server.url}/backups/")
            await self.call("grant", feature="remote_backup_daily")
            await self.world.wait_until(self._unlocked, patience_s=PATIENCE_S)
            _, log = await router.backup_now()
            self.left["an encrypted backup"] = b"".join(server.stored.values()) + log.encode()
            if not server.stored:
                raise RuntimeError(f"there is no backup: {log}")
        finally:
            router.kill()
            await server.stop()

    async def _unlocked(self) -> bool:
        file = self.world.root / "etc/config/stripe-features"
        return await self.world.unlocked("remote_backup_daily") and "remote_backup_daily" in file.read_text()

    def gather(self, tap: _Tap) -> None:
        self.left["the bus"] = b"\n".join(tap.seen)
        self.left["HTTP answers"] = b"\n".join(self.answers)
        self.left["requests to Stripe"] = b"\n".join(self.stripe.asked)
        self.left["Stripe's log of requests"] = json.dumps(self.world.stripe.requests()).encode()
        for path in sorted(self.world.root.rglob("*")):
            name = str(path.relative_to(self.world.root))
            if (
                path.is_file()
                and not path.is_symlink()
                and not name.startswith("etc/stripe-payments/secrets.json")
            ):
                self.left[name] = path.read_bytes()


async def leakage(cases: Cases) -> None:
    """See the module. A case is a place and a secret."""
    marked = Secrets()
    async with StripeCloud() as cloud, AnsweringStripe(cloud.url) as proxy:
        environment = {"STRIPE_API_BASE": proxy.url, "STRIPE_LOG": "debug"}
        options: dict[str, Any] = {"configured": False, "stripe": cloud, "environment": environment}
        async with World(state=cases.folder, **options) as world, _Tap.on(world.bus_path) as tap:
            life = _Life(world, marked, proxy)
            steps: list[Callable[[], Any]] = [
                life.keys,
                life.business,
                life.visitors,
                life.misfortune,
                life.crash,
            ]
            for step in steps:
                await step()
                if step != life.crash:
                    life.look_at_process(step.__name__)
            if cases.seconds_left:
                await life.back_up(cases.folder / "backup")
            life.gather(tap)
            kept = (world.root / "etc/stripe-payments/secrets.json").read_bytes()
    _check(cases, marked, life.left, kept)


def _check(cases: Cases, marked: Secrets, left: dict[str, bytes], kept: bytes) -> None:
    if len(marked.found_in(kept)) < 2:
        cases.note("the search does not find what is there", "secrets.json")
    for place in ("the bus", "HTTP answers", "requests to Stripe", "var/log/stripe-payments.log"):
        if len(left.get(place, b"")) < 1000:
            cases.note("nothing was gathered", place)
    for place, content in left.items():
        found = marked.found_in(content)
        for name in marked.names:
            cases.note("it is there" if name in found else None, f"{name} in {place}")
