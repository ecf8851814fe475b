"""Where Stripe sends the buyer afterwards: which addresses are accepted, and what is added to them.

Over ubus the caller is authorised by ACL and may name any http(s) address. Over HTTP a page of some other
site could be the author of the request, so its addresses must lie in the request's own origin, in public_url
or in an `allowed_origin`: otherwise the router would be an open redirect that comes with Stripe's good name.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Final, Protocol
from urllib.parse import quote, urljoin, urlsplit, urlunsplit

from stripe_payments.errors import PaymentError
from stripe_payments.log import Log
from ubus_py import Table, UbusError

_log = Log("checkout")

SESSION_PLACEHOLDER = "{CHECKOUT_SESSION_ID}"
"""Replaced by Stripe with the session's id when it redirects."""

MAX_LENGTH = 2048

_DEFAULT_PORTS = {"http": 80, "https": 443}

_LABEL = re.compile(r"[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?")
_DEFAULT_HOSTNAME: Final = "openwrt"
_DOMAIN: Final = "lan"
"""OpenWrt's default domain. dnsmasq answers for the router's own host name in it (`add_local_hostname`)."""
_TIMEOUT_S: Final = 2.0


def origin_of(url: str) -> str | None:
    """The origin (scheme, host, port; default ports left out) of an http(s) address, or None if it has
    none.
    """
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        return None
    scheme = parts.scheme.lower()
    if scheme not in _DEFAULT_PORTS or not parts.hostname:
        return None
    host = parts.hostname.lower()
    if ":" in host:
        host = f"[{host}]"
    if parts.netloc.rpartition("@")[2].lower() not in (host, f"{host}:", f"{host}:{port}"):
        return None  # http://[::1]evil.example: urllib passes over what stands beside the brackets
    return f"{scheme}://{host}" if port in (None, _DEFAULT_PORTS[scheme]) else f"{scheme}://{host}:{port}"


def resolve(
    url: str, *, base: str | None, allowed_origins: Iterable[str] | None, argument: str = "success_url"
) -> str:
    """An absolute http(s) address out of what the caller named.

    `base` (public_url, or the request's own origin) is what a relative address is relative to.
    `allowed_origins` None accepts every origin (the authorised bus caller); otherwise another origin raises
    `foreign_return_url`. Anything that is no http(s) address raises `invalid_argument`.
    """
    if len(url) > MAX_LENGTH or not url.strip() or any(ord(char) <= 32 or ord(char) == 127 for char in url):
        raise PaymentError("invalid_argument", argument=argument)
    if "\\" in url:
        # a browser reads \ as /, urllib does not: http://ours\@evil.example would be judged by another host
        raise PaymentError("invalid_argument", argument=argument)
    try:
        given = urlsplit(url)
        if given.scheme not in ("", *_DEFAULT_PORTS) and allowed_origins is not None:
            raise PaymentError("foreign_return_url", url=given.scheme + ":")
        if given.scheme and not given.netloc:
            # http:///evil.example: relative to urllib, an address of evil.example to a browser
            raise PaymentError("invalid_argument", argument=argument)
        absolute = urljoin(base, url) if base else url
        parts = urlsplit(absolute)
        origin = origin_of(absolute)
    except ValueError:
        origin = None
    if origin is None:
        raise PaymentError("invalid_argument", argument=argument)
    if parts.username is not None or parts.password is not None:
        raise PaymentError("invalid_argument", argument=argument)
    if allowed_origins is not None and origin not in {origin_of(allowed) for allowed in allowed_origins}:
        raise PaymentError("foreign_return_url", url=origin)
    # the path and query as given, but in ASCII: Stripe refuses others
    safe = "/%:?&=@!$'()*+,;~{}[]-._"
    return urlunsplit(
        (
            parts.scheme.lower(),
            _ascii_netloc(parts.netloc, argument),
            quote(parts.path or "/", safe=safe),
            quote(parts.query, safe=safe),
            quote(parts.fragment, safe=safe),
        )
    )


def _ascii_netloc(netloc: str, argument: str) -> str:
    try:
        return netloc if netloc.isascii() else netloc.encode("idna").decode("ascii")
    except UnicodeError:
        raise PaymentError("invalid_argument", argument=argument) from None


def with_session_id(url: str) -> str:
    """The address with `session_id={CHECKOUT_SESSION_ID}` added to its query, unless the placeholder is there
    already.
    """
    if SESSION_PLACEHOLDER in url:
        return url
    parts = urlsplit(url)
    added = f"session_id={SESSION_PLACEHOLDER}"
    return urlunsplit(parts._replace(query=f"{parts.query}&{added}" if parts.query else added))


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
