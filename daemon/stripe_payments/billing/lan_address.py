"""Where this router answers in its own network, for buyers who were told no way back."""

from __future__ import annotations

import re
from typing import Final, Protocol

from stripe_payments.log import Log
from ubus_py import Table, UbusError

_log = Log("checkout")

_LABEL = re.compile(r"[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?")
_DEFAULT_HOSTNAME: Final = "openwrt"
_DOMAIN: Final = "lan"
"""OpenWrt's default domain. dnsmasq answers for the router's own host name in it (`add_local_hostname`)."""
_TIMEOUT_S: Final = 2.0


class Bus(Protocol):
    """What is needed of the bus; `ubus_py.Client` has it."""

    async def call(
        self,
        object: str,  # noqa: A002 - as the protocol has it
        method: str,
        args: None = None,
        *,
        timeout: float | None = 30.0,
    ) -> Table:
        """Call a method."""
        ...


class LanAddress:
    """Asks procd for the host name each time: it may be changed while the daemon runs."""

    def __init__(self, bus: Bus) -> None:
        self._bus = bus

    async def origin(self) -> str:
        """`http://HOSTNAME.lan`; with OpenWrt's default name where procd cannot say it."""
        hostname: object = None
        try:
            hostname = (await self._bus.call("system", "board", timeout=_TIMEOUT_S)).get("hostname")
        except UbusError as error:
            _log.info("the host name is not known", reason=error)
        label = hostname.lower() if isinstance(hostname, str) else ""
        return f"http://{label if _LABEL.fullmatch(label) else _DEFAULT_HOSTNAME}.{_DOMAIN}"
