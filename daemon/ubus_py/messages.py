"""ubus messages: a type, a sequence number, a peer and named attributes. No IO.

Facts from ubus's ``ubusmsg.h`` and from how ubusd and libubus order what they send. Attributes keep
their order, so a message that was read is written back byte for byte.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from enum import IntEnum
from struct import Struct
from typing import Any, Final, TypeAlias

from .blobmsg import Encodable, Table, decode_table, encode_table
from .errors import ProtocolError, UsageError

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
    """One piece of a request's answer."""
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

_WORD = Struct(">I")
_PADS = (b"", b"\0\0\0", b"\0\0", b"\0")


class Message:
    """One message. ``attrs`` maps :class:`Attr` to: ``int`` (STATUS, OBJID, OBJTYPE, TARGET; unsigned),
    ``bool`` (ACTIVE, NO_REPLY), ``str`` (OBJPATH, METHOD, USER, GROUP), ``bytes`` (SIGNATURE and DATA: a
    table's payload, not yet decoded, for :func:`~ubus_py.blobmsg.decode_table`), ``tuple`` of ints
    (SUBSCRIBERS). Unknown attributes are dropped on reading, as ubusd does.
    """

    __slots__ = ("attrs", "peer", "seq", "type")

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

    # Named access; ``None`` where the attribute is absent.
    @property
    def status(self) -> int | None:
        return self.attrs.get(1)

    @property
    def objpath(self) -> str | None:
        return self.attrs.get(2)

    @property
    def objid(self) -> int | None:
        return self.attrs.get(3)

    @property
    def method(self) -> str | None:
        return self.attrs.get(4)

    @property
    def objtype(self) -> int | None:
        return self.attrs.get(5)

    @property
    def signature(self) -> bytes | None:
        return self.attrs.get(6)

    @property
    def data(self) -> bytes | None:
        return self.attrs.get(7)

    @property
    def target(self) -> int | None:
        return self.attrs.get(8)

    @property
    def active(self) -> bool | None:
        return self.attrs.get(9)

    @property
    def no_reply(self) -> bool:
        return bool(self.attrs.get(10, False))

    @property
    def subscribers(self) -> tuple[int, ...] | None:
        return self.attrs.get(11)

    @property
    def user(self) -> str | None:
        return self.attrs.get(12)

    @property
    def group(self) -> str | None:
        return self.attrs.get(13)

    def data_table(self, *, errors: str = "surrogateescape") -> Table:
        """DATA decoded; an absent DATA is an empty table. Raises :class:`ProtocolError`."""
        data = self.attrs.get(7)
        return decode_table(data, errors=errors) if data else {}


_TYPES = frozenset(int(kind) for kind in MessageType)


def table_payload(table: Mapping[str, Encodable] | None) -> bytes:
    """The payload of a DATA or SIGNATURE attribute."""
    return b"" if table is None else encode_table(table)


# --- attributes to bytes and back ----------------------------------------------------------------------


def _u32(value: Any) -> bytes:
    try:
        return _WORD.pack(value & 0xFFFFFFFF)
    except TypeError:
        raise UsageError(f"an attribute that is a number, not {type(value).__name__}") from None


def _u8(value: Any) -> bytes:
    return b"\1" if value else b"\0"


def _string(value: Any) -> bytes:
    try:
        text: bytes = value.encode("utf-8", "surrogateescape")
    except (AttributeError, UnicodeEncodeError):
        raise UsageError(f"an attribute that is text, not {value!r:.80}") from None
    if 0 in text:
        raise UsageError(f"text with a NUL, which ends a string on the bus: {value!r:.80}")
    return text + b"\0"


def _raw(value: Any) -> bytes:
    return bytes(value)


def _id_list(value: Any) -> bytes:
    return b"".join(b"\0\0\0\x08" + _WORD.pack(number & 0xFFFFFFFF) for number in value)


def _read_u32(body: bytes, start: int, end: int) -> int:
    if end - start != 4:
        raise ProtocolError("malformed message: a number that is not 4 bytes")
    return int(_WORD.unpack_from(body, start)[0])


def _read_u8(body: bytes, start: int, end: int) -> bool:
    if end - start != 1:
        raise ProtocolError("malformed message: a flag that is not 1 byte")
    return body[start] != 0


def _read_string(body: bytes, start: int, end: int) -> str:
    raw = body[start:end]
    if not raw or raw[-1]:
        raise ProtocolError("malformed message: a string without its NUL")
    text = raw[: raw.index(0)].decode("utf-8", "surrogateescape")
    if len(raw) <= 64 and len(_known_texts) < 256:
        _known_texts[raw] = text
    return text


_known_texts: dict[bytes, str] = {}
"""The few that come with every call (method, user, group); `decode_attrs` looks here first."""


def _read_raw(body: bytes, start: int, end: int) -> bytes:
    return body[start:end]


def _read_id_list(body: bytes, start: int, end: int) -> tuple[int, ...]:
    if (end - start) % 8:
        raise ProtocolError("malformed message: a list of ids of odd length")
    return tuple(int(_WORD.unpack_from(body, at + 4)[0]) for at in range(start, end, 8))


_WRITE: dict[int, Callable[[Any], bytes]] = {
    Attr.STATUS: _u32,
    Attr.OBJPATH: _string,
    Attr.OBJID: _u32,
    Attr.METHOD: _string,
    Attr.OBJTYPE: _u32,
    Attr.SIGNATURE: _raw,
    Attr.DATA: _raw,
    Attr.TARGET: _u32,
    Attr.ACTIVE: _u8,
    Attr.NO_REPLY: _u8,
    Attr.SUBSCRIBERS: _id_list,
    Attr.USER: _string,
    Attr.GROUP: _string,
}
_READ: dict[int, Callable[[bytes, int, int], Any]] = {
    Attr.STATUS: _read_u32,
    Attr.OBJPATH: _read_string,
    Attr.OBJID: _read_u32,
    Attr.METHOD: _read_string,
    Attr.OBJTYPE: _read_u32,
    Attr.SIGNATURE: _read_raw,
    Attr.DATA: _read_raw,
    Attr.TARGET: _read_u32,
    Attr.ACTIVE: _read_u8,
    Attr.NO_REPLY: _read_u8,
    Attr.SUBSCRIBERS: _read_id_list,
    Attr.USER: _read_string,
    Attr.GROUP: _read_string,
}


_TEXTS: Final = frozenset((4, 12, 13))


def encode_attrs(attrs: Mapping[int, AttrValue]) -> bytes:
    """The message's attributes, in their order, without the blob around them."""
    parts: list[bytes] = []
    for attr, value in attrs.items():
        payload = _WRITE[attr](value)
        length = len(payload) + 4
        if length > 0xFFFFFF:
            raise UsageError("an attribute longer than 16 MiB")
        parts.append(_WORD.pack(attr << 24 | length))
        parts.append(payload)
        if length & 3:
            parts.append(_PADS[length & 3])
    return b"".join(parts)


def decode_attrs(body: bytes) -> dict[int, Any]:
    """The attributes in a message's body. Raises :class:`ProtocolError`.

    Of a repeated attribute the last counts, as for libubox's ``blob_parse``.
    """
    attrs: dict[int, Any] = {}
    position, end = 0, len(body)
    unpack = _WORD.unpack_from
    while position < end:
        if end - position < 4:
            raise ProtocolError("malformed message: truncated attribute")
        word = unpack(body, position)[0]
        length = word & 0xFFFFFF
        following = position + ((length + 3) & ~3)
        if length < 4 or following > end:
            raise ProtocolError("malformed message: attribute longer than the message")
        attr = (word >> 24) & 0x7F
        if attr == 7:
            attrs[7] = body[position + 4 : position + length]
        elif attr == 3 and length == 8:
            attrs[3] = unpack(body, position + 4)[0]
        elif (
            attr in _TEXTS and (text := _known_texts.get(body[position + 4 : position + length])) is not None
        ):
            attrs[attr] = text
        else:
            reader = _READ.get(attr)
            if reader is not None:
                attrs[attr] = reader(body, position + 4, position + length)
        position = following
    return attrs
