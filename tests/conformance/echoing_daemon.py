"""The object behind the gateway in the conformance table: answers what it was told."""

import asyncio
import json
from collections.abc import Mapping
from typing import Any

from ubus_py import Call, Method, Object


class EchoingDaemon:
    """`told`: the arguments of every call so far."""

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
