"""The simulator's gateway is held to the table that the router's is held to."""

import json
from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any
from urllib.parse import urlsplit

import pytest

from simulator.browser_front import BrowserFront
from simulator.ubus_broker import UbusBroker
from tests.conformance.exchange import check, exchange
from tests.conformance.gateway_cases import CASES, Case
from ubus_py import Call, Client, Method, Object


class EchoingDaemon:
    """The object behind the gateway: answers what it was told."""

    def __init__(self) -> None:
        self.told: list[dict[str, Any]] = []

    async def request(self, call: Call) -> Mapping[str, Any]:
        """Answer with the arguments, as JSON."""
        told = dict(call.args)
        self.told.append(told)
        headers = {"content-type": "application/json"}
        return {"status": 200, "reason": "OK", "headers": headers, "body": json.dumps(told)}

    def object(self) -> Object:
        """The object to publish."""
        return Object("stripe-payments.http", [Method("request", self.request, {})])


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
        check(part, answer, daemon.told.pop(0) if part.reaches_daemon else None)
    assert daemon.told == []  # nothing of a body was taken for a request
