"""ubus_py on a real ubusd: the tool made with it beside the real one, its objects as that one sees them."""

import asyncio
import json
import shutil
from collections.abc import AsyncIterator
from dataclasses import dataclass

import pytest

from simulator.daemon_process import REPOSITORY
from tests.interop.openwrt import OpenWrt
from tests.interop.packages import BUS, python_problem
from tests.interop.world import restart_bus
from ubus_py import (
    ARRAY,
    BOOLEAN,
    DOUBLE,
    INT32,
    INT64,
    STRING,
    TABLE,
    Call,
    Client,
    Event,
    Int8,
    Int16,
    Int64,
    Method,
    Object,
    Status,
    StatusError,
    Table,
)

TOOLS = "usr/lib/ubus-tool"
ECHO = {"s": STRING, "b": BOOLEAN, "i": INT32, "l": INT64, "d": DOUBLE, "a": ARRAY, "t": TABLE}


@dataclass(frozen=True)
class Printed:
    out: str
    err: str
    code: int


@pytest.fixture(autouse=True)
def python(openwrt: OpenWrt) -> None:
    """A Python on the router, and the tool, which no package brings."""
    if problem := python_problem():
        pytest.skip(problem)
    shutil.copytree(REPOSITORY / "tools/ubus", openwrt.root / TOOLS / "tools/ubus", dirs_exist_ok=True)


@pytest.fixture
async def served(openwrt: OpenWrt) -> AsyncIterator[Client]:
    """A client of ours that publishes `interop`."""

    async def echo(call: Call) -> Table:
        return dict(call.args)

    async def types(call: Call) -> Table:
        return {
            "i8": Int8(-5),
            "i16": Int16(-300),
            "i32": -70000,
            "i64": Int64(2**40),
            "d": 0.1,
            "n": None,
            "s": "è €",
        }

    async def refuse(call: Call) -> Table:
        raise StatusError(Status.PERMISSION_DENIED, {"error": {"code": "no", "message": "Not to you."}})

    async def slow(call: Call) -> Table:
        await asyncio.sleep(3600)
        return {}

    async def broken(call: Call) -> Table:
        raise ValueError("a defect")

    methods = [
        Method("echo", echo, ECHO),
        Method("types", types),
        Method("refuse", refuse),
        Method("slow", slow),
        Method("broken", broken),
    ]
    async with Client(openwrt.bus) as client:
        await client.publish(Object("interop", methods))
        yield client


async def real(openwrt: OpenWrt, *arguments: str) -> Printed:
    done = await asyncio.to_thread(openwrt.run, "ubus", *arguments)
    return Printed(done.stdout, done.stderr, done.returncode)


async def ours(openwrt: OpenWrt, *arguments: str) -> Printed:
    done = await asyncio.to_thread(
        openwrt.run,
        *("/usr/bin/python3", "-m", "tools.ubus", *arguments),
        environment={"PYTHONPATH": f"/{BUS}:/{TOOLS}", "PYTHONDONTWRITEBYTECODE": "1"},
    )
    return Printed(done.stdout, done.stderr, done.returncode)


SIDE_BY_SIDE = [
    ("list",),
    ("-v", "list"),
    ("list", "sess*"),
    ("-v", "list", "uci"),
    ("-v", "list", "interop"),
    ("-S", "list", "session"),
    ("list", "no.such.object"),
    ("call", "no.such.object", "m"),
    ("call", "uci", "no_such_method"),
    ("call", "uci", "configs"),
    ("-S", "call", "uci", "configs"),
    ("call", "uci", "get", '{"config":"uhttpd"}'),
    ("call", "uci", "get", '{"config":"missing"}'),
    ("call", "uci", "get", '{"config":5}'),
    ("call", "uci", "get", '{"config":'),
    ("call", "uci", "get", "[]"),
    ("call", "session", "access", '{"ubus_rpc_session":"00000000000000000000000000000000"}'),
    ("call", "stripe-payments.uci", "load"),
    ("call", "stripe-payments.uci", "store", "{}"),
    (
        "call",
        "interop",
        "echo",
        '{"s":"è \\"q\\" \\u0001 \\/","b":true,"i":-1,"a":[1,"x",[],{}],"t":{"k":{"z":[]}}}',
    ),
    ("call", "interop", "echo", '{"d":0.1,"unknown":[1.5,1e300,-0.0,3.0]}'),
    ("call", "interop", "echo", '{"l":4294967296}'),
    ("call", "interop", "echo", '{"s":5}'),
    ("call", "interop", "types"),
    ("-S", "call", "interop", "types"),
    ("call", "interop", "refuse"),
    ("-S", "call", "interop", "refuse"),
    ("call", "interop", "broken"),
    ("-t", "1", "call", "interop", "slow"),
    ("-t", "1", "wait_for", "no.such.object"),
    ("wait_for", "interop", "session"),
    ("-s", "/nowhere", "list"),
    ("send", "interop.event", '{"a":1}'),
    ("send", "interop.event", "{"),
]


@pytest.mark.parametrize("arguments", SIDE_BY_SIDE, ids=" ".join)
async def test_the_two_tools_print_the_same(
    openwrt: OpenWrt, served: Client, arguments: tuple[str, ...]
) -> None:
    del served
    theirs = await real(openwrt, *arguments)
    mine = await ours(openwrt, *arguments)
    assert (mine.out, mine.code) == (theirs.out, theirs.code)
    # a usage text is each tool's own
    assert mine.err.splitlines()[:1] == theirs.err.splitlines()[:1]


async def test_the_real_tools_listener_hears_our_events(openwrt: OpenWrt, served: Client) -> None:
    listening = asyncio.create_task(
        asyncio.to_thread(openwrt.run, "timeout", "10", "ubus", "listen", "interop.*")
    )
    for _ in range(100):
        await served.send("interop.hello", {"n": 1})
        await asyncio.sleep(0.1)
        if listening.done():
            break
    heard = (await listening).stdout.splitlines()
    assert json.loads(heard[0]) == {"interop.hello": {"n": 1}}


async def test_our_listener_hears_the_real_tools_events(openwrt: OpenWrt, served: Client) -> None:
    heard: list[Event] = []
    served.listen("interop.*", heard.append)
    await served.lookup("session")  # a round trip: the listener is registered
    for _ in range(100):
        await real(openwrt, "send", "interop.hello", '{"n":[1,"x"]}')
        if heard:
            break
        await asyncio.sleep(0.1)
    assert (heard[0].name, heard[0].data) == ("interop.hello", {"n": [1, "x"]})


async def test_subscribers_of_our_object_are_notified(openwrt: OpenWrt) -> None:
    async with Client(openwrt.bus) as client:
        source = Object("interop.source", [])
        await client.publish(source)
        listening = asyncio.create_task(
            asyncio.to_thread(openwrt.run, "timeout", "10", "ubus", "subscribe", "interop.source")
        )
        for _ in range(100):
            await source.notify("changed", {"n": 1})
            await asyncio.sleep(0.1)
            if listening.done():
                break
        heard = (await listening).stdout.splitlines()
    assert json.loads(heard[0]) == {"changed": {"n": 1}}


async def test_many_calls_in_flight_through_a_real_broker(openwrt: OpenWrt, served: Client) -> None:
    async with Client(openwrt.bus) as caller:
        answers = await asyncio.gather(*(caller.call("interop", "echo", {"i": n}) for n in range(500)))
    assert [answer["i"] for answer in answers] == list(range(500))


async def test_a_message_near_the_limit_passes(openwrt: OpenWrt, served: Client) -> None:
    text = "x" * 900_000
    async with Client(openwrt.bus) as caller:
        assert (await caller.call("interop", "echo", {"s": text}))["s"] == text


async def test_a_caller_that_leaves_is_no_trouble(openwrt: OpenWrt, served: Client) -> None:
    for _ in range(3):
        await real(openwrt, "-t", "1", "call", "interop", "slow")
    assert (await real(openwrt, "call", "interop", "echo")).code == 0


async def test_everything_is_published_again_after_ubusd_restarts(openwrt: OpenWrt, served: Client) -> None:
    heard: list[Event] = []
    served.listen("interop.*", heard.append)
    await asyncio.to_thread(openwrt.sh, "kill -9 $(pidof ubusd)")
    await asyncio.to_thread(restart_bus, openwrt)
    await asyncio.to_thread(openwrt.sh, "ubus -t 20 wait_for interop")
    assert (await real(openwrt, "call", "interop", "echo", '{"i":7}')).out == '{\n\t"i": 7\n}\n'
    for _ in range(100):
        await real(openwrt, "send", "interop.hello", "{}")
        if heard:
            break
        await asyncio.sleep(0.1)
    assert heard


async def test_our_tool_waits_for_what_appears_later(openwrt: OpenWrt) -> None:
    waiting = asyncio.create_task(ours(openwrt, "-t", "30", "wait_for", "interop.later"))
    await asyncio.sleep(0.5)
    async with Client(openwrt.bus) as client:
        await client.publish(Object("interop.later", []))
        assert (await waiting).code == 0
