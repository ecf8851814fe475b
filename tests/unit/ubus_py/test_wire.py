"""Frames and messages: what is whole, what is not yet, what never will be."""

from __future__ import annotations

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ubus_py import ProtocolError, UsageError
from ubus_py.wire import (
    FORWARD_GROWTH,
    MAX_MESSAGE,
    Attr,
    FrameReader,
    Message,
    MessageType,
    decode_attrs,
    encode_frame,
    encode_message,
)

numbers = st.integers(0, 0xFFFFFFFF)
strings = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=20)
attributes = st.fixed_dictionaries(
    {},
    optional={
        Attr.STATUS: numbers,
        Attr.OBJPATH: strings,
        Attr.OBJID: numbers,
        Attr.METHOD: strings,
        Attr.OBJTYPE: numbers,
        Attr.SIGNATURE: st.binary(max_size=40),
        Attr.DATA: st.binary(max_size=40),
        Attr.TARGET: numbers,
        Attr.ACTIVE: st.booleans(),
        Attr.NO_REPLY: st.booleans(),
        Attr.SUBSCRIBERS: st.lists(numbers, max_size=4).map(tuple),
        Attr.USER: strings,
        Attr.GROUP: strings,
    },
)
messages = st.builds(Message, st.sampled_from(MessageType), st.integers(0, 0xFFFF), numbers, attributes)


def frames(data: bytes, *cuts: int) -> list[Message]:
    reader, found = FrameReader(), []
    for start, end in zip((0, *cuts), (*cuts, len(data)), strict=True):
        reader.receive_data(data[start:end])
        while (frame := reader.next_frame()) is not None:
            found.append(frame.message())
    assert reader.buffered == 0
    return found


@given(st.lists(messages, max_size=4), st.data())
def test_any_messages_in_any_pieces(sent: list[Message], data: st.DataObject) -> None:
    wire = b"".join(map(encode_message, sent))
    cuts = sorted(data.draw(st.lists(st.integers(0, len(wire)), max_size=5)))
    assert frames(wire, *cuts) == sent


def test_a_mutable_buffer_may_be_reused_by_its_owner() -> None:
    wire = bytearray(encode_message(Message(MessageType.LOOKUP, 1, 0, {Attr.OBJPATH: "system"})))
    reader = FrameReader()
    reader.receive_data(memoryview(wire)[:20])
    rest = bytes(wire[20:])
    wire[:] = b"\xff" * len(wire)
    reader.receive_data(rest)
    frame = reader.next_frame()
    assert frame is not None
    assert frame.message().objpath == "system"


def test_the_largest_message_passes_and_one_byte_more_does_not() -> None:
    largest = encode_frame(MessageType.DATA, 1, 0, bytes(MAX_MESSAGE - 4))
    assert len(largest) == MAX_MESSAGE + 8
    reader = FrameReader()
    reader.receive_data(largest)
    assert reader.next_frame() is not None
    with pytest.raises(UsageError):
        encode_frame(MessageType.DATA, 1, 0, bytes(MAX_MESSAGE - 3))


def test_an_oversized_frame_is_refused_by_its_header_alone() -> None:
    header = struct.pack(">BBHII", 0, 2, 1, 0, MAX_MESSAGE + 1)
    reader = FrameReader()
    reader.receive_data(header)
    with pytest.raises(ProtocolError):
        reader.next_frame()
    reader = FrameReader(MAX_MESSAGE + FORWARD_GROWTH)
    reader.receive_data(header)
    assert reader.next_frame() is None


@pytest.mark.parametrize(
    "header",
    [
        b"\1\0\0\0\0\0\0\0\0\0\0\4",  # a version that does not exist
        b"\0\0\0\0\0\0\0\0\0\0\0\3",  # a blob shorter than its own header
        b"\0\0\0\0\0\0\0\0\0\xff\xff\xff",  # a blob of 16 MiB
    ],
)
def test_frames_that_are_none(header: bytes) -> None:
    reader = FrameReader()
    reader.receive_data(header)
    with pytest.raises(ProtocolError):
        reader.next_frame()


@pytest.mark.parametrize(
    "body",
    [
        "010000",  # truncated
        "0100000300000000",  # an attribute shorter than its header
        "0100000c00000000",  # longer than the message
        "0100000600000000",  # a status of two bytes
        "0400000661620000",  # a method without its NUL
        "0400000400000000",  # an empty one, and rubbish
        "0900000800000001",  # a flag of four bytes
        "0b00000800000008",  # half an id
    ],
)
def test_malformed_attributes(body: str) -> None:
    with pytest.raises(ProtocolError):
        decode_attrs(bytes.fromhex(body))


def test_unknown_attributes_are_passed_over() -> None:
    assert decode_attrs(bytes.fromhex("2a000005ff0000000100000800000004")) == {Attr.STATUS: 4}


@pytest.mark.parametrize(
    "attrs", [{Attr.METHOD: 5}, {Attr.OBJID: "x"}, {Attr.METHOD: "a\0b"}, {Attr.OBJPATH: "\ud800"}]
)
def test_attributes_that_cannot_be_written(attrs: dict[int, object]) -> None:
    with pytest.raises(UsageError):
        encode_message(Message(MessageType.INVOKE, 1, 0, attrs))  # type: ignore[arg-type]


def test_a_message_shows_what_it_is() -> None:
    message = Message(MessageType.INVOKE, 3, 9, {Attr.OBJID: 5, Attr.METHOD: "echo"})
    assert repr(message) == "<Message INVOKE seq=3 peer=00000009 objid=5, method='echo'>"
    assert (message.objid, message.method, message.no_reply, message.status) == (5, "echo", False, None)
