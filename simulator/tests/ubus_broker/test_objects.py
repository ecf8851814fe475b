"""Objects, look-ups and calls."""

from __future__ import annotations

import pytest

from simulator.tests.ubus_broker.conftest import Connect
from simulator.tests.ubus_broker.raw_client import Attrs, RawClient
from simulator.ubus_broker import UbusBroker
from ubus_py.blobmsg import decode_table, encode_table
from ubus_py.errors import Status
from ubus_py.wire import Attr, Frame, Message, MessageType, encode_message

METHODS = {"echo": {"text": 3}, "big": {}}


async def call(client: RawClient, object_id: int, method: str) -> int:
    return await client.send(
        MessageType.INVOKE, object_id, {Attr.OBJID: object_id, Attr.METHOD: method, Attr.DATA: b""}
    )


async def test_ids_are_random_and_leave_room_for_ubusds_own(connect: Connect) -> None:
    server = await connect()
    ids = {await server.publish(f"a{number}", {}) for number in range(50)}
    assert len(ids) == 50
    assert min(ids) >= 1024
    assert server.id >= 1024


async def test_every_signature_makes_a_type_and_a_type_can_be_shared_by_its_id(connect: Connect) -> None:
    server = await connect()
    signature = encode_table(METHODS)
    answers = []
    for path in ("one", "two"):
        (answer,), _ = await server.request(
            MessageType.ADD_OBJECT, {Attr.OBJPATH: path, Attr.SIGNATURE: signature}
        )
        answers.append(answer)
    assert answers[0].objtype != answers[1].objtype
    (answer,), status = await server.request(
        MessageType.ADD_OBJECT, {Attr.OBJPATH: "three", Attr.OBJTYPE: answers[0].objtype or 0}
    )
    assert status == 0
    assert answer.objtype is None
    (found,), _ = await server.look_up("three")
    assert (found.objtype, found.signature) == (answers[0].objtype, signature)


async def test_a_types_end_is_sent_with_its_last_object(connect: Connect) -> None:
    server = await connect()
    (first,), _ = await server.request(
        MessageType.ADD_OBJECT, {Attr.OBJPATH: "one", Attr.SIGNATURE: encode_table(METHODS)}
    )
    (second,), _ = await server.request(
        MessageType.ADD_OBJECT, {Attr.OBJPATH: "two", Attr.OBJTYPE: first.objtype or 0}
    )
    (removed,), _ = await server.request(MessageType.REMOVE_OBJECT, {Attr.OBJID: first.objid or 0})
    assert removed.attrs == {Attr.OBJID: first.objid}
    (removed,), _ = await server.request(MessageType.REMOVE_OBJECT, {Attr.OBJID: second.objid or 0})
    assert removed.attrs == {Attr.OBJID: second.objid, Attr.OBJTYPE: first.objtype}


async def test_a_path_is_taken_once(connect: Connect) -> None:
    first, second = await connect(), await connect()
    await first.publish("demo", METHODS)
    _, status = await second.request(MessageType.ADD_OBJECT, {Attr.OBJPATH: "demo", Attr.SIGNATURE: b""})
    assert status == Status.INVALID_ARGUMENT


async def test_only_its_owner_removes_an_object(connect: Connect) -> None:
    first, second = await connect(), await connect()
    demo = await first.publish("demo", METHODS)
    assert (await second.request(MessageType.REMOVE_OBJECT, {Attr.OBJID: demo}))[
        1
    ] == Status.PERMISSION_DENIED
    assert (await second.request(MessageType.REMOVE_OBJECT, {Attr.OBJID: 77777}))[1] == Status.NOT_FOUND
    assert (await second.request(MessageType.REMOVE_OBJECT))[1] == Status.INVALID_ARGUMENT


@pytest.mark.parametrize(
    ("pattern", "found", "status"),
    [
        (None, ["demo", "demo.two", "other"], Status.OK),
        ("demo", ["demo"], Status.OK),
        ("demo*", ["demo", "demo.two"], Status.OK),
        ("*", ["demo", "demo.two", "other"], Status.OK),
        ("dem", [], Status.NOT_FOUND),
        ("x*", [], Status.NOT_FOUND),
        ("", [], Status.INVALID_ARGUMENT),
    ],
)
async def test_look_up(connect: Connect, pattern: str | None, found: list[str], status: Status) -> None:
    server = await connect()
    for path in ("other", "demo.two", "demo"):
        await server.publish(path, METHODS)
    await server.publish(None)
    messages, got = await (await connect()).look_up(pattern)
    assert ([message.objpath for message in messages], got) == (found, status)


async def test_an_object_without_a_signature_is_called_but_not_shown(connect: Connect) -> None:
    server, caller = await connect(), await connect()
    quiet = await server.publish("quiet")
    assert await caller.look_up("quiet") == ([], Status.OK)
    await call(caller, quiet, "anything")
    assert (await server.message()).method == "anything"


async def test_a_call_names_its_caller_and_the_answers_find_back(connect: Connect) -> None:
    server, one, two = await connect(), await connect(), await connect()
    demo = await server.publish("demo", METHODS)
    await call(one, demo, "echo")
    first = await server.message()
    await call(two, demo, "big")
    second = await server.message()
    assert (first.peer, first.method, first.user, first.group) == (one.id, "echo", "root", "root")
    assert (second.peer, second.method) == (two.id, "big")
    for asked, caller in ((second, two), (first, one)):
        answer = {"method": asked.method}
        attrs: Attrs = {Attr.OBJID: demo, Attr.DATA: encode_table(answer)}
        await server.write(encode_message(Message(MessageType.DATA, asked.seq, asked.peer, attrs)))
        attrs = {Attr.STATUS: 0, Attr.OBJID: demo}
        await server.write(encode_message(Message(MessageType.STATUS, asked.seq, asked.peer, attrs)))
        data, status = await caller.message(), await caller.message()
        assert (data.peer, decode_table(data.data or b"")) == (demo, answer)
        assert (status.type, status.peer, status.status) == (MessageType.STATUS, demo, 0)


async def test_answers_to_strangers_or_in_others_names_go_nowhere(connect: Connect) -> None:
    server, thief, caller = await connect(), await connect(), await connect()
    demo = await server.publish("demo", METHODS)
    forged: Attrs = {Attr.STATUS: 0, Attr.OBJID: demo}
    await thief.write(encode_message(Message(MessageType.STATUS, 1, caller.id, forged)))
    await server.write(encode_message(Message(MessageType.STATUS, 1, 4242, forged)))
    await server.write(encode_message(Message(MessageType.DATA, 1, caller.id, {Attr.OBJID: demo})))
    for client in (thief, server, caller):
        assert await client.request(MessageType.PING) == (
            [Message(MessageType.DATA, client._seq, 0)],
            Status.OK,
        )


@pytest.mark.parametrize(
    ("kind", "attrs", "status"),
    [
        (MessageType.INVOKE, {Attr.METHOD: "x"}, Status.INVALID_ARGUMENT),
        (MessageType.INVOKE, {Attr.OBJID: 99999}, Status.INVALID_ARGUMENT),
        (MessageType.INVOKE, {Attr.OBJID: 99999, Attr.METHOD: "x"}, Status.NOT_FOUND),
        (MessageType.INVOKE, {Attr.OBJID: 1, Attr.METHOD: "nonsense"}, Status.INVALID_COMMAND),
        (MessageType.INVOKE, {Attr.OBJID: 1, Attr.METHOD: "send"}, Status.INVALID_ARGUMENT),
        (MessageType.NOTIFY, {Attr.OBJID: 99999, Attr.METHOD: "x"}, Status.NOT_FOUND),
        (MessageType.SUBSCRIBE, {Attr.OBJID: 99999}, Status.INVALID_ARGUMENT),
        (MessageType.UNSUBSCRIBE, {Attr.OBJID: 99999, Attr.TARGET: 5}, Status.NOT_FOUND),
        (MessageType.HELLO, {}, Status.INVALID_COMMAND),
        (MessageType.MONITOR, {}, Status.INVALID_COMMAND),
    ],
)
async def test_requests_that_make_no_sense(
    connect: Connect, kind: MessageType, attrs: dict[int, int | str], status: Status
) -> None:
    assert await (await connect()).request(kind, attrs) == ([], status)


async def test_a_client_that_leaves_takes_everything_along(broker: UbusBroker, connect: Connect) -> None:
    leaving, staying = await connect(), await connect()
    await leaving.publish("demo", METHODS)
    listener = await staying.publish(None)
    assert await staying.listen("ubus.object.*", listener) == 0
    await leaving.close()
    event = await staying.message()
    assert (event.method, event.data_table()["path"]) == ("ubus.object.remove", "demo")
    assert await staying.look_up("demo") == ([], Status.NOT_FOUND)


async def test_stop_hangs_up_and_start_begins_empty(broker: UbusBroker, connect: Connect) -> None:
    client = await connect()
    await client.publish("demo", METHODS)
    await broker.stop()
    assert await client.gone()
    assert not broker.socket_path.exists()
    await broker.start()
    assert await (await connect()).look_up(None) == ([], Status.OK)


async def test_the_longest_call_passes_with_its_callers_name(connect: Connect) -> None:
    """A client may send 1 MiB; what ubusd forwards is longer by the caller's names."""
    server, caller = await connect(), await connect()
    demo = await server.publish("demo", METHODS)
    head = len(encode_message(Message(MessageType.INVOKE, 1, 0, {Attr.OBJID: demo, Attr.METHOD: "big"}))) + 4
    payload = b"\0" * ((1 << 20) + 8 - head - 0)
    await caller.send(MessageType.INVOKE, demo, {Attr.OBJID: demo, Attr.METHOD: "big", Attr.DATA: payload})
    arrived: Frame = await server.frame()
    assert arrived.message().data == payload
    assert len(arrived.body) + 4 > 1 << 20
