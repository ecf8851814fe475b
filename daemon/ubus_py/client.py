"""One connection to ubusd, for asyncio. It ends when the socket does: :mod:`ubus_py.reconnect` is the
client that comes back."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping
from types import TracebackType

from .blobmsg import Encodable, Table
from .eager import EagerTasks
from .errors import CallTimeout, ConnectionLost, ProtocolError, Status, StatusError, UbusError, UsageError
from .events import Callback, Event, ObjectInfo, Receiver
from .framing import MAX_MESSAGE, encode_frame
from .messages import Attr, MessageType, encode_attrs, table_payload
from .objects import Answer, Object, Publisher, Served
from .session import Hello, Invocation, Request, Session, SubscribersChanged, TargetRemoved
from .transport import DEFAULT_SOCKET, Transport

log = logging.getLogger("ubus_py")

CONTROL_TIMEOUT = 30.0
"""Seconds for what ubusd itself answers: look-ups, publishing, registering, sending events."""
CLOSE_TIMEOUT = 5.0
"""Seconds that closing waits for ubusd to take what was written, and for handlers to end."""


class Connection:
    """One connection. Open it with :meth:`open`; every verb raises :class:`ConnectionLost` once it ended."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._session = Session()
        self._transport = Transport(self._on_data, self._on_lost)
        self._waiters: dict[Request, asyncio.Future[None]] = {}
        self._adopting: dict[Request, Served] = {}
        self._eager = EagerTasks(self._loop)
        self._publisher = Publisher(self._eager.start, self._own, self._send)
        self._ids: dict[str, int] = {}
        self._lookups: dict[str, asyncio.Task[int]] = {}
        self._tasks: set[asyncio.Task[Answer]] = set()
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
                await connection._transport.connect(path)
                await connection._greeted
        except TimeoutError:
            connection._transport.abort()
            raise ConnectionLost(f"no greeting from ubusd at {path} within {timeout:g} s") from None
        except BaseException:
            connection._transport.abort()
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
        """End the connection. What runs is cancelled; callers are told "Connection failed"."""
        self._publisher.abandon_all()
        self._eager.close()
        self._transport.close()
        try:
            await asyncio.wait_for(self._transport.closed.wait(), CLOSE_TIMEOUT)
        except TimeoutError:  # ubusd does not read what is left to be sent
            self._transport.abort()
            await self._transport.closed.wait()
        mine = asyncio.current_task()
        tasks = [task for task in self._tasks if task is not mine]
        for task in tasks:
            task.cancel()
        if tasks:
            _, stuck = await asyncio.wait(tasks, timeout=CLOSE_TIMEOUT)
            for task in stuck:
                log.warning("a handler ignores its cancellation: %r", task)

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

        The object's id is looked up once and kept. When ubusd no longer knows that id (the object was
        published anew), the call was not delivered, so it is looked up again and sent once more.

        :param timeout: seconds, ``None`` for no limit.
        :raises StatusError: the call was refused; ``status``, and ``data`` if the error came with a body.
        :raises CallTimeout: no answer in time. A process that dies in the middle of a call answers never:
            ubusd does not tell its callers.
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
        """Like :meth:`call`, but every table of the answer, in order; none at all is not one empty table."""
        payload = table_payload(args)
        if len(payload) + len(method) > MAX_MESSAGE - 4096:  # refuse before the look-up goes out
            encode_frame(MessageType.INVOKE, 0, 0, encode_attrs({3: 0, 4: method, 7: payload}))
        end = None if timeout is None else self._loop.time() + timeout
        fresh = False
        while True:
            objid = self._ids.get(object)
            if objid is None:
                objid = await self._resolve(object, end)
                fresh = True
                timeout = None if end is None else max(0.0, end - self._loop.time())
            request, data = self._session.invoke(objid, method, payload)
            await self._exchange(request, data, timeout)
            if request.status != Status.NOT_FOUND or not request.from_ubusd:
                break
            if self._ids.get(object) == objid:
                del self._ids[object]
            if fresh:
                break
        return _tables(request, f"{object} {method}")

    async def invoke(
        self,
        objid: int,
        method: str,
        args: Mapping[str, Encodable] | None = None,
        *,
        timeout: float | None = 30.0,
    ) -> list[Table]:
        """Like :meth:`call_all`, of the object with this id (:attr:`ObjectInfo.id`)."""
        request, data = self._session.invoke(objid, method, table_payload(args))
        await self._exchange(request, data, timeout)
        return _tables(request, method)

    async def _resolve(self, name: str, end: float | None) -> int:
        known = self._ids.get(name)
        if known is not None:
            return known
        task = self._lookups.get(name)
        if task is None:  # one look-up, however many callers wait for it
            task = self._lookups[name] = self._loop.create_task(self._lookup_id(name))
            task.add_done_callback(lambda done: self._looked_up(name, done))
        if end is None:
            return await asyncio.shield(task)
        try:
            async with asyncio.timeout_at(end):
                return await asyncio.shield(task)
        except TimeoutError as error:
            if isinstance(error, UbusError):
                raise
            raise CallTimeout(f"no answer to the look-up of {name}") from None

    def _looked_up(self, name: str, task: asyncio.Task[int]) -> None:
        del self._lookups[name]
        if not task.cancelled():
            task.exception()  # seen, though all who waited may have given up

    async def _lookup_id(self, name: str) -> int:
        for info in await self.lookup_strictly(name):
            if info.name == name:
                if len(self._ids) >= 1024:
                    self._ids.clear()
                self._ids[name] = info.id
                return info.id
        raise StatusError(
            Status.NOT_FOUND, None, name
        )  # also where we may not see it: ubusd then says nothing

    async def lookup(self, pattern: str | None = None) -> list[ObjectInfo]:
        """The objects with that name, that prefix (``"hotplug.*"``), or all; those that we may see.

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
        says that there are such objects, none of which we may see."""
        request, data = self._session.lookup(pattern)
        await self._control(request, data, pattern or "look-up")
        return [ObjectInfo.of(attrs) for attrs in request.answers if Attr.OBJPATH in attrs]

    # --- events and notifications --------------------------------------------------------------------

    async def send(self, name: str, data: Mapping[str, Encodable] | None = None) -> None:
        """Send an event to whoever listens. Raises :class:`StatusError` (names in ``ubus.`` are ubusd's)."""
        request, out = self._session.send_event(name, data)
        await self._control(request, out, f"send {name}")

    async def listen(self, pattern: str, callback: Callback) -> Receiver:
        """Have events delivered whose name is ``pattern``, or begins like it where it ends in ``*``.

        :raises StatusError: PERMISSION_DENIED where ubusd's ACL does not let us.
        """
        receiver = Receiver(self, callback)
        objid = await self._add(receiver, None, None, "listen")
        try:
            request, data = self._session.register_event(objid, pattern)
            await self._control(request, data, f"listen {pattern}")
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
        receiver = Receiver(self, callback, on_removed)
        target = await self._lookup_id(object)
        objid = await self._add(receiver, None, None, "subscribe")
        try:
            request, data = self._session.subscribe(objid, target)
            await self._control(request, data, f"subscribe {object}")
        except BaseException:
            receiver.close()
            raise
        return receiver

    def withdraw(self, receiver: Receiver) -> None:
        """What :meth:`Receiver.close` does."""
        objid = receiver.objid
        if objid is not None and self._publisher.withdraw(objid):
            self._remove_unasked(objid)

    async def wait_for(self, *names: str, timeout: float | None = 30.0) -> None:
        """Wait until all of the named objects are on the bus. Raises :class:`CallTimeout`."""
        missing = set(names)
        came = asyncio.Event()

        def appeared(event: Event) -> None:
            missing.discard(str(event.data.get("path")))
            came.set()

        try:
            async with asyncio.timeout(timeout):
                async with await self.listen("ubus.object.add", appeared):
                    missing.difference_update([info.name for info in await self.lookup()])
                    while missing:
                        came.clear()
                        if self.is_closed:
                            raise self._lost()
                        await came.wait()
        except TimeoutError as error:
            if isinstance(error, UbusError):
                raise
            raise CallTimeout(f"not on the bus: {', '.join(sorted(missing))}") from None

    async def wait_closed(self, timeout: float | None = None) -> bool:
        """Wait for the connection's end; whether it came within ``timeout`` seconds."""
        await asyncio.wait([self._closed], timeout=timeout)
        return self.is_closed

    # --- publishing ----------------------------------------------------------------------------------

    async def publish(self, obj: Object) -> None:
        """Publish an object: from now on its methods can be called.

        :raises StatusError: INVALID_ARGUMENT where the name is taken, or ubusd's ACL does not let us (it
            does not say which).
        """
        if obj.connection is not None:
            raise UsageError(f"{obj.name} is published already")
        await self._add(obj, obj.name, obj.signature, f"publish {obj.name}")

    async def unpublish(self, obj: Object) -> None:
        """Withdraw an object. Running handlers are cancelled, their callers told "Connection failed"."""
        objid = obj.id
        if obj.connection is not self or objid is None:
            raise UsageError(f"{obj.name} is not published here")
        self._publisher.withdraw(objid)
        request, data = self._session.remove_object(objid)
        await self._control(request, data, f"unpublish {obj.name}")

    async def notify(self, obj: Object, kind: str, data: Mapping[str, Encodable] | None) -> None:
        """What :meth:`Object.notify` does."""
        out = self._session.notify_unanswered(obj.id or 0, kind, table_payload(data))
        self._transport.write(out)
        await self._drain()

    async def notify_and_wait(
        self, obj: Object, kind: str, data: Mapping[str, Encodable] | None, *, timeout: float | None
    ) -> list[Status]:
        """What :meth:`Object.notify_and_wait` does."""
        request, out = self._session.notify(obj.id or 0, kind, table_payload(data))
        await self._exchange(request, out, timeout)
        if request.error is not None:
            raise request.error
        if request.status:
            raise StatusError(request.status, None, f"notify {kind}")
        return [StatusError(code).status for code in request.replied.values()]

    async def _add(
        self, served: Served, name: str | None, signature: dict[str, dict[str, int]] | None, what: str
    ) -> int:
        request, data = self._session.add_object(name, signature)
        self._adopting[request] = served
        try:
            await self._control(request, data, what)
        finally:
            # Given up, its answer still comes: _answered() then takes the object off the bus again.
            self._adopting.pop(request, None)
        return request.number(Attr.OBJID)

    def _remove_unasked(self, objid: int) -> None:
        """Take an object of ours off the bus without waiting for the answer."""
        request, data = self._session.remove_object(objid)
        self._session.forget(request)
        self._send(data)

    # --- requests ------------------------------------------------------------------------------------

    async def _control(self, request: Request, data: bytes, what: str) -> None:
        """A request to ubusd itself, that has to succeed."""
        await self._exchange(request, data, CONTROL_TIMEOUT)
        if request.error is not None:
            raise request.error
        if request.status:
            raise StatusError(request.status, None, what)

    async def _exchange(self, request: Request, data: bytes, timeout: float | None) -> None:
        waiter = self._loop.create_future()
        self._waiters[request] = waiter
        timer: asyncio.TimerHandle | None = None
        try:
            if self._closed.done():
                raise self._lost()
            self._transport.write(data)
            if timeout is not None:
                timer = self._loop.call_later(timeout, _expire, waiter, timeout)
            await waiter
        finally:
            if timer is not None:
                timer.cancel()
            if self._waiters.pop(request, None) is not None and request.type != MessageType.ADD_OBJECT:
                self._session.forget(request)

    def _lost(self) -> ConnectionLost:
        error = ConnectionLost("the connection to ubusd ended")
        error.__cause__ = self._reason
        return error

    # --- what comes in -------------------------------------------------------------------------------

    def _on_data(self, data: bytes) -> None:
        session = self._session
        session.receive_data(data)
        try:
            while (event := session.next_event()) is not None:
                kind = type(event)
                if kind is Request:
                    self._answered(event)  # type: ignore[arg-type]
                elif kind is Invocation:
                    self._publisher.invoked(event)  # type: ignore[arg-type]
                elif isinstance(event, SubscribersChanged):
                    self._publisher.subscribers_changed(event.objid, event.active)
                elif isinstance(event, TargetRemoved):
                    receiver = self._publisher.get(event.objid)
                    if isinstance(receiver, Receiver):
                        self.withdraw(receiver)
                        receiver.removed()
                elif isinstance(event, Hello) and not self._greeted.done():
                    self._greeted.set_result(None)
        except ProtocolError as error:
            log.error("ubusd broke the protocol, closing the connection: %s", error)
            self._reason = error
            self._transport.abort()

    def _answered(self, request: Request) -> None:
        waiter = self._waiters.pop(request, None)
        if request.type == MessageType.ADD_OBJECT and request.error is None and request.status == 0:
            # At once, not in the task that waits: a call to the new object may be the next frame.
            objid = request.number(Attr.OBJID)
            served = self._adopting.get(request)
            if served is None or waiter is None or waiter.done():
                self._remove_unasked(objid)
            else:
                self._publisher.adopt(objid, served)
                served.bind(self, objid)
        if waiter is not None and not waiter.done():
            waiter.set_result(None)

    def _on_lost(self, reason: BaseException | None) -> None:
        self._reason = self._reason or reason
        waiters, self._waiters = self._waiters, {}
        if not self._greeted.done():
            self._greeted.set_exception(self._lost())
            self._greeted.exception()  # seen, whether or not open() still waits
        self._closed.set_result(None)
        for waiter in waiters.values():
            if not waiter.done():
                waiter.set_exception(self._lost())
        self._publisher.withdraw_all()
        self._eager.close()

    def _send(self, data: bytes) -> None:
        if self._transport.open:
            self._transport.write(data)

    async def _drain(self) -> None:
        if self._transport.congested:
            await self._transport.drain()

    def _own(self, task: asyncio.Task[Answer]) -> None:
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)


def _expire(waiter: asyncio.Future[None], timeout: float) -> None:
    if not waiter.done():
        waiter.set_exception(CallTimeout(f"no answer within {timeout:g} s"))


def _tables(request: Request, what: str) -> list[Table]:
    if request.error is not None:
        raise request.error
    tables = request.tables()
    if request.status:
        raise StatusError(request.status, tables[-1] if tables else None, what)
    return tables
