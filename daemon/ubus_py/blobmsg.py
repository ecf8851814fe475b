"""blobmsg: libubox's typed, named values, to and from Python. No IO.

===============  ==========================  =======================================================
wire type        read as                     written from
===============  ==========================  =======================================================
UNSPEC           ``None``                    ``None``
STRING           ``str``                     ``str``
INT8 / BOOLEAN   ``bool``; else :class:`Int8`   ``bool``, :class:`Int8`
INT16            :class:`Int16`              :class:`Int16`
INT32            ``int``                     ``int`` in the signed 32-bit range, :class:`Int32`
INT64            ``int``, :class:`Int64`     ``int`` in the signed 64-bit range, :class:`Int64`
DOUBLE           ``float``                   ``float``
ARRAY            ``list``                    ``list``, ``tuple``
TABLE            ``dict`` (wire order)       any ``Mapping`` with ``str`` keys
===============  ==========================  =======================================================

Integers carry no sign on the wire; they are read as signed, as libubox's JSON does. An int that came
in another width than its value alone would choose is an instance of that width's class, so that
re-encoding returns the same bytes.

Text is UTF-8. Other bytes (a neighbour's SSID, a file's content) are read losslessly with Python's
``surrogateescape`` and written back as they were; ``errors="strict"`` refuses them instead. A string
ends at its first NUL for every reader on the bus, so writing one that contains NUL is a
:class:`~ubus_py.errors.UsageError`.

Of two equal names in one table the first counts, as for libubox's ``blobmsg_parse``, on which the
access checks of other programs rest.

Layout facts: libubox ``blob.h``, ``blobmsg.h``. An attribute is a big-endian word (bit 31 "has a
name header", 7 bits type, 24 bits length with this word and without the final padding), then for a
named one ``u16 length, name, NUL`` padded to 4, then the payload; attributes are padded to 4.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from enum import IntEnum
from struct import Struct
from typing import Any, TypeAlias

from .errors import ProtocolError, UsageError

__all__ = [
    "ARRAY",
    "BOOLEAN",
    "DOUBLE",
    "INT8",
    "INT16",
    "INT32",
    "INT64",
    "MAX_DEPTH",
    "STRING",
    "TABLE",
    "UNSPEC",
    "ArgType",
    "Encodable",
    "Int8",
    "Int16",
    "Int32",
    "Int64",
    "Table",
    "Value",
    "decode_table",
    "encode_table",
]

Value: TypeAlias = "bool | int | float | str | list[Value] | dict[str, Value] | None"
"""A decoded value."""
Table: TypeAlias = "dict[str, Value]"
"""A decoded table: the arguments of a call, its answer, an event's data."""
Encodable: TypeAlias = "bool | int | float | str | Sequence[Encodable] | Mapping[str, Encodable] | None"
"""A value that can be encoded."""

MAX_DEPTH = 64
"""Tables and arrays inside each other, both ways. json-c, through which JSON enters the bus, stops at 32."""


class ArgType(IntEnum):
    """The type of a value on the wire and of an argument in a signature (``enum blobmsg_type``)."""

    UNSPEC = 0
    ARRAY = 1
    TABLE = 2
    STRING = 3
    INT64 = 4
    INT32 = 5
    INT16 = 6
    INT8 = 7
    BOOLEAN = 7
    DOUBLE = 8


UNSPEC = ArgType.UNSPEC
ARRAY = ArgType.ARRAY
TABLE = ArgType.TABLE
STRING = ArgType.STRING
INT64 = ArgType.INT64
INT32 = ArgType.INT32
INT16 = ArgType.INT16
INT8 = ArgType.INT8
BOOLEAN = ArgType.BOOLEAN
DOUBLE = ArgType.DOUBLE


class _Sized(int):
    """An int of a fixed width: takes the signed and the unsigned range, holds the signed value."""

    __slots__ = ()
    _bits = 0

    def __new__(cls, value: int = 0) -> _Sized:
        number = int(value)
        half = 1 << (cls._bits - 1)
        if not -half <= number < 2 * half:
            raise UsageError(f"{number} does not fit {cls.__name__}")
        return super().__new__(cls, number - 2 * half if number >= half else number)

    def __repr__(self) -> str:
        return f"{type(self).__name__}({int(self)})"


class Int8(_Sized):
    """An 8-bit integer. The wire has no booleans of its own, so 0 and 1 come back as ``bool``."""

    __slots__ = ()
    _bits = 8


class Int16(_Sized):
    """A 16-bit integer."""

    __slots__ = ()
    _bits = 16


class Int32(_Sized):
    """A 32-bit integer; needed only for unsigned values, such as object ids, from 2**31 on."""

    __slots__ = ()
    _bits = 32


class Int64(_Sized):
    """A 64-bit integer; needed only to send a small number in 64 bits."""

    __slots__ = ()
    _bits = 64


_NAMED = 0x80000000
_LENGTH = 0x00FFFFFF
_TYPE_SHIFT = 24
_TYPE_MASK = 0x7F
_WORD = Struct(">I")
_WORD_NAME = Struct(">IH")
_WORD_SIZE = 4
_EMPTY_HEADER = 8
"""The shortest header of a named attribute: its word, the name's length, the name's NUL and padding."""
_I8 = Struct(">b")
_I16 = Struct(">h")
_I32 = Struct(">i")
_I64 = Struct(">q")
_F64 = Struct(">d")
_MIN_I32, _MAX_I32 = -(1 << 31), (1 << 31) - 1
_MIN_I64, _MAX_I64 = -(1 << 63), (1 << 63) - 1
_PADDING = (b"", b"\0\0\0", b"\0\0", b"\0")
"""What fills an attribute up to a multiple of 4 bytes, by its length modulo 4."""


# --- reading -----------------------------------------------------------------------------------------


def decode_table(buffer: bytes, *, errors: str = "surrogateescape") -> Table:
    """Decode the payload of a table.

    :param errors: ``"surrogateescape"`` keeps text that is not UTF-8, ``"strict"`` refuses it.
    :raises ProtocolError: the bytes are no table, or nest deeper than :data:`MAX_DEPTH`.
    """
    return _read_table(buffer, 0, len(buffer), 1, errors)


def _name_size(length: int) -> int:
    """Return how many bytes a name of that length takes: its length (u16), itself, its NUL, padded to 4."""
    return (2 + length + 1 + 3) & ~3


def _malformed(why: str, position: int) -> ProtocolError:
    return ProtocolError(f"malformed blobmsg: {why} at byte {position}")


def _read_table(buffer: bytes, position: int, end: int, depth: int, errors: str) -> Table:
    table: Table = {}
    if depth > MAX_DEPTH:
        raise _malformed(f"nested deeper than {MAX_DEPTH}", position)
    while position < end:
        if end - position < _EMPTY_HEADER:
            raise _malformed("truncated attribute", position)
        word, name_length = _WORD_NAME.unpack_from(buffer, position)
        length = word & _LENGTH
        name_start = position + _WORD_NAME.size
        name_end = name_start + name_length
        stop = position + length
        data = position + _WORD_SIZE + _name_size(name_length)
        if not word & _NAMED:
            raise _malformed("table entry without a name", position)
        if data > stop or (following := (stop + 3) & ~3) > end:
            raise _malformed("attribute longer than what holds it", position)
        if buffer[name_end]:
            raise _malformed("name without its NUL", position)
        try:
            name = buffer[name_start:name_end].decode("utf-8", errors)
        except UnicodeDecodeError:
            raise _malformed("name is not UTF-8", position) from None
        if "\0" in name:
            raise _malformed("NUL inside a name", position)
        value = _read_value(buffer, (word >> _TYPE_SHIFT) & _TYPE_MASK, data, stop, depth, errors)
        if name not in table:
            table[name] = value
        position = following
    return table


def _read_array(buffer: bytes, position: int, end: int, depth: int, errors: str) -> list[Value]:
    array: list[Value] = []
    if depth > MAX_DEPTH:
        raise _malformed(f"nested deeper than {MAX_DEPTH}", position)
    while position < end:
        if end - position < _WORD_SIZE:
            raise _malformed("truncated attribute", position)
        (word,) = _WORD.unpack_from(buffer, position)
        stop = position + (word & _LENGTH)
        data = position + _WORD_SIZE
        if word & _NAMED:  # the usual form: a name header with an empty name
            if end - position < _EMPTY_HEADER:
                raise _malformed("truncated attribute", position)
            data += _name_size(_WORD_NAME.unpack_from(buffer, position)[1])
        if data > stop or (following := (stop + 3) & ~3) > end:
            raise _malformed("attribute longer than what holds it", position)
        array.append(_read_value(buffer, (word >> _TYPE_SHIFT) & _TYPE_MASK, data, stop, depth, errors))
        position = following
    return array


def _read_value(buffer: bytes, kind: int, data: int, stop: int, depth: int, errors: str) -> Value:
    size = stop - data
    if kind == STRING:
        if size < 1 or buffer[stop - 1]:
            raise _malformed("string without its NUL", data)
        try:
            return buffer[data : buffer.index(0, data, stop)].decode("utf-8", errors)
        except UnicodeDecodeError:
            raise _malformed("string is not UTF-8", data) from None
    if kind == INT32 and size == 4:
        return int(_I32.unpack_from(buffer, data)[0])
    if kind == INT8 and size == 1:
        byte = buffer[data]
        return bool(byte) if byte < 2 else Int8(byte)
    if kind == TABLE:
        return _read_table(buffer, data, stop, depth + 1, errors)
    if kind == ARRAY:
        return _read_array(buffer, data, stop, depth + 1, errors)
    if kind == INT64 and size == 8:
        number: int = _I64.unpack_from(buffer, data)[0]
        return Int64(number) if _MIN_I32 <= number <= _MAX_I32 else number
    if kind == DOUBLE and size == 8:
        return float(_F64.unpack_from(buffer, data)[0])
    if kind == UNSPEC:
        return None
    if kind == INT16 and size == 2:
        return Int16(_I16.unpack_from(buffer, data)[0])
    raise _malformed(f"{size} bytes of type {kind}", data)


# --- writing -----------------------------------------------------------------------------------------


def encode_table(table: Mapping[str, Encodable]) -> bytes:
    """Encode a table's payload: its entries, without an attribute around them.

    :raises UsageError: a value that no wire type holds, text with NUL, a key that is no string, nesting
        deeper than :data:`MAX_DEPTH`.
    """
    if type(table) is not dict and not isinstance(table, Mapping):
        raise UsageError(f"a table is a mapping, not {type(table).__name__}")
    return _encode_entries(table, 1)


def _encode_entries(table: Mapping[str, Encodable], depth: int) -> bytes:
    if depth > MAX_DEPTH:
        raise UsageError(f"nested deeper than {MAX_DEPTH} (or a table that contains itself)")
    return b"".join([_encode_attribute(_name(name), value, depth) for name, value in table.items()])


def _encode_items(items: Sequence[Encodable], depth: int) -> bytes:
    if depth > MAX_DEPTH:
        raise UsageError(f"nested deeper than {MAX_DEPTH} (or a list that contains itself)")
    return b"".join([_encode_attribute(_NO_NAME, item, depth) for item in items])


def _encode_attribute(name: bytes, value: Encodable, depth: int) -> bytes:
    """Encode a value with its header; ``name`` is the encoded name."""
    encoder = _ENCODERS.get(type(value)) or _encoder_for(value)
    kind, payload = encoder(value, depth)
    length = _WORD_SIZE + len(name) + len(payload)
    if length > _LENGTH:
        raise UsageError("a value longer than 16 MiB")
    return _WORD.pack(_NAMED | kind << _TYPE_SHIFT | length) + name + payload + _PADDING[length % 4]


def _name(name: Any) -> bytes:
    if not isinstance(name, str):
        raise UsageError(f"a table's keys are strings, not {type(name).__name__}")
    text = _text(name)
    if len(text) > _MAX_NAME:
        raise UsageError(f"a name longer than {_MAX_NAME} bytes")
    return _U16.pack(len(text)) + text + b"\0" + _PADDING[(2 + len(text) + 1) % 4]


_U16 = Struct(">H")
_MAX_NAME = 0xFFFF
_NO_NAME = b"\0\0\0\0"


def _text(value: str) -> bytes:
    try:
        text = value.encode("utf-8", "surrogateescape")
    except UnicodeEncodeError:
        raise UsageError(f"text with a lone surrogate: {value!r:.80}") from None
    if 0 in text:
        raise UsageError(f"text with a NUL, which ends a string on the bus: {value!r:.80}")
    return text


# Each returns the wire type and the payload of a value at a depth.


def _encode_str(value: str, depth: int) -> tuple[int, bytes]:
    return STRING, _text(value) + b"\0"


def _encode_bool(value: bool, depth: int) -> tuple[int, bytes]:
    return BOOLEAN, b"\1" if value else b"\0"


def _encode_int(value: int, depth: int) -> tuple[int, bytes]:
    if _MIN_I32 <= value <= _MAX_I32:
        return INT32, _I32.pack(value)
    if _MIN_I64 <= value <= _MAX_I64:
        return INT64, _I64.pack(value)
    raise UsageError(f"{value} does not fit 64 bits")


def _encode_int8(value: int, depth: int) -> tuple[int, bytes]:
    return INT8, _I8.pack(value)


def _encode_int16(value: int, depth: int) -> tuple[int, bytes]:
    return INT16, _I16.pack(value)


def _encode_int32(value: int, depth: int) -> tuple[int, bytes]:
    return INT32, _I32.pack(value)


def _encode_int64(value: int, depth: int) -> tuple[int, bytes]:
    return INT64, _I64.pack(value)


def _encode_float(value: float, depth: int) -> tuple[int, bytes]:
    return DOUBLE, _F64.pack(value)


def _encode_none(value: None, depth: int) -> tuple[int, bytes]:
    return UNSPEC, b""


def _encode_mapping(value: Mapping[str, Encodable], depth: int) -> tuple[int, bytes]:
    return TABLE, _encode_entries(value, depth + 1)


def _encode_sequence(value: Sequence[Encodable], depth: int) -> tuple[int, bytes]:
    return ARRAY, _encode_items(value, depth + 1)


_Encoder: TypeAlias = Callable[[Any, int], "tuple[int, bytes]"]

_ENCODERS: dict[type, _Encoder] = {
    str: _encode_str,
    bool: _encode_bool,
    int: _encode_int,
    float: _encode_float,
    dict: _encode_mapping,
    list: _encode_sequence,
    tuple: _encode_sequence,
    type(None): _encode_none,
    Int8: _encode_int8,
    Int16: _encode_int16,
    Int32: _encode_int32,
    Int64: _encode_int64,
}


def _encoder_for(value: Any) -> _Encoder:
    """The encoder for a subclass of a known type (an ``IntEnum``, a ``Mapping`` view, a ``str`` enum)."""
    for kind, encoder in _ENCODERS.items():
        if isinstance(value, kind):
            return encoder
    if isinstance(value, Mapping):
        return _encode_mapping
    raise UsageError(f"no wire type for {type(value).__name__}")
