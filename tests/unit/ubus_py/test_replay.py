"""Our side of the recorded conversations, on a real socket, says the very bytes that libubus said."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

import pytest

from tests.unit.ubus_py.recordings import RECORDINGS, PlayedUbusd
from ubus_py import INT32, STRING, Call, Connection, Encodable, Event, Method, Object

DAEMON = Path(__file__).parents[3] / "daemon"

COMMANDS: dict[str, tuple[list[str], int]] = {
    # recording: (arguments, exit code; those of the tool are known from rpcd-transcript.txt)
    "call_badargs": (["call", "vec.demo", "echo", '{"text":5}'], 254),
    "call_big": (["call", "vec.demo", "big"], 0),
    "call_echo": (["call", "vec.demo", "echo", '{"text":"ciao","n":7}'], 0),
    "call_nomethod": (["call", "vec.demo", "nope"], 253),
    "call_noobject": (["call", "no.such", "thing"], 4),
    "call_types": (["call", "vec.demo", "types"], 0),
    "list": (["list"], 0),
    "list_v": (["-v", "list", "vec.demo"], 0),
    "listen": (["-t", "1", "listen", "demo.event"], 0),
    "send": (["send", "demo.event", '{"k":[1,2,3]}'], 0),
}


@pytest.mark.parametrize("name", COMMANDS)
async def test_the_tool_says_and_prints_what_the_real_one_did(name: str, folder: Path) -> None:
    recording = RECORDINGS[name]
    arguments, code = COMMANDS[name]
    async with PlayedUbusd(recording, folder / "ubus.sock") as ubusd:
        tool = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "ubus_py", "-s", str(ubusd.path), *arguments,
            cwd=DAEMON, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
        )  # fmt: skip
        out, err = await asyncio.wait_for(tool.communicate(), 60)
        await asyncio.wait_for(ubusd.ended.wait(), 60)
    assert ubusd.heard == recording.sent_by("client")
    if recording.printed:
        assert out.decode() == recording.printed
    assert err.decode().strip() == recording.printed_on_stderr.strip()
    assert tool.returncode == code


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
