"""A client that speaks bare bytes with the broker, so that tests see exactly what is on the wire."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from pathlib import Path
from typing import Self

from ubus_py.blobmsg import Encodable, Int32, encode_table
from ubus_py.errors import Status
from ubus_py.wire import Attr, AttrValue, Frame, FrameReader, Message, MessageType, encode_message

Attrs = dict[int, AttrValue]
PATIENCE_S = 20.0
EVENT_OBJECT = 1


class RawClient:
    """One connection; ``id`` is what the broker's HELLO said."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer
        self._frames = FrameReader(limit=2 << 20)
        self._seq = 0
        self.id = 0

    @classmethod
    async def connect(cls, path: Path) -> Self:
        client = cls(*await asyncio.open_unix_connection(str(path)))
        hello = await client.frame()
        assert (hello.type, hello.seq, hello.body) == (MessageType.HELLO, 0, b"")
        client.id = hello.peer
        return client

    async def close(self) -> None:
        self._writer.close()
        await self._writer.wait_closed()

    async def write(self, data: bytes) -> None:
        self._writer.write(data)
        await self._writer.drain()

    async def exactly(self, size: int) -> bytes:
        return await asyncio.wait_for(self._reader.readexactly(size), PATIENCE_S)

    async def frame(self) -> Frame:
        while (frame := self._frames.next_frame()) is None:
            data = await asyncio.wait_for(self._reader.read(65536), PATIENCE_S)
            if not data:
                raise ConnectionError("the broker closed the connection")
            self._frames.receive_data(data)
        return frame

    async def message(self) -> Message:
        return (await self.frame()).message()

    async def send(
        self, kind: MessageType, peer: int = 0, attrs: Mapping[int, AttrValue] | None = None
    ) -> int:
        self._seq += 1
        await self.write(encode_message(Message(kind, self._seq, peer, attrs or {})))
        return self._seq

    async def request(
        self, kind: MessageType, attrs: Mapping[int, AttrValue] | None = None, peer: int = 0
    ) -> tuple[list[Message], int]:
        """Send and collect: the answer's data messages and its status. Nothing else may come meanwhile."""
        seq = await self.send(kind, peer, attrs)
        data: list[Message] = []
        while True:
            message = await self.message()
            assert message.seq == seq, message
            if message.type == MessageType.STATUS:
                assert message.status is not None
                return data, message.status
            data.append(message)

    async def publish(self, path: str | None, methods: Mapping[str, Encodable] | None = None) -> int:
        attrs: dict[int, AttrValue] = {} if path is None else {Attr.OBJPATH: path}
        if methods is not None:
            attrs[Attr.SIGNATURE] = encode_table(methods)
        data, status = await self.request(MessageType.ADD_OBJECT, attrs)
        if status:
            raise PermissionError(Status(status))
        assert data[0].objid is not None
        return data[0].objid

    async def system_call(self, object_id: int, method: str, arguments: Mapping[str, Encodable]) -> int:
        """Call one of ubusd's own objects; the status."""
        attrs: dict[int, AttrValue] = {
            Attr.OBJID: object_id,
            Attr.METHOD: method,
            Attr.DATA: encode_table(arguments),
        }
        _, status = await self.request(MessageType.INVOKE, attrs, peer=object_id)
        return status

    async def listen(self, pattern: str, object_id: int) -> int:
        arguments: dict[str, Encodable] = {"object": Int32(object_id), "pattern": pattern}
        return await self.system_call(EVENT_OBJECT, "register", arguments)

    async def send_event(self, name: str, data: Mapping[str, Encodable] | None = None) -> int:
        return await self.system_call(EVENT_OBJECT, "send", {"id": name, "data": data or {}})

    async def look_up(self, pattern: str | None) -> tuple[list[Message], int]:
        return await self.request(MessageType.LOOKUP, {} if pattern is None else {Attr.OBJPATH: pattern})

    async def gone(self) -> bool:
        """Whether the broker hangs up (reading what it still sends)."""
        try:
            while await asyncio.wait_for(self._reader.read(65536), PATIENCE_S):
                pass
        except ConnectionError:
            pass
        return True
