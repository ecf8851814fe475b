"""One connection to ubusd, for asyncio. It ends when the socket does; :class:`~ubus_py.client.Client`
reconnects."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from types import TracebackType
from typing import Final

from .blobmsg import Encodable, Table, encode_table
from .errors import CallTimeout, ConnectionLost, ProtocolError, Status, StatusError, UbusError, UsageError
from .events import Callback, Event, ObjectInfo, Receiver
from .objects import Object, Publisher, Served
from .session import (
    Hello,
    Invocation,
    Request,
    Session,
    SessionEvent,
    SubscribersChanged,
    TargetRemoved,
)
from .stream import DEFAULT_SOCKET, Stream
from .wire import MAX_MESSAGE, MessageType

log = logging.getLogger("ubus_py")

CONTROL_TIMEOUT = 30.0
"""Seconds for what ubusd itself answers: look-ups, publishing, registering, sending events."""
LAST_ANSWERS_TIMEOUT = 0.5
"""Seconds that closing waits for ubusd to have read the last answers."""
CLOSE_TIMEOUT = 5.0
"""Seconds that closing waits for ubusd to read what was written, and for handlers to end."""
MAX_KNOWN_IDS: Final = 1024
"""How many object ids are cached, by name."""


class Connection:
    """One connection. Open it with :meth:`open`; every verb raises :class:`ConnectionLost` once it ended."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._session = Session()
        self._stream = Stream(self._on_data, self._on_lost)
        self._publisher = Publisher(self._stream.send)
        self._waiters: dict[Request, asyncio.Future[None]] = {}
        self._adopting: dict[Request, Served] = {}
        self._ids: dict[str, int] = {}
        self._lookups: dict[str, asyncio.Task[int]] = {}
        self._greeted: asyncio.Future[None] = self._loop.create_future()
        self._closed: asyncio.Future[None] = self._loop.create_future()
        self._reason: BaseException | None = None

    @classmethod
    async def open(cls, path: str = DEFAULT_SOCKET, *, timeout: float = 10.0) -> Connection:
        """Connect and wait for ubusd's greeting.

        :raises ConnectionLost: no ubusd there, or it did not greet within ``timeout`` seconds.
        """
        connection = cls()
        try:
            async with asyncio.timeout(timeout):
                await connection._stream.connect(path)
                await connection._greeted
        except TimeoutError:
            connection._stream.abort()
            raise ConnectionLost(f"no greeting from ubusd at {path} within {timeout:g} s") from None
        except BaseException:
            connection._stream.abort()
            raise
        return connection

    @property
    def client_id(self) -> int:
        """Our id on the bus."""
        return self._session.client_id or 0

    @property
    def is_closed(self) -> bool:
        """Whether the connection ended."""
        return self._closed.done()

    @property
    def closed(self) -> Awaitable[None]:
        """Await it to wait for the connection's end. Never raises."""
        return asyncio.shield(self._closed)

    async def close(self) -> None:
        """End the connection. Running handlers are cancelled, their callers receive "Connection failed"."""
        self._publisher.abandon_all()
        if self._publisher.serves:
            await self._let_ubusd_read()
        self._stream.close()
        try:
            await asyncio.wait_for(self._stream.closed.wait(), CLOSE_TIMEOUT)
        except TimeoutError:  # ubusd does not read what is left to be sent
            self._stream.abort()
            await self._stream.closed.wait()
        await self._publisher.cancel_tasks(CLOSE_TIMEOUT)

    async def _let_ubusd_read(self) -> None:
        """Wait for the answer to a lookup. ubusd (ubusd_main.c, ``client_cb``) reads nothing more of a
        connection that it finds closed: the last answers would be lost, and their callers wait in vain.
        """
        with contextlib.suppress(UbusError, TimeoutError):
            async with asyncio.timeout(LAST_ANSWERS_TIMEOUT):
                await self.lookup("ubus_py.closing")

    async def __aenter__(self) -> Connection:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    # --- calling -------------------------------------------------------------------------------------

    async def call(
        self,
        object: str,  # noqa: A002
        method: str,
        args: Mapping[str, Encodable] | None = None,
        *,
        timeout: float | None = 30.0,
    ) -> Table:
        """Call a method and return its answer's data; an answer without data is an empty table.

        The object's id is looked up once and cached. When ubusd no longer knows that id (the object was
        published again), the call was not delivered, so the id is looked up again and the call retried.

        :param timeout: seconds, ``None`` for no limit.
        :raises StatusError: the call was refused; ``status``, and ``data`` if the error came with a body.
        :raises CallTimeout: no answer in time. A process that dies in the middle of a call never answers:
            ubusd does not notify its callers.
        :raises ProtocolError: the answer's data was malformed.
        :raises UsageError: the arguments cannot be sent; nothing was.
        """
        tables = await self.call_all(object, method, args, timeout=timeout)
        return tables[-1] if tables else {}

    async def call_all(
        self,
        object: str,  # noqa: A002
        method: str,
        args: Mapping[str, Encodable] | None = None,
        *,
        timeout: float | None = 30.0,
    ) -> list[Table]:
        """Like :meth:`call`, but return every table of the answer, in order; none is an empty list."""
        payload = encode_table(args or {})
        if len(payload) > MAX_MESSAGE:  # refuse before the look-up is sent
            raise UsageError(f"arguments of {len(payload)} bytes; ubus takes at most {MAX_MESSAGE}")
        what = f"{object} {method}"
        async with _within(timeout, what):
            request = await self._call_by_name(object, method, payload)
        return _tables(request, what)

    async def _call_by_name(self, name: str, method: str, payload: bytes) -> Request:
        while True:
            cached = self._ids.get(name)
            objid = await self._resolve(name) if cached is None else cached
            request = await self._exchange(self._session.invoke(objid, method, payload))
            if request.status != Status.NOT_FOUND or not request.from_ubusd:
                return request
            if self._ids.get(name) == objid:
                del self._ids[name]
            if cached is None:
                return request

    async def invoke(
        self,
        objid: int,
        method: str,
        args: Mapping[str, Encodable] | None = None,
        *,
        timeout: float | None = 30.0,
    ) -> list[Table]:
        """Like :meth:`call_all`, of the object with this id (:attr:`ObjectInfo.id`)."""
        async with _within(timeout, method):
            request = await self._exchange(self._session.invoke(objid, method, encode_table(args or {})))
        return _tables(request, method)

    async def _resolve(self, name: str) -> int:
        task = self._lookups.get(name)
        if task is None:  # one look-up for all callers that wait for it
            task = self._lookups[name] = self._loop.create_task(self._lookup_id(name))
            task.add_done_callback(lambda done: self._looked_up(name, done))
        return await asyncio.shield(task)

    def _looked_up(self, name: str, task: asyncio.Task[int]) -> None:
        del self._lookups[name]
        if not task.cancelled():
            task.exception()  # retrieved here: every caller that waited may have been cancelled

    async def _lookup_id(self, name: str) -> int:
        for info in await self.lookup_strictly(name):
            if info.name == name:
                if len(self._ids) >= MAX_KNOWN_IDS:
                    self._ids.clear()
                self._ids[name] = info.id
                return info.id
        # Also where we may not see it: ubusd then answers without data.
        raise StatusError(Status.NOT_FOUND, None, name)

    async def lookup(self, pattern: str | None = None) -> list[ObjectInfo]:
        """Return the objects with that name, that prefix (``"hotplug.*"``), or all; those that we may see.

        None found is an empty list.
        """
        try:
            return await self.lookup_strictly(pattern)
        except StatusError as error:
            if error.status == Status.NOT_FOUND:
                return []
            raise

    async def lookup_strictly(self, pattern: str | None = None) -> list[ObjectInfo]:
        """Like :meth:`lookup`, but none found is the :class:`StatusError` that ubusd answered; an empty list
        means that there are such objects, none of which we may see."""
        request = await self._control(self._session.lookup(pattern), pattern or "look-up")
        return [ObjectInfo.of(answer) for answer in request.answers if answer.objpath is not None]

    # --- events and notifications --------------------------------------------------------------------

    async def send(self, name: str, data: Mapping[str, Encodable] | None = None) -> None:
        """Send an event to its listeners. Raises :class:`StatusError` (names in ``ubus.`` are ubusd's)."""
        await self._control(self._session.send_event(name, data), f"send {name}")

    async def listen(self, pattern: str, callback: Callback) -> Receiver:
        """Have events delivered whose name is ``pattern``, or begins like it where it ends in ``*``.

        :raises StatusError: PERMISSION_DENIED where ubusd's ACL does not let us.
        """
        receiver = Receiver(callback, None, self.withdraw)
        objid = await self._add(receiver, None, None, "listen")
        try:
            await self._control(self._session.register_event(objid, pattern), f"listen {pattern}")
        except BaseException:
            receiver.close()
            raise
        return receiver

    async def subscribe(
        self,
        object: str,  # noqa: A002
        callback: Callback,
        *,
        on_removed: Callable[[], object] | None = None,
    ) -> Receiver:
        """Have an object's notifications delivered.

        :param on_removed: called when the object is gone, and with it the subscription.
        :raises StatusError: NOT_FOUND where there is no such object, or we may not subscribe to it;
            INVALID_ARGUMENT for an object of this same connection.
        """
        receiver = Receiver(callback, on_removed, self.withdraw)
        target = await self._lookup_id(object)
        objid = await self._add(receiver, None, None, "subscribe")
        try:
            await self._control(self._session.subscribe(objid, target), f"subscribe {object}")
        except BaseException:
            receiver.close()
            raise
        return receiver

    def withdraw(self, receiver: Receiver) -> None:
        """What :meth:`Receiver.close` does."""
        objid = receiver.objid
        if objid is not None and self._publisher.withdraw(objid):
            self._remove_without_waiting(objid)

    async def wait_for(self, *names: str, timeout: float | None = 30.0) -> None:
        """Wait until all of the named objects are on the bus. Raises :class:`CallTimeout`."""
        missing = set(names)
        changed = asyncio.Event()

        def appeared(event: Event) -> None:
            missing.discard(str(event.data.get("path")))
            changed.set()

        async with (
            _within(timeout, f"wait_for {', '.join(names)}"),
            await self.listen("ubus.object.add", appeared),
        ):
            missing.difference_update([info.name for info in await self.lookup()])
            while missing:
                changed.clear()
                if self.is_closed:
                    raise self._lost()
                await changed.wait()

    async def wait_closed(self, timeout: float | None = None) -> bool:
        """Wait up to ``timeout`` seconds for the connection's end. Return whether it ended."""
        await asyncio.wait([self._closed], timeout=timeout)
        return self.is_closed

    # --- publishing ----------------------------------------------------------------------------------

    async def publish(self, obj: Object) -> None:
        """Publish an object: from now on its methods can be called.

        :raises StatusError: INVALID_ARGUMENT where the name is taken or ubusd's ACL forbids it (the answer
            does not distinguish them).
        """
        if obj.connection is not None:
            raise UsageError(f"{obj.name} is published already")
        await self._add(obj, obj.name, obj.signature, f"publish {obj.name}")

    async def unpublish(self, obj: Object) -> None:
        """Withdraw an object. Running handlers are cancelled, their callers receive "Connection failed"."""
        objid = obj.id
        if obj.connection is not self or objid is None:
            raise UsageError(f"{obj.name} is not published here")
        self._publisher.withdraw(objid)
        await self._control(self._session.remove_object(objid), f"unpublish {obj.name}")

    async def replace(self, old: Object, new: Object) -> None:
        """Withdraw ``old`` and publish ``new`` in one write, so that callers find the name without a gap.

        ubusd (ubusd_main.c, ``client_cb``) handles all frames that it has read of one client before it turns
        to the next. Running handlers of ``old`` are cancelled, as by :meth:`unpublish`. ubusd discards the
        answers of an object that is gone: a call forwarded to ``old`` at this very moment is not answered.

        :raises StatusError: as :meth:`publish`; ``old`` is withdrawn then.
        """
        objid = old.id
        if old.connection is not self or objid is None:
            raise UsageError(f"{old.name} is not published here")
        if new.connection is not None:
            raise UsageError(f"{new.name} is published already")
        self._publisher.withdraw(objid)
        request, data = self._session.remove_object(objid)
        self._session.forget(request)
        await self._add(new, new.name, new.signature, f"publish {new.name}", after=data)

    async def notify(self, obj: Object, kind: str, data: Mapping[str, Encodable] | None) -> None:
        """What :meth:`Object.notify` does."""
        out = self._session.notify_unanswered(obj.id or 0, kind, encode_table(data or {}))
        self._stream.write(out)
        await self._stream.drain()

    async def notify_and_wait(
        self, obj: Object, kind: str, data: Mapping[str, Encodable] | None, *, timeout: float | None
    ) -> list[Status]:
        """What :meth:`Object.notify_and_wait` does."""
        async with _within(timeout, f"notify {kind}"):
            request = await self._exchange(self._session.notify(obj.id or 0, kind, encode_table(data or {})))
        if request.error is not None:
            raise request.error
        if request.status:
            raise StatusError(request.status, None, f"notify {kind}")
        return [StatusError(code).status for code in request.replied.values()]

    async def _add(
        self,
        served: Served,
        name: str | None,
        signature: dict[str, dict[str, int]] | None,
        what: str,
        *,
        after: bytes = b"",
    ) -> int:
        """``after``: a frame to send before it, in the same write."""
        request, data = self._session.add_object(name, signature)
        self._adopting[request] = served
        try:
            await self._control((request, after + data), what)
        finally:
            # Cancelled, its answer still comes: _answered() then takes the object off the bus again.
            self._adopting.pop(request, None)
        return request.object_id()

    def _remove_without_waiting(self, objid: int) -> None:
        """Take an object of ours off the bus without waiting for the answer."""
        request, data = self._session.remove_object(objid)
        self._session.forget(request)
        self._stream.send(data)

    # --- requests ------------------------------------------------------------------------------------

    async def _control(self, call: tuple[Request, bytes], what: str) -> Request:
        """A request to ubusd itself, that has to succeed."""
        async with _within(CONTROL_TIMEOUT, what):
            request = await self._exchange(call)
        if request.error is not None:
            raise request.error
        if request.status:
            raise StatusError(request.status, None, what)
        return request

    async def _exchange(self, call: tuple[Request, bytes]) -> Request:
        request, data = call
        waiter = self._waiters[request] = self._loop.create_future()
        try:
            if self._closed.done():
                raise self._lost()
            self._stream.write(data)
            await waiter
        finally:
            if self._waiters.pop(request, None) is not None and request.type != MessageType.ADD_OBJECT:
                self._session.forget(request)
        return request

    def _lost(self) -> ConnectionLost:
        error = ConnectionLost("the connection to ubusd ended")
        error.__cause__ = self._reason
        return error

    # --- what comes in -------------------------------------------------------------------------------

    def _on_data(self, data: bytes | memoryview) -> None:
        self._session.receive_data(data)
        try:
            while (event := self._session.next_event()) is not None:
                self._handle(event)
        except ProtocolError as error:
            log.error("ubusd broke the protocol, closing the connection: %s", error)
            self._reason = error
            self._stream.abort()

    def _handle(self, event: SessionEvent) -> None:
        match event:
            case Request():
                self._answered(event)
            case Invocation():
                self._publisher.invoked(event)
            case SubscribersChanged():
                self._publisher.subscribers_changed(event.objid, event.active)
            case TargetRemoved():
                receiver = self._publisher.get(event.objid)
                if isinstance(receiver, Receiver):
                    self.withdraw(receiver)
                    receiver.removed()
            case Hello():
                if not self._greeted.done():
                    self._greeted.set_result(None)

    def _answered(self, request: Request) -> None:
        waiter = self._waiters.pop(request, None)
        if request.type == MessageType.ADD_OBJECT and request.error is None and request.status == Status.OK:
            # At once, not in the task that waits: a call to the new object may be the next frame.
            objid = request.object_id()
            served = self._adopting.get(request)
            if served is None or waiter is None or waiter.done():
                self._remove_without_waiting(objid)
            else:
                self._publisher.adopt(objid, served)
                if isinstance(served, Object):
                    served.bind(self, objid)
                else:
                    served.objid = objid
        if waiter is not None and not waiter.done():
            waiter.set_result(None)

    def _on_lost(self, reason: Exception | None) -> None:
        self._reason = self._reason or reason
        waiters, self._waiters = self._waiters, {}
        if not self._greeted.done():
            self._greeted.set_exception(self._lost())
            self._greeted.exception()  # retrieved here: open() may have been cancelled
        self._closed.set_result(None)
        for waiter in waiters.values():
            if not waiter.done():
                waiter.set_exception(self._lost())
        self._publisher.withdraw_all()


@asynccontextmanager
async def _within(timeout: float | None, what: str) -> AsyncIterator[None]:
    """Raise :class:`CallTimeout` after ``timeout`` seconds."""
    try:
        async with asyncio.timeout(timeout):
            yield
    except TimeoutError as error:
        if isinstance(error, UbusError):
            raise
        raise CallTimeout(f"{what}: no answer within {timeout:g} s") from None


def _tables(request: Request, what: str) -> list[Table]:
    if request.error is not None:
        raise request.error
    tables = request.tables()
    if request.status:
        raise StatusError(request.status, tables[-1] if tables else None, what)
    return tables
