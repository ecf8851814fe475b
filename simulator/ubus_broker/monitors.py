"""``ubus monitor``: every frame that passes, shown to each client that asked object 3 for it (root only;
ubus's ubusd_monitor.c)."""

from __future__ import annotations

from simulator.ubus_broker.connection import Connection
from ubus_py.errors import Status
from ubus_py.wire import Frame, Message, MessageType


class Monitors:
    """The monitor system object. ``root_uid`` may use it."""

    def __init__(self, root_uid: int) -> None:
        self._root_uid = root_uid
        self._watching: dict[Connection, int] = {}

    def call(self, connection: Connection, message: Message) -> Status:
        """``add`` and ``remove``."""
        if connection.peer.uid != self._root_uid:
            return Status.PERMISSION_DENIED
        if message.method == "add":
            self._watching[connection] = 0
        elif message.method == "remove":
            self.forget(connection)
        else:
            return Status.METHOD_NOT_FOUND
        return Status.OK

    def forget(self, connection: Connection) -> None:
        """Show it nothing any more."""
        self._watching.pop(connection, None)

    def show(self, connection: Connection, frame: Frame, *, sent: bool) -> None:
        """A frame that came from ``connection``, or (``sent``) goes to it."""
        if not self._watching or frame.type == MessageType.MONITOR:
            return
        body = b"".join(
            [
                _number(0, connection.id),
                _number(1, frame.peer),
                _number(3, frame.seq),
                _number(4, frame.type),
                _head(2, 1) + bytes([sent, 0, 0, 0]),
                _head(5, len(frame.body)) + frame.body,
            ]
        )
        for watcher in list(self._watching):
            self._watching[watcher] += 1
            watcher.send_frame(Frame(MessageType.MONITOR, self._watching[watcher] & 0xFFFF, 0, body))


def _head(key: int, size: int) -> bytes:
    return (key << 24 | size + 4).to_bytes(4, "big")


def _number(key: int, value: int) -> bytes:
    return _head(key, 4) + value.to_bytes(4, "big")
