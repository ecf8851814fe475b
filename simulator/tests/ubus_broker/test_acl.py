"""What processes that are not root may do, by ACL files."""

from __future__ import annotations

import asyncio
import json
import os
import sys
from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from simulator.tests.ubus_broker.people import ROOT, People
from simulator.tests.ubus_broker.raw_client import Attrs, RawClient
from simulator.ubus_broker import UbusBroker
from ubus_py.blobmsg import decode_table
from ubus_py.errors import Status
from ubus_py.wire import Attr, MessageType

REPOSITORY = Path(__file__).parents[3]
SHIPPED = REPOSITORY / "files/usr/share/acl.d/stripe-payments.json"


class Bus:
    """A broker among made-up people."""

    def __init__(self, folder: Path, people: People) -> None:
        self.acl_dir = folder / "acl.d"
        self.people = people
        self.broker = UbusBroker(folder / "ubus.sock", self.acl_dir, accounts=people)
        self.clients: list[RawClient] = []

    def write(self, content: Any, name: str = "test.json", mode: int = 0o644) -> Path:
        path = self.acl_dir / name
        path.write_text(content if isinstance(content, str) else json.dumps(content))
        path.chmod(mode)
        self.broker.reload_acl()
        return path

    async def connect(self, name: str | None = None, *groups: str) -> RawClient:
        self.people.next_peer = ROOT if name is None else self.people.person(name, *groups)
        client = await RawClient.connect(self.broker.socket_path)
        self.clients.append(client)
        return client


@pytest.fixture
async def bus(folder: Path, people: People) -> AsyncIterator[Bus]:
    bus = Bus(folder, people)
    await bus.broker.start()
    yield bus
    await bus.broker.stop()
    for client in bus.clients:
        await client.close()


async def may_publish(client: RawClient, path: str) -> bool:
    attrs: Attrs = {Attr.OBJPATH: path, Attr.SIGNATURE: b""}
    _, status = await client.request(MessageType.ADD_OBJECT, attrs)
    assert status in (Status.OK, Status.INVALID_ARGUMENT)
    return status == Status.OK


async def methods_of(client: RawClient, path: str) -> list[str] | None:
    """The methods a look-up shows; None when it shows no object."""
    messages, status = await client.look_up(path)
    assert status == 0
    return list(decode_table(messages[0].signature or b"")) if messages else None


async def test_without_a_file_one_may_do_nothing(bus: Bus) -> None:
    root, other = await bus.connect(), await bus.connect("other")
    demo = await root.publish("demo", {"x": {}})
    own = await other.publish(None)
    assert not await may_publish(other, "mine")
    assert await other.send_event("a") == Status.PERMISSION_DENIED
    assert await other.listen("a", own) == Status.PERMISSION_DENIED
    assert await methods_of(other, "demo") is None
    _, status = await other.request(MessageType.INVOKE, {Attr.OBJID: demo, Attr.METHOD: "x"}, peer=demo)
    assert status == Status.PERMISSION_DENIED
    pair: Attrs = {Attr.OBJID: own, Attr.TARGET: demo}
    assert (await other.request(MessageType.SUBSCRIBE, pair))[1] == Status.NOT_FOUND
    assert await other.system_call(3, "add", {}) == Status.PERMISSION_DENIED


async def test_every_right(bus: Bus) -> None:
    bus.write(
        {
            "user": "other",
            "publish": ["mine", "more.*"],
            "send": ["ev.*"],
            "listen": ["heard", "fam*"],
            "subscribe": ["demo"],
            "access": {"demo": {"methods": ["x"]}, "open*": {"methods": ["*"]}},
        }
    )
    root, other = await bus.connect(), await bus.connect("other")
    demo = await root.publish("demo", {"x": {}, "secret": {}})
    await root.publish("open.one", {"a": {}, "b": {}})
    await root.publish("closed", {"a": {}})
    own = await other.publish(None)
    assert [await may_publish(other, path) for path in ("mine", "mine2", "more.x", "more")] == [
        True,
        False,
        True,
        False,
    ]
    assert [await other.send_event(name) for name in ("ev.a", "ev", "x")] == [
        Status.OK,
        Status.PERMISSION_DENIED,
        Status.PERMISSION_DENIED,
    ]
    heard = [await other.listen(name, own) for name in ("heard", "heard*", "family", "fam*", "f*")]
    denied = Status.PERMISSION_DENIED
    assert heard == [Status.OK, Status.OK, Status.OK, Status.OK, denied]
    assert await methods_of(other, "demo") == ["x"]
    assert await methods_of(other, "open.one") == ["a", "b"]
    assert await methods_of(other, "closed") is None
    messages, _ = await other.look_up(None)
    assert [message.objpath for message in messages] == ["demo", "mine", "more.x", "open.one"]
    pair: Attrs = {Attr.OBJID: own, Attr.TARGET: demo}
    assert (await other.request(MessageType.SUBSCRIBE, pair))[1] == Status.OK
    call: Attrs = {Attr.OBJID: demo, Attr.METHOD: "secret"}
    assert (await other.request(MessageType.INVOKE, call, peer=demo))[1] == Status.PERMISSION_DENIED


async def test_an_object_without_methods_is_shown_to_everybody(bus: Bus) -> None:
    root, other = await bus.connect(), await bus.connect("other")
    await root.publish("empty", {})
    assert await methods_of(other, "empty") == []


async def test_groups_count_also_the_further_ones(bus: Bus) -> None:
    bus.write({"group": "payers", "publish": ["mine*"]})
    assert not await may_publish(await bus.connect("other"), "mine1")
    assert await may_publish(await bus.connect("other", "payers"), "mine2")


async def test_a_user_is_resolved_when_the_file_is_loaded(bus: Bus) -> None:
    bus.write({"user": "late", "publish": ["mine"]})
    bus.people.users["late"] = 60077
    late = await bus.connect("late")
    assert not await may_publish(late, "mine")
    bus.broker.reload_acl()
    assert await may_publish(late, "mine")


async def test_a_reload_acts_on_connected_clients_and_is_announced(bus: Bus) -> None:
    root, other = await bus.connect(), await bus.connect("other")
    own = await root.publish(None)
    assert await root.listen("ubus.acl.sequence", own) == 0
    path = bus.write({"user": "other", "send": ["a"]})
    assert (await root.message()).data_table() == {"sequence": 2}
    assert await other.send_event("a") == 0
    path.unlink()
    bus.broker.reload_acl()
    assert await other.send_event("a") == Status.PERMISSION_DENIED


@pytest.mark.parametrize("mode", [0o664, 0o646, 0o645, 0o666])
async def test_a_file_others_may_write_does_not_count(bus: Bus, mode: int) -> None:
    bus.write({"user": "other", "publish": ["mine"]}, mode=mode)
    assert not await may_publish(await bus.connect("other"), "mine")


@pytest.mark.skipif(os.getuid() != 0, reason="only root gives files away")
async def test_a_file_of_another_user_does_not_count(bus: Bus) -> None:
    path = bus.write({"user": "other", "publish": ["mine"]})
    os.chown(path, 65534, 0)
    bus.broker.reload_acl()
    assert not await may_publish(await bus.connect("other"), "mine")


@pytest.mark.parametrize(
    "content",
    [
        "not json",
        "[]",
        {"publish": ["mine"]},
        {"user": 5, "publish": ["mine"]},
        {"user": "other", "publish": "mine"},
        {"user": "other", "publish": {"mine": True}},
        {"user": "other", "inherit": ["mine"]},
        {"user": "other", "access": {"mine": {"methods": True}}},
    ],
)
async def test_files_that_say_nothing(bus: Bus, content: Mapping[str, Any] | str) -> None:
    bus.write(content)
    root, other = await bus.connect(), await bus.connect("other")
    assert not await may_publish(other, "mine")
    await root.publish("mine", {"x": {}})
    assert await methods_of(other, "mine") is None


async def test_a_bad_file_spoils_no_other_and_only_json_files_count(bus: Bus) -> None:
    bus.write("{", "broken.json")
    bus.write({"user": "other", "publish": ["a"]}, "good.json")
    bus.write({"user": "other", "publish": ["b"]}, "backup.json~")
    bus.write({"user": "other", "publish": ["c"]}, ".hidden.json")
    other = await bus.connect("other")
    assert [await may_publish(other, path) for path in "abc"] == [True, False, False]


async def test_a_user_without_a_name_is_refused(bus: Bus) -> None:
    bus.people.next_peer = None
    reader, writer = await asyncio.open_unix_connection(str(bus.broker.socket_path))
    assert await reader.read() == b""
    writer.close()


async def test_the_publisher_may_ask_for_its_objects_acl(bus: Bus) -> None:
    bus.write({"user": "other", "access": {"demo": {"methods": [], "acl": {"level": 3}}}})
    root = await bus.connect()
    demo = await root.publish("demo", {})
    (answer,), status = await root.request(MessageType.INVOKE, {Attr.OBJID: 2, Attr.METHOD: "query"}, peer=2)
    assert (status, demo > 0) == (0, True)
    assert answer.data_table() == {
        "seq": 2,
        "acl": [{"obj": "demo", "user": "other", "acl": {"level": 3}}],
    }


async def test_the_shipped_file_gives_the_daemon_what_it_needs_and_no_more(bus: Bus) -> None:
    """DESIGN, "who runs as what"."""
    bus.write(SHIPPED.read_text(), "stripe-payments.json")
    root, daemon = await bus.connect(), await bus.connect("stripe-payments")
    objects = {
        "session": ["access", "login", "create", "list", "grant"],
        "stripe-payments.uci": ["load", "store", "store_prices"],
        "hotplug.stripe-payments": ["call"],
        "hotplug.net": ["call"],
        "system": ["board", "info", "reboot"],
        "uci": ["get", "set", "commit"],
        "service": ["list", "delete"],
        "file": ["exec"],
    }
    for path, methods in objects.items():
        await root.publish(path, {method: {} for method in methods})
    assert {path: await methods_of(daemon, path) for path in objects} == {
        "session": ["access"],
        "stripe-payments.uci": ["load", "store", "store_prices"],
        "hotplug.stripe-payments": ["call"],
        "hotplug.net": None,
        "system": ["board"],
        "uci": None,
        "service": None,
        "file": None,
    }
    published = [await may_publish(daemon, path) for path in ("stripe-payments", "stripe-payments.http")]
    assert published == [True, True]
    assert not await may_publish(daemon, "stripe-payments.more")
    assert await daemon.send_event("stripe-payments.feature") == Status.OK
    assert await daemon.send_event("network.interface") == Status.PERMISSION_DENIED
    own = await daemon.publish(None)
    assert await daemon.listen("*", own) == Status.PERMISSION_DENIED
    other = await bus.connect("other")
    assert await methods_of(other, "session") is None


@pytest.mark.skipif(os.getuid() != 0, reason="only root becomes another user")
async def test_the_kernel_says_who_connects(folder: Path) -> None:
    """A real process of another user, identified by its socket alone."""
    broker = UbusBroker(folder / "ubus.sock", folder / "acl.d")
    (folder / "acl.d/nobody.json").write_text('{"user": "nobody", "send": ["allowed"]}')
    await broker.start()
    root = await RawClient.connect(broker.socket_path)
    own = await root.publish(None)
    assert await root.listen("*", own) == 0
    program = (
        "import os, sys\n"
        "from tools.ubus.cli import main\n"
        "os.setgroups([]); os.setgid(65534); os.setuid(65534)\n"
        "codes = [main(['-s', sys.argv[1], 'send', name]) for name in ('allowed', 'denied')]\n"
        "sys.exit(codes != [0, 6])\n"
    )
    try:
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-c",
            program,
            str(broker.socket_path),
            cwd=REPOSITORY,
            env={"PYTHONPATH": f"{REPOSITORY}:{REPOSITORY / 'daemon'}", "PYTHONDONTWRITEBYTECODE": "1"},
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
        )
        output, _ = await process.communicate()
        assert process.returncode == 0, output.decode()
        event = await root.message()
        while event.method != "allowed":
            event = await root.message()
    finally:
        await root.close()
        await broker.stop()
