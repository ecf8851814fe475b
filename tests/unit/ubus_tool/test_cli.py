"""`python -m tools.ubus` on a live bus: what test_replay.py's recordings do not hold."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Callable
from dataclasses import dataclass

import pytest
from hypothesis import given
from hypothesis import strategies as st

from simulator.ubus_broker import UbusBroker
from tests.unit.ubus_py.conftest import Connect
from tests.unit.ubus_py.test_connection import SOON, echo, eventually, forever
from tests.unit.ubus_tool.conftest import ENVIRONMENT, TOOL
from tools.ubus.blobmsg_json import format_table, parse_table
from ubus_py import (
    INT64,
    STRING,
    TABLE,
    Call,
    Connection,
    Encodable,
    Method,
    Object,
    Status,
    StatusError,
    UsageError,
)


@dataclass
class Result:
    code: int | None
    out: str
    err: str


async def start(broker: UbusBroker, *arguments: str | bytes) -> asyncio.subprocess.Process:
    return await asyncio.create_subprocess_exec(
        *TOOL, "-s", str(broker.socket_path), *arguments,
        env=ENVIRONMENT, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
    )  # fmt: skip


async def finish(tool: asyncio.subprocess.Process) -> Result:
    out, err = await asyncio.wait_for(tool.communicate(), 60)
    return Result(tool.returncode, out.decode("utf-8", "surrogateescape"), err.decode())


async def ubus(broker: UbusBroker, *arguments: str | bytes) -> Result:
    return await finish(await start(broker, *arguments))


@pytest.fixture
async def server(connect: Connect) -> Connection:
    async def refuse(call: Call) -> None:
        raise StatusError(Status.NOT_FOUND, {"error": {"code": "x"}})

    async def nothing(call: Call) -> None:
        return None

    server = await connect()
    methods = [Method("echo", echo, {"text": STRING, "t": TABLE, "wide": INT64}), Method("forever", forever)]
    methods += [Method("refuse", refuse), Method("nothing", nothing)]
    await server.publish(Object("demo", methods, raw_text=True))
    return server


async def test_a_refused_call_prints_its_body_too(broker: UbusBroker, server: Connection) -> None:
    body = '{\n\t"error": {\n\t\t"code": "x"\n\t}\n}\n'
    sentence = "Command failed: ubus call demo refuse (Not found)\n"
    assert await ubus(broker, "call", "demo", "refuse") == Result(252, body, sentence)
    assert await ubus(broker, "-S", "call", "demo", "refuse") == Result(4, '{"error":{"code":"x"}}\n', "")


async def test_simple_output(broker: UbusBroker, server: Connection) -> None:
    message = '{"text":"a\\tb","more":[1,2.5,null,true,{}]}'
    out = '{"text":"a\\tb","more":[1,2.500000,null,true,{}]}\n'
    assert await ubus(broker, "-S", "call", "demo", "echo", message) == Result(0, out, "")
    assert await ubus(broker, "call", "demo", "nothing") == Result(0, "", "")


async def test_bytes_that_are_no_utf8_pass_unchanged(broker: UbusBroker, server: Connection) -> None:
    result = await ubus(broker, "-S", "call", "demo", "echo", b'{"x":"caf\xe9"}')
    assert result == Result(0, '{"x":"caf\udce9"}\n', "")


async def test_listing(broker: UbusBroker, server: Connection) -> None:
    assert await ubus(broker, "list") == Result(0, "demo\n", "")
    result = await ubus(broker, "list", "-v", "de*")
    first, *rest = result.out.splitlines()
    assert first.startswith("'demo' @")
    assert rest == [
        '\t"echo":{"text":"String","t":"Table","wide":"(unknown)"}',
        '\t"forever":{}',
        '\t"refuse":{}',
        '\t"nothing":{}',
    ]
    assert await ubus(broker, "list", "no*") == Result(4, "", "Command failed: Not found\n")
    assert await ubus(broker, "-S", "list", "no*") == Result(4, "", "")


@pytest.mark.parametrize("message", ["[1]", "{", "", "{a:1}", "5"])
async def test_a_message_that_is_no_json_object(broker: UbusBroker, server: Connection, message: str) -> None:
    sentence = f"Command failed: ubus call demo echo {message} (Parsing message data failed)\n"
    assert await ubus(broker, "call", "demo", "echo", message) == Result(244, "", sentence)
    sentence = "Command failed: Parsing message data failed\n"
    assert await ubus(broker, "send", "x", message) == Result(12, "", sentence)


async def test_timeouts(broker: UbusBroker, server: Connection) -> None:
    sentence = "Command failed: ubus call demo forever (Request timed out)\n"
    assert await ubus(broker, "-t", "1", "call", "demo", "forever") == Result(249, "", sentence)
    sentence = "Command failed: Request timed out\n"
    assert await ubus(broker, "-t", "1", "wait_for", "demo", "never") == Result(7, "", sentence)


async def test_waiting_for_an_object(broker: UbusBroker, connect: Connect) -> None:
    tool = await start(broker, "wait_for", "demo")
    server = await connect()
    await server.publish(Object("demo"))
    assert await finish(tool) == Result(0, "", "")


async def test_subscribing(broker: UbusBroker, connect: Connect) -> None:
    server = await connect()
    obj = Object("demo")
    await server.publish(obj)
    tool = await start(broker, "subscribe", "demo")
    await eventually(lambda: obj.has_subscribers)
    await obj.notify("tick", {"n": [1]})
    assert tool.stdout is not None
    assert await asyncio.wait_for(tool.stdout.readline(), SOON) == b'{ "tick": {"n":[1]} }\n'
    tool.send_signal(signal.SIGINT)
    assert await finish(tool) == Result(0, "", "")
    sentence = "Error while registering for event 'none': Not found\n"
    assert await ubus(broker, "subscribe", "none") == Result(255, "", sentence)
    assert (await ubus(broker, "subscribe")).code == 255


async def test_listening_ends_when_its_reader_has_left(broker: UbusBroker, connect: Connect) -> None:
    sender = await connect()
    tool = await start(broker, "listen", "tick")
    assert tool.stdout is not None
    for _ in range(1000):
        await sender.send("tick")
        if not tool.stdout.at_eof() and await _line(tool.stdout):
            break
    tool._transport.get_pipe_transport(1).close()  # type: ignore[attr-defined]
    while tool.returncode is None:
        await sender.send("tick")
        await asyncio.sleep(0.01)
    assert tool.returncode == 141
    assert tool.stderr is not None
    assert await tool.stderr.read() == b""


async def _line(stream: asyncio.StreamReader) -> bytes:
    try:
        return await asyncio.wait_for(stream.readline(), 0.1)
    except TimeoutError:
        return b""


@pytest.mark.parametrize(
    ("arguments", "code"),
    [((), 1), (("-h",), 1), (("-t",), 1), (("bogus",), 254), (("call", "x"), 254), (("list", "a", "b"), 254),
     (("send",), 254), (("wait_for",), 254), (("call", "a", "b", "{}", "d"), 254)],
)  # fmt: skip
async def test_wrong_usage(broker: UbusBroker, arguments: tuple[str, ...], code: int) -> None:
    result = await ubus(broker, *arguments)
    assert (result.code, result.out) == (code, "")
    assert "Usage: python -m tools.ubus" in result.err


async def test_no_ubusd(broker: UbusBroker) -> None:
    await broker.stop()
    assert await ubus(broker, "list") == Result(255, "", "Failed to connect to ubus\n")
    assert await ubus(broker, "-S", "list") == Result(255, "", "")


# --- the JSON it prints and reads --------------------------------------------------------------------------


def test_indented_json_is_libubox_s() -> None:
    table: dict[str, Encodable] = {"a": {}, "b": [], "": 1, "c": [[0.5]], "d": '"\\/\x01\x7f\n'}
    assert format_table(table, indent=True) == (
        '{\n\t"a": {\n\t\t\n\t},\n\t"b": [\n\t\t\n\t],\n\t1,\n\t"c": [\n\t\t[\n\t\t\t0.500000\n\t\t]\n\t],'
        '\n\t"d": "\\"\\\\/\\u0001\x7f\\n"\n}'
    )
    assert format_table({}, indent=True) == "{\n\t\n}"


def test_the_indentation_has_an_end() -> None:
    table: dict[str, Encodable] = {}
    for _ in range(20):
        table = {"x": table}
    assert "\t" * 16 in format_table(table, indent=True)
    assert "\t" * 17 not in format_table(table, indent=True)


def test_numbers_beyond_64_bits_become_the_nearest() -> None:
    big = 1 << 63
    text = f'{{"a": {big}, "b": {-big - 1}, "c": 1{"0" * 5000}, "d": -1{"0" * 5000}}}'
    assert parse_table(text) == {"a": big - 1, "b": -big, "c": big - 1, "d": -big}


def test_lone_surrogates_are_replaced() -> None:
    assert parse_table('{"a": ["\\ud800x"], "\\udfff": "\\ud83d\\ude00"}') == {
        "a": ["\ufffdx"],
        "\ufffd": "😀",
    }


@given(st.text(max_size=60) | st.text('{}[]",:0123456789eE.-ntf\\u ', max_size=60))
def test_any_text_is_a_table_or_our_own_mistake(text: str) -> None:
    formats: list[Callable[[], str]] = []
    try:
        table = parse_table(text)
    except UsageError:
        return
    formats = [lambda: format_table(table, indent=True), lambda: format_table(table, indent=False)]
    assert all(one() for one in formats)
