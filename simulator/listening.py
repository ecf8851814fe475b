"""On which addresses the simulated servers listen, and which one browsers use."""

from __future__ import annotations

import socket
from dataclasses import dataclass
from typing import Final, Self

from aiohttp import web

LOOPBACK: Final = "127.0.0.1"
EVERY_ADDRESS: Final = ("0.0.0.0", "::")


@dataclass(frozen=True)
class Listening:
    """`hosts` are bound, all on the same port; `shown` is the host in links, QR codes and what is printed."""

    hosts: tuple[str, ...] = (LOOPBACK,)
    shown: str = LOOPBACK

    @classmethod
    def only(cls, host: str) -> Self:
        """One address, or every one of this machine; those are shown as loopback."""
        return cls((host,), LOOPBACK if host in EVERY_ADDRESS else host)

    @classmethod
    def demo(cls, host: str, shown: str | None = None) -> Self:
        """`host` and loopback: the daemon sends its key without TLS over loopback alone. `shown` is `host`
        where it is not given, or for every address that of the interface towards the internet.
        """
        if host in EVERY_ADDRESS:
            return cls((host,), shown or own_address() or LOOPBACK)
        return cls((LOOPBACK,) if host == LOOPBACK else (LOOPBACK, host), shown or host)

    @property
    def everywhere(self) -> bool:
        """Whether every interface of this machine is listened on."""
        return self.hosts[0] in EVERY_ADDRESS

    async def serve(self, runner: web.AppRunner, port: int) -> int:
        """Serve on every host; returns the port, which the system chooses where it is 0."""
        for host in self.hosts:
            await web.TCPSite(runner, host, port, reuse_address=True).start()
            port = runner.addresses[-1][1]
        return port

    def local_url(self, port: int) -> str:
        """Where programs on this machine connect to."""
        return url_of(LOOPBACK if self.everywhere else self.hosts[0], port)

    def shown_url(self, port: int) -> str:
        """Where browsers connect to, on other machines too."""
        return url_of(self.shown, port)


def url_of(host: str, port: int) -> str:
    """`http://HOST:PORT`, an IPv6 address in brackets."""
    return f"http://{f'[{host}]' if ':' in host else host}:{port}"


def own_address() -> str | None:
    """The IPv4 address of the interface that the default route uses; None without one. Sends nothing: a UDP
    socket only looks up its route. 192.0.2.1 is kept for documentation (RFC 5737).
    """
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect(("192.0.2.1", 9))
        except OSError:
            return None
        address: str = probe.getsockname()[0]
        return address
