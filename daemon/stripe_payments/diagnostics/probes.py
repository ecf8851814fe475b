"""Results that several checks share, computed once per run: the connection to Stripe, or to the seller's hub.

A run has its own threads: a hanging connection delays neither payments nor the shutdown.
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

if TYPE_CHECKING:
    from stripe_payments.clock import TrustedClock
    from stripe_payments.errors import PaymentError
    from stripe_payments.hub_client import HubParts
    from stripe_payments.identity import IdentityStore
    from stripe_payments.keys import KeyStore
    from stripe_payments.ledger import SQLiteLedger
    from stripe_payments.settings import Settings
    from stripe_payments.sync.projection import State
    from ubus_py import Client

T = TypeVar("T")

CONNECT_S: Final = 4.0
READ_S: Final = 6.0

SocketAddress = tuple[Any, ...]


class Once(Generic[T]):
    """A computation that the first caller starts and all callers await."""

    def __init__(self, compute: Callable[[], Awaitable[T]]) -> None:
        self._compute = compute
        self._task: asyncio.Future[T] | None = None

    async def __call__(self) -> T:
        if self._task is None:
            self._task = asyncio.ensure_future(self._compute())
            self._task.add_done_callback(_retrieve_exception)
        return await asyncio.shield(self._task)

    def cancel(self) -> None:
        if self._task is not None:
            self._task.cancel()


def _retrieve_exception(task: asyncio.Future[Any]) -> None:
    """Without it asyncio logs an exception that no caller was left to await."""
    if not task.cancelled():
        task.exception()


@dataclass(frozen=True, slots=True)
class RefusedWebhooks:
    """The deliveries that were refused since the last one that was accepted: how many, and the error code of
    the last one.
    """

    code: str
    count: int


@dataclass(frozen=True, slots=True)
class Situation:
    """What the checks examine: the parts of the daemon, as far as they exist.

    `ledger`, `state` and `clock` are None until they are open; `refusal` says why they could not be opened.
    `api_base`: Stripe's address, None for the real one; `last_sync`: trusted epoch seconds; `unseen_s`: for
    how long Stripe has answered without showing a subscription, by its id; `lacks_search`: Stripe refused to
    search, which it does not offer to every account; `refused_webhooks`: None where the last delivery was
    accepted, or there was none; `hub`: the parts of hub mode; `unlocks_trouble`: why the last delivery of an
    unlock failed; `wall_clock` and `statvfs` are the system's.
    """

    settings: Settings
    keys: KeyStore
    identity: IdentityStore
    state_dir: Path
    bus: Client
    api_base: str | None
    refused_webhooks: RefusedWebhooks | None = None
    ledger: SQLiteLedger | None = None
    state: State | None = None
    clock: TrustedClock | None = None
    last_sync: int | None = None
    unseen_s: Callable[[str], int] = lambda _: 0
    lacks_search: bool = False
    unlocks_trouble: str | None = None
    refusal: PaymentError | None = None
    hub: HubParts | None = None
    wall_clock: Callable[[], float] = time.time
    statvfs: Callable[[Path], os.statvfs_result] = os.statvfs

    @property
    def now(self) -> int:
        """The trusted time, or the system's while there is none."""
        trusted = self.clock.now() if self.clock is not None else None
        return int(self.wall_clock()) if trusted is None else trusted


@dataclass(frozen=True, slots=True)
class Handshake:
    """A completed TLS handshake: protocol version and the certificate's `notAfter`."""

    version: str
    valid_until: str


class Probes:
    """The shared results of one run. `close` cancels what is still running."""

    def __init__(self, situation: Situation) -> None:
        self.situation = situation
        base = urlsplit(situation.settings.hub or situation.api_base or "https://api.stripe.com")
        self.host = base.hostname or ""
        self.port = base.port or (80 if base.scheme == "http" else 443)
        self.encrypted = base.scheme != "http"
        self._threads = ThreadPoolExecutor(2, "diagnostics")
        self.addresses = Once(self._resolve)
        self.connected = Once(self._connect)
        self.handshake = Once(self._shake_hands)

    def close(self) -> None:
        for once in (self.addresses, self.connected, self.handshake):
            once.cancel()
        self._threads.shutdown(wait=False, cancel_futures=True)

    async def ca_bundle(self) -> str | None:
        """The file of certificate authorities for the handshake; None: the system's."""
        return None

    async def in_thread(self, call: Callable[[], T]) -> T:
        """Run a blocking call (resolver, flash) in a thread that the shutdown does not wait for."""
        return await asyncio.get_running_loop().run_in_executor(self._threads, call)

    async def _resolve(self) -> list[SocketAddress]:
        def resolve() -> list[SocketAddress]:
            found = socket.getaddrinfo(self.host, self.port, type=socket.SOCK_STREAM)
            return list(dict.fromkeys((str(entry[4][0]), self.port) for entry in found))

        return await self.in_thread(resolve)

    async def _connect(self) -> str:
        """Return the address that accepts a connection; raises the last one's OSError."""
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
        address = await self.connected()
        bundle = await self.ca_bundle()
        context = await self.in_thread(lambda: ssl.create_default_context(cafile=bundle))
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
