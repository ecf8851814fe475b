"""Our side of the recorded conversations, on a real socket, says the very bytes that libubus said."""

from __future__ import annotations

import asyncio
from pathlib import Path

from tests.unit.ubus_py.recordings import RECORDINGS, PlayedUbusd
from ubus_py import INT32, STRING, Call, Connection, Encodable, Event, Method, Object


async def test_a_publishing_program_answers_byte_for_byte_as_libubus(folder: Path) -> None:
    recording = RECORDINGS["server"]

    async def echo(call: Call) -> dict[str, Encodable]:
        return dict(call.args)

    async def types(call: Call) -> dict[str, Encodable]:
        return {
            "s": "città €", "empty": "", "i": -42, "i64": 5000000000, "neg64": -5000000000, "b": True,
            "f": False, "d": 3.5, "arr": [1, "two", [3.25, False], {}], "tab": {"x": {"y": []}}, "null": None,
        }  # fmt: skip

    def big(call: Call) -> dict[str, Encodable]:
        return {"blob": "x" * 200_000}

    async with PlayedUbusd(recording, folder / "ubus.sock") as ubusd:
        async with await Connection.open(str(ubusd.path)) as connection:
            methods = [Method("echo", echo, {"text": STRING, "n": INT32}), Method("types", types)]
            await connection.publish(Object("vec.demo", [*methods, Method("big", big)]))
            await asyncio.wait_for(ubusd.ended.wait(), 60)
        assert ubusd.heard == recording.sent_by("client")


async def test_a_listener_acknowledges_as_libubus_does(folder: Path) -> None:
    recording = RECORDINGS["listen"]
    events: asyncio.Queue[Event] = asyncio.Queue()
    async with PlayedUbusd(recording, folder / "ubus.sock") as ubusd:
        async with await Connection.open(str(ubusd.path)) as connection:
            await connection.listen("demo.event", events.put_nowait)
            assert await asyncio.wait_for(events.get(), 60) == Event("demo.event", {"k": [1, 2, 3]})
            await asyncio.wait_for(ubusd.ended.wait(), 60)
        assert ubusd.heard == recording.sent_by("client")
