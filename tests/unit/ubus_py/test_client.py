"""The client that comes back: ubusd restarts, rights that arrive late, objects that go and return."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from itertools import islice
from pathlib import Path

import pytest

from simulator.ubus_broker import UbusBroker
from tests.unit.ubus_py.conftest import Connect
from tests.unit.ubus_py.test_connection import SOON, demo, eventually
from ubus_py import Client, Connection, ConnectionLost, Event, Object, StatusError, UsageError
from ubus_py.client import LAST_DELAY, delays


@pytest.fixture
async def client(folder: Path) -> AsyncIterator[Client]:
    client = Client(str(folder / "ubus.sock"))
    yield client
    await client.close()


def new_broker(folder: Path) -> UbusBroker:
    return UbusBroker(folder / "ubus.sock", folder / "acl.d")


async def test_all_is_as_before_after_ubusd_restarts(folder: Path, client: Client) -> None:
    reported: list[bool] = []
    events: asyncio.Queue[Event] = asyncio.Queue()
    ticks: asyncio.Queue[Event] = asyncio.Queue()
    client.on_connection(reported.append)
    broker = new_broker(folder)
    await broker.start()
    await client.publish(demo())
    client.listen("demo.*", events.put_nowait)
    subscription = client.subscribe("other", ticks.put_nowait)
    await client.start()
    for _ in range(2):
        other = Object("other")
        async with await Connection.open(client.path) as peer:
            await peer.publish(other)
            await asyncio.wait_for(subscription.ready(), SOON)
            assert await peer.call("demo", "echo", {"n": 1}) == {"n": 1}
            await peer.send("demo.x", {"n": 2})
            assert await asyncio.wait_for(events.get(), SOON) == Event("demo.x", {"n": 2})
            await other.notify("tick", {"n": 3})
            assert await asyncio.wait_for(ticks.get(), SOON) == Event("tick", {"n": 3})
            waiting = asyncio.create_task(client.call("demo", "forever", timeout=None))
            await asyncio.sleep(0)
            await broker.stop()
            with pytest.raises(ConnectionLost):
                await asyncio.wait_for(waiting, SOON)
        await eventually(lambda: not client.connected)
        with pytest.raises(ConnectionLost):
            await client.call("other", "m")
        broker = new_broker(folder)
        await broker.start()
        await asyncio.wait_for(client.wait_connected(), SOON)
        await asyncio.wait_for(client.start(), SOON)
    assert reported == [True, False, True, False, True]
    await client.close()
    await broker.stop()
    assert reported[-1] is False


async def test_it_may_start_before_ubusd(folder: Path, client: Client) -> None:
    await client.publish(demo())
    starting = asyncio.create_task(client.start())
    await asyncio.sleep(0.1)
    assert not starting.done()
    broker = new_broker(folder)
    await broker.start()
    await asyncio.wait_for(starting, SOON)
    async with await Connection.open(client.path) as peer:
        assert await peer.call("demo", "echo", {"n": 1}) == {"n": 1}
    await client.close()
    await broker.stop()


async def test_a_name_that_is_still_taken_is_tried_again(connect: Connect, client: Client) -> None:
    predecessor = await connect()
    await predecessor.publish(Object("demo"))
    obj = demo()
    await client.publish(obj)
    starting = asyncio.create_task(client.start())
    await eventually(lambda: client._registrations[0].error)
    assert not starting.done()
    await predecessor.close()
    await asyncio.wait_for(starting, SOON)
    assert obj.id is not None
    assert client._registrations[0].error is None


async def test_refused_at_once_is_the_caller_s_to_know(connect: Connect, client: Client) -> None:
    other = await connect()
    await other.publish(Object("demo"))
    await client.start()
    with pytest.raises(StatusError):
        await client.publish(demo())
    await other.close()
    obj = demo()
    await client.publish(obj)
    with pytest.raises(UsageError):
        await client.publish(obj)
    await client.unpublish(obj)
    assert await client.lookup("demo") == []
    with pytest.raises(UsageError):
        await client.unpublish(obj)


async def test_an_object_is_replaced_without_a_gap(connect: Connect, client: Client) -> None:
    peer = await connect()
    await client.start()
    old: Object = demo()
    await client.publish(old)
    for _ in range(20):
        new = demo()
        replacing = asyncio.create_task(client.replace(old, new))
        while not replacing.done():
            assert [info.name for info in await peer.lookup("demo")] == ["demo"]
        await replacing
        assert await peer.call("demo", "echo", {"n": 1}) == {"n": 1}
        assert (old.id, new.id is not None) == (None, True)
        old = new
    with pytest.raises(UsageError):
        await client.replace(demo(), demo())


async def test_what_is_replaced_without_a_connection_is_published_by_the_next(
    folder: Path, client: Client
) -> None:
    old, new = demo(), Object("demo")
    await client.publish(old)
    await client.replace(old, new)
    broker = new_broker(folder)
    await broker.start()
    await asyncio.wait_for(client.start(), SOON)
    assert (old.id, new.id is not None) == (None, True)
    await client.close()
    await broker.stop()


async def test_a_subscription_waits_for_its_object_and_survives_it(connect: Connect, client: Client) -> None:
    ticks: asyncio.Queue[Event] = asyncio.Queue()
    await client.start()
    subscription = client.subscribe("other", ticks.put_nowait)
    for n in range(2):
        peer = await connect()
        other = Object("other")
        await peer.publish(other)
        await asyncio.wait_for(subscription.ready(), SOON)
        await other.notify("tick", {"n": n})
        assert await asyncio.wait_for(ticks.get(), SOON) == Event("tick", {"n": n})
        await peer.close()
        await eventually(lambda: not subscription.active)
    peer = await connect()
    other = Object("other")
    await peer.publish(other)
    async with subscription:
        await eventually(lambda: other.has_subscribers)
    subscription.close()
    await eventually(lambda: not other.has_subscribers)


async def test_a_listener_that_is_closed_hears_no_more(connect: Connect, client: Client) -> None:
    peer = await connect()
    events: asyncio.Queue[Event] = asyncio.Queue()
    await client.start()
    async with client.listen("a", events.put_nowait):
        await peer.send("a")
        await asyncio.wait_for(events.get(), SOON)
    await client.lookup()
    await peer.send("a")
    await client.lookup()
    assert events.empty()


async def test_closing_ends_all_waiting_and_is_for_good(broker: UbusBroker, client: Client) -> None:
    never = Client(str(broker.socket_path) + ".not")
    starting = asyncio.create_task(never.start())
    await asyncio.sleep(0)
    await never.close()
    with pytest.raises(ConnectionLost):
        await asyncio.wait_for(starting, SOON)
    await client.start()
    await client.close()
    await client.close()
    with pytest.raises(UsageError):
        await client.start()
    with pytest.raises(ConnectionLost):
        await client.call("system", "board")
    with pytest.raises(UsageError):
        client.listen("*", print)


async def test_a_watcher_that_fails_stops_nothing(
    broker: UbusBroker, client: Client, caplog: pytest.LogCaptureFixture
) -> None:
    def fail(connected: bool) -> None:
        raise RuntimeError("on purpose")

    client.on_connection(fail)
    await client.start()
    assert client.connected
    assert "on purpose" in caplog.text


def test_the_waits_grow_to_a_limit_and_differ() -> None:
    waits = list(islice(delays(), 20))
    assert waits[0] < 0.06
    assert all(0.75 * LAST_DELAY <= wait <= LAST_DELAY for wait in waits[10:])
    assert len(set(waits[10:])) > 1
