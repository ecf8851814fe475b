"""The bytes of the bus: tables (blobmsg) and frames, as any process on the router may send them."""

from __future__ import annotations

from random import Random

from campaigns.attack.byte_mutations import mutated
from campaigns.attack.fuzzing import Target
from tools.ubus.blobmsg_json import format_table
from tools.ubus.json_text import parse_json
from ubus_py import ProtocolError, UsageError
from ubus_py.blobmsg import Table, Value, decode_table, encode_table
from ubus_py.session import Invocation, Request, Session
from ubus_py.wire import Message, MessageType, encode_message

__all__ = ["Blobmsg", "BusFrames"]

_HELLO = encode_message(Message(MessageType.HELLO, 0, 0xABCD))
_OBJECTS = (0x7B37A72A, 0xEC09911A, 1)
"""Objects that the recorded answers in the corpus come from."""


class Blobmsg(Target):
    """Whatever is read is written back the same; whatever is not is refused by name."""

    name = "blobmsg"

    async def attempt(self, given: bytes) -> str | None:
        return self.check(given)

    @staticmethod
    def check(given: bytes) -> str | None:
        for errors in ("surrogateescape", "strict"):
            try:
                table = decode_table(given, errors=errors)
            except ProtocolError:
                continue
            if repr(decode_table(encode_table(table), errors=errors)) != repr(table):
                return f"read, written and read again ({errors}) it is another table"
            if (problem := _unprintable(table)) is not None:
                return problem
        return None

    def mutate(self, chance: Random, given: bytes) -> bytes:
        return mutated(chance, given)


def _unprintable(table: Table) -> str | None:
    """Whether the tool prints something for it that it cannot read itself."""
    try:
        if not isinstance(parse_json(format_table(table, indent=False)), dict):
            return "what the tool prints for it is no JSON object"
    except UsageError as error:
        # json-c reads 32 levels, the bus 64; and of an entry without a name libubox prints the value alone
        if "deep" not in str(error) and not _has_nameless(table):
            return f"what the tool prints for it is no JSON: {error}"
    return None


def _has_nameless(value: Value) -> bool:
    if isinstance(value, dict):
        return "" in value or any(_has_nameless(inner) for inner in value.values())
    return isinstance(value, list) and any(_has_nameless(inner) for inner in value)


class BusFrames(Target):
    """A connection's bytes: the same events come out in whatever pieces they arrive, or a named error."""

    name = "bus-frames"

    async def attempt(self, given: bytes) -> str | None:
        return self.check(given)

    @staticmethod
    def check(given: bytes) -> str | None:
        whole = _events(given, [len(given)])
        for sizes in ([1], [3, 64, 7]):
            if (found := _events(given, sizes)) != whole:
                return f"in pieces of {sizes} bytes it means something else: {found} instead of {whole}"
        return None

    def mutate(self, chance: Random, given: bytes) -> bytes:
        data = bytearray(mutated(chance, given))
        if chance.random() < 0.7 and len(data) >= 12:
            data[8:12] = (len(data) - 8).to_bytes(4, "big")  # a right length leads to what is inside
        return bytes(data)


def _events(given: bytes, sizes: list[int]) -> list[str]:
    """What a connection's bytes come to, received in pieces of these sizes (over and over)."""
    session = Session()
    session.receive_data(_HELLO)
    for objid in _OBJECTS:
        session.invoke(objid, "m", b"")
    session.lookup("*")
    found: list[str] = []
    at = piece = 0
    while at < len(given):
        size = sizes[piece % len(sizes)]
        session.receive_data(given[at : at + size])
        at, piece = at + size, piece + 1
        try:
            while (event := session.next_event()) is not None:
                found.append(_described(event))
        except ProtocolError as error:
            return [*found, str(error)]
    return found


def _described(event: object) -> str:
    if isinstance(event, Request):
        if event.error is not None:
            return f"answer refused: {event.error}"
        try:
            return f"answer {event.seq} {event.status} {event.tables()!r}"
        except ProtocolError as error:
            return f"answer {event.seq} with a table refused: {error}"
    if isinstance(event, Invocation):
        try:
            table = decode_table(event.data)
        except ProtocolError:
            return f"{event!r}, its table refused"
        Session.answer(event, 0, table)
    return repr(event)
