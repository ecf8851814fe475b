"""Events: who listens to which, and ubusd's own object 1 that takes ``register`` and ``send``.

Facts from ubus's ubusd_event.c: a listener hears an event once however many of its patterns match, its sender
never hears it, and only ubusd sends what begins with ``ubus.``.
"""

from __future__ import annotations

import bisect
from collections.abc import Mapping

from simulator.ubus_broker.acl import AccessList, Right
from simulator.ubus_broker.connection import Connection
from simulator.ubus_broker.registry import BusObject, Registry
from ubus_py.blobmsg import Encodable, Int32, Table, decode_table, encode_table
from ubus_py.errors import ProtocolError, Status
from ubus_py.wire import SYSTEM_OBJECT_MAX, Attr, AttrValue, Message, MessageType


class Events:
    """The event system object."""

    def __init__(self, registry: Registry, acl: AccessList) -> None:
        self._registry = registry
        self._acl = acl
        self._patterns: list[tuple[str, bool, BusObject]] = []  # sorted by name; with a trailing * or not
        self._seq = 0

    def call(self, connection: Connection, message: Message) -> Status:
        """``register {object, pattern}`` and ``send {id, data}``."""
        if message.method == "register":
            return self._register(connection, _arguments(message))
        if message.method == "send":
            return self._send(connection, _arguments(message))
        return Status.INVALID_COMMAND

    def forget(self, listener: BusObject) -> None:
        """Tell ``listener`` nothing any more."""
        self._patterns = [row for row in self._patterns if row[2] is not listener]

    def announce(
        self, event: str, data: Mapping[str, Encodable], *, sender: Connection | None = None
    ) -> None:
        """Tell everybody who listens, but for ``sender``."""
        payload = encode_table(data)
        for listener in self._listeners(event):
            if listener.owner is sender:
                continue
            self._seq = (self._seq + 1) & 0xFFFF
            attrs: dict[int, AttrValue] = {Attr.OBJID: listener.id, Attr.METHOD: event, Attr.DATA: payload}
            listener.owner.send(MessageType.INVOKE, self._seq, 0, attrs)

    def announce_object(self, event: str, item: BusObject) -> None:
        """``ubus.object.add`` and ``ubus.object.remove``, for objects that have a path."""
        if item.path is not None:
            self.announce(event, {"id": Int32(item.id), "path": item.path})

    def _listeners(self, event: str) -> list[BusObject]:
        found: dict[int, BusObject] = {}
        for name, partial, listener in self._patterns:
            if event == name or (partial and event.startswith(name)):
                found.setdefault(listener.id, listener)
        return list(found.values())

    def _register(self, connection: Connection, arguments: Table) -> Status:
        pattern, object_id = arguments.get("pattern"), arguments.get("object")
        if not isinstance(pattern, str) or not isinstance(object_id, int) or isinstance(object_id, bool):
            return Status.INVALID_ARGUMENT
        object_id &= 0xFFFFFFFF
        if object_id < SYSTEM_OBJECT_MAX:
            return Status.PERMISSION_DENIED
        item = self._registry.object(object_id)
        if item is None:
            return Status.NOT_FOUND
        if item.owner is not connection or not pattern:
            return Status.PERMISSION_DENIED
        partial = pattern.endswith("*")
        name = pattern[:-1] if partial else pattern
        if not self._acl.allows(connection.peer, Right.LISTEN, name):
            return Status.PERMISSION_DENIED
        bisect.insort_right(self._patterns, (name, partial, item), key=lambda row: row[0])
        return Status.OK

    def _send(self, connection: Connection, arguments: Table) -> Status:
        name, data = arguments.get("id"), arguments.get("data")
        if not isinstance(name, str) or not isinstance(data, dict):
            return Status.INVALID_ARGUMENT
        if name.startswith("ubus.") or not self._acl.allows(connection.peer, Right.SEND, name):
            return Status.PERMISSION_DENIED
        self.announce(name, data, sender=connection)
        return Status.OK


def _arguments(message: Message) -> Table:
    try:
        return decode_table(message.data) if message.data else {}
    except ProtocolError:
        return {}
