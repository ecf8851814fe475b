"""The front without a browser: ``/ubus`` as uhttpd answers it, the login, the menu, the files."""

import json
from collections.abc import AsyncIterator
from typing import Any

import aiohttp
import pytest
import pytest_asyncio

from tests.luci.conftest import ScriptedRouter
from ubus_py import Status

NOBODY = "0" * 32


class Http:
    """A client of the front, logged in or not."""

    def __init__(self, url: str, session: aiohttp.ClientSession) -> None:
        self.url = url
        self.session = session

    async def log_in(self, username: str = "root", password: str = "router") -> aiohttp.ClientResponse:
        """Post the login form."""
        form = {"luci_username": username, "luci_password": password}
        return await self.session.post(f"{self.url}/cgi-bin/luci/", data=form, allow_redirects=False)

    async def sid(self, username: str = "root") -> str:
        """The id of a new session."""
        return (await self.log_in(username)).cookies["sysauth_http"].value

    async def rpc(self, message: Any) -> Any:
        """Post a JSON-RPC message (or raw bytes)."""
        body = message if isinstance(message, bytes) else json.dumps(message)
        async with self.session.post(f"{self.url}/ubus/?123", data=body) as reply:
            assert reply.status == 200
            assert reply.content_type == "application/json"
            return await reply.json()

    async def call(self, sid: str, *call: Any) -> Any:
        """The answer to one call."""
        return await self.rpc({"jsonrpc": "2.0", "id": 7, "method": "call", "params": [sid, *call]})


@pytest_asyncio.fixture(loop_scope="session")
async def http(router: ScriptedRouter) -> AsyncIterator[Http]:
    async with aiohttp.ClientSession(cookie_jar=aiohttp.CookieJar(unsafe=True)) as session:
        yield Http(router.front.url, session)


async def test_luci_answers_calls_itself_too(http: Http) -> None:
    call = {"jsonrpc": "2.0", "id": 7, "method": "call"}
    message = json.dumps({**call, "params": [await http.sid(), "stripe-payments", "features", {}]})
    replies = [
        await (await http.session.post(f"{http.url}{path}", data=message)).json()
        for path in ("/ubus/", "/cgi-bin/luci/admin/ubus")
    ]
    assert replies[0]["result"][0] == 0
    assert replies[0] == replies[1]


async def test_a_call_comes_back_with_status_and_data(router: ScriptedRouter, http: Http) -> None:
    router_status = dict(await router.bus.call("stripe-payments", "status", {}))
    reply = await http.call(await http.sid(), "stripe-payments", "status", {})
    assert reply == {
        "jsonrpc": "2.0",
        "id": 7,
        "result": [0, router_status],
    }


async def test_an_error_keeps_its_data(router: ScriptedRouter, http: Http) -> None:
    error = {"code": "unknown_price", "message": "no", "hint": "other"}
    router.payments.refuse_checkout = (Status.NOT_FOUND, error)
    reply = await http.call(await http.sid(), "stripe-payments", "create_checkout_session", {"price_id": "x"})
    assert reply["result"] == [int(Status.NOT_FOUND), {"error": error}]


async def test_the_session_is_passed_to_the_object(router: ScriptedRouter, http: Http) -> None:
    sid = await http.sid()
    await http.call(sid, "stripe-payments", "create_checkout_session", {"price_id": "x"})
    assert router.payments.checkouts == [{"price_id": "x", "ubus_rpc_session": sid}]


async def test_a_reply_without_members_is_a_bare_status(http: Http) -> None:
    reply = await http.call(await http.sid(), "stripe-payments", "sync", {})
    assert reply["result"] == [0]


@pytest.mark.parametrize(
    ("params", "code"),
    [
        (["SID", "no-such-object", "method", {}], -32000),
        ([NOBODY, "stripe-payments", "status", {}], -32002),
        (["SID", "stripe-payments", "no_such_method", {}], -32002),
        (["SID", "stripe-payments.http", "request", {}], -32002),
        (["SID", "stripe-payments", "status", {"ubus_rpc_session": NOBODY}], -32602),
        (["SID", "stripe-payments", "status"], -32700),
        (["SID", "stripe-payments", "status", []], -32700),
        ([1, 2, 3, {}], -32700),
        ({}, -32700),
    ],
)
async def test_refusals(http: Http, params: Any, code: int) -> None:
    sid = await http.sid()
    filled = [sid if value == "SID" else value for value in params] if isinstance(params, list) else params
    reply = await http.rpc({"jsonrpc": "2.0", "id": 1, "method": "call", "params": filled})
    assert reply["error"]["code"] == code
    assert "result" not in reply


async def test_a_read_only_login_is_denied_by_the_bus(router: ScriptedRouter, http: Http) -> None:
    sid = await http.sid("viewer")
    assert (await http.call(sid, "stripe-payments", "catalog", {}))["result"][0] == 0
    for method in ("create_checkout_session", "sync", "refund", "set_keys", "provision"):
        reply = await http.call(sid, "stripe-payments", method, {"price_id": "x"})
        assert reply["error"] == {"code": -32002, "message": "Access denied"}
    assert router.payments.checkouts == []


@pytest.mark.parametrize("body", [b"", b"nonsense", b"5", b'"text"', b"null", b"[[]]"[1:3], b"{}" * 40000])
async def test_what_is_no_request_is_a_parse_error(http: Http, body: bytes) -> None:
    reply = await http.rpc(body)
    assert reply == [] or reply["error"] == {"code": -32700, "message": "Parse error"}


async def test_a_batch_is_answered_in_order(http: Http) -> None:
    sid = await http.sid()
    replies = await http.rpc(
        [
            {"jsonrpc": "2.0", "id": 1, "method": "call", "params": [sid, "stripe-payments", "status", {}]},
            {"jsonrpc": "2.0", "id": 2, "method": "nonsense"},
            {"jsonrpc": "2.0", "id": 3, "method": "call", "params": [NOBODY, "stripe-payments", "has", {}]},
            17,
        ]
    )
    assert [reply["id"] for reply in replies] == [1, 2, 3, None]
    assert replies[0]["result"][0] == 0
    assert [reply["error"]["code"] for reply in replies[1:]] == [-32601, -32002, -32700]


async def test_list_names_and_signatures(http: Http) -> None:
    names = await http.rpc({"jsonrpc": "2.0", "id": 1, "method": "list"})
    assert {"session", "uci", "stripe-payments"} <= set(names["result"])
    signatures = await http.rpc({"jsonrpc": "2.0", "id": 1, "method": "list", "params": ["stripe-payments"]})
    assert signatures["result"]["stripe-payments"]["payment_status"] == {
        "payment_id": "string",
        "locale": "string",
    }


async def test_the_cookie_is_luci_s(http: Http) -> None:
    reply = await http.log_in()
    assert reply.status == 302
    assert reply.headers["Location"] == "/cgi-bin/luci/"
    cookie = reply.cookies["sysauth_http"]
    assert cookie["path"] == "/cgi-bin/luci/"
    assert cookie["samesite"] == "strict"
    assert cookie["httponly"] is True


async def test_a_wrong_password_stays_outside(http: Http) -> None:
    reply = await http.log_in(password="wrong")
    assert reply.status == 403
    assert reply.headers["X-LuCI-Login-Required"] == "yes"
    assert "Invalid username and/or password!" in await reply.text()
    assert "sysauth_http" not in reply.cookies


async def test_logging_out_ends_the_session(http: Http) -> None:
    sid = await http.sid()
    async with http.session.get(f"{http.url}/cgi-bin/luci/admin/logout", allow_redirects=False) as reply:
        assert reply.status == 302
    assert (await http.call(sid, "stripe-payments", "status", {}))["error"]["code"] == -32002


@pytest.mark.parametrize(("username", "entry"), [("root", True), ("viewer", True)])
async def test_the_menu_follows_the_rights(http: Http, username: str, entry: bool) -> None:
    await http.log_in(username)
    async with http.session.get(f"{http.url}/cgi-bin/luci/admin/menu") as reply:
        tree = await reply.json()
    assert tree["children"]["admin"]["children"]["payments"]["satisfied"] is entry


async def test_without_a_login_there_is_no_menu_entry(http: Http) -> None:
    async with http.session.get(f"{http.url}/cgi-bin/luci/admin/menu") as reply:
        tree = await reply.json()
    assert tree["children"]["admin"]["children"]["payments"]["satisfied"] is False


@pytest.mark.parametrize(
    "path", ["resources/../../../etc/passwd", "resources/%2e%2e/it.po", "it.po", "resources", ""]
)
async def test_only_files_for_browsers_are_served(http: Http, path: str) -> None:
    async with http.session.get(f"{http.url}/luci-static/{path}") as reply:
        assert reply.status == 404
