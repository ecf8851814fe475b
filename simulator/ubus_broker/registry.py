"""What is on the bus: objects, their types, who subscribed to whom. No IO."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from ubus_py.blobmsg import Table, decode_table
from ubus_py.errors import ProtocolError
from ubus_py.wire import SYSTEM_OBJECT_MAX

if TYPE_CHECKING:
    from simulator.ubus_broker.connection import Connection


def _random_id() -> int:
    return secrets.randbits(32)


@dataclass(slots=True)
class ObjectType:
    """A signature with an id; objects share a type when their publisher names the id instead of the
    signature."""

    id: int
    signature: bytes
    methods: Table
    uses: int = 0


@dataclass(slots=True, eq=False)
class BusObject:
    """A published object; without a ``path`` it only listens or subscribes. ``subscribers`` begins with the
    latest."""

    id: int
    owner: Connection
    path: str | None
    type: ObjectType | None
    subscribers: list[BusObject] = field(default_factory=list)
    targets: list[BusObject] = field(default_factory=list)
    notices: int = 0

    def next_notice(self) -> int:
        """The sequence number of the next message ubusd sends it on its own account."""
        self.notices = (self.notices + 1) & 0xFFFF
        return self.notices


class Registry:
    """Ids are random and never below `SYSTEM_OBJECT_MAX`, as ubusd's; ``random_id`` makes them."""

    def __init__(self, random_id: Callable[[], int] = _random_id) -> None:
        self._random_id = random_id
        self._objects: dict[int, BusObject] = {}
        self._paths: dict[str, BusObject] = {}
        self._types: dict[int, ObjectType] = {}
        self._clients: dict[int, Connection] = {}

    def _fresh(self, taken: dict[int, ObjectType] | dict[int, BusObject] | dict[int, Connection]) -> int:
        while (number := self._random_id()) < SYSTEM_OBJECT_MAX or number in taken:
            pass
        return number

    def join(self, client: Connection) -> int:
        """Give the client its id."""
        number = self._fresh(self._clients)
        self._clients[number] = client
        return number

    def leave(self, client_id: int) -> None:
        """Forget the client's id; its objects have been removed before."""
        self._clients.pop(client_id, None)

    def client(self, client_id: int) -> Connection | None:
        """The client of that id."""
        return self._clients.get(client_id)

    def object(self, object_id: int | None) -> BusObject | None:
        """The object of that id."""
        return None if object_id is None else self._objects.get(object_id)

    def at(self, path: str) -> BusObject | None:
        """The object published at exactly ``path``."""
        return self._paths.get(path)

    def paths(self) -> list[str]:
        """Every path, sorted."""
        return sorted(self._paths)

    def owned_by(self, client: Connection) -> list[BusObject]:
        """The client's objects, latest first."""
        return [item for item in reversed(self._objects.values()) if item.owner is client]

    def new_type(self, signature: bytes) -> ObjectType | None:
        """A type for ``signature`` (the payload of a SIGNATURE attribute); None when it is malformed."""
        try:
            methods = decode_table(signature)
        except ProtocolError:
            return None
        made = ObjectType(self._fresh(self._types), signature, methods)
        self._types[made.id] = made
        return made

    def type(self, type_id: int) -> ObjectType | None:
        """The type of that id."""
        return self._types.get(type_id)

    def drop_unused(self, kind: ObjectType) -> None:
        """Forget a type that no object has."""
        if not kind.uses:
            self._types.pop(kind.id, None)

    def add(self, owner: Connection, path: str | None, kind: ObjectType | None) -> BusObject:
        """Publish; the path must be free."""
        item = BusObject(self._fresh(self._objects), owner, path, kind)
        self._objects[item.id] = item
        if path is not None:
            self._paths[path] = item
        if kind is not None:
            kind.uses += 1
        return item

    def remove(self, item: BusObject) -> None:
        """Take the object off the bus; its subscriptions have been undone before."""
        self._objects.pop(item.id, None)
        if item.path is not None:
            self._paths.pop(item.path, None)
        if item.type is not None:
            item.type.uses -= 1
            self.drop_unused(item.type)

    def matching(self, prefix: str) -> Iterator[BusObject]:
        """The objects whose path begins with ``prefix``, sorted."""
        return (self._paths[path] for path in self.paths() if path.startswith(prefix))
