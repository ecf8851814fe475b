"""What several checks need to know, found out once a run: the way to Stripe, and a few answers of Stripe's.

Stripe is asked by a client of the run's own, with a person's patience (seconds, no second tries) and threads
of its own: a line that hangs holds up neither the payments nor the end of the service.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
import ssl
import time
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Generic, TypeVar
from urllib.parse import urlsplit

from stripe_payments.clock import TrustedClock
from stripe_payments.errors import PaymentError
from stripe_payments.setup.catalog_at_stripe import PriceAtStripe, read_prices
from stripe_payments.setup.webhook_endpoint import read_endpoints
from stripe_payments.stripe_api import PERMISSIONS, Permission, StripeAPI

if TYPE_CHECKING:
    from stripe_payments.identity import IdentityStore
    from stripe_payments.keys import KeyStore
    from stripe_payments.ledger import Ledger
    from stripe_payments.refused_webhooks import RefusedWebhooks
    from stripe_payments.settings import Settings
    from stripe_payments.sync.projection import State
    from ubus_py import Client

T = TypeVar("T")

CONNECT_S: Final = 4.0
READ_S: Final = 6.0

SocketAddress = tuple[Any, ...]


class Shared(Generic[T]):
    """A question that is asked once, by the first who wants to know."""

    def __init__(self, ask: Callable[[], Awaitable[T]]) -> None:
        self._ask = ask
        self._task: asyncio.Future[T] | None = None

    async def __call__(self) -> T:
        if self._task is None:
            self._task = asyncio.ensure_future(self._ask())
            self._task.add_done_callback(_seen)
        return await asyncio.shield(self._task)

    def cancel(self) -> None:
        if self._task is not None:
            self._task.cancel()


def _seen(task: asyncio.Future[Any]) -> None:
    if not task.cancelled():
        task.exception()


@dataclass(frozen=True, slots=True)
class Situation:
    """What the checks examine: the parts of the daemon, as far as they exist.

    `ledger`, `state` and `clock` are None until they are open; `refusal` says why they could not be opened.
    `api_base`: Stripe's address, None for the real one; `last_sync`: trusted epoch seconds;
    `unlocks_trouble`: why the last delivery of an unlock failed; `wall_clock` and `statvfs` are the system's.
    """

    settings: Settings
    keys: KeyStore
    identity: IdentityStore
    state_dir: Path
    bus: Client
    api_base: str | None
    refused_webhooks: RefusedWebhooks
    ledger: Ledger | None = None
    state: State | None = None
    clock: TrustedClock | None = None
    last_sync: int | None = None
    unlocks_trouble: str | None = None
    refusal: PaymentError | None = None
    wall_clock: Callable[[], float] = time.time
    statvfs: Callable[[Path], os.statvfs_result] = os.statvfs

    @property
    def now(self) -> int:
        """The trusted time, or the system's while there is none."""
        trusted = self.clock.now() if self.clock is not None else None
        return int(self.wall_clock()) if trusted is None else trusted


@dataclass(frozen=True, slots=True)
class Handshake:
    """A TLS connection that was made: the protocol, and until when the certificate is valid."""

    version: str
    valid_until: str


class Probes:
    """One run's questions. `close` ends those that nobody answered."""

    def __init__(self, situation: Situation) -> None:
        self.situation = situation
        base = urlsplit(situation.api_base or "https://api.stripe.com")
        self.host = base.hostname or ""
        self.port = base.port or (80 if base.scheme == "http" else 443)
        self.encrypted = base.scheme != "http"
        # a clock of its own learns the time as well, so that a run is of use before the first poll
        self.clock = situation.clock if situation.clock is not None else TrustedClock(None)
        self.stripe = StripeAPI(
            situation.keys.current,
            self.clock,
            situation.api_base,
            connect_timeout=CONNECT_S,
            read_timeout=READ_S,
            network_retries=0,
        )
        self._threads = ThreadPoolExecutor(2, "diagnostics")
        self.addresses = Shared(self._resolve)
        self.connected = Shared(self._connect)
        self.handshake = Shared(self._shake_hands)
        self.prices: Shared[dict[str, PriceAtStripe]] = Shared(
            lambda: read_prices(self.stripe, situation.settings)
        )
        self.endpoints: Shared[list[dict[str, Any]]] = Shared(lambda: read_endpoints(self.stripe))
        self.answer = Shared(self._ask_anything)

    def close(self) -> None:
        for shared in (
            self.addresses,
            self.connected,
            self.handshake,
            self.prices,
            self.endpoints,
            self.answer,
        ):
            shared.cancel()
        self._threads.shutdown(wait=False, cancel_futures=True)
        self.stripe.close(timeout=0)

    async def off_the_loop(self, call: Callable[[], T]) -> T:
        """Run what may block (a resolver, a flash that hangs) in a thread that nobody waits for at the
        end.
        """
        return await asyncio.get_running_loop().run_in_executor(self._threads, call)

    async def unreadable(self) -> list[Permission]:
        """The permissions whose resource the key may not even list."""

        async def refused(permission: Permission) -> bool:
            try:
                await self.stripe.list(permission.kind, {"limit": 1, "expand": []})
            except PaymentError as error:
                if error.code != "stripe_key_permission":
                    raise
                return True
            return False

        answers = await asyncio.gather(*(refused(permission) for permission in PERMISSIONS))
        return [permission for permission, no in zip(PERMISSIONS, answers, strict=True) if no]

    async def _ask_anything(self) -> None:
        """Raises what Stripe answers to the cheapest of our questions."""
        if self.situation.settings.prices:
            await self.prices()
        else:
            await self.stripe.list("price", {"limit": 1})

    async def _resolve(self) -> list[SocketAddress]:
        def look_up() -> list[SocketAddress]:
            found = socket.getaddrinfo(self.host, self.port, type=socket.SOCK_STREAM)
            return list(dict.fromkeys((str(entry[4][0]), self.port) for entry in found))

        return await self.off_the_loop(look_up)

    async def _connect(self) -> str:
        """The address that answers; raises the last one's OSError."""
        failure: OSError = ConnectionRefusedError()
        for host, port in await self.addresses():
            try:
                async with asyncio.timeout(CONNECT_S):
                    _, writer = await asyncio.open_connection(host, port)
            except OSError as error:  # TimeoutError is one
                failure = error
                continue
            writer.close()
            with contextlib.suppress(OSError):
                await writer.wait_closed()
            return str(host)
        raise failure

    async def _shake_hands(self) -> Handshake:
        """Raises ssl.SSLError, OSError."""
        address, bundle = await self.connected(), await self.stripe.ca_bundle()
        context = await self.off_the_loop(lambda: ssl.create_default_context(cafile=bundle))
        async with asyncio.timeout(CONNECT_S):
            _, writer = await asyncio.open_connection(
                address, self.port, ssl=context, server_hostname=self.host
            )
        secured: ssl.SSLObject = writer.get_extra_info("ssl_object")
        certificate = secured.getpeercert() or {}
        version = secured.version() or ""
        writer.close()
        with contextlib.suppress(OSError, TimeoutError):
            async with asyncio.timeout(1):
                await writer.wait_closed()
        return Handshake(version, str(certificate.get("notAfter", "")))
