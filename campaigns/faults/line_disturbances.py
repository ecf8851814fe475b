"""The connection to Stripe: no name, connection refused, or a peer with the wrong certificate.

The daemon's calls go through a relay that speaks TLS, to a name that has to be resolved. It trusts the test's
certificate authority because the preloaded library gives it that bundle in the place of the SDK's.
"""

import asyncio
import ssl
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import cache

import stripe
import trustme

from campaigns.faults.disturbance import Disturbance
from campaigns.faults.router_under_test import RefusedError, RouterUnderTest

__all__ = ["LINE_DISTURBANCES"]


@cache
def _authority() -> trustme.CA:
    return trustme.CA()


def _context(kind: str) -> ssl.SSLContext:
    """A server's with a certificate that is `good`, or wrong in the way its name says."""
    now = datetime.now(UTC)
    issuer = trustme.CA() if kind == "unknown authority" else _authority()
    name = "stripe.example.org" if kind == "wrong name" else "localhost"
    if kind == "expired":
        leaf = issuer.issue_cert(name, not_before=now - timedelta(days=90), not_after=now - timedelta(days=1))
    elif kind == "not yet valid":
        leaf = issuer.issue_cert(name, not_before=now + timedelta(days=1))
    else:
        leaf = issuer.issue_cert(name)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    leaf.configure_cert(context)
    return context


class Relay:
    """TLS on a port of its own, plain to Stripe's simulator behind it."""

    def __init__(self, stripe_port: int) -> None:
        self._stripe_port = stripe_port
        self._server: asyncio.Server | None = None
        self._open: set[asyncio.StreamWriter] = set()
        self.port = 0

    async def serve(self, certificate: str) -> None:
        """From now on, with the certificate of that kind; connections that were open are cut."""
        await self.close()
        self._server = await asyncio.start_server(
            self._carry, "127.0.0.1", self.port, ssl=_context(certificate), reuse_address=True
        )
        self.port = self._server.sockets[0].getsockname()[1]

    async def close(self) -> None:
        """Stop listening."""
        if self._server is not None:
            self._server.close()
        for writer in list(self._open):
            writer.transport.abort()
        self._server = None

    async def _carry(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._open.add(writer)  # at once: it has to be cut even while the way on from here is being opened
        upstream, sink = await asyncio.open_connection("127.0.0.1", self._stripe_port)
        self._open.add(sink)
        try:
            async with asyncio.TaskGroup() as both:
                both.create_task(self._copy(reader, sink))
                both.create_task(self._copy(upstream, writer))
        finally:
            for end in (writer, sink):
                end.close()
                self._open.discard(end)

    @staticmethod
    async def _copy(source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
        with suppress(OSError):
            while chunk := await source.read(65536):
                sink.write(chunk)
                await sink.drain()
        sink.close()


@dataclass
class LineFault(Disturbance):
    """`certificate`: what the relay shows meanwhile, `""` where the connection is refused; `resolves`:
    whether names are; `clock_ahead`: seconds by which the router's clock is wrong meanwhile; `says`: how
    `status` names it.
    """

    name: str
    says: str
    certificate: str = "good"
    resolves: bool = True
    clock_ahead: int = 0
    hold_s: float = 1.0

    async def before(self, router: RouterUnderTest) -> dict[str, str]:
        self._relay = Relay(int(router.world.stripe.url.rsplit(":", 1)[1]))
        await self._relay.serve("good")
        bundle = router.world.root / "bundle.pem"
        _authority().cert_pem.write_to_path(str(bundle))
        return {
            "STRIPE_API_BASE": f"https://localhost:{self._relay.port}",
            "STORAGE_FAULTS_REDIRECT": f"{stripe.ca_bundle_path}={bundle}",
        }

    async def begin(self, router: RouterUnderTest) -> None:
        router.flash.set_clock_ahead(self.clock_ahead)
        router.flash.resolve_names(self.resolves)
        if self.certificate:
            await self._relay.serve(self.certificate)
        else:
            await self._relay.close()
        with suppress(RefusedError):  # a client polls
            await router.call("sync")
        status = await router.insist("status")
        if status["mode"] != "unconfigured" and status["stripe_detail"] != self.says:
            router.troubles.append(f"the fault is said to be {status['stripe_detail']!r}, not {self.says!r}")

    async def end(self, router: RouterUnderTest) -> None:
        router.flash.set_clock_ahead(0)
        router.flash.resolve_names(True)
        await self._relay.serve("good")

    async def close(self) -> None:
        await self._relay.close()


LINE_DISTURBANCES = (
    LineFault("nothing", ""),
    LineFault("no name server", "dns", resolves=False),
    LineFault("connection refused", "refused", certificate=""),
    LineFault("unknown authority", "tls", certificate="unknown authority"),
    LineFault("wrong name", "tls", certificate="wrong name"),
    LineFault("expired", "tls", certificate="expired"),
    LineFault("not yet valid", "clock", certificate="not yet valid"),
    LineFault("the router's clock at 1970", "clock", clock_ahead=-55 * 365 * 86_400),
)
