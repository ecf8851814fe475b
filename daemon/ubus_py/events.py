"""What comes in without being asked for: events, and notifications of objects subscribed to."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeAlias

from .blobmsg import ArgType, Table, decode_table
from .messages import Attr

if TYPE_CHECKING:
    from types import TracebackType

    from .client import Connection

log = logging.getLogger("ubus_py")


@dataclass(frozen=True, slots=True)
class Event:
    """An event, or a notification (then ``name`` is its type)."""

    name: str
    data: Table


@dataclass(frozen=True, slots=True)
class ObjectInfo:
    """What a look-up tells of an object."""

    name: str
    id: int
    type_id: int
    methods: dict[str, dict[str, ArgType]]
    """The methods this caller may call, with their declared arguments."""

    @classmethod
    def of(cls, attrs: Mapping[int, Any]) -> ObjectInfo:
        """Out of the attributes of a look-up's answer. Raises :class:`ProtocolError`."""
        methods: dict[str, dict[str, ArgType]] = {}
        for name, args in decode_table(attrs.get(Attr.SIGNATURE, b"")).items():
            methods[name] = (
                {
                    arg: ArgType(kind) if isinstance(kind, int) and 0 <= kind <= 8 else ArgType.UNSPEC
                    for arg, kind in args.items()
                }
                if isinstance(args, dict)
                else {}
            )
        return cls(attrs[Attr.OBJPATH], attrs.get(Attr.OBJID, 0), attrs.get(Attr.OBJTYPE, 0), methods)


Callback: TypeAlias = "Callable[[Event], Awaitable[object] | object]"
"""Takes events in the order they came. A coroutine function's coroutines run side by side."""


class Receiver:
    """A registration that delivers events to a callback until :meth:`close`.

    Each has an anonymous object of its own on the bus, as libubus's handlers do; ubusd does not send a
    client the events that it sent itself.
    """

    def __init__(
        self, connection: Connection, callback: Callback, on_removed: Callable[[], object] | None = None
    ) -> None:
        self._connection = connection
        self.callback = callback
        self.on_removed = on_removed
        self.objid: int | None = None

    def bind(self, connection: Connection, objid: int) -> None:
        """Used by :class:`Connection`: the anonymous object is there."""
        self.objid = objid

    def unbind(self) -> None:
        """Used by :class:`Connection`: it is gone."""
        self.objid = None

    def removed(self) -> None:
        """Used by :class:`Connection`: the object subscribed to is gone."""
        if self.on_removed is not None:
            try:
                self.on_removed()
            except Exception:
                log.exception("a subscription's on_removed failed")

    def close(self) -> None:
        """Deliver nothing more. May be called again, and after the connection ended."""
        self._connection.withdraw(self)

    async def __aenter__(self) -> Receiver:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
