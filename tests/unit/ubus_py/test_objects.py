"""Published objects: arguments, answers, errors, and what happens to handlers that run."""

from __future__ import annotations

import asyncio
import contextlib
import os
from typing import Any

import pytest

from tests.unit.ubus_py.conftest import Connect
from tests.unit.ubus_py.test_connection import SOON, echo, eventually, forever
from ubus_py import (
    ARRAY,
    BOOLEAN,
    DOUBLE,
    INT16,
    INT32,
    INT64,
    STRING,
    TABLE,
    UNSPEC,
    Call,
    Encodable,
    Int8,
    Int16,
    Int64,
    Method,
    Object,
    Status,
    StatusError,
    UsageError,
)
from ubus_py.session import Session


async def status_of(work: Any) -> tuple[Status, Any]:
    with pytest.raises(StatusError) as refused:
        await work
    return refused.value.status, refused.value.data


async def test_every_argument_is_optional_and_others_pass(connect: Connect) -> None:
    server, client = await connect(), await connect()
    await server.publish(Object("demo", [Method("echo", echo, {"text": STRING, "n": INT32})]))
    given: list[dict[str, Encodable]] = [{}, {"text": "x"}, {"more": [1, {"x": None}]}]
    given.append({"n": 1, "ubus_rpc_session": "0" * 32})
    for args in given:
        assert await client.call("demo", "echo", args) == args
    assert await client.call("demo", "echo", {"text": None, "n": 1, "more": None}) == {"n": 1, "more": None}


FITS = [
    (STRING, "x", [1, True, ["x"], {}, 1.0]),
    (BOOLEAN, True, [1, "true", 1.0]),
    (BOOLEAN, Int8(3), [0]),
    (INT32, 5, ["5", True, 5.0, 1 << 31]),
    (INT32, Int16(5), [Int64(1 << 40)]),
    (INT64, 1 << 40, ["5", 5.5, False]),
    (INT64, 5, [[]]),
    (INT16, 5, [40_000]),
    (DOUBLE, 1.5, ["1.5", True]),
    (DOUBLE, 2, []),
    (ARRAY, [1], [{}, "x"]),
    (TABLE, {"a": 1}, [[], "x"]),
    (UNSPEC, [1], []),
]


@pytest.mark.parametrize(("kind", "right", "wrong"), FITS)
async def test_a_declared_argument_has_its_type(
    connect: Connect, kind: Any, right: Any, wrong: list[Any]
) -> None:
    seen: list[Any] = []

    def take(call: Call) -> None:
        seen.append(call.args["x"])

    server, client = await connect(), await connect()
    unchecked = Method("take_any", take, {"x": kind}, check_types=False)
    await server.publish(Object("demo", [Method("take", take, {"x": kind}), unchecked]))
    await client.call("demo", "take", {"x": right})
    assert seen == [right]
    for value in wrong:
        assert await status_of(client.call("demo", "take", {"x": value})) == (Status.INVALID_ARGUMENT, None)
    assert seen == [right]
    for value in wrong:
        await client.call("demo", "take_any", {"x": value})
    assert seen == [right, *wrong]


async def test_who_calls(connect: Connect) -> None:
    server, client = await connect(), await connect()

    def who(call: Call) -> dict[str, Encodable]:
        assert repr(call) == "<Call demo who from root>"
        return {
            "user": call.user,
            "group": call.group,
            "mine": call.peer == client.client_id,
            "m": call.method,
        }

    await server.publish(Object("demo", [Method("who", who)]))
    if os.getuid() == 0:
        assert await client.call("demo", "who") == {"user": "root", "group": "root", "mine": True, "m": "who"}


async def test_an_answer_without_data_differs_from_an_empty_one(connect: Connect) -> None:
    server, client = await connect(), await connect()

    async def nothing(call: Call) -> None:
        return None

    async def empty(call: Call) -> dict[str, Encodable]:
        return {}

    await server.publish(Object("demo", [Method("nothing", nothing), Method("empty", empty)]))
    assert await client.call_all("demo", "nothing") == []
    assert await client.call_all("demo", "empty") == [{}]
    assert await client.call("demo", "nothing") == await client.call("demo", "empty") == {}


async def test_errors_carry_a_body(connect: Connect) -> None:
    body = {"error": {"code": "unknown_price", "message": "…"}}

    async def refuse(call: Call) -> None:
        raise StatusError(Status.NOT_FOUND, body)

    def refuse_plainly(call: Call) -> None:
        raise StatusError(Status.PERMISSION_DENIED)

    async def odd(call: Call) -> None:
        raise StatusError(77, {})

    server, client = await connect(), await connect()
    methods = [Method("refuse", refuse), Method("plainly", refuse_plainly), Method("odd", odd)]
    await server.publish(Object("demo", methods))
    assert await status_of(client.call("demo", "refuse")) == (Status.NOT_FOUND, body)
    assert await status_of(client.call("demo", "plainly")) == (Status.PERMISSION_DENIED, None)
    with pytest.raises(StatusError) as refused:
        await client.call("demo", "odd")
    assert (refused.value.code, refused.value.status) == (77, Status.UNKNOWN_ERROR)


async def test_what_a_handler_must_not_do_is_logged_and_answered(
    connect: Connect, caplog: pytest.LogCaptureFixture
) -> None:
    async def fail(call: Call) -> None:
        raise RuntimeError("on purpose")

    def fail_plainly(call: Call) -> None:
        raise RuntimeError("on purpose too")

    async def too_long(call: Call) -> dict[str, Encodable]:
        return {"x": "x" * (1 << 20)}

    async def no_table(call: Call) -> Any:
        return ["x"]

    async def no_wire_form(call: Call) -> Any:
        return {"x": object()}

    async def gives_up(call: Call) -> None:
        raise asyncio.CancelledError

    server, client = await connect(), await connect()
    handlers = [fail, fail_plainly, too_long, no_table, no_wire_form]
    await server.publish(Object("demo", [Method(one.__name__, one) for one in (*handlers, gives_up)]))
    for one in handlers:
        call = client.call("demo", one.__name__, {"secret": "sk_test_1"})
        assert await status_of(call) == (Status.UNKNOWN_ERROR, None)
    assert await status_of(client.call("demo", "gives_up")) == (Status.CONNECTION_FAILED, None)
    assert caplog.text.count("on purpose") >= 2
    assert "cannot be sent" in caplog.text
    assert "sk_test_1" not in caplog.text


async def test_one_slow_handler_delays_no_other_call(connect: Connect) -> None:
    release = asyncio.Event()

    async def slow(call: Call) -> dict[str, Encodable]:
        await release.wait()
        return {"slow": True}

    server, client = await connect(), await connect()
    await server.publish(Object("demo", [Method("slow", slow), Method("echo", echo)]))
    slow_calls = [asyncio.create_task(client.call("demo", "slow")) for _ in range(8)]
    for n in range(20):
        assert await client.call("demo", "echo", {"n": n}) == {"n": n}
    assert not any(call.done() for call in slow_calls)
    release.set()
    assert await asyncio.gather(*slow_calls) == [{"slow": True}] * 8


async def test_unpublishing_cancels_handlers_and_answers_their_callers(connect: Connect) -> None:
    cancelled = asyncio.Event()

    async def wait(call: Call) -> None:
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            cancelled.set()
            raise

    server, client = await connect(), await connect()
    obj = Object("demo", [Method("wait", wait)])
    await server.publish(obj)
    call = asyncio.create_task(client.call("demo", "wait"))
    await eventually(lambda: obj.calls)
    await server.unpublish(obj)
    assert await status_of(call) == (Status.CONNECTION_FAILED, None)
    await asyncio.wait_for(cancelled.wait(), SOON)
    assert await client.lookup("demo") == []
    with pytest.raises(UsageError):
        await server.unpublish(obj)
    await server.publish(obj)  # and again
    assert len(await client.lookup("demo")) == 1


async def test_a_handler_that_withdraws_its_own_object_is_cancelled(connect: Connect) -> None:
    cancelled = asyncio.Event()
    server, client = await connect(), await connect()

    async def leave(call: Call) -> None:
        try:
            await server.unpublish(call.object)
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            cancelled.set()
            raise

    await server.publish(Object("warm", [Method("echo", echo)]))
    await client.call("warm", "echo", {"n": 1})  # from now on a first step is taken at once
    obj = Object("demo", [Method("leave", leave)])
    await server.publish(obj)
    call = asyncio.create_task(client.call("demo", "leave"))
    await asyncio.wait_for(cancelled.wait(), SOON)
    assert not obj.calls
    call.cancel()
    await asyncio.wait([call])


async def test_losing_the_connection_cancels_handlers(connect: Connect) -> None:
    cancelled = asyncio.Event()

    async def wait(call: Call) -> None:
        with contextlib.suppress(asyncio.CancelledError):
            await asyncio.Event().wait()
        cancelled.set()

    server, client = await connect(), await connect()
    obj = Object("demo", [Method("wait", wait)])
    await server.publish(obj)
    call = asyncio.create_task(client.call("demo", "wait"))
    await eventually(lambda: obj.calls)
    server._stream.abort()
    await asyncio.wait_for(cancelled.wait(), SOON)
    assert obj.connection is None
    assert not obj.calls
    call.cancel()
    await asyncio.wait([call])


async def test_closing_answers_running_calls(connect: Connect) -> None:
    server, client = await connect(), await connect()
    obj = Object("demo", [Method("forever", forever)])
    await server.publish(obj)
    call = asyncio.create_task(client.call("demo", "forever"))
    await eventually(lambda: obj.calls)
    await server.close()
    assert await status_of(call) == (Status.CONNECTION_FAILED, None)


async def test_the_answer_to_a_caller_that_left_is_dropped(connect: Connect) -> None:
    release = asyncio.Event()

    async def slow(call: Call) -> dict[str, Encodable]:
        await release.wait()
        return {"x": "x" * 100_000}

    server, client, other = await connect(), await connect(), await connect()
    obj = Object("demo", [Method("slow", slow), Method("echo", echo)])
    await server.publish(obj)
    call = asyncio.create_task(client.call("demo", "slow"))
    await eventually(lambda: obj.calls)
    client._stream.abort()
    await asyncio.wait([call])
    call.exception()
    assert obj.calls  # ubusd does not tell: the handler runs on
    release.set()
    await eventually(lambda: not obj.calls)
    assert await other.call("demo", "echo", {"n": 1}) == {"n": 1}


async def test_malformed_arguments_are_answered_and_cost_no_connection(connect: Connect) -> None:
    server, client = await connect(), await connect()
    await server.publish(Object("demo", [Method("echo", echo)]))
    await server.publish(Object("raw", [Method("echo", echo)], raw_text=True))
    demo, raw = [(await client.lookup(name))[0].id for name in ("demo", "raw")]
    malformed = bytes.fromhex("8500000c00016b00")
    not_utf8 = bytes.fromhex("8300000d00016b00") + b"caf\xe9\0\0\0\0"
    for objid, data, status in [
        (demo, malformed, Status.INVALID_ARGUMENT),
        (raw, malformed, Status.INVALID_ARGUMENT),
        (demo, not_utf8, Status.INVALID_ARGUMENT),
        (raw, not_utf8, Status.OK),
    ]:
        request = await client._exchange(client._session.invoke(objid, "echo", data))
        assert request.status == status
    assert request.tables() == [{"k": "caf\udce9"}]
    assert await client.call("demo", "echo", {"n": 1}) == {"n": 1}


async def test_a_call_right_behind_the_publication_is_served(connect: Connect) -> None:
    """ubusd may send the first call in the same breath as the object's id."""
    server = await connect()
    obj = Object("demo", [Method("echo", echo)])
    publishing = asyncio.create_task(server.publish(obj))
    await asyncio.sleep(0)
    written: list[bytes] = []
    server._publisher._send = written.append
    request = next(iter(server._adopting))
    session = Session()
    session.client_id = 9
    _, call = session.invoke(77, "echo", b"")
    number = request.seq.to_bytes(2, "big")
    server._on_data(
        b"\0\2" + number + bytes.fromhex("00000000 0000000c 03000008 0000004d")
        + b"\0\1" + number + bytes.fromhex("00000000 0000000c 01000008 00000000")
        + call
    )  # fmt: skip
    await publishing
    await eventually(lambda: written)
    assert obj.id == 77


async def test_a_publication_given_up_is_taken_back(connect: Connect) -> None:
    server, client = await connect(), await connect()
    obj = Object("demo")
    publishing = asyncio.create_task(server.publish(obj))
    await asyncio.sleep(0)
    publishing.cancel()
    await asyncio.wait([publishing])
    await server.lookup()  # by now the answer came
    await server.lookup()
    assert await client.lookup("demo") == []
    assert obj.connection is None


async def test_a_name_is_published_once(connect: Connect) -> None:
    one, two = await connect(), await connect()
    obj = Object("demo")
    await one.publish(obj)
    with pytest.raises(UsageError):
        await two.publish(obj)
    assert await status_of(two.publish(Object("demo"))) == (Status.INVALID_ARGUMENT, None)


def test_what_makes_no_object() -> None:
    with pytest.raises(UsageError):
        Object("")
    with pytest.raises(UsageError):
        Object("demo", [Method("m", echo), Method("m", echo)])
    with pytest.raises(UsageError):
        Method("", echo)
    with pytest.raises(UsageError):
        Method("m", "no handler")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="99"):
        Method("m", echo, {"x": 99})  # type: ignore[dict-item]
