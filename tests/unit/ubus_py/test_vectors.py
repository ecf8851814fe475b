"""Every recorded byte is understood, and written again exactly: one table drives reader and writer."""

from __future__ import annotations

import pytest

from tests.unit.ubus_py.recordings import RECORDINGS
from ubus_py.blobmsg import decode_table, encode_table
from ubus_py.wire import Attr, FrameReader, Message, MessageType, encode_message

SIDES = [(name, side) for name in RECORDINGS for side in ("client", "ubusd")]
TRAILING = encode_message(Message(MessageType.LOOKUP, 7, 0, {Attr.OBJPATH: "trailing"}))


def read(data: bytes, step: int) -> list[Message]:
    reader = FrameReader()
    messages = []
    for start in range(0, len(data), step):
        reader.receive_data(data[start : start + step])
        while (frame := reader.next_frame()) is not None:
            messages.append(frame.message())
    return messages


@pytest.mark.parametrize(("name", "side"), SIDES)
def test_read_whole_and_written_again(name: str, side: str) -> None:
    data = RECORDINGS[name].sent_by(side)
    messages = read(data, len(data))
    assert messages
    assert b"".join(map(encode_message, messages)) == data


@pytest.mark.parametrize(("name", "side"), SIDES)
def test_tables_are_written_again_exactly(name: str, side: str) -> None:
    data = RECORDINGS[name].sent_by(side)
    for message in read(data, len(data)):
        for payload in (message.data, message.signature):
            if payload is not None:
                assert encode_table(decode_table(payload)) == payload


@pytest.mark.parametrize(("name", "side"), SIDES)
def test_read_byte_by_byte(name: str, side: str) -> None:
    data = RECORDINGS[name].sent_by(side)
    assert read(data, 1) == read(data, len(data))


@pytest.mark.parametrize(("name", "side"), SIDES)
def test_read_with_more_behind(name: str, side: str) -> None:
    data = RECORDINGS[name].sent_by(side)
    *messages, trailing = read(data + TRAILING, len(data) + 5)
    assert messages == read(data, len(data))
    assert trailing.objpath == "trailing"


def test_every_type_is_read_as_what_it_is() -> None:
    messages = read(RECORDINGS["call_types"].sent_by("ubusd"), 1 << 20)
    (answer,) = [message for message in messages if message.type == MessageType.DATA and message.data]
    assert answer.data_table() == {
        "s": "città €",
        "empty": "",
        "i": -42,
        "i64": 5000000000,
        "neg64": -5000000000,
        "b": True,
        "f": False,
        "d": 3.5,
        "arr": [1, "two", [3.25, False], {}],
        "tab": {"x": {"y": []}},
        "null": None,
    }
