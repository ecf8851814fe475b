"""The console: who may do what, and that what an operator does reaches the router."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any
from urllib.parse import quote

import httpx
import psycopg
import pytest
from argon2 import PasswordHasher

from payments_hub import operators
from payments_hub.console import create_console
from payments_hub.operations import Operations
from tests.hub.test_purchases import PREMIUM, buy, unlocks
from tests.hub.vendor import Caller, Vendor

PASSWORD = "correct horse battery"
_FIELDS = re.compile(r'<input type="hidden" name="(\w+)" value="([^"]*)"')


class Browser:
    """What a browser does with the pages: cookies, hidden fields, redirects."""

    def __init__(self, http: httpx.AsyncClient) -> None:
        self.http = http

    async def open(self, path: str, status: int = 200, **headers: str) -> str:
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        reply = await self.http.get(path, headers=named)
        assert reply.status_code == status, reply.text
        return reply.text

    async def submit(
        self, path: str, status: int = 303, *, action: str = "", **fields: Any
    ) -> httpx.Response:
        """Open the page of a form, fill it in and send it."""
        hidden = dict(_FIELDS.findall(await self.open(path)))
        reply = await self.http.post(action or path, data={**hidden, **fields})
        assert reply.status_code == status, reply.text
        return reply

    async def log_in(self, name: str, password: str = PASSWORD, status: int = 303) -> httpx.Response:
        return await self.submit("/console/login", status, name=name, password=password)


@pytest.fixture(autouse=True)
def _cheap_passwords(monkeypatch: pytest.MonkeyPatch) -> None:
    """A hash as it should be takes 64 MiB and, on a busy machine, most of a second."""
    monkeypatch.setattr(operators, "HASHER", PasswordHasher(time_cost=1, memory_cost=8, parallelism=1))


@asynccontextmanager
async def logged_in(vendor: Vendor, role: str = "admin") -> AsyncIterator[Browser]:
    await Operations(vendor.hub, "cli:root").create_operator(role, role, PASSWORD)
    async with vendor.console() as http:
        browser = Browser(http)
        await browser.log_in(role)
        yield browser


def _routes(vendor: Vendor, router: Caller) -> list[tuple[str, str]]:
    """Every page that needs a login: (method, address)."""
    found = []
    for route in create_console(vendor.hub).routes:
        path, methods = route.path, route.methods - {"HEAD"}  # type: ignore[attr-defined]
        path = path.format(router=router.id, action="grant", name="admin") if "{" in path else path
        if path.startswith("/console") and path not in ("/console/login", "/console/style.css"):
            found += [(method, path) for method in methods]
    assert len(found) > 14
    return found


SUPPORT = {
    ("POST", "/console/logout"),
    ("GET", "/console"),
    ("GET", "/console/routers/{}"),
    ("POST", "/console/routers/{}/sync"),
    ("GET", "/console/password"),
    ("POST", "/console/password"),
}


async def test_nothing_is_shown_without_a_login(vendor: Vendor) -> None:
    router = await vendor.router()
    async with vendor.console() as http:
        for method, path in _routes(vendor, router):
            reply = await http.request(method, path)
            where = reply.headers["location"]
            assert (reply.status_code, where.split("?")[0]) == (303, "/console/login"), (method, path)
        assert (await http.get("/console/style.css")).status_code == 200
        page = await http.get("/console/nowhere")
        assert (page.status_code, "no such page" in page.text) == (404, True)


async def test_a_role_and_a_forms_token_are_needed_everywhere(vendor: Vendor, database_url: str) -> None:
    router = await vendor.router()
    async with logged_in(vendor, "support") as browser:
        for method, path in _routes(vendor, router):
            allowed = (method, path.replace(router.id, "{}")) in SUPPORT
            reply = await browser.http.request(method, path, data={"token": "0" * 64})
            expected = 200 if allowed and method == "GET" else 403
            assert reply.status_code == expected, (method, path)
            assert ("out of date" in reply.text) == (allowed and method == "POST"), (method, path)
            assert reply.headers["cache-control"] == "no-store"
            policy = reply.headers["content-security-policy"]
            assert policy.startswith("default-src 'none'; style-src 'self'; form-action 'self'")
            assert "frame-ancestors 'none'" in policy
    async with logged_in(vendor) as browser:
        for method, path in _routes(vendor, router):
            if method == "POST":
                assert (await browser.http.post(path)).status_code == 403, path
    with psycopg.connect(database_url) as connection:
        actions = connection.execute("SELECT DISTINCT action FROM audit ORDER BY 1").fetchall()
    assert actions == [("create_operator",), ("log_in",)], "no page has done anything"


async def test_a_session_ends(vendor: Vendor, database_url: str) -> None:
    async def ended(statement: str) -> bool:
        async with vendor.console() as http:
            browser = Browser(http)
            await browser.log_in("admin")
            assert (await http.get("/console")).status_code == 200
            with psycopg.connect(database_url, autocommit=True) as connection:
                connection.execute(statement.encode())
            return (await http.get("/console")).status_code == 303

    async with logged_in(vendor) as browser:
        cookies = [cookie for cookie in browser.http.cookies.jar if cookie.name == "hub_session"]
        (cookie,) = cookies
        assert cookie.value is not None
        assert (cookie.path, cookie.has_nonstandard_attr("HttpOnly")) == ("/console", True)
        assert cookie.get_nonstandard_attr("SameSite") == "strict"
        with psycopg.connect(database_url) as connection:
            for (table,) in connection.execute(
                "SELECT relname FROM pg_class WHERE relkind = 'r' AND relnamespace = 'public'::regnamespace"
            ).fetchall():
                content = connection.execute(f"SELECT t::text FROM {table} t".encode()).fetchall()
                assert cookie.value not in str(content), "only the digest is stored"
                assert PASSWORD not in str(content)
        await browser.submit("/console", action="/console/logout")
        browser.http.cookies.set("hub_session", cookie.value, path="/console")
        assert (await browser.http.get("/console")).status_code == 303, "the cookie has ended, too"
    expire = "UPDATE operator_sessions SET {} = now() - interval '{}'"
    assert await ended(expire.format("used_at", "31 minutes"))
    assert await ended(expire.format("begun_at", "721 minutes"))
    assert not await ended(expire.format("begun_at", "719 minutes"))
    assert await ended("UPDATE operators SET disabled_at = now()")


async def test_a_cookie_is_secure_but_on_loopback(vendor: Vendor) -> None:
    async with vendor.console() as http:
        for headers, secure in (
            ({}, False),
            ({"x-forwarded-proto": "https"}, True),
            ({"host": "console.example.org"}, True),
        ):
            reply = await http.get("/console/login", headers=headers)
            assert ("Secure" in reply.headers["set-cookie"]) == secure, headers


async def test_guessing_a_password_is_slowed_down(vendor: Vendor, database_url: str) -> None:
    async with logged_in(vendor) as browser:
        for name, status in [*(("admin", 403),) * 3, *((f"no{n}", 403) for n in range(6)), ("admin", 429)]:
            reply = await browser.log_in(name, "wrong password", status)
            assert "wrong password" not in reply.text
        assert int(reply.headers["retry-after"]) > 0
    with psycopg.connect(database_url, autocommit=True) as connection:
        connection.execute("UPDATE login_attempts SET counted_at = now() + interval '1 hour'")  # no refill
        async with vendor.instance() as second, second.console() as http:
            await Browser(http).log_in("admin", PASSWORD, 429)
            await Browser(http).log_in("another", PASSWORD, 429)
            assert await vendor.hub.worker.prune() == 0
            connection.execute("UPDATE login_attempts SET counted_at = now() - interval '2 hours'")
            await Browser(http).log_in("admin", PASSWORD, 303)
        assert await vendor.hub.worker.prune() > 0
        rows = connection.execute("SELECT kind FROM login_attempts ORDER BY kind").fetchall()
        assert rows == [("address",), ("name",)], "what counts nothing any more is deleted"
        refused = connection.execute(
            "SELECT actor, count(*) FROM audit WHERE outcome = 'refused' GROUP BY actor ORDER BY actor"
        ).fetchall()
    assert refused == [("?", 6), ("admin", 3)], "names that do not exist are not stored"


async def test_after_the_login_an_operator_stays_in_the_console(vendor: Vendor) -> None:
    router = await vendor.router()
    async with logged_in(vendor) as browser:
        for wanted, path in {
            f"/console/routers/{router.id}": f"/console/routers/{router.id}",
            "https://example.org/console": "/console",
            "//example.org/console": "/console",
            "/console\\example.org": "/console",
            "/consoles": "/console",
        }.items():
            reply = await browser.submit(
                f"/console/login?next={wanted}", action="/console/login", name="admin", password=PASSWORD
            )
            assert reply.headers["location"] == path


async def test_a_router_is_found(vendor: Vendor) -> None:
    router, other = vendor.caller(), await vendor.router()
    await router.enroll(await vendor.hub.routers.new_enrollment_code("Serial <4711>"))
    session = await router.checkout("lifetime_once")
    vendor.cloud.pay(session, email="Buyer@example.org")
    await unlocks(router, PREMIUM)
    (row,) = await vendor.hub.routers.find(router.id)
    async with logged_in(vendor, "support") as browser:
        for text in (router.id, "serial <4711", row["customer"], session, row["account"]):
            page = await browser.open(f"/console?q={text}")
            assert (router.id in page, other.id in page) == (True, False), text
            assert "<4711" not in page
        assert router.id in await browser.open("/console?q=Buyer@example.org")
        assert other.id in await browser.open("/console?q=bananapi")
        for text in ("ba", "4-7", "%%%"):
            page = await browser.open(f"/console?q={quote(text)}")
            assert (other.id in page, "at least three letters or digits" in page) == (False, True), text
        for text in ("nothing like it", "nobody@example.org", "cs_test_unknown"):
            page = await browser.open(f"/console?q={text}")
            assert (other.id in page, "No router found" in page) == (False, True)


async def test_a_refund_in_the_console_locks_the_router(vendor: Vendor) -> None:
    router, other = await vendor.router(), await vendor.router()
    await buy(vendor, router, "lifetime_once", PREMIUM)
    async with logged_in(vendor) as browser:
        page = await browser.open(f"/console/routers/{router.id}")
        (refund,) = re.findall(r'href="(/console/routers/\w+/refund\?payment=pi_\w+)"', page)
        form, _question, payment = refund.partition("?payment=")
        assert "The amount is refunded to the payer" in await browser.open(refund)
        foreign = await browser.submit(refund, 404, action=form.replace(router.id, other.id))
        assert "This router has no such payment" in foreign.text
        wrong = await browser.submit(refund, 409, action=form, amount="a lot")
        assert "is not an amount" in wrong.text
        first = dict(_FIELDS.findall(await browser.open(refund)))
        await browser.submit(refund, action=form, amount="9,99")
        twice = await browser.http.post(form, data={**first, "amount": "9,99"})
        assert (twice.status_code, "refunded since the page" in twice.text) == (409, True), "a double click"
        assert await router.unlocked() == PREMIUM
        assert "refunded in part" in await browser.open(f"/console/routers/{router.id}")
        await browser.submit(refund, action=form, reason="duplicate")
        await unlocks(router, set())
        again = await browser.submit(refund, 409, action=form)
        assert "already fully refunded" in again.text
        log = await browser.open("/console/audit")
    assert log.count("refunded a payment") == 5
    assert log.count("not_refundable") == 1
    assert payment in log


async def test_an_administrator_grants_blocks_and_replaces(vendor: Vendor) -> None:
    router = await vendor.router()
    here = f"/console/routers/{router.id}"
    async with logged_in(vendor) as browser:
        form = await browser.open(f"{here}/grant")
        assert re.findall(r'<option value="(\w+)"', form) == ["backups", "updates", "monitoring"]
        await browser.submit(f"{here}/grant", feature="monitoring", until="2099-01-31", note="<b>gift</b>")
        await unlocks(router, {"monitoring"})
        page = await browser.open(here)
        assert "2099-01-31 23:59 UTC" in page
        assert "&lt;b&gt;gift" in page
        await browser.submit(f"{here}/end-grant", feature="monitoring")
        await unlocks(router, set())
        unknown = await browser.submit(f"{here}/grant", 404, feature="nothing")
        assert "Unknown feature" in unknown.text
        await browser.submit(f"{here}/grant", feature="backups")

        await browser.submit(f"{here}/revoke")
        assert (await router.request("GET", "/v1/state")).status_code == 403
        await browser.submit(f"{here}/restore")
        assert await router.unlocked() == {"backups"}
        await browser.submit(f"{here}/restore", 409)

        made = await browser.submit(f"{here}/replace", 200, note="serial 4712")
        (code,) = re.findall(r'class="code">([A-Z0-9-]+)<', made.text)
        assert await router.unlocked() == {"backups"}, "it ends when the other one is there"
        new = vendor.caller()
        assert (await new.enroll(code)).status_code == 201
        assert await new.unlocked() == {"backups"}
        refused = await router.request("GET", "/v1/state")
        assert refused.json()["error"]["code"] == "router_replaced"
        assert (await new.enroll(code)).json() == {"router_id": new.id}, "again, after a power cut"
        assert (await vendor.caller().enroll(code)).status_code == 409
        page = await browser.open(f"/console/routers/{new.id}")
        assert "serial 4712" in page
        assert f"/console/routers/{router.id}" in page, "an assignment"


async def test_an_administrator_clears_a_flag_and_requests_a_credential(vendor: Vendor) -> None:
    code = await vendor.hub.routers.new_enrollment_code()
    router, thief = vendor.caller(), vendor.caller()
    await router.enroll(code)
    here = f"/console/routers/{router.id}"
    async with logged_in(vendor) as browser:
        for _again in range(2):
            assert (await thief.enroll(code)).status_code == 409
            page = await browser.open(here)
            assert "the code is known elsewhere" in page
            assert f'href="{here}/unflag?flag=code_reused"' in page
            form = await browser.open(f"{here}/unflag?flag=code_reused")
            assert re.findall(r'<option value="(\w+)" selected>([^<]+)', form) == [
                ("code_reused", "its code was used again")
            ]
            await browser.submit(f"{here}/unflag", flag="code_reused")
            assert "the code is known elsewhere" not in await browser.open(here)
        gone = await browser.submit(f"{here}/unflag", 409, flag="code_reused")
        assert "no such flag" in gone.text

        await browser.submit(f"{here}/rotate")
        assert "not done yet" in await browser.open(here)
        assert "rotate-credential" in (await router.request("GET", "/v1/state")).headers
        log = await browser.open(f"/console/audit?subject={router.id}")
        assert log.count("cleared a flag") == 3
        assert log.count("code_reused") == 2
        assert log.count("requested another credential") == 1


async def test_a_router_is_prepared_before_it_is_delivered(vendor: Vendor) -> None:
    async with logged_in(vendor) as browser:
        made = await browser.submit("/console/codes", 200, note="serial 1", days="9", prepare="1")
        (first,) = re.findall(r'class="code">([A-Z0-9-]+)<', made.text)
        (prepared,) = set(re.findall(r"/console/routers/([0-9a-f]{32})", made.text))
        here = f"/console/routers/{prepared}"
        await browser.submit(f"{here}/grant", feature="backups")
        renewed = await browser.submit(f"{here}/code", 200)
        (code,) = re.findall(r'class="code">([A-Z0-9-]+)<', renewed.text)
        router = vendor.caller()
        assert (await router.enroll(first)).status_code == 403, "the code before has ended"
        assert (await router.enroll(code)).json() == {"router_id": prepared}
        assert await router.unlocked() == {"backups"}
        await browser.submit(f"{here}/code", 409)
        await browser.submit("/console/codes", 409, days="0")
        plain = await browser.submit("/console/codes", 200, days="9")
        assert "/console/routers/" not in plain.text


async def test_a_forgotten_router_leaves_nothing(vendor: Vendor, database_url: str) -> None:
    router = vendor.caller()
    await router.enroll(await vendor.hub.routers.new_enrollment_code("Mrs. Bianchi's router"))
    await buy(vendor, router, "premium_monthly", PREMIUM)
    new, other = vendor.caller(), await vendor.router()
    operations = Operations(vendor.hub, "cli:root")
    await new.enroll((await operations.replace(router.id))["code"])
    await unlocks(new, PREMIUM)
    (row,) = await vendor.hub.routers.find(new.id)
    here = f"/console/routers/{new.id}"
    async with logged_in(vendor) as browser:
        await browser.submit(f"{here}/forget", 409, confirm="wrong")
        paying = await browser.submit(f"{here}/forget", 409, confirm=new.id[:8])
        assert "A subscription of this router is running" in paying.text
        (plan,) = (await new.state())["en"]["subscriptions"]
        await new.call("cancel_subscription", subscription=plan["id"], at_period_end=False)
        await browser.submit(f"{here}/forget", confirm=new.id[:8])
        await browser.open(here, 404)
        assert other.id in await browser.open("/console")
    assert (await new.request("GET", "/v1/state")).status_code == 401
    with psycopg.connect(database_url) as connection:
        connection.execute("SELECT set_config('hub.account', '*', false)")
        tables = connection.execute(
            "SELECT relname FROM pg_class WHERE relkind = 'r' AND relnamespace = 'public'::regnamespace"
        ).fetchall()
        assert len(tables) > 15
        for (table,) in tables:
            content = str(connection.execute(f"SELECT t::text FROM {table} t".encode()).fetchall())
            for trace in (row["account"], row["customer"], "Bianchi", router.id, new.id):
                if table == "audit" and trace in (router.id, new.id):
                    continue  # what operators did stays
                assert trace not in content, (table, trace)


async def test_operators_are_managed(vendor: Vendor) -> None:
    async with logged_in(vendor) as browser:
        page = "/console/operators"
        await browser.submit(page, name="Anna", role="support", password=PASSWORD)
        for fields, says in (
            ({"name": "anna", "role": "admin", "password": PASSWORD}, "already"),
            ({"name": "anna", "password": "short"}, "too short"),
            ({"name": "a b", "role": "admin", "password": PASSWORD}, "lower-case"),
            ({"name": "otto", "role": "root", "password": PASSWORD}, "lower-case"),
        ):
            refused = await browser.submit(page, 409, **fields)
            assert says in refused.text, fields
        await browser.submit(f"{page}/admin/disable", 409)
        async with vendor.console() as http:
            anna = Browser(http)
            await anna.log_in("anna")
            await browser.submit(f"{page}/anna/disable")
            assert (await http.get("/console")).status_code == 303
            await anna.log_in("anna", status=403)
            await browser.submit(page, name="anna", password="another long password")
            await anna.log_in("anna", "another long password")
            change = {"current": "another long password", "password": PASSWORD, "again": PASSWORD}
            for wrong in ({"again": "a typing error"}, {"current": "x"}):
                await anna.submit("/console/password", 409, **{**change, **wrong})
            await anna.submit("/console/password", 303, **change)
            assert (await http.get("/console")).status_code == 303, "all sessions end"
            await anna.log_in("anna")


async def test_the_audit_log_only_grows(vendor: Vendor, database_url: str) -> None:
    router = await vendor.router()
    async with logged_in(vendor) as browser:
        await browser.submit(f"/console/routers/{router.id}", action=f"/console/routers/{router.id}/sync")
        log = await browser.open("/console/audit")
        assert re.search(r"admin</td>\s*<td[^>]*>synced with Stripe", log)
        assert "cli:root" in log
    with psycopg.connect(database_url, autocommit=True) as connection:
        for statement in ("UPDATE audit SET actor = 'x'", "DELETE FROM audit", "TRUNCATE audit CASCADE"):
            with pytest.raises(psycopg.Error, match="append-only"):
                connection.execute(statement.encode())


async def test_an_operators_language(vendor: Vendor) -> None:
    router = await vendor.router()
    async with logged_in(vendor) as browser:
        for path in ("/console", f"/console/routers/{router.id}", "/console/audit", "/console/nowhere"):
            status = 404 if "nowhere" in path else 200
            italian = await browser.open(path, status, accept_language="it-IT,it;q=0.9,en;q=0.5")
            assert ('<html lang="it">' in italian, "Esci" in italian) == (True, status == 200)
        assert "Router" in await browser.open("/console?lang=it")
        assert '<html lang="it">' in await browser.open("/console")
        await browser.open("/console?lang=en")
        chosen = await browser.open("/console", accept_language="it")
        assert '<html lang="en">' in chosen, "what was chosen counts more than the browser's wish"


async def test_the_console_is_not_where_routers_call(vendor: Vendor) -> None:
    for path in ("/console", "/console/login", "/metrics"):
        assert (await vendor.http.get(path)).status_code == 404
    async with vendor.console() as http:
        for path in ("/v1/state", "/stripe/webhook"):
            assert (await http.get(path)).status_code == 404
