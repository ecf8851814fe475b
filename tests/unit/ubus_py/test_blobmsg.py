"""The codec: every type, every value, and what it refuses."""

from __future__ import annotations

import enum
import math
import struct
from collections import OrderedDict
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ubus_py import Int8, Int16, Int32, Int64, ProtocolError, UsageError
from ubus_py.blobmsg import MAX_DEPTH, decode_table, encode_table

text = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]))
raw_text = st.binary().map(lambda raw: raw.replace(b"\0", b"").decode("utf-8", "surrogateescape"))
leaves = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-(1 << 63), (1 << 63) - 1),
    st.integers(-(1 << 7), (1 << 7) - 1).filter(lambda n: n not in (0, 1)).map(Int8),
    st.integers(-(1 << 15), (1 << 15) - 1).map(Int16),
    st.integers(-(1 << 31), (1 << 31) - 1).map(Int64),
    st.floats(allow_nan=False),
    text,
    raw_text,
)
values = st.recursive(
    leaves,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(text | raw_text, inner, max_size=4),
    max_leaves=30,
)
tables = st.dictionaries(text, values, max_size=6)


def typed(value: Any) -> Any:
    """A value with its types, which ``==`` alone does not see (1 == True == Int8(1))."""
    if isinstance(value, dict):
        return [(name, typed(item)) for name, item in value.items()]
    if isinstance(value, list):
        return [typed(item) for item in value]
    if isinstance(value, int) and type(value) is Int64 and not -(1 << 31) <= value < 1 << 31:
        return int, int(value)
    return type(value), value


@given(tables)
def test_any_value_comes_back_as_it_was(table: dict[str, Any]) -> None:
    data = encode_table(table)
    assert len(data) % 4 == 0
    assert typed(decode_table(data)) == typed(table)
    assert encode_table(decode_table(data)) == data


@settings(max_examples=300)
@given(st.binary(max_size=200))
def test_any_bytes_are_a_table_or_a_protocol_error(data: bytes) -> None:
    try:
        table = decode_table(data)
    except ProtocolError:
        return
    encode_table(table)


@pytest.mark.parametrize(
    ("value", "wire"),
    [
        (None, "8000000800016b00"),
        ("ab", "8300000b00016b0061620000"),
        (True, "8700000900016b0001000000"),
        (False, "8700000900016b0000000000"),
        (Int8(-2), "8700000900016b00fe000000"),
        (Int16(-2), "8600000a00016b00fffe0000"),
        (-2, "8500000c00016b00fffffffe"),
        (Int32(0xEC09911A), "8500000c00016b00ec09911a"),
        (1 << 31, "8400001000016b000000000080000000"),
        (Int64(7), "8400001000016b000000000000000007"),
        (1.5, "8800001000016b003ff8000000000000"),
        ([], "8100000800016b00"),
        ({}, "8200000800016b00"),
        ([7], "8100001400016b008500000c0000000000000007"),
    ],
)
def test_bytes_of_every_type(value: Any, wire: str) -> None:
    assert encode_table({"k": value}).hex() == wire
    assert decode_table(bytes.fromhex(wire)) == {"k": value}


def test_nan_and_infinities() -> None:
    table = decode_table(encode_table({"a": math.nan, "b": math.inf, "c": -math.inf}))
    assert math.isnan(table["a"])  # type: ignore[arg-type]
    assert (table["b"], table["c"]) == (math.inf, -math.inf)


def test_subclasses_are_written_as_their_base() -> None:
    class Colour(enum.StrEnum):
        RED = "red"

    class Level(enum.IntEnum):
        HIGH = 3

    table: dict[str, Any] = {"c": Colour.RED, "l": Level.HIGH, "t": OrderedDict(a=(1, 2))}
    assert decode_table(encode_table(table)) == {"c": "red", "l": 3, "t": {"a": [1, 2]}}


def test_unsigned_values_of_a_sized_int_are_its_signed_ones() -> None:
    assert Int32(0xFFFFFFFF) == -1
    assert Int8(255) == -1
    with pytest.raises(UsageError):
        Int16(65536)


@pytest.mark.parametrize(
    "value",
    [
        b"bytes",
        {1, 2},
        object(),
        1 << 63,
        -(1 << 63) - 1,
        "nul\0inside",
        "\ud800",
        {1: "key"},
        {"n\0l": 1},
        [1j],
    ],
)
def test_what_has_no_wire_form_is_our_own_mistake(value: Any) -> None:
    with pytest.raises(UsageError):
        encode_table({"k": value})


def test_a_table_is_a_mapping() -> None:
    with pytest.raises(UsageError):
        encode_table(["not", "a", "table"])  # type: ignore[arg-type]


def nested(depth: int, kind: str) -> dict[str, Any]:
    value: Any = {}
    for _ in range(depth - 1):
        value = {"": value} if kind == "table" else {"": [value]}
    table: dict[str, Any] = value
    return table


def test_nesting_is_capped_both_ways() -> None:
    deepest = encode_table(nested(MAX_DEPTH, "table"))
    assert decode_table(deepest) == nested(MAX_DEPTH, "table")
    with pytest.raises(UsageError):
        encode_table(nested(MAX_DEPTH + 1, "table"))
    with pytest.raises(UsageError):
        encode_table(nested(MAX_DEPTH, "array"))
    too_deep = struct.pack(">II", 0x82000000 | len(deepest) + 8, 0) + deepest
    with pytest.raises(ProtocolError):
        decode_table(too_deep)
    endless: list[Any] = []
    endless.append(endless)
    with pytest.raises(UsageError):
        encode_table({"k": endless})


def test_deeply_nested_bytes_from_a_hostile_peer_do_not_exhaust_the_stack() -> None:
    data = b""
    for _ in range(20_000):
        data = struct.pack(">II", 0x81000000 | len(data) + 8, 0) + data
    with pytest.raises(ProtocolError):
        decode_table(data)


def test_text_that_is_not_utf8_is_kept_or_refused() -> None:
    data = bytes.fromhex("8300000d00016b00") + b"caf\xe9\0\0\0\0"
    table = decode_table(data)
    assert table == {"k": "caf\udce9"}
    assert encode_table(table) == data
    with pytest.raises(ProtocolError):
        decode_table(data, errors="strict")


def test_a_string_ends_at_its_first_nul_as_for_c_programs() -> None:
    assert decode_table(bytes.fromhex("8300000d00016b00") + b"ab\0d\0\0\0\0") == {"k": "ab"}


def test_of_equal_names_the_first_counts_as_for_libubox() -> None:
    assert decode_table(encode_table({"k": 1}) + encode_table({"k": 2, "l": 3})) == {"k": 1, "l": 3}


@pytest.mark.parametrize(
    "wire",
    [
        "85000000",  # truncated
        "8500000c00016b00",  # shorter than it says
        "0500000800000007",  # a table entry without a name
        "8500000a00016b0000070000",  # an int32 of two bytes
        "8700000a00016b0001010000",  # a bool of two bytes
        "8300000800016b00",  # a string without its NUL
        "8300000a00016b0061620000",  # the same
        "8900000c00016b0000000000",  # no such type
        "8500000cffff6b0000000000",  # a name longer than the attribute
        "8500000c00016b6b00000007",  # a name without its NUL
        "8500001000036b006b00000000000007",  # a NUL inside a name
        "8500000c0001ff0000000007ff",  # trailing bytes
        "8200000400000000",  # a table too short for its name
    ],
)
def test_malformed_tables(wire: str) -> None:
    with pytest.raises(ProtocolError):
        decode_table(bytes.fromhex(wire))


def test_array_items_with_and_without_a_name_header_are_read() -> None:
    items = bytes.fromhex("05000008000000018500000c0000000000000002")
    data = struct.pack(">IHH", 0x81000000 | 8 + len(items), 1, 0x6B00) + items
    assert decode_table(data) == {"k": [1, 2]}
