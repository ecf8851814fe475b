"""What arrives without a request: events, and notifications of objects subscribed to."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from types import TracebackType
from typing import TypeAlias

from .blobmsg import ArgType, Table, Value, decode_table
from .wire import Message

log = logging.getLogger("ubus_py")


@dataclass(frozen=True, slots=True)
class Event:
    """An event, or a notification (then ``name`` is its type)."""

    name: str
    data: Table


@dataclass(frozen=True, slots=True)
class ObjectInfo:
    """An object as a look-up describes it."""

    name: str
    id: int
    type_id: int
    methods: dict[str, dict[str, ArgType]]
    """The methods this caller may call, with their declared arguments."""

    @classmethod
    def of(cls, answer: Message) -> ObjectInfo:
        """Decode one DATA message of a look-up's answer. Raises :class:`ProtocolError`."""
        methods = {name: _arguments(args) for name, args in decode_table(answer.signature or b"").items()}
        return cls(answer.objpath or "", answer.objid or 0, answer.objtype or 0, methods)


def _arguments(declared: Value) -> dict[str, ArgType]:
    if not isinstance(declared, dict):
        return {}
    return {
        name: ArgType(kind) if isinstance(kind, int) and kind in _ARG_TYPES else ArgType.UNSPEC
        for name, kind in declared.items()
    }


_ARG_TYPES = frozenset(int(kind) for kind in ArgType)

Callback: TypeAlias = "Callable[[Event], Awaitable[object] | object]"
"""Takes events in the order they came. A coroutine function's coroutines run side by side."""


class Receiver:
    """A registration that delivers events to a callback until :meth:`close`.

    Each has an anonymous object of its own on the bus, as libubus's handlers do; ubusd does not send a
    client the events that it sent itself.

    :param callback: called with each event.
    :param on_removed: called when the object subscribed to is gone.
    :param withdraw: takes its anonymous object off the bus.
    """

    def __init__(
        self,
        callback: Callback,
        on_removed: Callable[[], object] | None,
        withdraw: Callable[[Receiver], None],
    ) -> None:
        self._withdraw = withdraw
        self.callback = callback
        self.on_removed = on_removed
        self.objid: int | None = None

    def unbind(self) -> None:
        """Called by the connection: the anonymous object is not on the bus any more."""
        self.objid = None

    def removed(self) -> None:
        """Called by the connection: the object subscribed to is gone."""
        if self.on_removed is not None:
            try:
                self.on_removed()
            except Exception:
                log.exception("a subscription's on_removed failed")

    def close(self) -> None:
        """Deliver nothing more. May be called again, and after the connection ended."""
        self._withdraw(self)

    async def __aenter__(self) -> Receiver:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
