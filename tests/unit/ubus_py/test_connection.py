"""Connections on a real socket, through the broker."""

from __future__ import annotations

import asyncio
import os
import socket
from pathlib import Path
from typing import Any

import pytest

from simulator.ubus_broker import UbusBroker
from tests.unit.ubus_py.conftest import Connect
from ubus_py import (
    ARRAY,
    BOOLEAN,
    INT32,
    STRING,
    ArgType,
    Call,
    CallTimeout,
    Connection,
    ConnectionLost,
    Encodable,
    Event,
    Method,
    Object,
    Status,
    StatusError,
    Table,
    UsageError,
)

SOON = 30.0


async def eventually(what: Any) -> None:
    async with asyncio.timeout(SOON):
        while not what():
            await asyncio.sleep(0.005)


async def echo(call: Call) -> Table:
    return dict(call.args)


async def forever(call: Call) -> None:
    await asyncio.Event().wait()


def demo(*more: Method) -> Object:
    methods = [Method("echo", echo, {"text": STRING, "n": INT32}), Method("forever", forever), *more]
    return Object("demo", methods)


async def test_a_call(connect: Connect) -> None:
    server, client = await connect(), await connect()
    await server.publish(demo())
    assert await client.call("demo", "echo", {"text": "città", "n": 7}) == {"text": "città", "n": 7}
    assert await client.call("demo", "echo") == {}


async def test_hundreds_of_calls_at_once_on_one_connection(connect: Connect) -> None:
    server, client = await connect(), await connect()
    await server.publish(demo())
    answers = await asyncio.gather(*(client.call("demo", "echo", {"n": n}) for n in range(600)))
    assert answers == [{"n": n} for n in range(600)]
    assert client._session.pending == 0
    assert not client._waiters


async def test_big_arguments_and_answers(connect: Connect) -> None:
    server, client = await connect(), await connect()
    await server.publish(demo())
    text = "x" * 1_000_000
    for n in range(3):
        assert await client.call("demo", "echo", {"n": n, "text": text}) == {"n": n, "text": text}
    # ubusd drops what a client is slow to read beyond 1 MiB, so not more than that at once.
    answers = await asyncio.gather(*(client.call("demo", "echo", {"text": text[:200_000]}) for _ in range(4)))
    assert answers == [{"text": text[:200_000]}] * 4


async def test_a_look_up_returns_names_ids_and_signatures(connect: Connect) -> None:
    server, client = await connect(), await connect()
    await server.publish(
        Object("demo.one", [Method("m", echo, {"on": BOOLEAN, "list": ARRAY}), Method("n", echo)])
    )
    await server.publish(Object("demo.two"))
    one, two = await client.lookup("demo.*")
    assert (one.name, two.name) == ("demo.one", "demo.two")
    assert one.methods == {"m": {"on": ArgType.BOOLEAN, "list": ArgType.ARRAY}, "n": {}}
    assert two.methods == {}
    assert one.id != two.id
    assert {info.name for info in await client.lookup()} == {"demo.one", "demo.two"}
    assert [info.name for info in await client.lookup("demo.two")] == ["demo.two"]
    assert await client.lookup("nothing") == []
    with pytest.raises(StatusError):
        await client.lookup_strictly("nothing")


async def test_a_call_that_takes_too_long_leaves_nothing_behind(connect: Connect) -> None:
    release = asyncio.Event()

    async def slow(call: Call) -> Table:
        await release.wait()
        return {"late": True}

    server, client = await connect(), await connect()
    await server.publish(demo(Method("slow", slow)))
    with pytest.raises(CallTimeout):
        await client.call("demo", "slow", timeout=0.05)
    assert client._session.pending == 0
    assert not client._waiters
    release.set()
    assert await client.call("demo", "echo", {"n": 1}) == {"n": 1}
    await eventually(lambda: not client._session._abandoned)  # the late answer came, and matched no call


async def test_a_cancelled_call_leaves_nothing_behind(connect: Connect) -> None:
    server, client = await connect(), await connect()
    await server.publish(demo())
    call = asyncio.create_task(client.call("demo", "forever"))
    await eventually(lambda: client._session.pending)
    call.cancel()
    with pytest.raises(asyncio.CancelledError):
        await call
    assert client._session.pending == 0
    assert not client._waiters


async def test_what_is_refused_and_how(connect: Connect) -> None:
    server, client = await connect(), await connect()
    await server.publish(demo())
    for name, method, status in [
        ("nothing", "echo", Status.NOT_FOUND),
        ("demo", "nothing", Status.METHOD_NOT_FOUND),
    ]:
        with pytest.raises(StatusError) as refused:
            await client.call(name, method)
        assert refused.value.status == status


async def test_arguments_that_cannot_be_sent_send_nothing(connect: Connect) -> None:
    client = await connect()
    cases: list[dict[str, Any]] = [{"x": "x" * (1 << 20)}, {"x": object()}, {"x": "\0"}]
    for args in cases:
        with pytest.raises(UsageError):
            await client.call("nothing", "m", args)
    assert client._session.pending == 0
    assert client._session.ping()[0].seq == 1  # not even the look-up went out


async def test_an_object_published_again_is_found_again_and_called_once(connect: Connect) -> None:
    calls: list[str] = []

    def counting(name: str) -> Object:
        async def count(call: Call) -> None:
            calls.append(name)

        return Object("demo", [Method("count", count)])

    client, one, two = await connect(), await connect(), await connect()
    await one.publish(counting("one"))
    await client.call("demo", "count")
    await one.close()
    await two.publish(counting("two"))
    await client.call("demo", "count")
    assert calls == ["one", "two"]
    await two.close()
    with pytest.raises(StatusError) as refused:
        await client.call("demo", "count")
    assert refused.value.status == Status.NOT_FOUND
    assert not client._ids


async def test_not_found_from_the_object_itself_is_not_tried_again(connect: Connect) -> None:
    calls = 0

    async def get(call: Call) -> None:
        nonlocal calls
        calls += 1
        raise StatusError(Status.NOT_FOUND)

    server, client = await connect(), await connect()
    await server.publish(demo(Method("get", get)))
    await client.call("demo", "echo")
    with pytest.raises(StatusError):
        await client.call("demo", "get")
    assert calls == 1


async def test_many_first_calls_share_one_look_up(connect: Connect) -> None:
    server, client = await connect(), await connect()
    await server.publish(demo())
    await asyncio.gather(*(client.call("demo", "echo") for _ in range(50)))
    assert client._session.ping()[0].seq == 52  # one look-up, fifty calls


async def test_waiting_callers_fail_at_once_when_the_connection_ends(
    broker: UbusBroker, connect: Connect
) -> None:
    server, client = await connect(), await connect()
    await server.publish(demo())
    calls = [asyncio.create_task(client.call("demo", "forever", timeout=None)) for _ in range(20)]
    await eventually(lambda: client._session.pending == 20)
    await broker.stop()
    done, _ = await asyncio.wait(calls, timeout=SOON)
    assert len(done) == 20
    assert all(isinstance(call.exception(), ConnectionLost) for call in calls)
    await asyncio.wait_for(asyncio.ensure_future(client.closed), SOON)
    assert client.is_closed
    with pytest.raises(ConnectionLost):
        await client.call("demo", "echo")


async def test_callers_that_wait_for_a_look_up_fail_with_the_same_error(connect: Connect) -> None:
    client = await connect()
    calls = [asyncio.create_task(client.call("demo", "echo", timeout=timeout)) for timeout in (None, SOON)]
    while not client._session.pending:
        await asyncio.sleep(0)
    await client.close()
    done, _ = await asyncio.wait(calls, timeout=SOON)
    assert [type(call.exception()) for call in done] == [ConnectionLost, ConnectionLost]


async def test_there_is_no_ubusd(folder: Path) -> None:
    for path in (folder / "none.sock", folder, folder / ("x" * 200)):
        with pytest.raises(ConnectionLost):
            await Connection.open(str(path))


async def test_something_that_never_greets(folder: Path) -> None:
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(str(folder / "mute.sock"))
    listener.listen()
    with listener, pytest.raises(ConnectionLost, match="no greeting"):
        await Connection.open(str(folder / "mute.sock"), timeout=0.05)


@pytest.mark.parametrize("greeting", [b"HTTP/1.1 400 Bad Request\r\n\r\n", b"", b"\0\1\0\0\0\0\0\0\0\0\0\4"])
async def test_something_that_is_no_ubusd(folder: Path, greeting: bytes) -> None:
    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(greeting)
        writer.close()
        await writer.wait_closed()

    server = await asyncio.start_unix_server(answer, folder / "web.sock")
    async with server:
        with pytest.raises(ConnectionLost):
            await Connection.open(str(folder / "web.sock"), timeout=SOON)


async def test_events(connect: Connect) -> None:
    one, two = await connect(), await connect()
    seen: asyncio.Queue[Event] = asyncio.Queue()

    async def later(event: Event) -> None:
        await asyncio.sleep(0)
        seen.put_nowait(event)

    async with await one.listen("demo.*", later) as listening:
        await two.send("other", {"n": 0})
        await two.send("demo.x", {"n": 1})
        assert await asyncio.wait_for(seen.get(), SOON) == Event("demo.x", {"n": 1})
    listening.close()
    await two.send("demo.x", {"n": 2})
    await one.lookup()
    assert seen.empty()
    with pytest.raises(StatusError) as refused:
        await two.send("ubus.object.add")
    assert refused.value.status == Status.PERMISSION_DENIED


async def test_a_callback_that_fails_stops_nothing(
    connect: Connect, caplog: pytest.LogCaptureFixture
) -> None:
    one, two = await connect(), await connect()
    seen: asyncio.Queue[Event] = asyncio.Queue()

    def fail(event: Event) -> None:
        raise RuntimeError("on purpose")

    async def fail_later(event: Event) -> None:
        raise RuntimeError("on purpose, later")

    await one.listen("a", fail)
    await one.listen("a", fail_later)
    await one.listen("a", seen.put_nowait)
    await two.send("a")
    await two.send("a")
    for _ in range(2):
        await asyncio.wait_for(seen.get(), SOON)
    await eventually(lambda: caplog.text.count("on purpose") >= 4)


async def test_subscribing(connect: Connect) -> None:
    one, two = await connect(), await connect()
    reported: list[bool] = []
    gone = asyncio.Event()
    seen: asyncio.Queue[Event] = asyncio.Queue()
    obj = Object("demo", on_subscribers=reported.append)
    await one.publish(obj)
    await obj.notify("no subscriber")
    assert await obj.notify_and_wait("no subscriber") == []
    await two.subscribe("demo", seen.put_nowait, on_removed=gone.set)
    await eventually(lambda: obj.has_subscribers)
    await obj.notify("tick", {"n": 1})
    assert await asyncio.wait_for(seen.get(), SOON) == Event("tick", {"n": 1})
    assert await obj.notify_and_wait("tock", {"n": 2}) == [Status.OK]
    assert (await asyncio.wait_for(seen.get(), SOON)).name == "tock"
    async with await two.subscribe("demo", seen.put_nowait):
        assert await obj.notify_and_wait("both") == [Status.OK, Status.OK]
    await one.unpublish(obj)
    await asyncio.wait_for(gone.wait(), SOON)
    assert reported == [True, False]
    with pytest.raises(ConnectionLost):
        await obj.notify("too late")
    with pytest.raises(StatusError):
        await two.subscribe("demo", seen.put_nowait)


async def test_waiting_for_objects(connect: Connect) -> None:
    server, client = await connect(), await connect()
    await server.publish(Object("one"))
    waiting = asyncio.create_task(client.wait_for("one", "two", timeout=SOON))
    await client.lookup()
    await server.publish(Object("two"))
    await waiting
    await client.wait_for("one", "two")
    with pytest.raises(CallTimeout, match="three"):
        await client.wait_for("one", "three", timeout=0.05)


async def test_closing_leaves_no_descriptor_and_no_task(broker: UbusBroker) -> None:
    async def once() -> None:
        async with await Connection.open(str(broker.socket_path)) as connection:
            await connection.publish(demo())
            await connection.listen("*", print)
            call = asyncio.create_task(connection.call("nothing", "m"))
            await asyncio.wait([call])
            call.exception()
        await connection.close()

    await once()
    before, tasks = len(os.listdir("/proc/self/fd")), len(asyncio.all_tasks())
    for _ in range(50):
        await once()
    await eventually(lambda: len(os.listdir("/proc/self/fd")) <= before)
    await eventually(lambda: len(asyncio.all_tasks()) <= tasks)


async def test_descriptors_that_a_peer_attaches_do_not_leak(folder: Path) -> None:
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(str(folder / "fds.sock"))
    listener.listen()
    listener.setblocking(False)
    opening = asyncio.create_task(Connection.open(str(folder / "fds.sock")))
    peer, _ = await asyncio.get_running_loop().sock_accept(listener)
    before = len(os.listdir("/proc/self/fd"))
    hello = bytes.fromhex("00000000000012340000 0004")
    for _ in range(20):
        socket.send_fds(peer, [hello], [0])
        hello = bytes.fromhex("000a0001000000000000 0004")
    connection = await opening
    await connection.wait_closed(0.05)
    assert len(os.listdir("/proc/self/fd")) <= before
    peer.close()
    listener.close()
    await asyncio.wait_for(asyncio.ensure_future(connection.closed), SOON)


async def test_a_peer_that_does_not_read_does_not_stop_the_loop(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """More than any socket buffer holds is written; other work goes on, and closing does too."""
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(str(folder / "stuck.sock"))
    listener.listen()
    listener.setblocking(False)
    opening = asyncio.create_task(Connection.open(str(folder / "stuck.sock")))
    peer, _ = await asyncio.get_running_loop().sock_accept(listener)
    peer.send(bytes.fromhex("00000000000012340000 0004"))
    connection = await opening
    args: dict[str, Encodable] = {"x": "x" * 900_000}
    calls = [asyncio.create_task(connection.invoke(7, "m", args, timeout=0.2)) for _ in range(10)]
    results = await asyncio.gather(*calls, return_exceptions=True)
    assert all(isinstance(result, CallTimeout) for result in results)
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(connection._stream.drain(), 0.01)
    monkeypatch.setattr("ubus_py.connection.CLOSE_TIMEOUT", 0.05)
    await connection.close()
    peer.close()
    listener.close()
