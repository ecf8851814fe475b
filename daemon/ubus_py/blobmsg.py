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
re-encoding gives the same bytes.

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
"""What decoding gives."""
Table: TypeAlias = "dict[str, Value]"
"""A decoded table: the arguments of a call, its answer, an event's data."""
Encodable: TypeAlias = "bool | int | float | str | Sequence[Encodable] | Mapping[str, Encodable] | None"
"""What encoding takes."""

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
_WORD = Struct(">I")
_WORD_NAME = Struct(">IH")
_I8 = Struct(">b")
_I16 = Struct(">h")
_I32 = Struct(">i")
_I64 = Struct(">q")
_F64 = Struct(">d")
_PADS = (b"", b"\0\0\0", b"\0\0", b"\0")  # by length modulo 4


# --- reading -----------------------------------------------------------------------------------------


def decode_table(
    buffer: bytes, start: int = 0, end: int | None = None, *, errors: str = "surrogateescape"
) -> Table:
    """Decode the attributes in ``buffer[start:end]``, the payload of a table.

    :param errors: ``"surrogateescape"`` keeps text that is not UTF-8, ``"strict"`` refuses it.
    :raises ProtocolError: the bytes are no table, or nest deeper than :data:`MAX_DEPTH`.
    """
    return _read_table(buffer, start, len(buffer) if end is None else end, 1, errors)


def _malformed(why: str, position: int) -> ProtocolError:
    return ProtocolError(f"malformed blobmsg: {why} at byte {position}")


def _read_table(buffer: bytes, position: int, end: int, depth: int, errors: str) -> Table:
    table: Table = {}
    if depth > MAX_DEPTH:
        raise _malformed(f"nested deeper than {MAX_DEPTH}", position)
    while position < end:
        if end - position < 8:  # header word, name length, at least the name's NUL and padding
            raise _malformed("truncated attribute", position)
        word, name_length = _WORD_NAME.unpack_from(buffer, position)
        length = word & _LENGTH
        name_end = position + 6 + name_length
        stop = position + length
        data = position + 4 + ((name_length + 6) & ~3)  # u16 + name + NUL, padded to 4
        if not word & _NAMED:
            raise _malformed("table entry without a name", position)
        if data > stop or (following := (stop + 3) & ~3) > end:
            raise _malformed("attribute longer than what holds it", position)
        if buffer[name_end]:
            raise _malformed("name without its NUL", position)
        try:
            name = buffer[position + 6 : name_end].decode("utf-8", errors)
        except UnicodeDecodeError:
            raise _malformed("name is not UTF-8", position) from None
        if "\0" in name:
            raise _malformed("NUL inside a name", position)
        value = _read_value(buffer, (word >> 24) & 0x7F, data, stop, depth, errors)
        if name not in table:
            table[name] = value
        position = following
    return table


def _read_array(buffer: bytes, position: int, end: int, depth: int, errors: str) -> list[Value]:
    array: list[Value] = []
    if depth > MAX_DEPTH:
        raise _malformed(f"nested deeper than {MAX_DEPTH}", position)
    while position < end:
        if end - position < 4:
            raise _malformed("truncated attribute", position)
        (word,) = _WORD.unpack_from(buffer, position)
        stop = position + (word & _LENGTH)
        data = position + 4
        if word & _NAMED:  # the usual form: a name header with an empty name
            if end - position < 8:
                raise _malformed("truncated attribute", position)
            data += ((buffer[position + 4] << 8 | buffer[position + 5]) + 6) & ~3
        if data > stop or (following := (stop + 3) & ~3) > end:
            raise _malformed("attribute longer than what holds it", position)
        array.append(_read_value(buffer, (word >> 24) & 0x7F, data, stop, depth, errors))
        position = following
    return array


def _read_value(buffer: bytes, kind: int, data: int, stop: int, depth: int, errors: str) -> Value:
    size = stop - data
    if kind == 3:
        if size < 1 or buffer[stop - 1]:
            raise _malformed("string without its NUL", data)
        try:
            return buffer[data : buffer.index(0, data, stop)].decode("utf-8", errors)
        except UnicodeDecodeError:
            raise _malformed("string is not UTF-8", data) from None
    if kind == 5 and size == 4:
        return int(_I32.unpack_from(buffer, data)[0])
    if kind == 7 and size == 1:
        byte = buffer[data]
        return bool(byte) if byte < 2 else Int8(byte)
    if kind == 2:
        return _read_table(buffer, data, stop, depth + 1, errors)
    if kind == 1:
        return _read_array(buffer, data, stop, depth + 1, errors)
    if kind == 4 and size == 8:
        number: int = _I64.unpack_from(buffer, data)[0]
        return Int64(number) if -0x80000000 <= number <= 0x7FFFFFFF else number
    if kind == 8 and size == 8:
        return float(_F64.unpack_from(buffer, data)[0])
    if kind == 0:
        return None
    if kind == 6 and size == 2:
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
    out = bytearray()
    _write_table(out, table, 1)
    return bytes(out)


_name_headers: dict[str, bytes] = {}  # field names repeat; bounded so that hostile names cannot fill memory


def _name_header(name: Any) -> bytes:
    if not isinstance(name, str):
        raise UsageError(f"a table's keys are strings, not {type(name).__name__}")
    text = _text(name)
    if len(text) > 0xFFFF:
        raise UsageError("a name longer than 65535 bytes")
    header = len(text).to_bytes(2, "big") + text + b"\0" + _PADS[(len(text) + 3) & 3]
    if len(header) <= 64:
        if len(_name_headers) >= 1024:
            _name_headers.clear()
        _name_headers[name] = header
    return header


def _text(value: str) -> bytes:
    try:
        text = value.encode("utf-8", "surrogateescape")
    except UnicodeEncodeError:
        raise UsageError(f"text with a lone surrogate: {value!r:.80}") from None
    if 0 in text:
        raise UsageError(f"text with a NUL, which ends a string on the bus: {value!r:.80}")
    return text


_NO_NAME = b"\0\0\0\0"


def _write_table(out: bytearray, table: Mapping[str, Encodable], depth: int) -> None:
    if depth > MAX_DEPTH:
        raise UsageError(f"nested deeper than {MAX_DEPTH} (or a table that contains itself)")
    known, writers = _name_headers.get, _WRITERS.get
    for name, value in table.items():
        writer = writers(type(value)) or _writer_for(value)
        writer(out, known(name) or _name_header(name), value, depth)


def _write_str(out: bytearray, header: bytes, value: str, depth: int) -> None:
    text = _text(value)
    length = 5 + len(header) + len(text)
    if length > _LENGTH:
        raise UsageError("text longer than 16 MiB")
    out += _WORD.pack(0x83000000 | length)
    out += header
    out += text
    out += b"\0" + _PADS[length & 3]


def _write_bool(out: bytearray, header: bytes, value: bool, depth: int) -> None:
    out += _WORD.pack(0x87000005 + len(header))
    out += header
    out += b"\1\0\0\0" if value else b"\0\0\0\0"


def _write_int(out: bytearray, header: bytes, value: int, depth: int) -> None:
    if -0x80000000 <= value <= 0x7FFFFFFF:
        _write_i32(out, header, value, depth)
    elif -0x8000000000000000 <= value <= 0x7FFFFFFFFFFFFFFF:
        _write_i64(out, header, value, depth)
    else:
        raise UsageError(f"{value} does not fit 64 bits")


def _write_i8(out: bytearray, header: bytes, value: int, depth: int) -> None:
    out += _WORD.pack(0x87000005 + len(header))
    out += header + _I8.pack(value) + b"\0\0\0"


def _write_i16(out: bytearray, header: bytes, value: int, depth: int) -> None:
    out += _WORD.pack(0x86000006 + len(header))
    out += header + _I16.pack(value) + b"\0\0"


def _write_i32(out: bytearray, header: bytes, value: int, depth: int) -> None:
    out += _WORD.pack(0x85000008 + len(header))
    out += header + _I32.pack(value)


def _write_i64(out: bytearray, header: bytes, value: int, depth: int) -> None:
    out += _WORD.pack(0x8400000C + len(header))
    out += header + _I64.pack(value)


def _write_f64(out: bytearray, header: bytes, value: float, depth: int) -> None:
    out += _WORD.pack(0x8800000C + len(header))
    out += header + _F64.pack(value)


def _write_none(out: bytearray, header: bytes, value: None, depth: int) -> None:
    out += _WORD.pack(0x80000004 + len(header))
    out += header


def _write_mapping(out: bytearray, header: bytes, value: Mapping[str, Encodable], depth: int) -> None:
    position = len(out)
    out += b"\0\0\0\0"
    out += header
    _write_table(out, value, depth + 1)
    _close(out, position, 0x82000000)


def _write_sequence(out: bytearray, header: bytes, value: Sequence[Encodable], depth: int) -> None:
    if depth >= MAX_DEPTH:
        raise UsageError(f"nested deeper than {MAX_DEPTH} (or a list that contains itself)")
    position = len(out)
    out += b"\0\0\0\0"
    out += header
    for item in value:
        writer = _WRITERS.get(type(item)) or _writer_for(item)
        writer(out, _NO_NAME, item, depth + 1)
    _close(out, position, 0x81000000)


def _close(out: bytearray, position: int, kind: int) -> None:
    length = len(out) - position
    if length > _LENGTH:
        raise UsageError("a table or array longer than 16 MiB")
    _WORD.pack_into(out, position, kind | length)


_Writer: TypeAlias = Callable[[bytearray, bytes, Any, int], None]

_WRITERS: dict[type, _Writer] = {
    str: _write_str,
    bool: _write_bool,
    int: _write_int,
    float: _write_f64,
    dict: _write_mapping,
    list: _write_sequence,
    tuple: _write_sequence,
    type(None): _write_none,
    Int8: _write_i8,
    Int16: _write_i16,
    Int32: _write_i32,
    Int64: _write_i64,
}


def _writer_for(value: Any) -> _Writer:
    """The writer for a subclass of a known type (an ``IntEnum``, a ``Mapping`` view, a ``str`` enum)."""
    for kind, writer in _WRITERS.items():
        if isinstance(value, kind):
            return writer
    if isinstance(value, Mapping):
        return _write_mapping
    raise UsageError(f"no wire type for {type(value).__name__}")
