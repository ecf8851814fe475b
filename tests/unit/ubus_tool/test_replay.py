"""The tool in the recorded conversations: it sends and prints the very bytes that the real one did."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from tests.unit.ubus_py.recordings import RECORDINGS, PlayedUbusd
from tests.unit.ubus_tool.conftest import ENVIRONMENT, TOOL

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
            *TOOL, "-s", str(ubusd.path), *arguments,
            env=ENVIRONMENT, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
        )  # fmt: skip
        out, err = await asyncio.wait_for(tool.communicate(), 60)
        await asyncio.wait_for(ubusd.ended.wait(), 60)
    assert ubusd.heard == recording.sent_by("client")
    if recording.printed:
        assert out.decode() == recording.printed
    assert err.decode().strip() == recording.printed_on_stderr.strip()
    assert tool.returncode == code
