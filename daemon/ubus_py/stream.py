"""The socket to ubusd on asyncio's transport."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Final, cast

from .errors import ConnectionLost

DEFAULT_SOCKET: Final = "/var/run/ubus/ubus.sock"
"""Where OpenWrt's ubusd listens."""
READ_SIZE: Final = 64 << 10
"""Bytes read from the socket at a time, as real ubus does (``UBUS_MSG_CHUNK_SIZE``)."""


class Stream(asyncio.BufferedProtocol):
    """The socket to ubusd, read into one buffer.

    For a plain :class:`asyncio.Protocol` asyncio allocates 256 KiB for each ``recv``, which costs 14 µs
    where the allocator maps them each time; a complete call takes about 100. ``recv_into`` takes no
    ancillary data, so a file descriptor that a peer attaches is closed by the kernel.

    :param on_data: called with the bytes received.
    :param on_lost: called once when the connection ended, with the reason or ``None``.
    """

    def __init__(
        self, on_data: Callable[[memoryview], None], on_lost: Callable[[Exception | None], None]
    ) -> None:
        self._on_data = on_data
        self._received = memoryview(bytearray(READ_SIZE))
        self._on_lost = on_lost
        self._transport: asyncio.Transport | None = None
        self._may_write = asyncio.Event()
        self._may_write.set()
        self.closed = asyncio.Event()

    async def connect(self, path: str) -> None:
        """Connect. Raises :class:`ConnectionLost`."""
        try:
            await asyncio.get_running_loop().create_unix_connection(lambda: self, path)
        except (OSError, ValueError) as error:
            raise ConnectionLost(f"no connection to ubusd at {path}: {error}") from error

    # --- called by asyncio

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)

    def get_buffer(self, sizehint: int) -> memoryview:
        return self._received

    def buffer_updated(self, nbytes: int) -> None:
        self._on_data(self._received[:nbytes])

    def connection_lost(self, exc: Exception | None) -> None:
        self._transport = None  # asyncio's refuses to be aborted once it is closed (AttributeError, 3.11)
        self._may_write.set()
        self.closed.set()
        self._on_lost(exc)

    def pause_writing(self) -> None:
        self._may_write.clear()

    def resume_writing(self) -> None:
        self._may_write.set()

    # --- called by the connection

    def write(self, data: bytes) -> None:
        """Send, in order, without waiting. Raises :class:`ConnectionLost`."""
        if not self.send(data):
            raise ConnectionLost("the connection to ubusd is closed")

    def send(self, data: bytes) -> bool:
        """Like :meth:`write`, but return whether the connection is open."""
        transport = self._transport
        if transport is None or transport.is_closing():
            return False
        transport.write(data)
        return True

    async def drain(self) -> None:
        """Wait while ubusd reads slower than we write."""
        await self._may_write.wait()

    def close(self) -> None:
        """Send what was written, then close."""
        if self._transport is not None:
            self._transport.close()

    def abort(self) -> None:
        """Close now; what was not sent is lost."""
        if self._transport is not None:
            self._transport.abort()
