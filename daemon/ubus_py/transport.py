"""The socket to ubusd, as asyncio moves its bytes.

Reading: asyncio's plain ``recv`` takes no ancillary data, so a file descriptor that a peer attaches
(``SCM_RIGHTS``) is closed by the kernel and never reaches, or leaks into, this process.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Final

from .errors import ConnectionLost
from .framing import CHUNK

DEFAULT_SOCKET: Final = "/var/run/ubus/ubus.sock"
"""Where OpenWrt's ubusd listens."""


class Transport(asyncio.BufferedProtocol):
    """A connected socket. Writes of one turn of the event loop leave together, but for the first,
    which leaves at once: one call alone waits for nothing, a burst costs two system calls. Writes made
    while received bytes are handled leave together when that is done.

    :param on_data: called with the bytes that came.
    :param on_lost: called once when the connection ended, with its reason or ``None``.
    """

    def __init__(
        self, on_data: Callable[[bytes], None], on_lost: Callable[[BaseException | None], None]
    ) -> None:
        self._on_data = on_data
        self._on_lost = on_lost
        self._loop = asyncio.get_running_loop()
        self._transport: asyncio.Transport | None = None
        self._read_buffer = memoryview(bytearray(CHUNK))
        self._burst: list[bytes] = []
        self._in_burst = False
        self._writable = asyncio.Event()
        self._writable.set()
        self.closed = asyncio.Event()

    async def connect(self, path: str) -> None:
        """Connect. Raises :class:`ConnectionLost`."""
        try:
            await self._loop.create_unix_connection(lambda: self, path)
        except (OSError, ValueError) as error:
            raise ConnectionLost(f"no connection to ubusd at {path}: {error}") from error

    # asyncio's side

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport

    def connection_lost(self, exc: Exception | None) -> None:
        self._transport = None
        self._burst.clear()
        self.closed.set()
        self._writable.set()
        self._on_lost(exc)

    def get_buffer(self, sizehint: int) -> memoryview:
        return self._read_buffer

    def buffer_updated(self, nbytes: int) -> None:
        data = bytes(self._read_buffer[:nbytes])
        if self._in_burst:
            self._on_data(data)
            return
        self._in_burst = True
        try:
            self._on_data(data)
        finally:
            self._flush()

    def pause_writing(self) -> None:
        self._writable.clear()

    def resume_writing(self) -> None:
        self._writable.set()

    # our side

    def write(self, data: bytes) -> None:
        """Send, in order. Raises :class:`ConnectionLost`; never waits (see :meth:`drain`)."""
        if self._transport is None:
            raise ConnectionLost("the connection to ubusd is closed")
        if self._in_burst:
            self._burst.append(data)
            return
        self._in_burst = True
        self._loop.call_soon(self._flush)
        self._transport.write(data)

    def _flush(self) -> None:
        self._in_burst = False
        burst = self._burst
        if burst:
            if self._transport is not None:
                self._transport.write(burst[0] if len(burst) == 1 else b"".join(burst))
            burst.clear()

    @property
    def congested(self) -> bool:
        """Whether ubusd reads slower than we write; then :meth:`drain` before writing more."""
        return not self._writable.is_set()

    async def drain(self) -> None:
        """Wait until there is room again, or the connection ended."""
        await self._writable.wait()

    def close(self) -> None:
        """Send what was written, then close."""
        self._flush()
        if self._transport is not None:
            self._transport.close()

    def abort(self) -> None:
        """Close now; what was not sent is lost."""
        self._burst.clear()
        if self._transport is not None:
            self._transport.abort()
