"""The messages exchanged with the gateway: `Request` and `Response`.

The gateway decides nothing (docs/architecture.md): the path is passed on as the client sent it, neither
decoded nor normalised, header names in lower case, the last of several equal headers. Every field is
untrusted input.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from http import HTTPStatus
from urllib.parse import parse_qsl

from stripe_payments.return_urls import origin_of
from ubus_py import Status, StatusError, Value

#: A host as browsers send it: a name, an IPv4 address or a bracketed IPv6 address, optionally with a port.
HOST = re.compile(r"(?:[a-z0-9](?:[a-z0-9._-]{0,252})|\[[0-9a-f:.]{2,45}\])(?::[0-9]{1,5})?", re.IGNORECASE)

_MAX_QUERY_FIELDS = 32


@dataclass(frozen=True, slots=True)
class Request:
    """One HTTP request.

    `path` is raw; `query` holds the first of several fields of one name; `headers` have lower-case names;
    `body` is exactly the bytes that were sent.
    """

    method: str
    path: str
    query: Mapping[str, str] = field(default_factory=dict)
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes = b""

    @classmethod
    def from_bus(cls, args: Mapping[str, Value]) -> Request:
        """Parse the arguments of `stripe-payments.http request`.

        Raises `StatusError` INVALID_ARGUMENT without method or path: that is an error of the gateway and not
        of the HTTP client, so its reply is not an HTTP response.
        """
        method, path = args.get("method"), args.get("path")
        if not isinstance(method, str) or not isinstance(path, str):
            raise StatusError(
                Status.INVALID_ARGUMENT,
                {"error": {"code": "invalid_argument", "message": "`method` and `path` are required."}},
            )
        headers = args.get("headers")
        body = args.get("body")
        return cls(
            method=method.upper(),
            path=path,
            query=_query(args.get("query")),
            headers={
                name.lower(): value.strip()
                for name, value in (headers if isinstance(headers, dict) else {}).items()
                if isinstance(value, str)
            },
            body=body.encode("utf-8", "surrogateescape") if isinstance(body, str) else b"",
        )

    @property
    def remote(self) -> str:
        """The client's address as the gateway saw it; `unknown` if the gateway sent none."""
        return self.headers.get("x-remote-addr", "") or "unknown"

    @property
    def secure(self) -> bool:
        """Whether the client used TLS. The gateway sets the header; it removes a client's own."""
        return self.headers.get("x-forwarded-proto", "").lower() == "https"

    @property
    def origin(self) -> str | None:
        """This server's origin (`https://router.lan:8443`) as the client addressed it; None without a valid
        Host header."""
        host = self.headers.get("host", "")
        if not HOST.fullmatch(host):
            return None
        return origin_of(f"{'https' if self.secure else 'http'}://{host}")

    def cookie(self, name: str) -> str | None:
        """The first cookie of that name: with equal names the browser sends the one of the longer path first
        (RFC 6265, 5.4)."""
        for pair in self.headers.get("cookie", "").split(";"):
            key, separator, value = pair.strip().partition("=")
            if separator and key == name:
                return value.strip().strip('"')
        return None

    @property
    def bearer(self) -> str | None:
        """The credential of `Authorization: Bearer …` (RFC 6750), or None where there is none."""
        scheme, _, credential = self.headers.get("authorization", "").partition(" ")
        return credential.strip() if scheme.lower() == "bearer" else None


def _query(raw: Value) -> dict[str, str]:
    if isinstance(raw, dict):
        return {name: value for name, value in raw.items() if isinstance(value, str)}
    if not isinstance(raw, str):
        return {}
    try:
        pairs = parse_qsl(raw.lstrip("?"), keep_blank_values=True, max_num_fields=_MAX_QUERY_FIELDS)
    except ValueError:
        return {}
    fields: dict[str, str] = {}
    for name, value in pairs:
        fields.setdefault(name, value)
    return fields


@dataclass(slots=True)
class Response:
    """An HTTP response; `as_reply` is the gateway's form of it."""

    status: int = 200
    body: str = ""
    headers: dict[str, str] = field(default_factory=dict)

    #: On every response: payments and sessions must not be cached, and content types not guessed.
    COMMON = {  # noqa: RUF012 - a constant; the dataclass has no annotation for it, so it is no field
        "Cache-Control": "no-store",
        "X-Content-Type-Options": "nosniff",
        "Referrer-Policy": "no-referrer",
        "Cross-Origin-Resource-Policy": "same-origin",
    }

    @classmethod
    def json(cls, content: Mapping[str, object], status: int = 200, **headers: str) -> Response:
        body = json.dumps(content, ensure_ascii=False, separators=(",", ":"))
        return cls(status, body, {"Content-Type": "application/json", **headers})

    def as_reply(self, *, head: bool = False) -> dict[str, Value]:
        headers: dict[str, Value] = {**self.COMMON, **self.headers}
        return {
            "status": self.status,
            "reason": HTTPStatus(self.status).phrase,
            "headers": headers,
            "body": "" if head else self.body,
        }
