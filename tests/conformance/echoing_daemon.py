"""The object behind the gateway in the conformance table: answers what it received."""

import asyncio
import json
from collections.abc import Mapping
from typing import Any

from ubus_py import Call, Method, Object


class EchoingDaemon:
    """`received`: the arguments of every call so far."""

    def __init__(self) -> None:
        self.received: list[dict[str, Any]] = []

    async def request(self, call: Call) -> Mapping[str, Any]:
        """Answer with the arguments, as JSON."""
        received = dict(call.args)
        self.received.append(received)
        headers = {"content-type": "application/json"}
        return {"status": 200, "reason": "OK", "headers": headers, "body": json.dumps(received)}

    def object(self) -> Object:
        """The object to publish."""
        return Object("stripe-payments.http", [Method("request", self.request, {})])


class SilentDaemon:
    """Never answers. `called` is set by the first call."""

    def __init__(self) -> None:
        self.called = asyncio.Event()

    async def request(self, call: Call) -> Mapping[str, Any]:
        """Wait for ever."""
        del call
        self.called.set()
        await asyncio.Event().wait()
        return {}

    def object(self) -> Object:
        """The object to publish."""
        return Object("stripe-payments.http", [Method("request", self.request, {})])
