"""Events and notifications."""

from __future__ import annotations

import pytest

from simulator.tests.ubus_broker.conftest import Connect
from simulator.tests.ubus_broker.raw_client import Attrs
from ubus_py.errors import Status
from ubus_py.wire import Attr, MessageType


@pytest.mark.parametrize(
    ("pattern", "heard"),
    [
        ("a.b", ["a.b"]),
        ("a.*", ["a.b", "a.bc"]),
        ("a.b*", ["a.b", "a.bc"]),
        ("*", ["a.b", "a.bc", "b"]),
        ("a", []),
    ],
)
async def test_patterns(connect: Connect, pattern: str, heard: list[str]) -> None:
    listener, sender = await connect(), await connect()
    own = await listener.publish(None)
    assert await listener.listen(pattern, own) == 0
    assert await listener.listen("end", own) == 0
    for name in ("a.b", "a.bc", "b", "end"):
        assert await sender.send_event(name, {"name": name}) == 0
    got = []
    while (event := await listener.message()).method != "end":
        assert (event.type, event.peer, event.objid, event.user) == (MessageType.INVOKE, 0, own, None)
        assert event.data_table() == {"name": event.method}
        got.append(event.method)
    assert got == heard


async def test_a_listener_hears_an_event_once_and_never_its_own(connect: Connect) -> None:
    listener, sender = await connect(), await connect()
    own = await listener.publish(None)
    for pattern in ("a*", "a.b", "*"):
        assert await listener.listen(pattern, own) == 0
    assert await listener.send_event("a.b") == 0  # its answer is the next message: nothing came before it
    assert await sender.send_event("a.b") == 0
    assert await sender.send_event("c") == 0
    assert [(await listener.message()).method for _ in range(2)] == ["a.b", "c"]


async def test_no_client_speaks_for_ubusd(connect: Connect) -> None:
    client = await connect()
    assert await client.send_event("ubus.object.add") == Status.PERMISSION_DENIED


async def test_register_wants_an_object_of_ones_own(connect: Connect) -> None:
    one, two = await connect(), await connect()
    own = await one.publish(None)
    assert await two.listen("x", own) == Status.PERMISSION_DENIED
    assert await two.listen("x", 1) == Status.PERMISSION_DENIED
    assert await two.listen("x", 99999) == Status.NOT_FOUND
    assert await one.listen("", own) == Status.PERMISSION_DENIED


async def test_objects_are_announced(connect: Connect) -> None:
    listener, server = await connect(), await connect()
    own = await listener.publish(None)
    assert await listener.listen("ubus.object.*", own) == 0
    demo = await server.publish("demo", {})
    await server.publish(None)
    added = await listener.message()
    assert added.method == "ubus.object.add"
    assert added.data_table()["path"] == "demo"
    seen = added.data_table()["id"]
    assert isinstance(seen, int)
    assert seen & 0xFFFFFFFF == demo
    await server.request(MessageType.REMOVE_OBJECT, {Attr.OBJID: demo})
    assert (await listener.message()).method == "ubus.object.remove"


async def test_notifications_reach_the_subscribers_latest_first(connect: Connect) -> None:
    server, one, two = await connect(), await connect(), await connect()
    demo = await server.publish("demo", {})
    ids = []
    for client in (one, two):
        own = await client.publish(None)
        ids.append(own)
        assert (await client.request(MessageType.SUBSCRIBE, {Attr.OBJID: own, Attr.TARGET: demo}))[1] == 0
    active = await server.message()
    assert (active.type, active.attrs) == (MessageType.NOTIFY, {Attr.OBJID: demo, Attr.ACTIVE: True})
    seq = await server.send(MessageType.NOTIFY, demo, {Attr.OBJID: demo, Attr.METHOD: "news", Attr.DATA: b""})
    status = await server.message()
    assert list(status.attrs.items()) == [
        (Attr.OBJID, demo),
        (Attr.SUBSCRIBERS, (ids[1], ids[0])),
        (Attr.STATUS, 0),
    ]
    for client, own in ((one, ids[0]), (two, ids[1])):
        news = await client.message()
        assert (news.type, news.seq, news.peer, news.objid) == (MessageType.INVOKE, seq, server.id, own)
        assert (news.method, news.no_reply) == ("news", False)


async def test_a_notification_without_reply_answers_nothing(connect: Connect) -> None:
    server, client = await connect(), await connect()
    demo, own = await server.publish("demo", {}), await client.publish(None)
    await client.request(MessageType.SUBSCRIBE, {Attr.OBJID: own, Attr.TARGET: demo})
    await server.message()
    await server.send(MessageType.NOTIFY, demo, {Attr.OBJID: demo, Attr.METHOD: "x", Attr.NO_REPLY: True})
    news = await client.message()
    assert next(iter(news.attrs)) == Attr.NO_REPLY
    assert await server.request(MessageType.PING) is not None


async def test_the_last_subscriber_and_the_objects_end_are_notified(connect: Connect) -> None:
    server, client = await connect(), await connect()
    demo, own = await server.publish("demo", {}), await client.publish(None)
    pair: Attrs = {Attr.OBJID: own, Attr.TARGET: demo}
    await client.request(MessageType.SUBSCRIBE, pair)
    assert (await server.message()).active is True
    assert (await client.request(MessageType.UNSUBSCRIBE, pair))[1] == 0
    assert (await server.message()).active is False
    assert (await client.request(MessageType.UNSUBSCRIBE, pair))[1] == Status.NOT_FOUND
    await client.request(MessageType.SUBSCRIBE, pair)
    assert (await server.message()).active is True
    await server.close()
    gone = await client.message()
    assert (gone.type, gone.attrs) == (MessageType.UNSUBSCRIBE, pair)


async def test_one_does_not_subscribe_to_oneself(connect: Connect) -> None:
    server = await connect()
    demo, own = await server.publish("demo", {}), await server.publish(None)
    pair: Attrs = {Attr.OBJID: own, Attr.TARGET: demo}
    assert (await server.request(MessageType.SUBSCRIBE, pair))[1] == Status.INVALID_ARGUMENT


async def test_a_monitor_sees_what_passes(connect: Connect) -> None:
    watcher, client = await connect(), await connect()
    await watcher.send(MessageType.INVOKE, 3, {Attr.OBJID: 3, Attr.METHOD: "add"})
    own_answer, answer = await watcher.frame(), await watcher.frame()
    assert (own_answer.type, answer.type) == (MessageType.MONITOR, MessageType.STATUS)
    await client.request(MessageType.PING)
    shown = [await watcher.frame() for _ in range(3)]
    assert {frame.type for frame in shown} == {MessageType.MONITOR}
    assert [frame.seq for frame in (own_answer, *shown)] == [1, 2, 3, 4]
    assert [_numbers(frame.body) for frame in shown] == [
        (client.id, MessageType.PING, False),
        (client.id, MessageType.DATA, True),
        (client.id, MessageType.STATUS, True),
    ]


def _numbers(body: bytes) -> tuple[int, int, bool]:
    """Client, message type and direction of a monitor message: attributes 0, 4 and 2."""
    words = [int.from_bytes(body[at : at + 4], "big") for at in range(0, 40, 4)]
    assert [words[at] >> 24 for at in (0, 2, 4, 6, 8)] == [0, 1, 3, 4, 2]
    return words[1], words[7], bool(words[9] >> 24)
