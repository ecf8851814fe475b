"""Objects that this process publishes: their methods, their signatures, the calls that come in."""

from __future__ import annotations

import asyncio
import inspect
import logging
from collections.abc import Awaitable, Callable, Coroutine, Iterable, Mapping
from contextlib import suppress
from types import CoroutineType
from typing import TYPE_CHECKING, Any, Final, TypeAlias

from .blobmsg import ArgType, Encodable, Int8, Int16, Table, Value, decode_table
from .errors import ConnectionLost, ProtocolError, Status, StatusError, UsageError
from .events import Event, Receiver
from .session import Invocation, Session

if TYPE_CHECKING:
    from .client import Connection

log = logging.getLogger("ubus_py")

MAX_RUNNING: Final = 4096
"""Handlers that one object runs at a time; calls beyond are answered "Out of memory"."""

Answer: TypeAlias = "Mapping[str, Encodable] | None"
Handler: TypeAlias = "Callable[[Call], Awaitable[Answer] | Answer]"


class Call:
    """One call of a method, as its handler sees it."""

    __slots__ = ("args", "group", "method", "object", "peer", "user")

    def __init__(
        self,
        object: Object,  # noqa: A002
        method: str,
        args: Table,
        user: str | None = None,
        group: str | None = None,
        peer: int = 0,
    ) -> None:
        self.object = object
        self.method = method
        self.args = args
        """Every argument that came, declared or not; ``ubus_rpc_session`` is there when the call came from
        a browser. A declared one has its declared type. One that came as null counts as not given."""
        self.user = user
        """The caller's user name, as ubusd has it from the socket."""
        self.group = group
        """The caller's group name."""
        self.peer = peer
        """The caller's client id on the bus."""

    def __repr__(self) -> str:
        return f"<Call {self.object.name} {self.method} from {self.user}>"  # no arguments: they hold secrets


class Method:
    """A method of an object.

    :param handler: a coroutine function; handlers of many calls run side by side. (A plain function does
        for an answer that waits for nothing, and is faster.) What it returns is the answer's data;
        ``None``: no data, only the status OK. A :class:`StatusError` is an answer too, with or without
        data. Any other exception is logged, and the caller gets "Unknown error".
    :param args: the declared arguments. All are optional on the wire (a handler that needs one says so with
        its own error); one of a wrong type is answered "Invalid argument" before the handler; others than
        these pass.
    """

    __slots__ = ("args", "handler", "name")

    def __init__(self, name: str, handler: Handler, args: Mapping[str, ArgType] | None = None) -> None:
        if not name or not callable(handler):
            raise UsageError("a method has a name and a handler")
        self.name = name
        self.handler = handler
        self.args: dict[str, ArgType] = {key: ArgType(kind) for key, kind in (args or {}).items()}

    def accept(self, args: Table) -> str | None:
        """Check the declared arguments' types, dropping nulls; the name of the first wrong one."""
        for name, kind in self.args.items():
            if name not in args:
                continue
            value = args[name]
            if value is None:
                del args[name]
            elif not _FITS[kind](value):
                return name
        return None


def _is_int(value: Value) -> bool:
    return isinstance(value, int) and not isinstance(value, (bool, Int8))


_FITS: dict[ArgType, Callable[[Value], bool]] = {
    ArgType.UNSPEC: lambda value: True,
    ArgType.ARRAY: lambda value: isinstance(value, list),
    ArgType.TABLE: lambda value: isinstance(value, dict),
    ArgType.STRING: lambda value: isinstance(value, str),
    # JSON has one kind of integer, and its value chooses the width: a wider type takes a narrower value.
    ArgType.INT64: _is_int,
    ArgType.INT32: lambda value: _is_int(value) and -(1 << 31) <= value < 1 << 31,  # type: ignore[operator]
    ArgType.INT16: lambda value: (
        isinstance(value, Int16) or (_is_int(value) and -(1 << 15) <= value < 1 << 15)  # type: ignore[operator]
    ),
    ArgType.BOOLEAN: lambda value: isinstance(value, (bool, Int8)),
    ArgType.DOUBLE: lambda value: isinstance(value, float) or _is_int(value),
}


class Object:
    """An object to publish with :meth:`Client.publish` (or :meth:`Connection.publish`).

    :param name: its path on the bus, such as ``"stripe-payments"``.
    :param methods: its methods; their declared arguments are the signature that ``ubus -v list`` shows.
    :param on_subscribers: called with ``True`` when the first subscriber came, ``False`` when the last left.
    :param raw_text: whether handlers take text that is not UTF-8 (as ``surrogateescape`` strings). Otherwise
        a call with such text is answered "Invalid argument".
    """

    def __init__(
        self,
        name: str,
        methods: Iterable[Method] = (),
        *,
        on_subscribers: Callable[[bool], object] | None = None,
        raw_text: bool = False,
    ) -> None:
        if not name:
            raise UsageError("an object has a name")
        self.name = name
        self.methods: dict[str, Method] = {}
        for method in methods:
            if method.name in self.methods:
                raise UsageError(f"{name} has two methods named {method.name}")
            self.methods[method.name] = method
        self.on_subscribers = on_subscribers
        self.raw_text = raw_text
        self.has_subscribers = False
        """Whether anyone is subscribed, as ubusd last said."""
        self.id: int | None = None
        """Its id on the bus while it is published; another one after each reconnect."""
        self.connection: Connection | None = None
        self.calls: set[Running] = set()
        """The calls whose handlers run now."""

    @property
    def signature(self) -> dict[str, dict[str, int]]:
        """What is declared to ubusd."""
        return {
            name: {arg: int(kind) for arg, kind in method.args.items()}
            for name, method in self.methods.items()
        }

    async def notify(
        self,
        type: str,  # noqa: A002
        data: Mapping[str, Encodable] | None = None,
    ) -> None:
        """Notify the subscribers, waiting for none of them.

        :raises ConnectionLost: the object is not published now.
        """
        await self._connected().notify(self, type, data)

    async def notify_and_wait(
        self,
        type: str,  # noqa: A002
        data: Mapping[str, Encodable] | None = None,
        *,
        timeout: float | None = 30.0,
    ) -> list[Status]:
        """Notify the subscribers and wait for each one's status, in no special order.

        :raises ConnectionLost: the object is not published now, or the connection ended.
        :raises CallTimeout: not all of them answered in time.
        """
        return await self._connected().notify_and_wait(self, type, data, timeout=timeout)

    def _connected(self) -> Connection:
        if self.connection is None or self.id is None:
            raise ConnectionLost(f"{self.name} is not published")
        return self.connection

    def bind(self, connection: Connection, objid: int) -> None:
        """Used by :class:`Connection`: the object is published now."""
        self.connection = connection
        self.id = objid

    def unbind(self) -> None:
        """Used by :class:`Connection`: it is not any more."""
        self.connection = None
        self.id = None
        self.subscribers_changed(False)

    def subscribers_changed(self, active: bool) -> None:
        """Used by :class:`Connection`: ubusd said whether there are subscribers."""
        if active == self.has_subscribers:
            return
        self.has_subscribers = active
        if self.on_subscribers is not None:
            try:
                self.on_subscribers(active)
            except Exception:
                log.exception("%s: on_subscribers failed", self.name)


class Running:
    """A call whose handler runs."""

    __slots__ = ("answered", "call", "task")

    def __init__(self, call: Invocation, task: asyncio.Task[Answer]) -> None:
        self.call = call
        self.task = task
        self.answered = False


Served: TypeAlias = "Object | Receiver"


class Publisher:
    """The served half of a connection: finds what a call is for, runs the handler, sends the answer.

    ubusd tells a server nothing about its callers: when one goes away, its handler runs on, and ubusd
    drops the answer. Handlers are cancelled when the object is withdrawn or the connection ends.

    :param start: runs a coroutine: gives (or raises) what it does at once, or the task that goes on with it.
    :param own: takes such a task, to cancel it when the connection ends.
    :param send: writes bytes, or drops them when the connection ended.
    """

    def __init__(
        self,
        start: Callable[[Coroutine[Any, Any, Answer]], asyncio.Task[Answer] | Answer],
        own: Callable[[asyncio.Task[Answer]], None],
        send: Callable[[bytes], None],
    ) -> None:
        self._start = start
        self._own = own
        self._send = send
        self._served: dict[int, Served] = {}

    # what is served

    def get(self, objid: int) -> Served | None:
        return self._served.get(objid)

    def adopt(self, objid: int, served: Served) -> None:
        self._served[objid] = served

    def withdraw(self, objid: int) -> bool:
        """Serve it no more; its running calls are answered and cancelled. Whether it was served."""
        served = self._served.pop(objid, None)
        if served is None:
            return False
        if isinstance(served, Object):
            self._abandon(served)
        served.unbind()
        return True

    def withdraw_all(self) -> None:
        for objid in tuple(self._served):
            self.withdraw(objid)

    def abandon_all(self) -> None:
        """Answer and cancel all running calls."""
        for served in self._served.values():
            if isinstance(served, Object):
                self._abandon(served)

    def _abandon(self, obj: Object) -> None:
        for running in tuple(obj.calls):
            self._finish(obj, running, Status.CONNECTION_FAILED, None)
            running.task.cancel()

    # what comes in

    def subscribers_changed(self, objid: int, active: bool) -> None:
        served = self._served.get(objid)
        if isinstance(served, Object):
            served.subscribers_changed(active)

    def invoked(self, call: Invocation) -> None:
        served = self._served.get(call.objid)
        if isinstance(served, Receiver):
            self._deliver(served, call)
            return
        if served is None:
            return  # withdrawn a moment ago; ubusd does not pass on answers of objects that are gone
        method = served.methods.get(call.method)
        if method is None:
            self.answer(call, Status.METHOD_NOT_FOUND)
            return
        try:
            args = decode_table(call.data, errors="surrogateescape" if served.raw_text else "strict")
        except ProtocolError as error:
            log.info("a call of %s %s with malformed arguments: %s", served.name, call.method, error)
            self.answer(call, Status.INVALID_ARGUMENT)
            return
        if method.accept(args) is not None:
            self.answer(call, Status.INVALID_ARGUMENT)
        elif len(served.calls) >= MAX_RUNNING:
            self.answer(call, Status.NO_MEMORY)
        else:
            seen = Call(served, call.method, args, call.user, call.group, call.peer)
            try:
                result = method.handler(seen)
                answer: asyncio.Task[Answer] | Answer
                if type(result) is CoroutineType:
                    answer = self._start(result)
                elif result is None or isinstance(result, Mapping):
                    answer = result
                else:
                    answer = self._start(_awaited(result))
                if isinstance(answer, asyncio.Task):
                    self._follow(served, method, call, answer)
                    return
            except asyncio.CancelledError:
                self.answer(call, Status.CONNECTION_FAILED)
            except Exception as error:  # noqa: BLE001 - logged by _refusal()
                self.answer(call, *_refusal(served, method, error))
            else:
                self.answer(call, 0, answer)

    def _follow(self, obj: Object, method: Method, call: Invocation, task: asyncio.Task[Answer]) -> None:
        """Answer when the handler, which has to wait, has ended."""
        self._own(task)
        running = Running(call, task)
        obj.calls.add(running)

        def ended(task: asyncio.Task[Answer]) -> None:
            if task.cancelled():
                self._finish(obj, running, Status.CONNECTION_FAILED, None)
            elif (error := task.exception()) is None:
                self._finish(obj, running, 0, task.result())
            else:
                self._finish(obj, running, *_refusal(obj, method, error))

        task.add_done_callback(ended)
        if self._served.get(call.objid) is not obj:  # its own handler has withdrawn it
            self._abandon(obj)

    def _finish(self, obj: Object, running: Running, status: int, data: Answer) -> None:
        if not running.answered:  # else the object was withdrawn meanwhile
            running.answered = True
            obj.calls.discard(running)
            self.answer(running.call, status, data)

    def answer(self, call: Invocation, status: int, data: Answer = None) -> None:
        if call.no_reply:
            return
        try:
            out = Session.answer(call, status, data)
        except UsageError as error:
            log.error("the answer to %s cannot be sent: %s", call.method, error)
            out = Session.answer(call, Status.UNKNOWN_ERROR)
        self._send(out)

    def _deliver(self, receiver: Receiver, call: Invocation) -> None:
        try:
            event = Event(call.method, decode_table(call.data))
        except ProtocolError as error:
            log.info("event %s dropped: %s", call.method, error)
            self.answer(call, Status.INVALID_ARGUMENT)
            return
        try:
            result = receiver.callback(event)
        except Exception:
            log.exception("the callback for %s failed", call.method)
        else:
            if inspect.isawaitable(result):
                with suppress(asyncio.CancelledError):
                    attending = self._start(_attend(result, call.method))
                    if isinstance(attending, asyncio.Task):
                        self._own(attending)
        self.answer(call, Status.OK)


def _refusal(obj: Object, method: Method, error: BaseException) -> tuple[int, Answer]:
    """The answer that an exception out of a handler is."""
    if isinstance(error, StatusError):
        return error.code, error.data
    log.error("%s %s failed", obj.name, method.name, exc_info=error)
    return Status.UNKNOWN_ERROR, None


async def _awaited(answer: Awaitable[Answer]) -> Answer:
    return await answer


async def _attend(work: Awaitable[object], what: str) -> None:
    try:
        await work
    except Exception:
        log.exception("the callback for %s failed", what)
