"""A method served on the bus, to be called: by ubus_py, or by a bare blocking loop over the same sockets.

The bare server is the floor of what Python and the bus cost: it knows one object, decodes nothing, and
answers every invoke with the same prepared bytes.
"""

import argparse
import asyncio
import socket

from ubus_py import STRING, Call, Client, Method, Object, blobmsg
from ubus_py.wire import Attr, AttrValue, FrameReader, Message, MessageType, encode_message

CHUNK = 65536
"""Bytes read from the socket at a time, as real ubus does (`UBUS_MSG_CHUNK_SIZE`)."""
METHOD = "has"
ARGUMENTS = {"feature": "remote_backup_daily"}
REPLY = {"unlocked": True}


async def _has(call: Call) -> dict[str, bool]:
    return dict(REPLY)


def _has_at_once(call: Call) -> dict[str, bool]:
    return dict(REPLY)


async def serve_with_ubus_py(path: str, name: str, *, plain: bool) -> None:
    """Publishes the method with ubus_py and serves it until killed. `plain`: by a function, no coroutine."""
    served = Method(METHOD, _has_at_once if plain else _has, {"feature": STRING})
    async with Client(path) as client:
        await client.publish(Object(name, [served]))
        await asyncio.Event().wait()


def serve_barely(path: str, name: str) -> None:
    """Publishes the same method with a blocking loop and prepared replies."""
    signature = blobmsg.encode_table({METHOD: {"feature": int(STRING)}})
    reply = blobmsg.encode_table(REPLY)
    with socket.socket(socket.AF_UNIX) as bus:
        bus.connect(path)
        bus.sendall(
            encode_message(
                Message(MessageType.ADD_OBJECT, 1, 0, {Attr.OBJPATH: name, Attr.SIGNATURE: signature})
            )
        )
        reader = FrameReader()
        while received := bus.recv(CHUNK):
            reader.receive_data(received)
            answers = []
            while (frame := reader.next_frame()) is not None:
                if frame.type != MessageType.INVOKE:
                    continue
                called = frame.message().objid or 0
                data: dict[int, AttrValue] = {Attr.OBJID: called, Attr.DATA: reply}
                done: dict[int, AttrValue] = {Attr.STATUS: 0, Attr.OBJID: called}
                answers.append(encode_message(Message(MessageType.DATA, frame.seq, frame.peer, data)))
                answers.append(encode_message(Message(MessageType.STATUS, frame.seq, frame.peer, done)))
            bus.sendall(b"".join(answers))


def main() -> None:
    """Serves until killed."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--bus", required=True)
    parser.add_argument("--object", required=True)
    parser.add_argument("--bare", action="store_true")
    parser.add_argument("--plain", action="store_true")
    options = parser.parse_args()
    if options.bare:
        serve_barely(options.bus, options.object)
    else:
        asyncio.run(serve_with_ubus_py(options.bus, options.object, plain=options.plain))


if __name__ == "__main__":
    main()
