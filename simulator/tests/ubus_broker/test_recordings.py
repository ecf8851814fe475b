"""The recorded traffic of a real ubusd, replayed: the same bytes, but for ids that ubusd draws at random."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from simulator.tests.ubus_broker.conftest import Connect
from simulator.tests.ubus_broker.raw_client import RawClient
from ubus_py.wire import Attr, AttrValue, Frame, FrameReader, MessageType

WIRE = Path(__file__).parents[3] / "tests/vectors/wire"
CALLERS = ["call_types", "call_echo", "call_badargs", "call_nomethod", "call_big"]


def chunks(name: str) -> list[tuple[str, bytes]]:
    """The chunks of a recording's one connection: who sent it, and what."""
    connection = json.loads((WIRE / f"{name}.json").read_text())["connections"][0]
    return [(chunk["from"], bytes.fromhex(chunk["hex"])) for chunk in connection]


def frames(data: bytes) -> Iterator[Frame]:
    reader = FrameReader(limit=2 << 20)
    reader.receive_data(data)
    while (frame := reader.next_frame()) is not None:
        yield frame


class Ids:
    """What ubusd drew in the recording, and what our broker drew in its place."""

    def __init__(self) -> None:
        self._drawn: dict[bytes, bytes] = {}

    def learn(self, recorded: int | None, ours: int | None) -> None:
        assert recorded is not None
        assert ours is not None
        self._drawn[recorded.to_bytes(4, "big")] = ours.to_bytes(4, "big")

    def ours(self, data: bytes) -> bytes:
        for recorded, drawn in self._drawn.items():
            data = data.replace(recorded, drawn)
        return data


class Replay:
    """One recorded connection, played step by step."""

    def __init__(self, client: RawClient, name: str, ids: Ids) -> None:
        self._client = client
        self._ids = ids
        self._steps = chunks(name)
        (hello,) = frames(self._steps[0][1][:12])
        ids.learn(hello.peer, client.id)
        rest = self._steps[0][1][12:]
        self._steps[0:1] = [("ubusd", rest)] if rest else []

    def _next(self, side: str) -> bytes:
        """Everything this side sent before the other one answered."""
        data = b""
        while self._steps and self._steps[0][0] == side:
            data += self._steps.pop(0)[1]
        assert data, f"the recording has nothing from {side} here"
        return data

    async def say(self) -> None:
        """What the recorded client sent next."""
        await self._client.write(self._ids.ours(self._next("client")))

    async def hear(self) -> None:
        """What ubusd sent next must be what our broker sends."""
        data = self._next("ubusd")
        assert await self._client.exactly(len(data)) == self._ids.ours(data)

    async def hear_ids(self) -> None:
        """ubusd's answer to a new object: it has ids."""
        side, answer = self._steps.pop(0)
        assert side == "ubusd"
        recorded = list(frames(answer))
        data = await self._client.exactly(len(answer))
        ours = list(frames(data))
        for theirs, mine in zip(recorded, ours, strict=True):
            for key in (Attr.OBJID, Attr.OBJTYPE):
                if key in theirs.message().attrs:
                    self._ids.learn(theirs.message().attrs[key], mine.message().attrs[key])
        expected = [replace(frame, body=self._ids.ours(frame.body)) for frame in recorded]
        assert ours == expected

    @property
    def over(self) -> bool:
        return not self._steps


async def test_calls_of_a_published_object(connect: Connect) -> None:
    ids = Ids()
    server = Replay(await connect(), "server", ids)
    await server.say()
    await server.hear_ids()
    for name in CALLERS:
        caller = Replay(await connect(), name, ids)
        await caller.say()
        await caller.hear()
        await caller.say()
        await server.hear()
        await server.say()
        await caller.hear()
        assert caller.over
    assert server.over


async def test_list_of_one_object_with_its_methods(connect: Connect) -> None:
    ids = Ids()
    server = Replay(await connect(), "server", ids)
    await server.say()
    await server.hear_ids()
    caller = Replay(await connect(), "list_v", ids)
    await caller.say()
    await caller.hear()
    assert caller.over


async def test_list_of_everything(connect: Connect) -> None:
    """Publish what the recording lists, then ask for the list."""
    ids = Ids()
    listed = b"".join(data for side, data in chunks("list")[1:] if side == "ubusd")
    publisher = await connect()
    types: dict[int, int] = {}
    for frame in reversed(list(frames(listed))):
        recorded = frame.message()
        if recorded.type != MessageType.DATA:
            continue
        assert recorded.objpath is not None
        assert recorded.objtype is not None
        assert recorded.signature is not None
        attrs: dict[int, AttrValue] = {Attr.OBJPATH: recorded.objpath}
        if recorded.objtype in types:
            attrs[Attr.OBJTYPE] = types[recorded.objtype]
        else:
            attrs[Attr.SIGNATURE] = recorded.signature
        (answer,), status = await publisher.request(MessageType.ADD_OBJECT, attrs)
        assert status == 0
        ids.learn(recorded.objid, answer.objid)
        if recorded.objtype not in types:
            assert answer.objtype is not None
            types[recorded.objtype] = answer.objtype
            ids.learn(recorded.objtype, answer.objtype)
    caller = Replay(await connect(), "list", ids)
    await caller.say()
    await caller.hear()
    assert caller.over


async def test_events(connect: Connect) -> None:
    """`ubus listen` and `ubus send`. ubusd numbers the events it forwards; the recording's is not its
    first."""
    ids = Ids()
    client = await connect()
    listener = Replay(client, "listen", ids)
    await listener.say()
    await listener.hear_ids()
    await listener.say()
    registered, event = frames(b"".join(data for side, data in chunks("listen")[4:] if side == "ubusd"))
    assert await client.frame() == registered
    sender = Replay(await connect(), "send", ids)
    await sender.say()
    await sender.hear()
    assert sender.over
    heard = await client.frame()
    assert heard == replace(event, seq=heard.seq, body=ids.ours(event.body))


async def test_call_of_an_object_that_is_not_there(connect: Connect) -> None:
    caller = Replay(await connect(), "call_noobject", Ids())
    await caller.say()
    await caller.hear()
    assert caller.over


@pytest.mark.parametrize("name", sorted(path.stem for path in WIRE.glob("*.json")))
def test_every_recording_is_replayed(name: str) -> None:
    assert name in {*CALLERS, "server", "list", "list_v", "listen", "send", "call_noobject"}
