"""What the gateway does with each kind of request, as data.

Two programs are held to this table: the simulator's stand-in (``test_gateway_standin.py``) and the ucode
gateway in a real uhttpd (``tests/interop``). Behind either stands the same daemon: an object
``stripe-payments.http`` whose ``request`` answers 200 with, as JSON, the very arguments it was called with. A
case says what the client sends, byte for byte, and what then must hold of the response, and of what the
daemon received.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

CAP: Final = 512 * 1024
"""The longest body that is carried, in bytes."""

JSON_TYPE: Final = "application/json"


@dataclass(frozen=True)
class Case:
    """One exchange on a connection of its own (or, with ``then``, two on one)."""

    name: str
    target: str
    """The request target, sent as it is written here."""
    method: str = "GET"
    headers: Sequence[tuple[str, str]] = ()
    body: bytes = b""
    chunks: Sequence[bytes] = ()
    """Sent with ``Transfer-Encoding: chunked`` instead of ``body``."""
    daemon: bool = True
    """Whether the daemon is on the bus."""

    status: int = 200
    reason: str | None = None
    content_type: str | None = JSON_TYPE
    error: str | None = None
    """``error.code`` of the JSON body."""
    empty: bool = False
    """The response has no body."""
    response_headers: Mapping[str, str] = field(default_factory=dict)

    received: Mapping[str, object] | None = None
    """Of the arguments that the daemon was called with: these, exactly."""
    told_headers: Mapping[str, str | None] = field(default_factory=dict)
    """Of the headers that the daemon received: these; None: must be absent."""
    reaches_daemon: bool = True

    then: "Case | None" = None
    """A second request on the same connection, if it is still open: nothing of the first may leak into it."""


HEALTH: Final = Case(
    "the health of the service",
    "/api/payments/health",
    received={"method": "GET", "path": "/api/payments/health", "query": "", "body": ""},
)

LONG: Final = Case(
    "a body as long as the cap",
    "/api/payments/webhook",
    method="POST",
    body=b"x" * CAP,
    received={"body": "x" * CAP},
)
"""Several of these at once are more than ubusd keeps for one process (1 MiB): each has to arrive."""

AWAY: Final = Case(
    "the daemon is away",
    "/api/payments/health",
    daemon=False,
    status=503,
    error="service_unavailable",
    response_headers={"retry-after": "5", "cache-control": "no-store"},
    reaches_daemon=False,
)

CASES: Final = [
    HEALTH,
    Case(
        "a body and the headers that matter",
        "/api/payments/create-checkout-session",
        method="POST",
        headers=(
            ("Content-Type", JSON_TYPE),
            ("Authorization", "Bearer 0123456789abcdef0123456789abcdef"),
            ("Cookie", "stripe_payments_session=abc; other=1"),
            ("Origin", "http://192.168.1.1"),
            ("Accept-Language", "it-IT,it;q=0.9"),
            ("Sec-Fetch-Site", "same-origin"),
        ),
        body='{"price_id":"più"}'.encode(),
        received={
            "method": "POST",
            "path": "/api/payments/create-checkout-session",
            "body": '{"price_id":"più"}',
        },
        told_headers={
            "content-type": JSON_TYPE,
            "authorization": "Bearer 0123456789abcdef0123456789abcdef",
            "cookie": "stripe_payments_session=abc; other=1",
            "origin": "http://192.168.1.1",
            "accept-language": "it-IT,it;q=0.9",
            "sec-fetch-site": "same-origin",
        },
    ),
    Case(
        "a webhook: signature and body arrive unchanged, white space and all",
        "/api/payments/webhook",
        method="POST",
        headers=(
            ("Stripe-Signature", "t=1,v1=aa,v1=bb,v0=cc"),
            ("Content-Type", "application/json; charset=utf-8"),
        ),
        body=b'{\n  "id": "evt_1",\r\n\t"unusual":  "\\u00e9"\n}\n',
        received={"body": '{\n  "id": "evt_1",\r\n\t"unusual":  "\\u00e9"\n}\n'},
        told_headers={"stripe-signature": "t=1,v1=aa,v1=bb,v0=cc"},
    ),
    Case(
        "a query, as it was written",
        "/payment-success?session_id=cs_test_a%2Fb&x=%C3%A9+1",
        received={"path": "/payment-success", "query": "session_id=cs_test_a%2Fb&x=%C3%A9+1"},
    ),
    Case("the page of a cancelled payment", "/payment-cancel", received={"path": "/payment-cancel"}),
    Case(
        "the pages below the API",
        "/api/payments/payment-success",
        received={"path": "/api/payments/payment-success"},
    ),
    Case("the mount itself", "/api/payments", received={"path": "/api/payments"}),
    Case("the mount with a slash", "/api/payments/", received={"path": "/api/payments/"}),
    Case(
        "an unknown address is the daemon's to refuse",
        "/api/payments/no/such/thing",
        received={"path": "/api/payments/no/such/thing"},
    ),
    Case(
        "dots are not walked",
        "/api/payments/status/../../etc/passwd",
        received={"path": "/api/payments/status/../../etc/passwd"},
    ),
    Case(
        "escapes are not undone",
        "/api/payments/status/a%2fb%00",
        received={"path": "/api/payments/status/a%2fb%00"},
    ),
    Case(
        "a name that only begins like a mount",
        "/payment-successful",
        status=404,
        content_type=None,
        reaches_daemon=False,
    ),
    Case(
        "a doubled slash is another address",
        "//api/payments/health",
        status=404,
        content_type=None,
        reaches_daemon=False,
    ),
    Case(
        "an escaped mount is another address",
        "/%61pi/payments/health",
        status=404,
        content_type=None,
        reaches_daemon=False,
    ),
    Case(
        "HEAD is passed on as HEAD and gets no body",
        "/api/payments/health",
        method="HEAD",
        empty=True,
        received=None,
    ),
    Case(
        "OPTIONS is the daemon's to answer",
        "/api/payments/webhook",
        method="OPTIONS",
        received={"method": "OPTIONS"},
    ),
    Case(
        "DELETE is the daemon's to refuse",
        "/api/payments/webhook",
        method="DELETE",
        received={"method": "DELETE"},
    ),
    Case(
        "only the gateway says who is asking",
        "/api/payments/health",
        headers=(
            ("X-Remote-Addr", "203.0.113.9"),
            ("X-Forwarded-Proto", "https"),
            ("X-Forwarded-For", "203.0.113.9"),
            ("X-Forwarded-Host", "evil.example"),
        ),
        told_headers={
            "x-remote-addr": "127.0.0.1",
            "x-forwarded-proto": None,
            "x-forwarded-for": None,
            "x-forwarded-host": None,
        },
    ),
    Case(
        "a chunked body arrives whole",
        "/api/payments/webhook",
        method="POST",
        chunks=(b'{"a":', b" ", b'"' + b"x" * 5000 + b'"}'),
        received={"body": '{"a": "' + "x" * 5000 + '"}'},
    ),
    LONG,
    Case(
        "a body over the cap, and the connection is clean afterwards",
        "/api/payments/webhook",
        method="POST",
        body=b"GET /api/payments/smuggled HTTP/1.1\r\n\r\n" * (CAP // 38 + 1),
        status=413,
        error="body_too_large",
        reaches_daemon=False,
        then=HEALTH,
    ),
    Case(
        "a chunked body over the cap",
        "/api/payments/webhook",
        method="POST",
        chunks=(b"x" * 65536,) * 9,
        status=413,
        error="body_too_large",
        reaches_daemon=False,
        then=HEALTH,
    ),
    Case(
        "a body that is not UTF-8",
        "/api/payments/webhook",
        method="POST",
        body=b'{"a":"\xff\xfe"}',
        status=400,
        error="invalid_json",
        reaches_daemon=False,
        then=HEALTH,
    ),
    Case(
        "a body with a NUL, where the bus would cut it",
        "/api/payments/webhook",
        method="POST",
        body=b'{"a":1}\x00{"b":2}',
        status=400,
        error="invalid_json",
        reaches_daemon=False,
    ),
    Case(
        "two lengths that differ",
        "/api/payments/webhook",
        method="POST",
        headers=(("Content-Length", "3"),),
        body=b"{}",
        status=400,
        content_type=None,
        reaches_daemon=False,
    ),
    Case(
        "a client that expects to be answered before it sends its body",
        "/api/payments/webhook",
        method="POST",
        headers=(("Expect", "100-continue"),),
        body=b"{}",
        received={"body": "{}"},
        told_headers={"expect": None},
    ),
    AWAY,
    Case(
        "the daemon is away while a buyer comes back from paying: a page, not JSON",
        "/payment-success?session_id=cs_test_1",
        daemon=False,
        status=503,
        content_type="text/html",
        response_headers={"retry-after": "5"},
        reaches_daemon=False,
    ),
    Case(
        "the daemon is away and a body comes: drained all the same",
        "/api/payments/webhook",
        method="POST",
        body=b"x" * 100_000,
        daemon=False,
        status=503,
        error="service_unavailable",
        reaches_daemon=False,
        then=Case("the next one", "/api/payments/health", daemon=False, status=503, reaches_daemon=False),
    ),
]


LONG_HEADS: Final = {
    "16 headers of 1 KB": (16 * [1000], 200),
    "20 headers of 1 KB": (20 * [1000], 431),
    "one header of 5 KB": ([5000], 413),
}
"""Lengths of headers, and the status with which the web server answers: by itself, but for the first. It then
resets the connection, so these are no `Case`.
"""
