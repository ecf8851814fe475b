"""100,000 mutated frames: each is understood or refused with the named error, and nothing hangs."""

from __future__ import annotations

import contextlib
import json
import random
from pathlib import Path

from ubus_py import ProtocolError
from ubus_py.blobmsg import decode_table, encode_table
from ubus_py.session import Invocation, Request, Session
from ubus_py.wire import Attr, FrameReader, Message, MessageType, encode_message

WIRE = Path(__file__).parents[1] / "vectors" / "wire"
FRAMES = 100_000
HELLO = encode_message(Message(MessageType.HELLO, 0, 0xABCD))


def recorded_frames() -> list[bytes]:
    """Every distinct recorded frame, the long ones left out: each mutation should hit something."""
    frames: dict[bytes, None] = {}
    for path in sorted(WIRE.glob("*.json")):
        for connection in json.loads(path.read_text())["connections"]:
            for side in ("client", "ubusd"):
                reader = FrameReader()
                reader.receive_data(
                    b"".join(bytes.fromhex(c["hex"]) for c in connection if c["from"] == side)
                )
                while (frame := reader.next_frame()) is not None:
                    data = encode_message(frame.message())
                    if len(data) < 2000:
                        frames[data] = None
    return list(frames)


def mutate(rng: random.Random, frame: bytes) -> bytes:
    data = bytearray(frame)
    for _ in range(rng.choice((1, 1, 2, 4, 8))):
        at = rng.randrange(len(data))
        how = rng.randrange(6)
        if how == 0:
            data[at] = rng.randrange(256)
        elif how == 1:
            data[at] ^= 1 << rng.randrange(8)
        elif how == 2:
            data[at] = rng.choice((0, 1, 0x7F, 0x80, 0xFF))
        elif how == 3:
            del data[at : at + rng.randrange(1, 9)]
        elif how == 4:
            data[at:at] = rng.randbytes(rng.randrange(1, 9))
        else:
            data[at:at] = data[at : at + rng.randrange(1, 64)]
        if not data:
            data = bytearray(frame)
    if rng.random() < 0.7 and len(data) >= 12:  # most with a right frame length, to reach what is inside
        data[8:12] = (len(data) - 8).to_bytes(4, "big")
    return bytes(data)


def drain(session: Session) -> int:
    """Take all events, and look into what each holds as a client would."""
    count = 0
    while (event := session.next_event()) is not None:
        count += 1
        try:
            if isinstance(event, Invocation):
                table = decode_table(event.data)
                assert decode_table(encode_table(table)).keys() == table.keys()
                Session.answer(event, 0, table)
            elif isinstance(event, Request) and event.error is None:
                event.tables()
        except ProtocolError:
            pass
    return count


def test_mutated_frames_crash_and_hang_nothing() -> None:
    rng = random.Random(20260101)
    frames = recorded_frames()
    assert len(frames) > 40
    refused = understood = 0
    session: Session | None = None
    for _ in range(FRAMES):
        if session is None:
            session = Session()
            session.receive_data(HELLO)
            for objid in (0x7B37A72A, 0xEC09911A, 1):  # requests that recorded answers may be for
                session.invoke(objid, "m", b"")
            session.lookup("*")
        session.receive_data(mutate(rng, rng.choice(frames)))
        try:
            understood += drain(session)
        except ProtocolError:
            refused += 1
            session = None
        else:
            if session._reader.buffered > 100_000 or rng.random() < 0.02:
                session = None  # waits for the rest of a long frame: begin again
    assert refused > 1000
    assert understood > 1000


def test_mutated_tables_crash_nothing() -> None:
    rng = random.Random(7)
    tables = []
    for frame in recorded_frames():
        reader = FrameReader()
        reader.receive_data(frame)
        whole = reader.next_frame()
        assert whole is not None
        attrs = whole.message().attrs
        tables += [attrs[attr] for attr in (Attr.DATA, Attr.SIGNATURE) if attrs.get(attr)]
    assert tables
    for _ in range(20_000):
        data = mutate(rng, rng.choice(tables))
        for errors in ("surrogateescape", "strict"):
            with contextlib.suppress(ProtocolError):
                encode_table(decode_table(data, errors=errors))
