"""One client's socket: frames in, frames out, and a bounded queue so that a client that does not read stalls
nobody."""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Mapping
from struct import Struct
from typing import Protocol, cast

from simulator.ubus_broker.accounts import Credentials, PeerSocket
from ubus_py.errors import ProtocolError
from ubus_py.wire import MAX_MESSAGE, AttrValue, Frame, FrameReader, encode_attrs

log = logging.getLogger(__name__)

_HEADER = Struct(">BBHII")


class Broker(Protocol):
    """What a connection needs of the broker."""

    def connected(self, connection: Connection, sock: PeerSocket) -> bool: ...
    def received(self, connection: Connection, frame: Frame) -> None: ...
    def drained(self, connection: Connection) -> None: ...
    def disconnected(self, connection: Connection) -> None: ...
    def sending(self, connection: Connection, frame: Frame) -> None: ...


class Connection(asyncio.Protocol):
    """A client. ``deferred`` holds look-ups that wait until everything sent before has left."""

    peer: Credentials

    def __init__(self, broker: Broker) -> None:
        self._broker = broker
        self._reader = FrameReader()
        self._transport: asyncio.Transport | None = None
        self._accepted = False
        self.id = 0
        self.deferred: deque[tuple[Frame, str | None]] = deque()
        self.closed = asyncio.Event()

    # --- asyncio's callbacks

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        # Paused as soon as anything waits, resumed when nothing does: ubusd's "transmit queue is empty".
        self._transport.set_write_buffer_limits(high=0)
        self._accepted = self._broker.connected(self, transport.get_extra_info("socket"))
        if not self._accepted:
            self.abort()

    def data_received(self, data: bytes) -> None:
        if not self._accepted:
            return
        self._reader.receive_data(data)
        try:
            while (frame := self._reader.next_frame()) is not None:
                self._broker.received(self, frame)
        except ProtocolError as error:
            log.warning("client %08x is cut off: %s", self.id, error)
            self.abort()

    def resume_writing(self) -> None:
        self._broker.drained(self)

    def connection_lost(self, exc: Exception | None) -> None:
        self._transport = None
        if self._accepted:
            self._broker.disconnected(self)
        self.closed.set()

    # --- for the broker

    @property
    def waiting(self) -> int:
        """Bytes the client has not taken yet."""
        return self._transport.get_write_buffer_size() if self._transport is not None else 0

    def send(self, kind: int, seq: int, peer: int, attrs: Mapping[int, AttrValue]) -> None:
        """Send a message made of ``attrs``."""
        self.send_frame(Frame(kind, seq & 0xFFFF, peer, encode_attrs(attrs)))

    def send_frame(self, frame: Frame) -> None:
        """Send a frame, or drop it when the client lets more than 1 MiB wait, as ubusd does."""
        transport = self._transport
        if transport is None or transport.is_closing():
            return
        self._broker.sending(self, frame)
        size = len(frame.body) + _HEADER.size
        waiting = transport.get_write_buffer_size()
        if waiting and waiting + size > MAX_MESSAGE:
            log.warning("client %08x does not read: dropped a message of %d bytes", self.id, size)
            return
        transport.write(_HEADER.pack(0, frame.type, frame.seq, frame.peer, len(frame.body) + 4) + frame.body)

    def abort(self) -> None:
        """Cut the client off at once."""
        if self._transport is not None:
            self._transport.abort()
