"""HTTP requests to the hub, by the standard library, in threads of their own.

Connections are kept alive; a request on one that the hub has closed meanwhile is repeated on a new one, which
every call of the hub allows. Certificates are verified with the system's store, redirects are not followed,
and an answer has a largest size. Plain http is for a hub on this machine (tests) and refused elsewhere.
"""

from __future__ import annotations

import asyncio
import contextlib
import http.client
import json
import socket
import ssl
import threading
import time
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, Final, Literal
from urllib.parse import urlsplit

from stripe_payments import __version__
from stripe_payments.errors import PaymentError
from stripe_payments.i18n import Text, _
from stripe_payments.settings import is_hub_address

if TYPE_CHECKING:
    from stripe_payments.clock import TrustedClock

__all__ = ["Answer", "Fault", "Transport", "unreachable"]

LARGEST_ANSWER: Final = 1024 * 1024
"""Bytes: the state of a router with a hundred plans has about 200 KiB."""
_CONNECT_S: Final = 8.0
_THREADS: Final = 3
"""A long poll, a buyer's request, and one more."""
_KEPT: Final = 2
_CHUNK: Final = 64 * 1024
_CLOCK_ERRORS: Final = (9, 10)  # X509_V_ERR_CERT_NOT_YET_VALID, X509_V_ERR_CERT_HAS_EXPIRED

Fault = Literal["address", "dns", "connection", "timeout", "tls", "clock", "answer", "version"]
"""Which step of a request failed."""

_REASONS: Final[Mapping[Fault, Text]] = {
    "address": _("its address is not an https address"),
    "dns": _("its name cannot be resolved"),
    "connection": _("the connection failed"),
    "timeout": _("it does not answer in time"),
    "tls": _("its certificate is not trusted, or the TLS handshake failed"),
    "clock": _("by the router's clock, its certificate is not valid"),
    "answer": _("the answer is not the seller's"),
    "version": _("its answer is of another version than this router"),
}


@dataclass(frozen=True, slots=True)
class Answer:
    """`headers` by their lower-case name; `body`: the JSON object, empty where there is none."""

    status: int
    headers: Mapping[str, str]
    body: Mapping[str, Any]

    @property
    def retry_after(self) -> int | None:
        """Seconds, of the header Retry-After."""
        return self._seconds("retry-after")

    @property
    def poll_after(self) -> int | None:
        """Seconds, of the header Poll-After: a 304 has no body to say it in."""
        return self._seconds("poll-after")

    def _seconds(self, header: str) -> int | None:
        value = self.headers.get(header, "")
        return int(value) if value.isascii() and value.isdigit() and len(value) < 7 else None


def unreachable(fault: Fault, detail: object = "", **more: object) -> PaymentError:
    """The error of a request that got no answer of the hub."""
    return PaymentError("seller_unreachable", reason=_REASONS[fault], fault=fault, detail=str(detail), **more)


class Transport:
    """`request` until `close`. `clock` observes the Date of every answer."""

    def __init__(self, url: str, clock: TrustedClock) -> None:
        self.url = url
        parts = urlsplit(url)
        self._usable = is_hub_address(url)
        self._encrypted = parts.scheme == "https"
        self.host = parts.hostname or ""
        self.port = parts.port or (443 if self._encrypted else 80)
        self._clock = clock
        self._threads = ThreadPoolExecutor(_THREADS, "hub")
        self._context: ssl.SSLContext | None = None
        self._idle: list[http.client.HTTPConnection] = []
        self._in_use: set[http.client.HTTPConnection] = set()
        self._lock = threading.Lock()
        self._closed = False

    async def request(
        self,
        verb: str,
        path: str,
        body: Mapping[str, object] | None = None,
        *,
        headers: Mapping[str, str] | None = None,
        timeout: float = 15.0,
    ) -> Answer:
        """Raises PaymentError ``seller_unreachable`` with `fault`, where no answer of the hub came; an answer
        with an error is returned.
        """
        if not self._usable:
            raise unreachable("address")
        content = None if body is None else json.dumps(body, separators=(",", ":")).encode()
        sent = {
            "Accept": "application/json",
            "User-Agent": f"stripe-payments/{__version__}",
            **({"Content-Type": "application/json"} if content is not None else {}),
            **(headers or {}),
        }
        work = partial(self._request, verb, path, content, sent, timeout)
        return await asyncio.get_running_loop().run_in_executor(self._threads, work)

    def close(self) -> None:
        """Ends the requests that run, too."""
        with self._lock:
            self._closed = True
            idle, in_use = list(self._idle), list(self._in_use)
            self._idle.clear()
        for connection in idle:
            connection.close()
        for connection in in_use:  # its thread closes it
            if connection.sock is not None:
                with contextlib.suppress(OSError):
                    connection.sock.shutdown(socket.SHUT_RDWR)
        self._threads.shutdown(wait=False, cancel_futures=True)

    # -- in a thread ------------------------------------------------------------------------------

    def _request(
        self, verb: str, path: str, content: bytes | None, headers: Mapping[str, str], timeout: float
    ) -> Answer:
        deadline = time.monotonic() + timeout
        try:
            while True:
                connection, kept = self._connection(timeout)
                try:
                    return self._exchange(connection, verb, path, content, headers, deadline)
                except (ConnectionError, http.client.BadStatusLine):
                    if not kept:
                        raise
                finally:
                    self._put_back(connection)
        except socket.gaierror as error:
            raise unreachable("dns", error.strerror) from error
        except ssl.SSLCertVerificationError as error:
            fault: Fault = "clock" if error.verify_code in _CLOCK_ERRORS else "tls"
            raise unreachable(fault, error.verify_message) from error
        except ssl.SSLError as error:
            raise unreachable("tls", error.reason or "") from error
        except TimeoutError as error:
            raise unreachable("timeout") from error
        except ConnectionError as error:
            raise unreachable("connection", error.strerror or type(error).__name__) from error
        except (http.client.HTTPException, ValueError) as error:
            raise unreachable("answer", type(error).__name__) from error
        except OSError as error:
            raise unreachable("connection", error.strerror or type(error).__name__) from error

    def _connection(self, timeout: float) -> tuple[http.client.HTTPConnection, bool]:
        """A connection, and whether it was kept from an earlier request."""
        with self._lock:
            if self._closed:
                raise ConnectionAbortedError("closed")
            kept = bool(self._idle)
            if kept:
                connection = self._idle.pop()
                self._in_use.add(connection)
        if not kept:
            limit = min(timeout, _CONNECT_S)
            if self._encrypted:
                if self._context is None:
                    self._context = ssl.create_default_context()
                connection = http.client.HTTPSConnection(
                    self.host, self.port, timeout=limit, context=self._context
                )
            else:
                connection = http.client.HTTPConnection(self.host, self.port, timeout=limit)
            with self._lock:
                self._in_use.add(connection)
            try:
                connection.connect()
            except BaseException:
                self._put_back(connection)
                raise
        return connection, kept

    def _exchange(
        self,
        connection: http.client.HTTPConnection,
        verb: str,
        path: str,
        content: bytes | None,
        headers: Mapping[str, str],
        deadline: float,
    ) -> Answer:
        """One request and its answer. The connection is closed unless all of the answer was read."""
        complete = False
        try:
            connection.sock.settimeout(_left(deadline))
            connection.request(verb, path, content, dict(headers))
            response = connection.getresponse()
            received = bytearray()
            while chunk := response.read1(_CHUNK):
                received += chunk
                if len(received) > LARGEST_ANSWER:
                    raise ValueError("the answer is too large")
                connection.sock.settimeout(_left(deadline))
            response.close()  # read1 does not end it (CPython issue 113199), and the next one could not begin
            complete = not response.will_close
        finally:
            if not complete:
                connection.close()
        self._clock.observe_header(response.headers.get("Date"))
        if 300 <= response.status < 400 and response.status != 304:
            raise ValueError("a redirect")
        body = json.loads(received) if received else {}
        if not isinstance(body, dict):
            raise ValueError("not a JSON object")
        found = {name.lower(): value for name, value in response.headers.items()}
        return Answer(response.status, found, body)

    def _put_back(self, connection: http.client.HTTPConnection) -> None:
        with self._lock:
            self._in_use.discard(connection)
            if connection.sock is not None and not self._closed and len(self._idle) < _KEPT:
                self._idle.append(connection)
                return
        connection.close()


def _left(deadline: float) -> float:
    left = deadline - time.monotonic()
    if left <= 0:
        raise TimeoutError
    return left
