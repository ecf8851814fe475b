"""ubus messages and the frames that carry them on the socket. No IO.

A frame is 8 bytes of header (``version u8 (0), type u8, seq u16, peer u32``, big endian; ubus ``ubusmsg.h``)
and one blob of at most 1 MiB whose attributes are the message's. :class:`FrameReader` takes bytes and returns
frames; :meth:`Frame.message` decodes one, :func:`encode_message` encodes one. Attributes keep their order, so
a message that was read is written back byte for byte.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import IntEnum
from struct import Struct
from typing import Any, Final, TypeAlias

from .blobmsg import Table, decode_table
from .errors import ProtocolError, UsageError

MAX_MESSAGE: Final = 1 << 20
"""The longest blob that ubusd takes, in bytes, with the blob's own 4 (``UBUS_MAX_MSGLEN``)."""
FORWARD_GROWTH: Final = 4096
"""How much longer than :data:`MAX_MESSAGE` a call may arrive, in bytes: ubusd checks the size of what a
client sends, and adds the caller's user and group names to what it forwards. With a limit of 1 MiB, any
process that may call a receiver could disconnect it."""
MAX_RECEIVED: Final = MAX_MESSAGE + FORWARD_GROWTH
"""The longest blob that a client accepts, in bytes, and so the cap of the buffer for an incomplete frame."""

SYSTEM_OBJECT_EVENT: Final = 1
"""The object inside ubusd that takes ``register`` and ``send`` for events."""
SYSTEM_OBJECT_MAX: Final = 1024
"""Ids below this are ubusd's own objects."""


class MessageType(IntEnum):
    """``enum ubus_msg_type``."""

    HELLO = 0
    """ubusd to a new client; the peer field is the client's id."""
    STATUS = 1
    """Ends a request."""
    DATA = 2
    """One part of a request's answer."""
    PING = 3
    LOOKUP = 4
    INVOKE = 5
    """A call; also how events and notifications arrive."""
    ADD_OBJECT = 6
    REMOVE_OBJECT = 7
    SUBSCRIBE = 8
    UNSUBSCRIBE = 9
    """From ubusd: the object subscribed to is gone."""
    NOTIFY = 10
    """To ubusd: notify the subscribers. From ubusd: there are subscribers now, or none any more."""
    MONITOR = 11


class Attr(IntEnum):
    """``enum ubus_msg_attr``."""

    UNSPEC = 0
    STATUS = 1
    OBJPATH = 2
    OBJID = 3
    METHOD = 4
    OBJTYPE = 5
    SIGNATURE = 6
    DATA = 7
    TARGET = 8
    ACTIVE = 9
    NO_REPLY = 10
    SUBSCRIBERS = 11
    USER = 12
    GROUP = 13


AttrValue: TypeAlias = "int | bool | str | bytes | tuple[int, ...]"

_HEADER = Struct(">BBHII")
"""A frame's header and its blob's first word."""
_HEADER_SIZE: Final = 12
_WORD = Struct(">I")
_WORD_SIZE: Final = 4
VERSION = 0
_LENGTH = 0x00FFFFFF
_ID_MASK = 0x7F
_ID_SHIFT = 24
_PADDING = (b"", b"\0\0\0", b"\0\0", b"\0")
"""What fills an attribute up to a multiple of 4 bytes, by its length modulo 4."""


def _attribute(attr: Attr) -> Any:
    return property(lambda message: message.attrs.get(attr))


class Message:
    """One message. ``attrs`` maps :class:`Attr` to: ``int`` (STATUS, OBJID, OBJTYPE, TARGET; unsigned),
    ``bool`` (ACTIVE, NO_REPLY), ``str`` (OBJPATH, METHOD, USER, GROUP), ``bytes`` (SIGNATURE and DATA: a
    table's payload, not yet decoded, for :func:`~ubus_py.blobmsg.decode_table`), ``tuple`` of ints
    (SUBSCRIBERS). Unknown attributes are dropped on reading, as ubusd does.

    Each attribute is also a property, ``None`` where it is absent.
    """

    __slots__ = ("attrs", "peer", "seq", "type")

    status: int | None = _attribute(Attr.STATUS)
    objpath: str | None = _attribute(Attr.OBJPATH)
    objid: int | None = _attribute(Attr.OBJID)
    method: str | None = _attribute(Attr.METHOD)
    objtype: int | None = _attribute(Attr.OBJTYPE)
    signature: bytes | None = _attribute(Attr.SIGNATURE)
    data: bytes | None = _attribute(Attr.DATA)
    target: int | None = _attribute(Attr.TARGET)
    active: bool | None = _attribute(Attr.ACTIVE)
    no_reply: bool = property(lambda message: bool(message.attrs.get(Attr.NO_REPLY)))  # type: ignore[assignment]
    subscribers: tuple[int, ...] | None = _attribute(Attr.SUBSCRIBERS)
    user: str | None = _attribute(Attr.USER)
    group: str | None = _attribute(Attr.GROUP)

    def __init__(self, type: int, seq: int, peer: int, attrs: Mapping[int, AttrValue] | None = None) -> None:  # noqa: A002
        self.type = type
        self.seq = seq
        self.peer = peer
        self.attrs: dict[int, Any] = dict(attrs) if attrs else {}

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Message):
            return NotImplemented
        return (self.type, self.seq, self.peer) == (other.type, other.seq, other.peer) and (
            list(self.attrs.items()) == list(other.attrs.items())
        )

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        kind = MessageType(self.type).name if self.type in _TYPES else str(self.type)
        attrs = ", ".join(f"{Attr(key).name.lower()}={value!r:.60}" for key, value in self.attrs.items())
        return f"<Message {kind} seq={self.seq} peer={self.peer:08x} {attrs}>"

    def data_table(self) -> Table:
        """DATA decoded; an absent DATA is an empty table. Raises :class:`ProtocolError`."""
        return decode_table(self.data) if self.data else {}


_TYPES = frozenset(int(kind) for kind in MessageType)


# --- attributes ----------------------------------------------------------------------------------------


def _write_number(value: Any) -> bytes:
    try:
        return _WORD.pack(value & 0xFFFFFFFF)
    except TypeError:
        raise UsageError(f"an attribute that is a number, not {type(value).__name__}") from None


def _read_number(payload: bytes) -> int:
    if len(payload) != _WORD_SIZE:
        raise ProtocolError("malformed message: a number that is not 4 bytes")
    return int(_WORD.unpack(payload)[0])


def _write_flag(value: Any) -> bytes:
    return b"\1" if value else b"\0"


def _read_flag(payload: bytes) -> bool:
    if len(payload) != 1:
        raise ProtocolError("malformed message: a flag that is not 1 byte")
    return payload != b"\0"


def _write_string(value: Any) -> bytes:
    try:
        text: bytes = value.encode("utf-8", "surrogateescape")
    except (AttributeError, UnicodeEncodeError):
        raise UsageError(f"an attribute that is text, not {value!r:.80}") from None
    if 0 in text:
        raise UsageError(f"text with a NUL, which ends a string on the bus: {value!r:.80}")
    return text + b"\0"


def _read_string(payload: bytes) -> str:
    if not payload or payload[-1]:
        raise ProtocolError("malformed message: a string without its NUL")
    text = payload[:-1].decode("utf-8", "surrogateescape")
    return text.partition("\0")[0] if "\0" in text else text


def _same_bytes(value: Any) -> bytes:
    return bytes(value)


_ID_ENTRY = Struct(">II")
"""One id of a list: an attribute of its own, without a type."""


def _write_ids(value: Any) -> bytes:
    return b"".join(_ID_ENTRY.pack(_ID_ENTRY.size, number & 0xFFFFFFFF) for number in value)


def _read_ids(payload: bytes) -> tuple[int, ...]:
    if len(payload) % _ID_ENTRY.size:
        raise ProtocolError("malformed message: a list of ids of odd length")
    return tuple(number for _, number in _ID_ENTRY.iter_unpack(payload))


_NUMBER = (_write_number, _read_number)
_FLAG = (_write_flag, _read_flag)
_STRING = (_write_string, _read_string)
_BYTES = (_same_bytes, _same_bytes)

_FORMATS: dict[Attr, tuple[Callable[[Any], bytes], Callable[[bytes], AttrValue]]] = {
    Attr.STATUS: _NUMBER,
    Attr.OBJPATH: _STRING,
    Attr.OBJID: _NUMBER,
    Attr.METHOD: _STRING,
    Attr.OBJTYPE: _NUMBER,
    Attr.SIGNATURE: _BYTES,
    Attr.DATA: _BYTES,
    Attr.TARGET: _NUMBER,
    Attr.ACTIVE: _FLAG,
    Attr.NO_REPLY: _FLAG,
    Attr.SUBSCRIBERS: (_write_ids, _read_ids),
    Attr.USER: _STRING,
    Attr.GROUP: _STRING,
}
_WRITERS = {int(attr): write for attr, (write, _) in _FORMATS.items()}
_READERS = {int(attr): read for attr, (_, read) in _FORMATS.items()}


def attr_word(attr: int, size: int) -> int:
    """Return the word that begins an attribute with ``size`` bytes of payload."""
    length = _WORD_SIZE + size
    if length > _LENGTH:
        raise UsageError("an attribute longer than 16 MiB")
    return attr << _ID_SHIFT | length


def attr_size(size: int) -> int:
    """Return how many bytes an attribute with ``size`` bytes of payload takes."""
    return (_WORD_SIZE + size + 3) & ~3


def encode_attrs(attrs: Mapping[int, AttrValue]) -> bytes:
    """Encode a message's attributes, in their order, without the blob around them.

    :raises UsageError: a value of the wrong type, text with NUL, an attribute longer than 16 MiB.
    """
    parts: list[bytes] = []
    for attr, value in attrs.items():
        payload = _WRITERS[attr](value)
        parts += (_WORD.pack(attr_word(attr, len(payload))), payload, _PADDING[len(payload) % 4])
    return b"".join(parts)


def decode_attrs(body: bytes) -> dict[int, Any]:
    """Decode the attributes in a message's body. Raises :class:`ProtocolError`.

    Of a repeated attribute the last counts, as for libubox's ``blob_parse``.
    """
    attrs: dict[int, Any] = {}
    position, end = 0, len(body)
    unpack_word = _WORD.unpack_from
    while position < end:
        if end - position < _WORD_SIZE:
            raise ProtocolError("malformed message: truncated attribute")
        (word,) = unpack_word(body, position)
        length = word & _LENGTH
        following = position + ((length + 3) & ~3)
        if length < _WORD_SIZE or following > end:
            raise ProtocolError("malformed message: attribute longer than the message")
        attr = (word >> _ID_SHIFT) & _ID_MASK
        read = _READERS.get(attr)
        if read is not None:
            attrs[attr] = read(body[position + _WORD_SIZE : position + length])
        position = following
    return attrs


def last_attr(body: bytes, position: int, attr: int) -> bytes | None:
    """Return the payload of the attribute at ``position`` if it is ``attr`` and the last, else ``None``."""
    if len(body) < position + _WORD_SIZE:
        return None
    (word,) = _WORD.unpack_from(body, position)
    end = position + (word & _LENGTH)
    if (word >> _ID_SHIFT) & _ID_MASK != attr or end < position + _WORD_SIZE or (end + 3) & ~3 != len(body):
        return None
    return body[position + _WORD_SIZE : end]


# --- frames ----------------------------------------------------------------------------------------------


@dataclass(slots=True)
class Frame:
    """A frame as it stands on the wire; ``body`` is the attributes, still encoded."""

    type: int
    seq: int
    peer: int
    body: bytes

    def message(self) -> Message:
        """Decode the message in it. Raises :class:`ProtocolError`."""
        message = Message(self.type, self.seq, self.peer)
        message.attrs = decode_attrs(self.body)
        return message


class FrameReader:
    """Bytes in by :meth:`receive_data`, frames out by :meth:`next_frame`.

    :param limit: the longest blob to accept, in bytes. A longer one is refused by its header, so the buffer
        never holds more than one incomplete frame of that length and what was received last.
    """

    __slots__ = ("_buffer", "_limit")

    def __init__(self, limit: int = MAX_MESSAGE) -> None:
        self._buffer = bytearray()
        self._limit = limit

    def receive_data(self, data: bytes | bytearray | memoryview) -> None:
        """Take bytes in the order they came, of any number."""
        self._buffer += data

    def next_frame(self) -> Frame | None:
        """Return the next complete frame, or ``None`` until more data came. Raises :class:`ProtocolError`."""
        buffer = self._buffer
        if len(buffer) < _HEADER_SIZE:
            return None
        version, kind, seq, peer, word = _HEADER.unpack_from(buffer)
        length = word & _LENGTH
        if version != VERSION:
            raise ProtocolError(f"frame of version {version}, expected {VERSION}")
        if length < _WORD_SIZE:
            raise ProtocolError("frame shorter than its own header")
        if length > self._limit:
            raise ProtocolError(f"frame of {length} bytes, the limit is {self._limit}")
        end = _HEADER_SIZE - _WORD_SIZE + length
        if len(buffer) < end:
            return None
        body = bytes(buffer[_HEADER_SIZE:end])
        del buffer[:end]
        return Frame(kind, seq, peer, body)

    @property
    def buffered(self) -> int:
        """Bytes received and not yet returned in a frame."""
        return len(self._buffer)


def encode_frame(kind: int, seq: int, peer: int, body: bytes) -> bytes:
    """Encode a frame around encoded attributes.

    :raises UsageError: longer than :data:`MAX_MESSAGE`; nothing must be sent then.
    """
    length = _WORD_SIZE + len(body)
    if length > MAX_MESSAGE:
        raise UsageError(f"a message of {length} bytes; ubus takes at most {MAX_MESSAGE}")
    return _HEADER.pack(VERSION, kind, seq & 0xFFFF, peer & 0xFFFFFFFF, length) + body


def encode_message(message: Message) -> bytes:
    """Encode a message as a complete frame. Raises :class:`UsageError`."""
    return encode_frame(message.type, message.seq, message.peer, encode_attrs(message.attrs))
