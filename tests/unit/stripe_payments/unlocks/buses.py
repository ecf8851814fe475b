"""The real bus, with something that happens around each of the worker's requests."""

import asyncio
import contextlib
from collections.abc import Mapping
from typing import Literal

from tests.unit.stripe_payments.full_storage import storage_full_beyond
from ubus_py import Client, Encodable, Table

__all__ = ["Crash", "CrashingBus", "FillingBus", "HangingBus", "RecordingBus", "SlowBus"]


class _Bus:
    """`before` and `after` are called with the object that a request is for; None: it is an event."""

    def __init__(self, client: Client) -> None:
        self._client = client

    async def before(self, what: str | None) -> None:
        """A request is about to leave."""

    async def after(self, what: str | None) -> None:
        """It was carried out; the worker does not know yet."""

    async def call(
        self,
        object: str,  # noqa: A002 - as the protocol has it
        method: str,
        args: Mapping[str, Encodable] | None = None,
        *,
        timeout: float | None = 30.0,
    ) -> Table:
        await self.before(object)
        answer = await self._client.call(object, method, args, timeout=timeout)
        await self.after(object)
        return answer

    async def send(self, name: str, data: Mapping[str, Encodable] | None = None) -> None:
        await self.before(None)
        await self._client.send(name, data)
        await self.after(None)


class Crash(BaseException):
    """The power goes."""


class CrashingBus(_Bus):
    """The power goes before or after its n-th request."""

    def __init__(self, client: Client, number: int, when: Literal["before", "after"]) -> None:
        super().__init__(client)
        self._left, self._when = number, when

    async def before(self, what: str | None) -> None:
        self._left -= 1
        if self._left == 0 and self._when == "before":
            raise Crash

    async def after(self, what: str | None) -> None:
        if self._left == 0 and self._when == "after":
            raise Crash


class FillingBus(_Bus):
    """At its n-th request, and for a while, the ledger's flash is full."""

    def __init__(self, client: Client, number: int, limit: int) -> None:
        super().__init__(client)
        self._left, self._limit = number, limit
        self.full = contextlib.ExitStack()

    async def before(self, what: str | None) -> None:
        self._left -= 1
        if self._left == 0:
            self.full.enter_context(storage_full_beyond(self._limit))


class HangingBus(_Bus):
    """Carries out no request for one object (None: no event) until it is `released`. `hangs` is set then."""

    def __init__(self, client: Client, what: str | None) -> None:
        super().__init__(client)
        self._what = what
        self.hangs, self.released = asyncio.Event(), asyncio.Event()

    async def before(self, what: str | None) -> None:
        if what == self._what:
            self.hangs.set()
            await self.released.wait()


class SlowBus(_Bus):
    """Replies late to a call of the scripts, or an event. `reported` is set once it was done for one."""

    def __init__(self, client: Client, seconds: float) -> None:
        super().__init__(client)
        self._seconds = seconds
        self.reported = asyncio.Event()

    async def after(self, what: str | None) -> None:
        if what is None or what.startswith("hotplug."):
            self.reported.set()
            await asyncio.sleep(self._seconds)


class RecordingBus(SlowBus):
    """`requests`: the object of each request, None for an event."""

    def __init__(self, client: Client, seconds: float) -> None:
        super().__init__(client, seconds)
        self.requests: list[str | None] = []

    async def before(self, what: str | None) -> None:
        self.requests.append(what)
