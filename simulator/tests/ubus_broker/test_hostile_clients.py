"""Clients that do not read, do not stop, or do not speak ubus: no other client may notice."""

from __future__ import annotations

import asyncio
import random

import pytest

from simulator.tests.ubus_broker.conftest import Connect
from simulator.ubus_broker import UbusBroker
from ubus_py.wire import MAX_MESSAGE, Attr, Message, MessageType, encode_message


@pytest.mark.parametrize(
    "garbage",
    [
        b"\0\4\0\1\0\0\0\0\0\0\0\3",  # a blob shorter than its own header
        b"\0\4\0\1\0\0\0\0\0\xff\xff\xff",  # 16 MiB
        b"\0\4\0\1\0\0\0\0" + (MAX_MESSAGE + 1).to_bytes(4, "big"),
        b"GET / HTTP/1.1\r\nHost: router\r\n\r\n",
    ],
)
async def test_a_broken_frame_costs_only_its_sender_the_connection(connect: Connect, garbage: bytes) -> None:
    broken, other = await connect(), await connect()
    await broken.publish("broken", {})
    await broken.write(garbage)
    assert await broken.gone()
    assert (await other.request(MessageType.PING))[1] == 0
    assert (await other.look_up("broken"))[1] != 0


async def test_attributes_that_cannot_be_read_are_answered(connect: Connect) -> None:
    client = await connect()
    for kind in (MessageType.INVOKE, MessageType.ADD_OBJECT, MessageType.SUBSCRIBE, MessageType.NOTIFY):
        body = b"\x03\0\0\x07\1\2\3\0" + b"\x04\0\0\x50"
        await client.write(bytes([0, kind, 0, 9]) + bytes(4) + (len(body) + 4).to_bytes(4, "big") + body)
        while (answer := await client.message()).type != MessageType.STATUS:
            pass
        assert answer.seq == 9


async def test_mutated_frames_stop_nothing(broker: UbusBroker, connect: Connect) -> None:
    """Whatever one client sends, another is served afterwards."""
    rng = random.Random(20261122)
    healthy = await connect()
    demo = await healthy.publish("demo", {"x": {}})
    samples = [
        encode_message(Message(kind, 7, demo, {Attr.OBJID: demo, Attr.METHOD: "x", Attr.OBJPATH: "demo"}))
        for kind in MessageType
    ]
    for _ in range(150):
        _, writer = await asyncio.open_unix_connection(str(broker.socket_path))
        for _ in range(10):
            data = bytearray(rng.choice(samples))
            for _ in range(rng.randint(0, 4)):
                data[rng.randrange(len(data))] = rng.randrange(256)
            writer.write(bytes(data))
        writer.close()
    other = await connect()
    assert (await other.look_up("demo"))[1] == 0


async def test_a_client_that_does_not_read_stalls_no_other(connect: Connect) -> None:
    """It asks for far more than it takes; the broker keeps 1 MiB for it and drops the rest."""
    deaf, sender, other = await connect(), await connect(), await connect()
    own = await deaf.publish(None)
    assert await deaf.listen("flood", own) == 0
    text = "x" * 100_000
    for _ in range(60):
        assert await sender.send_event("flood", {"text": text}) == 0
        assert (await other.request(MessageType.PING))[1] == 0
    await deaf.send(MessageType.PING)
    events = 0
    while (message := await deaf.message()).type == MessageType.INVOKE:
        assert message.data_table() == {"text": text}
        events += 1
    assert 10 <= events < 60
    assert message.type in (MessageType.DATA, MessageType.STATUS)


async def test_a_long_list_waits_for_its_reader(connect: Connect) -> None:
    """What a look-up finds is never dropped, however slowly it is read."""
    server, slow = await connect(), await connect()
    methods = {f"method_{number}": {f"argument_{index}": 3 for index in range(40)} for number in range(40)}
    for number in range(60):
        await server.publish(f"object_{number:03}", methods)
    await slow.send(MessageType.LOOKUP)
    await slow.send(MessageType.LOOKUP, attrs={Attr.OBJPATH: "object_001"})
    assert (await server.request(MessageType.PING))[1] == 0
    paths = []
    while (message := await slow.message()).type != MessageType.STATUS:
        paths.append(message.objpath)
    assert paths == [f"object_{number:03}" for number in range(60)]
    assert (await slow.message()).objpath == "object_001"


async def test_half_a_frame_waits_without_harm(connect: Connect) -> None:
    slow, other = await connect(), await connect()
    data = encode_message(Message(MessageType.PING, 5, 0))
    for byte in data[:-1]:
        await slow.write(bytes([byte]))
        assert (await other.request(MessageType.PING))[1] == 0
    await slow.write(data[-1:])
    assert (await slow.message()).seq == 5
