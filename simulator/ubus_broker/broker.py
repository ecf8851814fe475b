"""The broker: what ubusd answers to every message. Facts from ubus's ubusd_proto.c, ubusd_obj.c and
ubusd_event.c.

Passing file descriptors along with a message is not supported; nothing of ours does it.
"""

from __future__ import annotations

import asyncio
import os
import socket
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from simulator.ubus_broker.accounts import Accounts, PeerSocket, SystemAccounts
from simulator.ubus_broker.acl import AccessList, Right
from simulator.ubus_broker.connection import Connection
from simulator.ubus_broker.events import Events
from simulator.ubus_broker.monitors import Monitors
from simulator.ubus_broker.registry import BusObject, Registry
from ubus_py.blobmsg import encode_table
from ubus_py.errors import ProtocolError, Status
from ubus_py.wire import SYSTEM_OBJECT_EVENT, Attr, AttrValue, Frame, Message, MessageType

SYSTEM_OBJECT_ACL = 2
SYSTEM_OBJECT_MONITOR = 3

_Handler = Callable[[Connection, Message], Status | None]


class UbusBroker:
    """ubusd on ``socket_path`` with the ACL files of ``acl_dir``.

    ``root_uid`` is the user who counts as root (may do everything, owns the ACL files): by default whoever
    runs this, so that a demo needs no rights. ``accounts`` returns who connected; by default the kernel does.
    """

    def __init__(
        self,
        socket_path: Path | str,
        acl_dir: Path | str,
        *,
        root_uid: int | None = None,
        accounts: Accounts | None = None,
    ) -> None:
        self.socket_path = Path(socket_path)
        self._root_uid = os.getuid() if root_uid is None else root_uid
        self._accounts = accounts if accounts is not None else SystemAccounts(self._root_uid)
        self._acl = AccessList(Path(acl_dir), self._root_uid, self._accounts)
        self._registry = Registry()
        self._events = Events(self._registry, self._acl)
        self._monitors = Monitors(self._root_uid)
        self._connections: set[Connection] = set()
        self._server: asyncio.Server | None = None
        self._handlers: dict[int, _Handler] = {
            MessageType.PING: self._ping,
            MessageType.ADD_OBJECT: self._add_object,
            MessageType.REMOVE_OBJECT: self._remove_object,
            MessageType.INVOKE: self._invoke,
            MessageType.SUBSCRIBE: self._subscribe,
            MessageType.UNSUBSCRIBE: self._unsubscribe,
            MessageType.NOTIFY: self._notify,
        }
        self._system_objects: dict[int, Callable[[Connection, Message], Status]] = {
            SYSTEM_OBJECT_EVENT: self._events.call,
            SYSTEM_OBJECT_ACL: self._acl_object,
            SYSTEM_OBJECT_MONITOR: self._monitors.call,
        }

    # --- life

    async def start(self) -> None:
        """Listen; a socket left over from before is replaced."""
        self.reload_acl()
        self.socket_path.unlink(missing_ok=True)
        listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
        try:
            listener.bind(str(self.socket_path))
            self.socket_path.chmod(0o666)  # everybody may connect: the ACL decides
            loop = asyncio.get_running_loop()
            self._server = await loop.create_unix_server(lambda: Connection(self), sock=listener)
        except BaseException:
            listener.close()
            raise

    async def stop(self) -> None:
        """Cut every client off and remove the socket; harmless when not started."""
        server, self._server = self._server, None
        if server is None:
            return
        server.close()
        leaving = list(self._connections)
        for connection in leaving:
            connection.abort()
        for connection in leaving:
            await connection.closed.wait()
        await server.wait_closed()
        self.socket_path.unlink(missing_ok=True)

    def reload_acl(self) -> None:
        """Read the ACL files again (what SIGHUP asks of ubusd); clients stay connected."""
        self._acl.load()
        self._events.announce("ubus.acl.sequence", {"sequence": self._acl.sequence})

    # --- called by connections

    def connected(self, connection: Connection, sock: PeerSocket) -> bool:
        """Greet a new client; False turns it away."""
        if self._server is None:
            return False
        try:
            connection.peer = self._accounts.peer(sock)
        except (LookupError, OSError):
            return False
        connection.id = self._registry.join(connection)
        self._connections.add(connection)
        connection.send(MessageType.HELLO, 0, connection.id, {})
        return True

    def disconnected(self, connection: Connection) -> None:
        """Take everything of the client's off the bus."""
        self._monitors.forget(connection)
        for item in self._registry.owned_by(connection):
            self._take_off(item)
        self._registry.leave(connection.id)
        self._connections.discard(connection)

    def received(self, connection: Connection, frame: Frame) -> None:
        """Handle one message."""
        self._monitors.show(connection, frame, sent=False)
        if frame.type in (MessageType.STATUS, MessageType.DATA):
            self._forward_reply(connection, frame)
            return
        if frame.type == MessageType.LOOKUP:
            if connection.waiting:
                connection.deferred.append((frame, None))
            else:
                self._look_up(connection, frame, None)
            return
        handler = self._handlers.get(frame.type)
        status = Status.INVALID_COMMAND if handler is None else handler(connection, _message(frame))
        if status is not None:
            self._finish(connection, frame, status)

    def drained(self, connection: Connection) -> None:
        """Go on with the look-ups that waited for the client to read."""
        while connection.deferred and not connection.waiting:
            self._look_up(connection, *connection.deferred.popleft())

    def sending(self, connection: Connection, frame: Frame) -> None:
        """Called for every frame that goes out."""
        self._monitors.show(connection, frame, sent=True)

    @staticmethod
    def _finish(connection: Connection, request: Frame, status: Status) -> None:
        connection.send(MessageType.STATUS, request.seq, request.peer, {Attr.STATUS: int(status)})

    @staticmethod
    def _answer(connection: Connection, request: Message | Frame, attrs: Mapping[int, AttrValue]) -> None:
        connection.send(MessageType.DATA, request.seq, request.peer, attrs)

    # --- objects

    @staticmethod
    def _ping(connection: Connection, message: Message) -> Status:
        connection.send(MessageType.DATA, message.seq, message.peer, message.attrs)
        return Status.OK

    def _add_object(self, connection: Connection, message: Message) -> Status:
        kind = None
        if message.objtype is not None:
            kind = self._registry.type(message.objtype)
        elif message.signature is not None:
            kind = self._registry.new_type(message.signature)
        path = message.objpath
        if path is not None and (
            not self._acl.allows(connection.peer, Right.PUBLISH, path) or self._registry.at(path) is not None
        ):
            if kind is not None:
                self._registry.drop_unused(kind)
            return Status.INVALID_ARGUMENT
        item = self._registry.add(connection, path, kind)
        self._events.announce_object("ubus.object.add", item)
        attrs: dict[int, AttrValue] = {Attr.OBJID: item.id}
        if message.signature is not None and kind is not None:
            attrs[Attr.OBJTYPE] = kind.id
        self._answer(connection, message, attrs)
        return Status.OK

    def _remove_object(self, connection: Connection, message: Message) -> Status:
        if message.objid is None:
            return Status.INVALID_ARGUMENT
        if message.objid in self._system_objects:
            return Status.PERMISSION_DENIED
        item = self._registry.object(message.objid)
        if item is None:
            return Status.NOT_FOUND
        if item.owner is not connection:
            return Status.PERMISSION_DENIED
        attrs: dict[int, AttrValue] = {Attr.OBJID: item.id}
        if item.type is not None and item.type.uses == 1:
            attrs[Attr.OBJTYPE] = item.type.id
        self._answer(connection, message, attrs)
        self._take_off(item)
        return Status.OK

    def _take_off(self, item: BusObject) -> None:
        for target in list(item.targets):
            self._part(item, target)
        for subscriber in list(item.subscribers):
            subscriber.owner.send(
                MessageType.UNSUBSCRIBE,
                subscriber.next_notice(),
                0,
                {Attr.OBJID: subscriber.id, Attr.TARGET: item.id},
            )
            self._part(subscriber, item)
        self._events.forget(item)
        self._events.announce_object("ubus.object.remove", item)
        self._registry.remove(item)

    def _look_up(self, connection: Connection, frame: Frame, after: str | None) -> None:
        pattern = _message(frame).objpath
        if pattern is None:
            self._look_up_all(connection, frame, after)
            return
        status = Status.NOT_FOUND
        if not pattern:
            status = Status.INVALID_ARGUMENT
        elif pattern.endswith("*"):
            for item in self._registry.matching(pattern[:-1]):
                self._describe(connection, frame, item)
                status = Status.OK
        elif (found := self._registry.at(pattern)) is not None:
            self._describe(connection, frame, found)
            status = Status.OK
        self._finish(connection, frame, status)

    def _look_up_all(self, connection: Connection, frame: Frame, after: str | None) -> None:
        for path in self._registry.paths():
            if after is not None and path <= after:
                continue
            if connection.waiting:
                connection.deferred.appendleft((frame, after))
                return
            item = self._registry.at(path)
            if item is not None:
                self._describe(connection, frame, item)
            after = path
        self._finish(connection, frame, Status.OK)

    def _describe(self, connection: Connection, request: Frame, item: BusObject) -> None:
        """Tell of the object with the methods this client may call; of one it may not call at all,
        nothing."""
        if item.type is None or item.path is None:
            return
        methods = item.type.methods
        allowed = {
            name: value
            for name, value in methods.items()
            if self._acl.allows(connection.peer, Right.ACCESS, item.path, name)
        }
        if methods and not allowed:
            return
        whole = len(allowed) == len(methods)
        self._answer(
            connection,
            request,
            {
                Attr.OBJPATH: item.path,
                Attr.OBJID: item.id,
                Attr.OBJTYPE: item.type.id,
                Attr.SIGNATURE: item.type.signature if whole else encode_table(allowed),
            },
        )

    # --- calls

    def _invoke(self, connection: Connection, message: Message) -> Status | None:
        if message.method is None or message.objid is None:
            return Status.INVALID_ARGUMENT
        system = self._system_objects.get(message.objid)
        if system is not None:
            return system(connection, message)
        item = self._registry.object(message.objid)
        if item is None:
            return Status.NOT_FOUND
        if not self._acl.allows(connection.peer, Right.ACCESS, item.path, message.method):
            return Status.PERMISSION_DENIED
        self._forward_call(connection, item, message, {})
        return None

    @staticmethod
    def _forward_call(
        connection: Connection, item: BusObject, message: Message, first: Mapping[int, AttrValue]
    ) -> None:
        attrs: dict[int, AttrValue] = {
            **first,
            Attr.OBJID: item.id,
            Attr.METHOD: message.attrs[Attr.METHOD],
            Attr.USER: connection.peer.user,
            Attr.GROUP: connection.peer.group,
        }
        if message.data is not None:
            attrs[Attr.DATA] = message.data
        item.owner.send(MessageType.INVOKE, message.seq, connection.id, attrs)

    def _forward_reply(self, connection: Connection, frame: Frame) -> None:
        message = _message(frame)
        needed = message.status if frame.type == MessageType.STATUS else message.data
        item = self._registry.object(message.objid)
        if needed is None or item is None or item.owner is not connection:
            return
        caller = self._registry.client(frame.peer)
        if caller is not None:
            caller.send_frame(replace(frame, peer=item.id))

    # --- subscriptions

    def _subscribe(self, connection: Connection, message: Message) -> Status:
        if message.objid is None or message.target is None:
            return Status.INVALID_ARGUMENT
        item = self._registry.object(message.objid)
        if item is None:
            return Status.NOT_FOUND
        if item.owner is not connection:
            return Status.INVALID_ARGUMENT
        target = self._registry.object(message.target)
        if target is None:
            return Status.NOT_FOUND
        if target.owner is connection:
            return Status.INVALID_ARGUMENT
        if not self._may_subscribe(connection, target):
            return Status.NOT_FOUND
        first = not target.subscribers
        target.subscribers.insert(0, item)
        item.targets.insert(0, target)
        if first:
            self._tell_activity(target)
        return Status.OK

    def _may_subscribe(self, connection: Connection, target: BusObject) -> bool:
        if target.path is not None:
            return self._acl.allows(connection.peer, Right.SUBSCRIBE, target.path)
        owner = target.owner.peer
        return owner.user == connection.peer.user or owner.group == connection.peer.group

    def _unsubscribe(self, connection: Connection, message: Message) -> Status:
        if message.objid is None or message.target is None:
            return Status.INVALID_ARGUMENT
        item = self._registry.object(message.objid)
        if item is None:
            return Status.NOT_FOUND
        if item.owner is not connection:
            return Status.INVALID_ARGUMENT
        for target in item.targets:
            if target.id == message.target:
                self._part(item, target)
                return Status.OK
        return Status.NOT_FOUND

    def _part(self, subscriber: BusObject, target: BusObject) -> None:
        subscriber.targets.remove(target)
        target.subscribers.remove(subscriber)
        if not target.subscribers:
            self._tell_activity(target)

    @staticmethod
    def _tell_activity(target: BusObject) -> None:
        target.owner.send(
            MessageType.NOTIFY,
            target.next_notice(),
            0,
            {Attr.OBJID: target.id, Attr.ACTIVE: bool(target.subscribers)},
        )

    def _notify(self, connection: Connection, message: Message) -> Status | None:
        if message.method is None or message.objid is None:
            return Status.INVALID_ARGUMENT
        if message.objid in self._system_objects:
            return Status.PERMISSION_DENIED
        item = self._registry.object(message.objid)
        if item is None:
            return Status.NOT_FOUND
        if item.owner is not connection:
            return Status.PERMISSION_DENIED
        first: dict[int, AttrValue] = {}
        if message.no_reply:
            first[Attr.NO_REPLY] = True
        else:
            attrs: dict[int, AttrValue] = {
                Attr.OBJID: item.id,
                Attr.SUBSCRIBERS: tuple(subscriber.id for subscriber in item.subscribers),
                Attr.STATUS: int(Status.OK),
            }
            connection.send(MessageType.STATUS, message.seq, message.peer, attrs)
        for subscriber in list(item.subscribers):
            self._forward_call(connection, subscriber, message, first)
        return None

    def _acl_object(self, connection: Connection, message: Message) -> Status:
        if message.method != "query":
            return Status.INVALID_COMMAND
        paths = [item.path for item in self._registry.owned_by(connection) if item.path is not None]
        answer: dict[str, Any] = {"seq": self._acl.sequence, "acl": self._acl.about(paths)}
        self._answer(connection, message, {Attr.OBJID: SYSTEM_OBJECT_ACL, Attr.DATA: encode_table(answer)})
        return Status.OK


def _message(frame: Frame) -> Message:
    """The message in a frame; attributes that cannot be read count as absent, as for ubusd."""
    try:
        return frame.message()
    except ProtocolError:
        return Message(frame.type, frame.seq, frame.peer)
