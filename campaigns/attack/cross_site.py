"""Requests that another site's page, or another LuCI user, has a browser make."""

from __future__ import annotations

import itertools
from collections.abc import Iterator

from campaigns.attack.cases import Cases
from campaigns.attack.complaints import listening
from stripe_payments.http_api.auth import COOKIE
from tests.unit.stripe_payments.harness import ONETIME, Harness, Reply, open_harness

__all__ = ["forgery", "sessions"]

CREATE = "/api/payments/create-checkout-session"
SESSION = "/api/payments/session"
OWN = "http://192.168.1.1"

_SITES = (None, "", "cross-site", "same-site", "none", "same-origin ", "SAME-ORIGIN", "same-origin")
_ORIGINS = (
    None,
    "",
    "null",
    "https://evil.example",
    "https://192.168.1.1",
    "http://192.168.1.1:8080",
    "http://192.168.1.1.evil.example",
    "http://192.168.1.1@evil.example",
    "http://evil.example/http://192.168.1.1",
    "http://evil.example#http://192.168.1.1",
    "//192.168.1.1",
    "192.168.1.1",
    "file://192.168.1.1",
    "http://192.168.1.1, https://evil.example",
    "http://192.168.1.1 ",
    OWN,
)
_REFERRERS = (None, f"{OWN}/cgi-bin/luci/", "https://evil.example/")
_BODIES = (
    ("application/json", f'{{"price_id": "{ONETIME}"}}'),
    ("text/plain", f'{{"price_id": "{ONETIME}"}}'),
    ("text/plain; application/json", f'{{"price_id": "{ONETIME}"}}'),
    ("application/x-www-form-urlencoded", f"price_id={ONETIME}"),
    (
        "multipart/form-data; boundary=x",
        f'--x\r\nContent-Disposition: form-data; name="price_id"\r\n\r\n{ONETIME}\r\n--x--',
    ),
    ("", f'{{"price_id": "{ONETIME}"}}'),
)


def _is_own(site: str | None, origin: str | None) -> bool:
    """What a browser says of a page of this very router, and of no other."""
    return site is not None and site.strip() == "same-origin" if site else (origin or "").strip() == OWN


async def forgery(cases: Cases) -> None:
    """Every combination of what browsers say of the page behind a request, with the victim's cookie:
    nothing but a page of the router itself buys, or logs out.
    """
    with listening() as complaints:
        async with open_harness(cases.folder) as harness:
            victim = await harness.login()
            every = list(itertools.product(_SITES, _ORIGINS, _REFERRERS, _BODIES))
            for site, origin, referrer, (kind, body) in cases.some(every):
                said = {"sec_fetch_site": site, "origin": origin, "referer": referrer}
                headers = {name: value for name, value in said.items() if value is not None}
                headers |= {"cookie": f"{COOKIE}={victim}", "content_type": kind}
                for method, path in (("POST", CREATE), ("DELETE", SESSION)):
                    reply = await harness.http(method, path, body, **headers)
                    problem = _check(reply, own=_is_own(site, origin), json=kind == "application/json")
                    named = f"{method} with {site=} {origin=} {referrer=} {kind=}"
                    cases.note(problem or complaints.taken(), named)


def _check(reply: Reply, *, own: bool, json: bool) -> str | None:
    """Nothing is configured: a request that passes every gate gets 503 `not_configured`; a cleared cookie
    200.
    """
    past = reply.status in (200, 503)
    if past and not own:
        return f"another site's page got {reply.status} {reply.body[:100]}"
    if reply.status == 503 and not json:
        return "a form was taken for JSON"
    if not past and own and json:
        return f"the router's own page was refused: {reply.status} {reply.body[:100]}"
    return None if past or "Set-Cookie" not in reply.headers else "a refusal set a cookie"


def _credentials(good: str, dead: str) -> Iterator[tuple[str, dict[str, str], bool]]:
    """Name, headers of a same-origin request, and whether they are a login."""
    odd = {
        "an unknown session": "0" * 32,
        "an invented one": "a" * 32,
        "one that has ended": dead,
        "capital letters": good.upper(),
        "one digit less": good[:-1],
        "one digit more": good + "0",
        "with a blank inside": good[:16] + " " + good[16:],
        "with a line end": good + "\nx",
        "with NUL's stand-in": good + "\ufffd",
        "a path": "../" + good,
        "an expression": "' OR 1=1 --",
        "full-width digits": good.translate({48 + n: 0xFF10 + n for n in range(10)}),
        "5 KB": "a" * 5000,
        "nothing": "",
    }
    for name, value in odd.items():
        yield f"bearer: {name}", {"authorization": f"Bearer {value}"}, False
        yield f"cookie: {name}", {"cookie": f"{COOKIE}={value}"}, False
    yield "bearer", {"authorization": f"Bearer {good}"}, True
    yield "cookie", {"cookie": f"{COOKIE}={good}"}, True
    yield "quoted cookie", {"cookie": f'a=1; {COOKIE}="{good}"'}, True
    yield "basic instead of bearer", {"authorization": f"Basic {good}"}, False
    yield "no scheme", {"authorization": good}, False
    yield "LuCI's own cookie", {"cookie": f"sysauth_http={good}; sysauth={good}"}, False
    yield "another cookie's name", {"cookie": f"x{COOKIE}={good}; {COOKIE}x={good}"}, False
    yield "a planted cookie first", {"cookie": f"{COOKIE}={'a' * 32}; {COOKIE}={good}"}, False
    yield "a planted cookie last", {"cookie": f"{COOKIE}={good}; {COOKIE}={'a' * 32}"}, True
    yield "five hundred cookies", {"cookie": f"{COOKIE}=b; " * 500 + f"{COOKIE}={good}"}, False
    yield "an empty one first", {"cookie": f"{COOKIE}=; {COOKIE}={good}"}, False
    yield (
        "bearer wrong, cookie right",
        {"authorization": f"Bearer {'a' * 32}", "cookie": f"{COOKIE}={good}"},
        False,
    )
    yield "in the query", {"query": f"{COOKIE}={good}&sid={good}&ubus_rpc_session={good}"}, False
    yield "in other headers", {"x_auth_token": good, "ubus_rpc_session": good}, False


async def sessions(cases: Cases) -> None:
    """Logins that were planted, invented, ended or hidden elsewhere are none; the hand-over gives back the
    id that was presented and makes none.
    """
    with listening() as complaints:
        async with open_harness(cases.folder) as harness:
            good, dead = await harness.login(), await harness.login()
            await harness.bus.call("session", "destroy", {"ubus_rpc_session": dead})
            for name, headers, login in _credentials(good, dead):
                query = headers.pop("query", "")
                order = {"price_id": ONETIME}
                reply = await harness.http("POST", CREATE, order, query=query, origin=OWN, **headers)
                problem = None if reply.status == (503 if login else 401) else f"answered {reply.status}"
                cases.note(problem or complaints.taken(), name)
                given = await harness.http("POST", SESSION, query=query, origin=OWN, **headers)
                cases.note(
                    _hand_over(given, good, login and "authorization" in headers), f"hand-over, {name}"
                )
            await _fixation(harness, cases)


def _hand_over(reply: Reply, good: str, allowed: bool) -> str | None:
    cookie = reply.headers.get("Set-Cookie")
    if not allowed:
        return None if reply.status in (401, 403) and cookie is None else f"{reply.status}, cookie {cookie}"
    wanted = f"{COOKIE}={good}; Path=/api/payments; HttpOnly; SameSite=Strict"
    return None if cookie == wanted else f"{reply.status}, cookie {cookie}"


async def _fixation(harness: Harness, cases: Cases) -> None:
    """The attacker's own login in the victim's browser gives the attacker nothing of the victim's, and the
    victim's hand-over replaces it.
    """
    attacker, victim = await harness.login("viewer"), await harness.login()
    planted = {"cookie": f"{COOKIE}={attacker}", "origin": OWN}
    reply = await harness.http("POST", CREATE, {"price_id": ONETIME}, **planted)
    cases.note(
        None if reply.status == 403 else f"answered {reply.status}", "the attacker's login buys nothing"
    )
    handed = await harness.http("POST", SESSION, authorization=f"Bearer {victim}", **planted)
    cookie = handed.headers.get("Set-Cookie", "")
    cases.note(None if victim in cookie else cookie, "the victim's hand-over is the victim's")
    await harness.bus.call("session", "destroy", {"ubus_rpc_session": victim})
    after = await harness.http("POST", CREATE, {"price_id": ONETIME}, cookie=f"{COOKIE}={victim}", origin=OWN)
    cases.note(None if after.status == 401 else f"answered {after.status}", "after the logout")
