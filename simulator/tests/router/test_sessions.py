"""Sessions, logins and their rights."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

from simulator.router.logins import find_login, grant_all, permits
from simulator.router.sessions import ANONYMOUS_ID, Session, Sessions
from simulator.router.uci_file import Section
from simulator.router.uci_store import UciStore
from simulator.tests.router.bus import Bus
from ubus_py import Status

SID = re.compile(r"[0-9a-f]{32}")


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


def test_use_puts_expiry_off() -> None:
    clock, ended = Clock(), list[str]()
    sessions = Sessions(clock, ended.append)
    session = sessions.create(10)
    assert SID.fullmatch(session.id)
    assert sessions.remaining_s(session) == 10
    clock.now += 9
    assert sessions.remaining_s(session) == 1
    assert sessions.get(session.id) is session
    clock.now += 9.5
    assert sessions.get(session.id) is session
    clock.now += 10
    assert sessions.get(session.id) is None
    assert ended == [session.id]


def test_some_sessions_never_expire() -> None:
    clock = Clock()
    sessions = Sessions(clock)
    forever = sessions.create(0)
    clock.now += 1e9
    assert sessions.get(forever.id) is forever
    assert sessions.get(ANONYMOUS_ID) is sessions.anonymous
    assert sessions.remaining_s(forever) == 0


@pytest.mark.parametrize(
    ("grant", "asked", "allowed"),
    [
        (("uci", "get"), ("uci", "get"), True),
        (("uci", "get"), ("uci", "set"), False),
        (("*", "*"), ("anything", "at_all"), True),
        (("net*", "get*"), ("network.lan", "get_status"), True),
        (("net*", "get*"), ("netx", "set"), False),
        (("a?c", "x"), ("abc", "x"), True),
        (("[ab]x", "x"), ("bx", "x"), True),
        (("file", "x"), ("files", "x"), False),
        (("/etc/*", "read"), ("/etc/a/b", "read"), True),
    ],
)
def test_grants_are_patterns(grant: tuple[str, str], asked: tuple[str, str], allowed: bool) -> None:
    session = Session("x", 0)
    session.grant("ubus", *grant)
    assert session.allows("ubus", *asked) is allowed
    assert not session.allows("file", *asked)


def login(**permissions: list[str]) -> Section:
    return Section("cfg", "login", options=dict(permissions))


@pytest.mark.parametrize(
    ("section", "permission", "group", "allowed"),
    [
        (None, "read", "unauthenticated", True),
        (None, "read", "luci-base", False),
        (login(read=["*"]), "read", "luci-base", True),
        (login(read=["*"]), "write", "luci-base", False),
        (login(write=["luci-*"]), "read", "luci-base", True),
        (login(write=["luci-*"]), "write", "other", False),
        (login(read=["*", "!secret"]), "read", "secret", False),
        (login(read=["*", "! sec*"]), "read", "secret", False),
        (login(read=["!x", "a"]), "read", "a", True),
        (login(), "read", "a", False),
    ],
)
def test_permissions_of_a_login(section: Section | None, permission: str, group: str, allowed: bool) -> None:
    assert permits(section, permission, group) is allowed


def test_a_read_excluded_stays_excluded_though_write_would_imply_it() -> None:
    section = login(read=["!secret", "*"], write=["*"])
    assert not permits(section, "read", "secret")
    assert permits(section, "write", "secret")


def test_acl_files(root: Path) -> None:
    acl = {
        "g": {
            "description": "x",
            "read": {
                "ubus": {"demo": ["echo", 5], "bad": "echo"},
                "uci": ["luci", 5],
                "file": {"/etc/x": ["read"]},
            },
            "write": {"uci": ["luci"]},
            "other": {"ubus": {"never": ["x"]}},
        },
        "not": "a table",
    }
    folder = root / "usr/share/rpcd/acl.d"
    for path in folder.iterdir():
        path.unlink()
    (folder / "demo.json").write_text(json.dumps(acl))
    (folder / "broken.json").write_text("{")
    session = Session("x", 0)
    grant_all(session, login(read=["g"]), root)
    assert session.acls() == {
        "access-group": {"g": ["read"]},
        "file": {"/etc/x": ["read"]},
        "ubus": {"demo": ["echo"]},
        "uci": {"luci": ["read"]},
    }
    session = Session("y", 0)
    grant_all(session, login(write=["*"]), root)
    assert session.acls()["access-group"] == {"g": ["read", "write"]}
    assert session.acls()["uci"] == {"luci": ["read", "write"]}


def test_passwords(root: Path) -> None:
    """As the system account's, as crypt(3) makes them, and plain (which a real rpcd would not take)."""
    store = UciStore(root)
    (root / "etc/config/rpcd").write_text(
        "config login\noption username a\noption password '$p$root'\n"
        "config login\noption username b\noption password '$1$abc$BXBqpb9BZcZhXLgbee.0s/'\n"
        "config login\noption username c\noption password plain\n"
        "config login\noption username d\noption password '$p$nobody'\n"
    )
    accounts = {"root": "router"}

    def opens(username: str, password: str) -> bool:
        return find_login(store, accounts, username, password) is not None

    assert opens("a", "router")
    assert not opens("a", "")
    assert opens("c", "plain")
    assert not opens("c", "Plain")
    assert not opens("d", "")
    assert not opens("nobody", "router")
    assert opens("b", "password")
    assert not opens("b", "Password")


async def test_a_login(bus: Bus) -> None:
    answer = await bus.call("session", "login", username="root", password="router", timeout=60)
    assert SID.fullmatch(answer["ubus_rpc_session"])
    assert answer["timeout"] == 60
    assert answer["expires"] in (59, 60)  # whole seconds left, as a real rpcd counts them
    assert answer["data"] == {"username": "root"}
    assert answer["acls"]["access-group"]["luci-base"] == ["read", "write"]
    listed = await bus.call("session", "list", ubus_rpc_session=answer["ubus_rpc_session"])
    assert listed.pop("expires") in range(1, 61)  # time goes on between the two
    answer.pop("expires")
    assert listed == answer


@pytest.mark.parametrize(
    ("arguments", "status"),
    [
        ({"username": "root", "password": "wrong"}, Status.PERMISSION_DENIED),
        ({"username": "nobody", "password": "router"}, Status.PERMISSION_DENIED),
        ({"username": "root"}, Status.INVALID_ARGUMENT),
        ({"password": "router"}, Status.INVALID_ARGUMENT),
    ],
)
async def test_refused_logins(bus: Bus, arguments: dict[str, Any], status: Status) -> None:
    assert await bus.refused("session", "login", **arguments) is status


async def test_the_viewer_may_look_and_not_buy(bus: Bus) -> None:
    session = {"ubus_rpc_session": await bus.login("viewer"), "object": "stripe-payments"}

    async def may(function: str) -> bool:
        return bool((await bus.call("session", "access", **session, function=function))["access"])

    acls = (await bus.call("session", "access", ubus_rpc_session=session["ubus_rpc_session"]))["access-group"]
    assert "luci-base" in acls
    if (bus.root / "usr/share/rpcd/acl.d/luci-app-stripe-payments.json").exists():
        assert await may("catalog")
    assert not await may("create_checkout_session")
    assert not await may("set_keys")


async def test_grant_and_revoke(bus: Bus) -> None:
    session = (await bus.call("session", "create"))["ubus_rpc_session"]
    own = {"ubus_rpc_session": session}
    await bus.call("session", "grant", **own, objects=[["demo", "*"], ["a", "b", "c"], "x", ["alone"]])
    await bus.call("session", "grant", **own, scope="file", objects=[["/tmp/*", "read"]])
    assert await bus.call("session", "access", **own) == {
        "file": {"/tmp/*": ["read"]},
        "ubus": {"a": ["b"], "demo": ["*"]},
    }
    access = {**own, "object": "demo", "function": "anything"}
    assert await bus.call("session", "access", **access) == {"access": True}
    await bus.call("session", "revoke", **own, objects=[["demo", "*"]])
    assert await bus.call("session", "access", **access) == {"access": False}
    await bus.call("session", "revoke", **own)
    assert await bus.call("session", "access", **own) == {"file": {"/tmp/*": ["read"]}}
    assert await bus.refused("session", "grant", **own) is Status.INVALID_ARGUMENT


async def test_data(bus: Bus) -> None:
    own = {"ubus_rpc_session": await bus.login()}
    await bus.call("session", "set", **own, values={"token": "t", "n": 5, "": "nameless"})
    assert await bus.call("session", "get", **own) == {"values": {"n": 5, "token": "t", "username": "root"}}
    assert await bus.call("session", "get", **own, keys=["n", "none", 5]) == {"values": {"n": 5}}
    await bus.call("session", "unset", **own, keys=["n"])
    assert await bus.call("session", "get", **own, keys=["n"]) == {"values": {}}
    await bus.call("session", "unset", **own)
    assert await bus.call("session", "get", **own) == {"values": {}}


async def test_without_a_login(bus: Bus) -> None:
    anonymous = {"ubus_rpc_session": ANONYMOUS_ID}
    for function, allowed in (("login", True), ("access", True), ("create", False)):
        asked = {**anonymous, "object": "session", "function": function}
        assert await bus.call("session", "access", **asked) == {"access": allowed}
    assert await bus.refused("session", "destroy", **anonymous) is Status.PERMISSION_DENIED
    assert await bus.refused("session", "destroy", ubus_rpc_session="f" * 32) is Status.NOT_FOUND
    assert await bus.refused("session", "access") is Status.INVALID_ARGUMENT
