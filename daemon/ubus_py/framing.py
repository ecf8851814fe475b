"""Frames on the socket: 8 bytes of header, then one blob that holds the message's attributes. No IO.

Facts: the header is ``version u8 (0), type u8, seq u16, peer u32``, big endian (ubus ``ubusmsg.h``); the
blob with its own 4 bytes is at most 1 MiB (``UBUS_MAX_MSGLEN``).
"""

from __future__ import annotations

from struct import Struct
from typing import Final, NamedTuple

from .errors import ProtocolError, UsageError
from .messages import Message, decode_attrs, encode_attrs

MAX_MESSAGE: Final = 1 << 20
"""The longest blob that ubusd takes, in bytes, with the blob's own 4."""
FORWARD_GROWTH: Final = 4096
"""How much longer than :data:`MAX_MESSAGE` a call may arrive: ubusd checks the size of what a client
sends, and adds the caller's user and group names to what it passes on. A receiver that took 1 MiB alone
could be thrown off the bus by any process that may call it."""
CHUNK: Final = 65536
"""What real ubus reads and writes on the socket at once (``UBUS_MSG_CHUNK_SIZE``)."""

_HEADER = Struct(">BBHII")
_new_tuple = tuple.__new__  # a named tuple's own constructor, in Python, takes three times as long


class Frame(NamedTuple):
    """A frame as it stands on the wire; ``body`` is the attributes, not looked into."""

    type: int
    seq: int
    peer: int
    body: bytes

    def message(self) -> Message:
        """The message in it. Raises :class:`ProtocolError`."""
        message = Message(self.type, self.seq, self.peer)
        message.attrs = decode_attrs(self.body)
        return message


class FrameReader:
    """Bytes in by :meth:`receive_data`, frames out by :meth:`next_frame`. Holds at most one unfinished
    frame beyond what was just received.

    :param limit: the longest blob to take; ubusd itself takes :data:`MAX_MESSAGE`, a client
        :data:`FORWARD_GROWTH` more.
    """

    __slots__ = ("_buffer", "_limit", "_position")

    def __init__(self, limit: int = MAX_MESSAGE) -> None:
        self._buffer: bytes | bytearray = b""
        self._position = 0
        self._limit = limit

    def receive_data(self, data: bytes | bytearray | memoryview) -> None:
        """Take bytes in the order they came, of any number."""
        if not isinstance(data, bytes):
            data = bytes(data)  # kept until it is consumed: it must not change meanwhile
        buffer = self._buffer
        if self._position >= len(buffer):
            self._buffer = data  # the usual case: nothing left over, nothing copied
            self._position = 0
            return
        if not isinstance(buffer, bytearray):
            self._buffer = buffer = bytearray(buffer[self._position :])
            self._position = 0
        elif self._position:
            del buffer[: self._position]
            self._position = 0
        buffer += data

    def next_frame(self) -> Frame | None:
        """The next whole frame, or ``None`` until more data came. Raises :class:`ProtocolError`."""
        buffer, position = self._buffer, self._position
        have = len(buffer) - position
        if have < 12:
            return None
        version, kind, seq, peer, word = _HEADER.unpack_from(buffer, position)
        length = word & 0xFFFFFF
        if version:
            raise ProtocolError(f"frame of version {version}, expected 0")
        if length < 4:
            raise ProtocolError("frame shorter than its own header")
        if length > self._limit:
            raise ProtocolError(f"frame of {length} bytes, the limit is {self._limit}")
        if have < length + 8:
            return None
        end = position + 8 + length
        self._position = end
        if isinstance(buffer, bytes):
            return _new_tuple(Frame, (kind, seq, peer, buffer[position + 12 : end]))
        with memoryview(buffer) as view:
            return Frame(kind, seq, peer, bytes(view[position + 12 : end]))

    @property
    def buffered(self) -> int:
        """Bytes received and not yet returned in a frame."""
        return len(self._buffer) - self._position


def encode_frame(kind: int, seq: int, peer: int, body: bytes) -> bytes:
    """A frame around encoded attributes.

    :raises UsageError: longer than :data:`MAX_MESSAGE`; nothing must be sent then.
    """
    length = len(body) + 4
    if length > MAX_MESSAGE:
        raise UsageError(f"a message of {length} bytes; ubus takes at most {MAX_MESSAGE}")
    return _HEADER.pack(0, kind, seq & 0xFFFF, peer & 0xFFFFFFFF, length) + body


def encode_message(message: Message) -> bytes:
    """A whole frame of a message. Raises :class:`UsageError`."""
    return encode_frame(message.type, message.seq, message.peer, encode_attrs(message.attrs))
