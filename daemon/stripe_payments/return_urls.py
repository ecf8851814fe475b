"""The URLs that Stripe sends the buyer back to: which are accepted, their defaults, what is added to them.

Over ubus the caller is authorised by ACL and may pass any http(s) URL. An HTTP request may come from a page
of another site, so its URLs must have the request's own origin, that of public_url or an `allowed_origin`:
otherwise the router would be an open redirect with Stripe's good name.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from typing import Final, Protocol
from urllib.parse import quote, urljoin, urlsplit, urlunsplit

from stripe_payments.errors import PaymentError
from stripe_payments.log import Log
from stripe_payments.settings import Settings
from ubus_py import Table, UbusError

_log = Log("return_urls")

SUCCESS_PATH: Final = "/payment-success"
CANCEL_PATH: Final = "/payment-cancel"
SHOP_PATH: Final = "/cgi-bin/luci/admin/payments/shop"

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
    """The origin of an http(s) URL (scheme, host, port; without a default port), or None if it has none."""
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
    if parts.netloc.rpartition("@")[2].lower() not in (host, f"{host}:{port}"):
        return None  # http://[::1]evil.example: urllib ignores what follows the brackets
    return f"{scheme}://{host}" if port in (None, _DEFAULT_PORTS[scheme]) else f"{scheme}://{host}:{port}"


def resolve(
    url: str, *, base: str | None, allowed_origins: Iterable[str] | None, argument: str = "success_url"
) -> str:
    """The absolute http(s) URL for what the caller passed; a relative one is resolved against `base`.

    `allowed_origins` None accepts every origin (the authorised bus caller); otherwise another origin raises
    `foreign_return_url`. Anything that is not an http(s) URL raises `invalid_argument`.
    """
    if len(url) > MAX_LENGTH or not url.strip() or any(ord(char) <= 32 or ord(char) == 127 for char in url):
        raise PaymentError("invalid_argument", argument=argument)
    if "\\" in url:
        # a browser reads \ as /, urllib does not: of http://ours\@evil.example it would see another host
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
    # path and query unchanged, but in ASCII: Stripe refuses others
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
    """The URL with `session_id={CHECKOUT_SESSION_ID}` added to its query, unless it has the placeholder."""
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


class ReturnUrls:
    """Resolves the callers' return URLs by the settings.

    A relative URL belongs to public_url, else to the request's origin, else to phone_return_url, else to the
    router's name in the LAN.
    """

    def __init__(self, bus: Bus, settings: Callable[[], Settings]) -> None:
        self._bus = bus
        self._settings = settings

    async def for_checkout(
        self, success_url: str | None, cancel_url: str | None, origin: str | None
    ) -> tuple[str, str]:
        """The success URL, with the session's id, and the cancel URL. `origin`: of a request over HTTP, whose
        URLs must lie in an allowed origin; None over ubus. Raises as `resolve`.
        """
        settings = self._settings()
        base = settings.public_url or origin or settings.phone_return_url or await self._lan_origin()
        allowed: list[str] | None = None
        if origin is not None:
            known = (origin, settings.public_url, settings.phone_return_url, *settings.allowed_origins)
            allowed = [url for url in known if url is not None and origin_of(url)]
        success = resolve(
            success_url or SUCCESS_PATH, base=base, allowed_origins=allowed, argument="success_url"
        )
        cancel = resolve(cancel_url or CANCEL_PATH, base=base, allowed_origins=allowed, argument="cancel_url")
        return with_session_id(success), cancel

    async def for_portal(self, return_url: str | None) -> str:
        """Where the customer portal leads back to: any http(s) URL, a path of this router, or the shop."""
        base = self._settings().public_url or await self._lan_origin()
        return resolve(return_url or SHOP_PATH, base=base, allowed_origins=None, argument="return_url")

    async def _lan_origin(self) -> str:
        """`http://HOSTNAME.lan`; OpenWrt's default name if procd does not answer. Not cached: the host name
        may be changed while the daemon runs.
        """
        hostname: object = None
        try:
            hostname = (await self._bus.call("system", "board", timeout=_TIMEOUT_S)).get("hostname")
        except UbusError as error:
            _log.info("host name unknown", reason=error)
        label = hostname.lower() if isinstance(hostname, str) else ""
        return f"http://{label if _LABEL.fullmatch(label) else _DEFAULT_HOSTNAME}.{_DOMAIN}"
