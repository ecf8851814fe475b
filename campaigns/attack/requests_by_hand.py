"""Requests that no browser writes: other hosts, other paths, lines broken inside headers; over real HTTP."""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterator
from urllib.parse import urlsplit

from campaigns.attack.cases import Cases
from campaigns.attack.complaints import listening
from campaigns.attack.gateway_requests import fault_of, sendable
from campaigns.attack.hostile_texts import HEADER_BREAKS, MARKUP
from campaigns.attack.raw_http import RawAnswer, front_of, send
from stripe_payments.http_api.auth import COOKIE
from tests.unit.stripe_payments.harness import ONETIME, Harness, Shop, open_harness, open_shop

__all__ = ["headers", "hosts", "paths"]

CREATE = "/api/payments/create-checkout-session"
SESSION = "/api/payments/session"

_GOOD_HOSTS = ("192.168.1.1", "router.lan:8080", "Router.LAN", "[fd00::1]", "[fd00::1]:8443", "r_1.example")
_BAD_HOSTS = (
    "",
    " ",
    "evil.example/",
    "evil.example/192.168.1.1",
    "192.168.1.1@evil.example",
    "evil.example#192.168.1.1",
    "evil.example?192.168.1.1",
    "evil.example\\@192.168.1.1",
    "192.168.1.1, evil.example",
    "192.168.1.1 evil.example",
    "192.168.1.1:80:80",
    "192.168.1.1:99999",
    "192.168.1.1:x",
    "[fd00::1",
    "fd00::1",
    "-evil.example",
    "évil.example",
    "evil。example",
    "%65vil.example",
    "javascript:alert(1)",
    "http://evil.example",
    "a" * 300,
    "<script>",
)
_FORWARDED = (
    ("X-Forwarded-Host", "evil.example"),
    ("X-Forwarded-Proto", "https"),
    ("X-Forwarded-Proto", "javascript"),
    ("X-Forwarded-Port", "8443"),
    ("X-Forwarded-Prefix", "/evil"),
    ("Forwarded", "host=evil.example;proto=https"),
    ("X-Original-URL", "https://evil.example/"),
    ("X-Rewrite-URL", "/api/payments/session"),
    ("X-Host", "evil.example"),
    ("X-HTTP-Host-Override", "evil.example"),
    ("X-HTTP-Method-Override", "DELETE"),
    ("Origin", "https://evil.example"),
    ("Referer", "https://evil.example/"),
    ("X-Remote-Addr", "192.168.1.1"),
)


async def hosts(cases: Cases) -> None:
    """What the way back from Stripe becomes: the address that the buyer used, public_url where there is
    one, and nothing that a header beside Host says.
    """
    with listening() as complaints:
        async with open_shop(cases.folder) as shop, front_of(shop.harness) as url:
            sid = await shop.harness.login()
            for host in _GOOD_HOSTS:
                problem = await _way_back(shop, url, sid, [("Host", host)], f"http://{host.lower()}")
                cases.note(problem or complaints.taken(), f"Host: {host}")
            for host in _BAD_HOSTS:
                problem = await _way_back(shop, url, sid, [("Host", host)], None)
                cases.note(problem or complaints.taken(), f"Host: {host!r}")
            for name, value in _FORWARDED:
                problem = await _way_back(
                    shop, url, sid, [("Host", "router.lan"), (name, value)], "http://router.lan"
                )
                cases.note(problem or complaints.taken(), f"{name}: {value}")
            twice = [("Host", "router.lan"), ("Host", "evil.example")]
            answer = await _create(url, CREATE, sid, twice)
            cases.note(_of_one(shop, answer, ("http://router.lan", "http://evil.example")), "Host twice")
            for target in ("http://evil.example" + CREATE, "//evil.example" + CREATE, "evil.example:443"):
                answer = await _create(url, target, sid, [("Host", "router.lan")])
                cases.note(_of_one(shop, answer, ("http://router.lan",)), f"target {target}")
            await shop.harness.configure("main", public_url="https://pay.example.net")
            for host in (*_GOOD_HOSTS, "evil.example"):
                problem = await _way_back(shop, url, sid, [("Host", host)], "https://pay.example.net")
                cases.note(problem or complaints.taken(), f"public_url, Host: {host}")


async def _create(url: str, target: str, sid: str, given: list[tuple[str, str]]) -> RawAnswer | None:
    order = json.dumps({"price_id": ONETIME, "success_url": "/payment-success", "cancel_url": "/x"}).encode()
    sent = [*given, ("Authorization", f"Bearer {sid}"), ("Content-Type", "application/json")]
    return await send(url, "POST", target, sent, order)


async def _way_back(
    shop: Shop, url: str, sid: str, given: list[tuple[str, str]], origin: str | None
) -> str | None:
    """`origin` None: the request has to be refused."""
    answer = await _create(url, CREATE, sid, given)
    if origin is None:
        refused = answer is None or answer.status == 400
        return None if refused else f"answered {answer.status if answer else None}"
    if answer is None or answer.status != 200:
        return f"answered {answer}"
    return _of_one(shop, answer, (origin,))


def _of_one(shop: Shop, answer: RawAnswer | None, origins: tuple[str, ...]) -> str | None:
    """Whether both ways back of the session are of one of these origins; a refusal has none."""
    if answer is None or answer.status != 200:
        return None
    session = shop.stripe.account.get("checkout.session", json.loads(answer.body)["session_id"])
    for name in ("success_url", "cancel_url"):
        parts = urlsplit(session[name])
        if f"{parts.scheme}://{parts.netloc}" not in origins:
            return f"{name} is {session[name]}"
    return None


_CANONICAL = (
    "/api/payments/health",
    "/payment-success",
    "/payment-cancel",
    "/api/payments/payment-success",
    "/api/payments/payment-cancel",
)


def _disguised(path: str) -> Iterator[str]:
    """A path written in ways that some server once took for it."""
    parts = path.strip("/").split("/")
    last = parts[-1]
    yield from (
        f"/{path}",
        f"{path}/",
        f"{path}//",
        f"{path}/.",
        f"{path}/x",
        f"{path}%00",
        f"{path}%20",
        f"{path};x=1",
    )
    yield from (
        f"{path}.json",
        f"{path}%2f",
        f"{path}%3f",
        f"{path}\\",
        f"/x/..{path}",
        f"/.{path}",
        f"/%2e{path}",
    )
    yield from (path.upper(), path.replace("/", "\\"), path.replace("/", "//"), path.replace("/", "%2f"))
    yield from (
        path.replace("/", "/./"),
        f"/api/payments/../..{path}",
        f"/payment-success/..{path}",
        f"{path}/../{last}",
    )
    yield from (f"/api/payments/%2e%2e{path}", f"/api/payments/..%2f..{path}", f"/api/payments/..;{path}")
    yield from ("/" + "/".join(f"%{ord(part[0]):02x}{part[1:]}" for part in parts), path.replace("a", "ａ"))
    yield from (
        path.replace("p", "%70"),
        f"{path}%0d%0aX:%20y",
        f"{path}\t",
        f"{path}%c0%af",
        f"{path}%ff",
        f"{path}\u202e",
    )


async def paths(cases: Cases) -> None:
    """A path counts as it is written. Whatever some other server would take for one of ours is none: 404,
    400, 405, and never another's answer.
    """
    every = [
        f"/api/payments/{name}"
        for name in ("webhook", "status/cs_test_1", "session", "create-checkout-session")
    ]
    disguises = [
        (method, target)
        for path in (*_CANONICAL, *every)
        for target in _disguised(path)
        for method in ("GET", "POST")
        if target.rstrip("?") not in _CANONICAL
    ]
    with listening() as complaints:
        async with open_harness(cases.folder) as harness, front_of(harness) as url:
            await harness.add_checkout("cs_test_1")
            for path in _CANONICAL:
                answer = await send(url, "GET", path, [("Host", "router.lan")])
                right = answer is not None and answer.status in (200, 404)
                cases.note(None if right else f"answered {answer}", f"GET {path}")
            for method, target in cases.some(disguises):
                kind = [("Content-Type", "application/json")] if method == "POST" else []
                answer = await send(
                    url, method, target, [("Host", "router.lan"), *kind], b"{}" if kind else b""
                )
                problem = None
                if answer is not None and answer.status not in (400, 404, 405):
                    problem = f"answered {answer.status} {answer.body[:100]!r}"
                cases.note(problem or complaints.taken(), f"{method} {target!r}")


async def headers(cases: Cases) -> None:
    """Line ends and more in everything that comes back in an answer: over the bus as they are, over HTTP
    written out. No header comes of it that the daemon does not send, and no text becomes markup.
    """
    with listening() as complaints:
        async with open_harness(cases.folder) as harness, front_of(harness) as url:
            await harness.add_checkout("cs_test_1")
            every = list(itertools.product(_PLACES, (*HEADER_BREAKS, *MARKUP)))
            for place, text in cases.some(every):
                cases.note(
                    await _over_the_bus(harness, place, text) or complaints.taken(), f"{place}: {text!r}"
                )
            for target in _targets():
                answer = await send(
                    url, "GET", target, [("Host", "router.lan"), ("Accept-Language", "it\u2028x")]
                )
                cases.note(_broken(answer) or complaints.taken(), f"GET {target}")


_PLACES = (
    "method",
    "path",
    "query session_id",
    "query locale",
    "host",
    "origin",
    "cookie",
    "authorization",
    "accept-language",
    "content-type",
    "x-remote-addr",
    "x-forwarded-proto",
    "stripe-signature",
    "body",
)


async def _over_the_bus(harness: Harness, place: str, text: str) -> str | None:
    said = str(sendable(text))
    for path in (
        "/payment-success",
        CREATE,
        SESSION,
        "/api/payments/webhook",
        "/api/payments/status/cs_test_2",
    ):
        asked = {
            "method": "POST" if path in (CREATE, SESSION, "/api/payments/webhook") else "GET",
            "path": path,
        }
        asked |= {"query": "session_id=cs_test_1", "body": "{}"}
        sent = {"host": "router.lan", "content-type": "application/json", "cookie": f"{COOKIE}={'a' * 32}"}
        if place in ("method", "body"):
            asked[place] = said
        elif place == "path":
            asked["path"] += said
        elif place.startswith("query "):
            asked["query"] = f"{place.partition(' ')[2]}={said}"
        else:
            sent[place] = said
        reply = await harness.bus.call("stripe-payments.http", "request", {**asked, "headers": dict(sent)})
        if (fault := fault_of(reply)) is not None:
            return fault
        shown = [str(reply["headers"])]
        if "html" in str(reply["headers"]):
            shown.append(str(reply["body"]))
        if any("<" in text and text in part for part in shown):
            return f"it comes back as it is: {reply}"[:300]
    return None


def _targets() -> Iterator[str]:
    for text in (
        "%0d%0aSet-Cookie:%20a=b",
        "%0aX:%20y",
        "%0d%0a%0d%0a<script>",
        "%E5%98%8A%E5%98%8DSet-Cookie:a=b",
    ):
        yield f"/payment-success?session_id={text}"
        yield f"/payment-success?locale={text}"
        yield f"/payment-success?{text}=x"
        yield f"/api/payments/status/{text}"
        yield f"/api/payments/{text}"
        yield f"/payment-cancel/{text}"


_SENT = frozenset(
    (
        "cache-control",
        "content-language",
        "content-length",
        "content-security-policy",
        "content-type",
        "cross-origin-resource-policy",
        "date",
        "referrer-policy",
        "retry-after",
        "server",
        "transfer-encoding",
        "vary",
        "x-content-type-options",
        "x-frame-options",
        "allow",
        "www-authenticate",
        "connection",
    )
)


def _broken(answer: RawAnswer | None) -> str | None:
    if answer is None:
        return None
    if odd := [name for name, _ in answer.headers if name not in _SENT]:
        return f"headers that no client sends: {odd}"
    return "markup came back" if b"<script>" in answer.body.replace(b"<script nonce", b"") else None
