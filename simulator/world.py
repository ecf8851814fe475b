"""The whole world a router lives in: bus, rpcd, web server, Stripe, and the daemon as a process of its own.

The demo, the flow tests, the browser tests and the benchmarks all start this one; the daemon in it is the
shipped one, unchanged, and finds nothing but sockets.
"""

import asyncio
import shutil
import tempfile
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import aiohttp

from simulator.browser_front import BrowserFront
from simulator.daemon_process import DaemonProcess
from simulator.listening import Listening
from simulator.router import Router, prepare_root
from simulator.router.uci_file import UciError
from simulator.stripe_account import StripeAccount
from simulator.stripe_cloud import StripeCloud
from simulator.ubus_broker import UbusBroker
from ubus_py import CallTimeout, Client, ConnectionLost, StatusError


class World:
    """Use as `async with World(...) as world`, or `start()` and `stop()`.

    `state`: the folder that looks like the router's `/` is made below it; a temporary one, removed at the
    end, if None. `webhooks`: whether the router's webhook address is registered at Stripe.
    `configured`: whether the router has its keys already (False: as it comes out of the box).
    `listening`: where the web server and Stripe are reached; on loopback, if None.
    `stripe`: another world's, already running, for a second router on the same account.
    `seller_socket`: false for a daemon that is older than the seller's socket.
    `hub`: the address of a hub and an enrolment code, for a router in hub mode.
    `seller`: who sells, as buyers see it.
    `log_times`: whether the lines of the daemon's log have the time.
    """

    def __init__(
        self,
        *,
        state: Path | None = None,
        listening: Listening | None = None,
        front_port: int = 0,
        stripe_port: int = 0,
        luci_src: Path | None = None,
        webhooks: bool = True,
        configured: bool = True,
        respawn: bool = False,
        environment: dict[str, str] | None = None,
        stripe: StripeCloud | None = None,
        seller_socket: bool = True,
        hub: tuple[str, str] | None = None,
        seller: str | None = None,
        log_times: bool = False,
    ) -> None:
        self._listening = listening or Listening()
        self._front_port = front_port
        self._stripe_port = stripe_port
        self._webhooks = webhooks
        self._configured = configured and hub is None
        self._hub = hub
        self._seller = seller
        # A socket's path may have 107 bytes (sun_path): whatever the state folder, the socket lives in a
        # short one.
        self._runtime = Path(tempfile.mkdtemp(prefix="router-os-"))
        self.root = (state or self._runtime) / "router"
        self.bus_path = self._runtime / "ubus.sock"
        self.private = self._runtime / "private"
        self._stripe_state = state / "stripe.json" if state else None
        self._shares_stripe = stripe is not None
        self.stripe = stripe or StripeCloud(state_file=self._stripe_state, validate_answers=True)
        self.broker = UbusBroker(self.bus_path, self.root / "usr/share/acl.d")
        self.router = Router(self.bus_path, self.root)
        self.front = BrowserFront(self.bus_path, self.root, luci_src)
        self.bus = Client(str(self.bus_path))
        self._respawn = respawn
        self._environment = environment or {}
        self._seller_socket = seller_socket
        self._log_times = log_times
        self._daemon: DaemonProcess | None = None

    @property
    def daemon(self) -> DaemonProcess:
        """The daemon's process; there from `start` on."""
        if self._daemon is None:
            raise RuntimeError("the world has not been started")
        return self._daemon

    @property
    def account(self) -> StripeAccount:
        """The Stripe account, as its operator sees it."""
        return StripeAccount(self.stripe.url)

    async def __aenter__(self) -> Self:
        try:
            await self.start()
        except BaseException:
            await self.stop()
            raise
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.stop()

    async def start(self) -> None:
        """Returns when the daemon is registered, has its keys and sells."""
        # A kept world has its account, prices and keys already: they are the router's own, as after a reboot.
        to_set_up = self._configured and not (self._stripe_state and self._stripe_state.exists())
        await self.start_surroundings()
        await self.daemon.start()
        await self.daemon_answers()
        if to_set_up:
            await self.set_payments_up()

    async def start_surroundings(self) -> None:
        """Everything but the daemon, which is there to be started."""
        if not (self.root / "etc/config").exists():
            prepare_root(self.root)
            if self._seller is not None:
                self._configure(seller=self._seller)
        if self._hub is not None:
            url, code = self._hub
            self._configure(hub=url, hub_code=code)
        if not self._shares_stripe:
            await self.stripe.start(self._listening, self._stripe_port)
        await self.broker.start()
        await self.router.start()
        self.router.watch_config(self._config_changed)
        self._prepare_directories()
        await self.bus.start()
        await self.front.start(self._listening, self._front_port)
        self.router.payments_uci.web_servers = lambda: [self.front.url]
        (self.root / "var/log").mkdir(parents=True, exist_ok=True)
        self._daemon = DaemonProcess(
            bus=self.bus_path,
            state=self.root / "etc/stripe-payments",
            log=self.root / "var/log/stripe-payments.log",
            environment={"STRIPE_API_BASE": self.stripe.url, **self._environment},
            respawn=self._respawn,
            private=self.private if self._seller_socket else None,
            log_times=self._log_times,
        )

    async def stop(self) -> None:
        """Ends everything it started; what was begun is ended even after a start that failed half way."""
        if self._daemon is not None:
            await self._daemon.stop()
        await self.front.stop()
        await self.bus.close()
        await self.router.stop()
        await self.broker.stop()
        if not self._shares_stripe:
            await self.stripe.stop()
        shutil.rmtree(self._runtime, ignore_errors=True)

    def _config_changed(self, config: str) -> None:
        """What the reload trigger of the init script does."""
        if config == "stripe-payments":
            self._mark_managed()
        if config in ("stripe-payments", "stripe-features") and self._daemon is not None:
            self._daemon.reload()

    def _prepare_directories(self) -> None:
        """As `prepare_directories` of the init script: /var/run/stripe-payments, of this boot alone. A link,
        for the seller's socket in it needs a short path, too.
        """
        link = self.root / "var/run/stripe-payments"
        link.parent.mkdir(parents=True, exist_ok=True)
        link.unlink(missing_ok=True)
        self.private.mkdir(mode=0o700, exist_ok=True)
        link.symlink_to(self.private)
        self._mark_managed()

    def _configure(self, **options: str) -> None:
        """What the vendor configures on a router before a customer gets it."""
        package = self.router.store.load("stripe-payments", staged=False)
        main = package.section("main")
        assert main is not None
        main.options.update(options)
        self.router.store.write(package)

    def _mark_managed(self) -> None:
        """As `mark_managed` of the init script: for LuCI's menu, and for the daemon's next start."""
        try:
            main = self.router.store.load("stripe-payments", staged=False).section("main")
        except UciError:
            main = None
        options = main.options if main is not None else {}
        hub = bool(options.get("hub"))
        managed = hub or options.get("managed") in ("1", "on", "true", "yes", "enabled")
        for name, wanted in (("managed", managed), ("hub", hub)):
            mark = self.private / name
            if wanted:
                mark.mkdir(exist_ok=True)
            elif mark.exists():
                mark.rmdir()

    async def set_payments_up(self) -> None:
        """What an operator does with a new router: the key, the products and prices, the webhook."""
        await self.bus.call("stripe-payments", "set_keys", {"secret_key": self.account.secret_key})
        provisioned: Any = await self.bus.call("stripe-payments", "provision", {})
        if provisioned["different"]:
            raise RuntimeError(f"Stripe's prices differ from the configuration: {provisioned['prices']}")
        await self.wait_until(self._sells)
        if self._webhooks:
            await self.bus.call("stripe-payments", "setup_webhook", {"url": self.front.url})

    async def _sells(self) -> bool:
        """Whether the daemon has read the price ids that were stored."""
        catalog: Any = await self.bus.call("stripe-payments", "catalog", {})
        sold = [price for item in (*catalog["plans"], *catalog["products"]) for price in item["prices"]]
        return bool(sold) and all(price["price_id"] for price in sold)

    async def daemon_answers(self, *, patience_s: float = 30.0) -> None:
        """Waits until the daemon answers on the bus."""
        await self.wait_until(self._asks_status, patience_s=patience_s)

    async def _asks_status(self) -> bool:
        try:
            await self.bus.call("stripe-payments", "status", {}, timeout=5)
        except (StatusError, ConnectionLost, CallTimeout):  # one that is ending gives no answer
            return False
        return True

    async def enrolled(self) -> bool:
        """Whether the seller's hub knows this router."""
        status: Any = await self.bus.call("stripe-payments", "status", {})
        return bool(status["seller"]["enrolled"])

    async def wait_until(self, condition: Callable[[], Awaitable[bool]], *, patience_s: float = 30.0) -> None:
        """Polls `condition` until it holds; raises TimeoutError with the daemon's last log lines."""
        deadline = time.monotonic() + patience_s
        while not await condition():
            if time.monotonic() > deadline:
                tail = "\n".join(self.daemon.log_text().splitlines()[-30:])
                raise TimeoutError(f"not within {patience_s} s; the daemon's log ends with:\n{tail}")
            await asyncio.sleep(0.05)

    async def unlocked(self, feature: str) -> bool:
        """What `ubus call stripe-payments has` says."""
        reply = await self.bus.call("stripe-payments", "has", {"feature": feature})
        return reply["unlocked"] is True

    async def answers_unlocked(self, feature: str) -> bool | None:
        """As `unlocked`, or None while the daemon is starting or away."""
        try:
            return await self.unlocked(feature)
        except (StatusError, ConnectionLost):
            return None

    async def pay(self, session_id: str, card: str = "4242424242424242") -> dict[str, Any]:
        """Fills the hosted Checkout page in, through the control surface, as a person with `card` would."""
        return await self.control(f"checkout/{session_id}/pay", {"card": card})

    async def control(self, path: str, body: dict[str, Any]) -> dict[str, Any]:
        """One request to the Stripe simulator's control surface."""
        async with (
            aiohttp.ClientSession() as session,
            session.post(f"{self.stripe.url}/_sim/{path}", json=body) as response,
        ):
            response.raise_for_status()
            answer: dict[str, Any] = await response.json()
            return answer
