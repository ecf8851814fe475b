"""TCP between two processes, which can be cut."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from contextlib import suppress
from typing import Literal

__all__ = ["Cut", "Link"]

Cut = Literal["reset", "silence"]
"""`reset`: connections break and new ones are refused; `silence`: nothing goes through any more."""

_Streams = tuple[asyncio.StreamReader, asyncio.StreamWriter]
_CHUNK = 65_536


class Link:
    """Listens on `port`; each connection goes to the first of the targets that accepts it, a load balancer's
    next one first each time.
    """

    def __init__(self, name: str, targets: Sequence[int]) -> None:
        self.name = name
        self._targets = list(targets)
        self._server: asyncio.Server | None = None
        self._open: set[asyncio.Task[None]] = set()
        self._cut: Cut | None = None
        self._flows = asyncio.Event()
        self._flows.set()
        self.port = 0
        self.source: str | None = None
        """From which loopback address: the hub limits enrolments by address."""

    async def start(self) -> None:
        self._server = await asyncio.start_server(self._accepted, "127.0.0.1", 0)
        self.port = self._server.sockets[0].getsockname()[1]

    async def stop(self) -> None:
        if self._server is not None:
            self._server.close()
        await asyncio.sleep(0)  # what was accepted just now begins, and can be ended
        await self._break()

    async def cut(self, how: Cut, seconds: float) -> None:
        """Cut for so long; connections that were silent break at the end, as a router in between would do."""
        self._cut = how
        self._flows.clear()
        if how == "reset":
            await self._break()
        try:
            await asyncio.sleep(seconds)
        finally:
            await self._break()
            self._cut = None
            self._flows.set()

    async def _break(self) -> None:
        for task in list(self._open):
            task.cancel()
        await asyncio.gather(*self._open, return_exceptions=True)

    async def _accepted(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._open.add(task)
        opening: asyncio.Future[_Streams] | None = None
        try:
            if self._cut == "reset":
                return
            await self._flows.wait()
            self._targets.append(self._targets.pop(0))
            for port in self._targets:
                local = (self.source, 0) if self.source is not None else None
                opening = asyncio.ensure_future(asyncio.open_connection("127.0.0.1", port, local_addr=local))
                with suppress(OSError):
                    await self._carry((reader, writer), await asyncio.shield(opening))
                    return
        except asyncio.CancelledError:
            pass
        finally:
            writer.transport.abort()
            if opening is not None:
                await _abandoned(opening)
            self._open.discard(task)

    async def _carry(
        self,
        outer: _Streams,
        inner: _Streams,
    ) -> None:
        pumps = [
            asyncio.create_task(self._pump(outer[0], inner[1])),
            asyncio.create_task(self._pump(inner[0], outer[1])),
        ]
        try:
            await asyncio.wait(pumps, return_when=asyncio.FIRST_COMPLETED)
        finally:
            inner[1].transport.abort()
            for pump in pumps:
                pump.cancel()
            await asyncio.gather(*pumps, return_exceptions=True)

    async def _pump(self, source: asyncio.StreamReader, target: asyncio.StreamWriter) -> None:
        with suppress(OSError):
            while chunk := await source.read(_CHUNK):
                await self._flows.wait()
                target.write(chunk)
                await target.drain()
            if target.can_write_eof():
                target.write_eof()


async def _abandoned(opening: asyncio.Future[_Streams]) -> None:
    """Close a connection whose opener was cancelled: nobody else holds it."""
    with suppress(OSError):
        (_reader, writer) = await opening
        writer.transport.abort()
