"""The simulator's gateway is held to the table that the router's is held to."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from tempfile import TemporaryDirectory
from urllib.parse import urlsplit

import pytest

from simulator.browser_front import BrowserFront, gateway
from simulator.ubus_broker import UbusBroker
from tests.conformance.echoing_daemon import EchoingDaemon, SilentDaemon
from tests.conformance.exchange import check, exchange, half_a_body, status_of_long_head
from tests.conformance.gateway_cases import AWAY, CAP, CASES, LONG, LONG_HEADS, Case
from tests.conformance.script_slots import three_slow_clients_hold_luci_as_long_as_their_bodies_may_take
from ubus_py import Client


@pytest.fixture
async def front() -> AsyncIterator[BrowserFront]:
    with TemporaryDirectory(prefix="gateway-") as folder:
        socket = Path(folder) / "ubus.sock"
        (Path(folder) / "acl.d").mkdir()
        broker = UbusBroker(socket, Path(folder) / "acl.d")
        front = BrowserFront(socket, Path(folder))
        await broker.start()
        await front.start()
        try:
            yield front
        finally:
            await front.stop()
            await broker.stop()


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
async def test_case(front: BrowserFront, case: Case) -> None:
    daemon = EchoingDaemon()
    bus = Client(str(front.bus_path))
    if case.daemon:
        await bus.start()
        await bus.publish(daemon.object())
    address = urlsplit(front.url)
    assert address.hostname
    assert address.port
    try:
        answers = await exchange(address.hostname, address.port, case)
    finally:
        await bus.close()
    for part, answer in zip([case, case.then], answers, strict=False):
        assert part is not None
        check(part, answer, daemon.received.pop(0) if part.reaches_daemon else None)
    assert daemon.received == []  # nothing of a body was taken for a request


async def test_long_bodies_at_once_do_not_push_each_other_off_the_bus(front: BrowserFront) -> None:
    daemon = EchoingDaemon()
    address = urlsplit(front.url)
    async with Client(str(front.bus_path)) as bus:
        await bus.publish(daemon.object())
        exchanges = (exchange(str(address.hostname), int(address.port or 0), LONG) for _ in range(12))
        answers = await asyncio.gather(*exchanges)
    assert [answer.status for (answer,) in answers] == [200] * 12
    assert [len(received["body"]) for received in daemon.received] == [CAP] * 12


@pytest.mark.parametrize(("lengths", "status"), LONG_HEADS.values(), ids=LONG_HEADS)
async def test_long_heads(front: BrowserFront, lengths: list[int], status: int) -> None:
    address = urlsplit(front.url)
    host, port = str(address.hostname), int(address.port or 0)
    async with Client(str(front.bus_path)) as bus:
        await bus.publish(EchoingDaemon().object())
        assert await status_of_long_head(host, port, lengths) == status


async def test_three_slow_clients_hold_luci_as_long_as_their_bodies_may_take(
    front: BrowserFront, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(gateway, "BODY_TIMEOUT", 0.5)
    address = urlsplit(front.url)
    await three_slow_clients_hold_luci_as_long_as_their_bodies_may_take(
        str(address.hostname), int(address.port or 0), 0.5
    )
    assert front.slots.used == 0


async def test_a_slow_body_ends_its_connection(front: BrowserFront, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gateway, "BODY_TIMEOUT", 0.1)
    address = urlsplit(front.url)
    async with Client(str(front.bus_path)) as bus:
        daemon = EchoingDaemon()
        await bus.publish(daemon.object())
        answer = await half_a_body(str(address.hostname), int(address.port or 0))
    assert answer.startswith(b"HTTP/1.1 502 ")
    assert daemon.received == []


async def test_a_daemon_that_does_not_reply_is_not_waited_for(
    front: BrowserFront, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(gateway, "CALL_TIMEOUT", 0.1)
    address = urlsplit(front.url)
    async with Client(str(front.bus_path)) as bus:
        await bus.publish(SilentDaemon().object())
        (answer,) = await exchange(str(address.hostname), int(address.port or 0), AWAY)
    check(AWAY, answer, None)
