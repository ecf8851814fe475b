"""Objects that this process publishes: their methods, their signatures, the calls that come in."""

from __future__ import annotations

import asyncio
import logging
import sys
from collections.abc import Awaitable, Callable, Coroutine, Iterable, Mapping
from inspect import isawaitable
from types import CoroutineType
from typing import Any, Final, Protocol, TypeAlias

from .blobmsg import ArgType, Encodable, Int8, Int16, Table, Value, decode_table
from .errors import ConnectionLost, ProtocolError, Status, StatusError, UsageError
from .events import Event, Receiver
from .session import Invocation, Session

log = logging.getLogger("ubus_py")

MAX_RUNNING: Final = 4096
"""How many handlers one object runs at a time; further calls are answered "Out of memory"."""

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
        """Every argument received, declared or not; ``ubus_rpc_session`` is among them when the call came
        from a browser. A declared one has its declared type, unless the method does not check types. A
        declared one sent as null is left out."""
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

    :param handler: a coroutine function, or a plain function where nothing is awaited. Each call runs in a
        task of its own. The return value is the answer's data; ``None``: no data, only the status OK. A
        :class:`StatusError` is an answer too, with or without data. Any other exception is logged, and the
        caller receives "Unknown error".
    :param args: the declared arguments. All are optional on the wire (a handler that needs one raises its
        own error); undeclared ones pass.
    :param check_types: a declared argument of a wrong type is answered "Invalid argument" before the handler;
        False: the handler receives it as it is.
    """

    __slots__ = ("args", "check_types", "handler", "name")

    def __init__(
        self,
        name: str,
        handler: Handler,
        args: Mapping[str, ArgType] | None = None,
        *,
        check_types: bool = True,
    ) -> None:
        if not name or not callable(handler):
            raise UsageError("a method has a name and a handler")
        self.name = name
        self.handler = handler
        self.check_types = check_types
        self.args: dict[str, ArgType] = {key: ArgType(kind) for key, kind in (args or {}).items()}

    def accept(self, args: Table) -> str | None:
        """Drop nulls, check the declared arguments' types; return the name of the first wrong one."""
        for name, kind in self.args.items():
            if name not in args:
                continue
            value = args[name]
            if value is None:
                del args[name]
            elif self.check_types and not _FITS[kind](value):
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


class Notifier(Protocol):
    """The connection that an object is published on."""

    async def notify(self, obj: Object, kind: str, data: Mapping[str, Encodable] | None) -> None: ...

    async def notify_and_wait(
        self, obj: Object, kind: str, data: Mapping[str, Encodable] | None, *, timeout: float | None
    ) -> list[Status]: ...


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
        """Whether there are subscribers, as ubusd last reported."""
        self.id: int | None = None
        """Its id on the bus while it is published; a different one after each reconnect."""
        self.connection: Notifier | None = None
        self.calls: dict[asyncio.Task[Any], Invocation] = {}
        """The calls that were not answered yet, by the task that runs the handler."""

    @property
    def signature(self) -> dict[str, dict[str, int]]:
        """What is declared to ubusd: argument types by method and argument name."""
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
        """Notify the subscribers and wait for each one's status, in the order they answered.

        :raises ConnectionLost: the object is not published now, or the connection ended.
        :raises CallTimeout: not all of them answered in time.
        """
        return await self._connected().notify_and_wait(self, type, data, timeout=timeout)

    def _connected(self) -> Notifier:
        if self.connection is None or self.id is None:
            raise ConnectionLost(f"{self.name} is not published")
        return self.connection

    def bind(self, connection: Notifier, objid: int) -> None:
        """Called by the connection: the object is published now."""
        self.connection = connection
        self.id = objid

    def unbind(self) -> None:
        """Called by the connection: it is not any more."""
        self.connection = None
        self.id = None
        self.subscribers_changed(False)

    def subscribers_changed(self, active: bool) -> None:
        """Called by the connection: ubusd reported whether there are subscribers."""
        if active == self.has_subscribers:
            return
        self.has_subscribers = active
        if self.on_subscribers is not None:
            try:
                self.on_subscribers(active)
            except Exception:
                log.exception("%s: on_subscribers failed", self.name)


Served: TypeAlias = "Object | Receiver"


class Publisher:
    """The served half of a connection: finds what a call is for, runs the handler, sends the answer.

    ubusd does not tell a server that a caller left: its handler runs on, and ubusd drops the answer.
    Handlers are cancelled when the object is withdrawn or the connection ends.

    :param send: sends bytes, or drops them when the connection ended.
    """

    def __init__(self, send: Callable[[bytes], object]) -> None:
        self._loop = asyncio.get_running_loop()
        self._send = send
        self._served: dict[int, Served] = {}
        self._tasks: set[asyncio.Task[None]] = set()

    # --- what is served ------------------------------------------------------------------------------

    def get(self, objid: int) -> Served | None:
        return self._served.get(objid)

    def adopt(self, objid: int, served: Served) -> None:
        """Serve it from now on."""
        self._served[objid] = served

    def withdraw(self, objid: int) -> bool:
        """Stop serving it: its running calls are answered and cancelled. Return whether it was served."""
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

    @property
    def serves(self) -> bool:
        """Whether objects are published."""
        return bool(self._served)

    def abandon_all(self) -> None:
        """Answer and cancel all running calls."""
        for served in self._served.values():
            if isinstance(served, Object):
                self._abandon(served)

    def _abandon(self, obj: Object) -> None:
        calls = dict(obj.calls)
        obj.calls.clear()
        for task, call in calls.items():
            self._answer(call, Status.CONNECTION_FAILED)
            task.cancel()

    async def cancel_tasks(self, timeout: float) -> None:
        """Cancel what runs, and wait up to ``timeout`` seconds for it to end."""
        tasks = self._tasks - {asyncio.current_task()}
        for task in tasks:
            task.cancel()
        if tasks:
            _, running = await asyncio.wait(tasks, timeout=timeout)
            for task in running:
                log.warning("a handler ignores its cancellation: %r", task)

    def _start(self, work: Coroutine[Any, Any, None]) -> None:
        task = _start_eagerly(work, self._loop)
        if not task.done():
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    # --- what comes in -------------------------------------------------------------------------------

    def subscribers_changed(self, objid: int, active: bool) -> None:
        served = self._served.get(objid)
        if isinstance(served, Object):
            served.subscribers_changed(active)

    def invoked(self, call: Invocation) -> None:
        served = self._served.get(call.objid)
        if isinstance(served, Object):
            self._call(served, call)
        elif served is not None:
            self._deliver(served, call)
        # else it was withdrawn a moment ago; ubusd does not forward answers of objects that are gone

    def _call(self, obj: Object, call: Invocation) -> None:
        method = obj.methods.get(call.method)
        if method is None:
            self._answer(call, Status.METHOD_NOT_FOUND)
            return
        try:
            args = decode_table(call.data, errors="surrogateescape" if obj.raw_text else "strict")
        except ProtocolError as error:
            log.info("a call of %s %s with malformed arguments: %s", obj.name, call.method, error)
            self._answer(call, Status.INVALID_ARGUMENT)
            return
        if method.accept(args) is not None:
            self._answer(call, Status.INVALID_ARGUMENT)
        elif len(obj.calls) >= MAX_RUNNING:
            self._answer(call, Status.NO_MEMORY)
        else:
            self._start(self._run(obj, method, args, call))

    async def _run(self, obj: Object, method: Method, args: Table, call: Invocation) -> None:
        """Run the handler and answer its call, in a task of its own."""
        task = asyncio.current_task()
        assert task is not None
        obj.calls[task] = call
        status: int = Status.OK
        data: Answer = None
        try:
            result = method.handler(Call(obj, call.method, args, call.user, call.group, call.peer))
            data = await result if type(result) is CoroutineType or isawaitable(result) else result
        except asyncio.CancelledError:
            status = Status.CONNECTION_FAILED
            raise
        except StatusError as error:
            status, data = error.code, error.data
        except Exception:
            log.exception("%s %s failed", obj.name, method.name)
            status = Status.UNKNOWN_ERROR
        finally:
            if obj.calls.pop(task, None) is not None:  # else it was answered when the object was withdrawn
                self._answer(call, status, data)

    def _answer(self, call: Invocation, status: int, data: Answer = None) -> None:
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
            self._answer(call, Status.INVALID_ARGUMENT)
            return
        try:
            result = receiver.callback(event)
        except Exception:
            log.exception("the callback for %s failed", call.method)
        else:
            if isawaitable(result):
                self._start(_attend(result, call.method))
        self._answer(call, Status.OK)


if sys.version_info >= (3, 12):

    def _start_eagerly(
        work: Coroutine[Any, Any, None], loop: asyncio.AbstractEventLoop
    ) -> asyncio.Task[None]:
        """Start a task that takes its first step at once: a handler that awaits nothing costs no turn of the
        event loop.
        """
        return asyncio.Task(work, loop=loop, eager_start=True)

else:

    def _start_eagerly(
        work: Coroutine[Any, Any, None], loop: asyncio.AbstractEventLoop
    ) -> asyncio.Task[None]:
        """Python 3.11 has no ``eager_start``: run the step that the new task has scheduled at once. Without,
        a served call takes two more turns of the loop, and with it the limit of 1.15 x the C binding's time.
        """
        task = asyncio.Task(work, loop=loop)
        ready = getattr(loop, "_ready", None)  # of asyncio's own event loops
        if ready is not None and asyncio.current_task() is None:  # no step can begin within another task's
            ready.pop()._run()
        return task


async def _attend(work: Awaitable[object], what: str) -> None:
    try:
        await work
    except Exception:
        log.exception("the callback for %s failed", what)
