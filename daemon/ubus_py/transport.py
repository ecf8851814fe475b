"""The socket to ubusd, on the event loop's own watchers (``add_reader``, ``add_writer``).

asyncio's transports would do; but they serve every protocol there is, and cost a call on the bus about as
much as its coding and decoding. What they do is done here: nothing blocks, what the socket does not take at
once waits in order, and whoever writes is told when to wait.

Reading: a plain ``recv`` takes no ancillary data, so a file descriptor that a peer attaches
(``SCM_RIGHTS``) is closed by the kernel and never reaches, or leaks into, this process.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable
from typing import Final

from .errors import ConnectionLost
from .framing import CHUNK

DEFAULT_SOCKET: Final = "/var/run/ubus/ubus.sock"
"""Where OpenWrt's ubusd listens."""

_CONGESTED: Final = 64 << 10
_ROOM_AGAIN: Final = 16 << 10
"""How many bytes may wait to be sent before :attr:`Transport.congested`, and when there is room again."""


class Transport:
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
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self._socket.setblocking(False)
        self._read: Callable[[int], bytes] = self._socket.recv
        self._write: Callable[[bytes | bytearray], int] = self._socket.send
        self._burst: list[bytes] = []
        self._in_burst = False
        self._unsent = bytearray()
        self._ending = False
        self._room = asyncio.Event()
        self._room.set()
        self.open = False
        """Whether :meth:`write` takes anything: from :meth:`connect` to the first sign of the end."""
        self.closed = asyncio.Event()

    async def connect(self, path: str) -> None:
        """Connect. Raises :class:`ConnectionLost`."""
        try:
            await self._loop.sock_connect(self._socket, path)
        except (OSError, ValueError) as error:
            raise ConnectionLost(f"no connection to ubusd at {path}: {error}") from error
        self.open = True
        self._loop.add_reader(self._socket.fileno(), self._readable)

    # the loop's side

    def _readable(self) -> None:
        try:
            data = self._read(CHUNK)
        except (BlockingIOError, InterruptedError):
            return
        except OSError as error:
            self._end(error)
            return
        if not data:
            self._end(None)
            return
        self._in_burst = True
        try:
            self._on_data(data)
        except BaseException as error:
            self._end(error)  # whatever comes next would be out of step
            raise
        finally:
            self._flush()

    def _writable(self) -> None:
        unsent = self._unsent
        try:
            del unsent[: self._write(unsent)]
        except (BlockingIOError, InterruptedError):
            return
        except OSError as error:
            self._end(error)
            return
        if len(unsent) <= _ROOM_AGAIN:
            self._room.set()
        if not unsent:
            self._loop.remove_writer(self._socket.fileno())
            if not self.open:
                self._end(None)

    def _end(self, reason: BaseException | None) -> None:
        """No more comes or goes; whoever owns the connection hears of it in the loop's next turn."""
        if self._ending:
            return
        self._ending, self.open = True, False
        self._loop.remove_reader(self._socket.fileno())
        self._loop.remove_writer(self._socket.fileno())
        self._burst.clear()
        self._loop.call_soon(self._ended, reason)

    def _ended(self, reason: BaseException | None) -> None:
        self._socket.close()
        self._unsent.clear()
        self.closed.set()
        self._room.set()
        self._on_lost(reason)

    # our side

    def write(self, data: bytes) -> None:
        """Send, in order. Raises :class:`ConnectionLost`; never waits (see :meth:`drain`)."""
        if not self.open:
            raise ConnectionLost("the connection to ubusd is closed")
        if self._in_burst:
            self._burst.append(data)
            return
        self._in_burst = True
        self._loop.call_soon(self._flush)
        self._send(data)

    def _flush(self) -> None:
        self._in_burst = False
        burst = self._burst
        if burst:
            self._send(burst[0] if len(burst) == 1 else b"".join(burst))
            burst.clear()

    def _send(self, data: bytes) -> None:
        unsent = self._unsent
        if unsent:
            unsent += data
        else:
            try:
                sent = self._write(data)
            except (BlockingIOError, InterruptedError):
                sent = 0
            except OSError as error:
                self._end(error)
                return
            if sent == len(data):
                return
            unsent += memoryview(data)[sent:]
            self._loop.add_writer(self._socket.fileno(), self._writable)
        if len(unsent) > _CONGESTED:
            self._room.clear()

    @property
    def congested(self) -> bool:
        """Whether ubusd reads slower than we write; then :meth:`drain` before writing more."""
        return not self._room.is_set()

    async def drain(self) -> None:
        """Wait until there is room again, or the connection ended."""
        await self._room.wait()

    def close(self) -> None:
        """Send what was written, then close."""
        self._flush()
        if not self._unsent:
            self._end(None)
        elif self.open:
            self.open = False
            self._loop.remove_reader(self._socket.fileno())

    def abort(self) -> None:
        """Close now; what was not sent is lost."""
        self._end(None)
