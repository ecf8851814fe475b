"""The client that reconnects: it holds one :class:`~ubus_py.connection.Connection` at a time and restores on
each new one what is registered: objects published, patterns listened to, objects subscribed to."""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Callable, Generator, Mapping
from types import TracebackType
from typing import Final

from .blobmsg import Encodable, Table
from .connection import Connection
from .errors import ConnectionLost, ProtocolError, StatusError, UsageError
from .events import Callback, ObjectInfo, Receiver
from .objects import Object
from .stream import DEFAULT_SOCKET

log = logging.getLogger("ubus_py")

FIRST_DELAY: Final = 0.05
LAST_DELAY: Final = 5.0
"""Backoff: seconds before the first and between later attempts; doubled each time, with up to a quarter of
jitter, so that a router's services do not all reconnect at once when ubusd is back."""


def delays() -> Generator[float, None, None]:
    """Yield the seconds to wait before each attempt, without end."""
    delay = FIRST_DELAY
    while True:
        yield delay * random.uniform(0.75, 1.0)  # noqa: S311 - spreads load, keeps no secret
        delay = min(delay * 2, LAST_DELAY)


class Registration:
    """What is restored after each reconnect: an object published, a pattern listened to, an object
    subscribed to. It lasts until :meth:`close`, while the client runs."""

    def __init__(self, client: Client, what: str) -> None:
        self._client = client
        self.what = what
        self._done = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self.error: StatusError | ProtocolError | None = None
        """Why ubusd refused it last; ``None`` once it is active."""

    @property
    def active(self) -> bool:
        """Whether it is active on the present connection."""
        return self._done.is_set()

    async def ready(self) -> None:
        """Wait until it is active."""
        await self._done.wait()

    def close(self) -> None:
        """End it. May be called again."""
        self._client._forget(self)

    async def __aenter__(self) -> Registration:
        await self.ready()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    async def establish(self, connection: Connection) -> None:
        """Register it with ubusd."""
        raise NotImplementedError

    def drop(self) -> None:
        """Undo it on the present connection, if it is active there."""
        raise NotImplementedError


class _Publishing(Registration):
    def __init__(self, client: Client, obj: Object) -> None:
        super().__init__(client, f"publish {obj.name}")
        self.object = obj

    async def establish(self, connection: Connection) -> None:
        await connection.publish(self.object)

    def drop(self) -> None:
        pass  # Client.unpublish() does, and waits for ubusd's answer


class _Receiving(Registration):
    def __init__(self, client: Client, what: str) -> None:
        super().__init__(client, what)
        self._receiver: Receiver | None = None

    def drop(self) -> None:
        if self._receiver is not None:
            self._receiver.close()
            self._receiver = None


class _Listening(_Receiving):
    def __init__(self, client: Client, pattern: str, callback: Callback) -> None:
        super().__init__(client, f"listen {pattern}")
        self._pattern = pattern
        self._callback = callback

    async def establish(self, connection: Connection) -> None:
        self._receiver = await connection.listen(self._pattern, self._callback)


class _Subscription(_Receiving):
    def __init__(self, client: Client, name: str, callback: Callback) -> None:
        super().__init__(client, f"subscribe {name}")
        self._name = name
        self._callback = callback

    async def establish(self, connection: Connection) -> None:
        self._receiver = await connection.subscribe(self._name, self._callback, on_removed=self._removed)

    def _removed(self) -> None:
        self._receiver = None
        self._client._restore(self)  # retried until the object is back


class Client:
    """A connection to ubusd that is made again after ubusd restarts.

    While there is none, :meth:`call` and the other verbs raise :class:`ConnectionLost` at once, as do
    those that were waiting when it ended. The caller decides whether to retry a call: it may have been
    carried out.

    ``async with Client() as client:`` starts it and closes it.
    """

    def __init__(self, path: str = DEFAULT_SOCKET) -> None:
        self.path = path
        self._connection: Connection | None = None
        self._registrations: list[Registration] = []
        self._watchers: list[Callable[[bool], object]] = []
        self._runner: asyncio.Task[None] | None = None
        self._closing = False
        self._wake = asyncio.Event()
        """Set at every change that :meth:`start` and :meth:`wait_connected` may wait for."""

    # --- life ----------------------------------------------------------------------------------------

    async def start(self) -> None:
        """Connect, retrying until ubusd is there; return when every object registered so far is published,
        and every pattern is listened to or was refused (see :attr:`Registration.error`).

        :raises ConnectionLost: the client was closed meanwhile.
        """
        if self._closing:
            raise UsageError("the client was closed")
        if self._runner is None:
            self._runner = asyncio.get_running_loop().create_task(self._run())
        await self._until(
            lambda: (
                self.connected
                and all(
                    one.active or (one.error is not None and isinstance(one, _Listening))
                    for one in self._registrations
                    if not isinstance(one, _Subscription)
                )
            )
        )

    async def close(self) -> None:
        """Disconnect for good. May be called again."""
        self._closing = True
        self._wake.set()
        runner, self._runner = self._runner, None
        tasks = [one._task for one in self._registrations if one._task is not None]
        if runner is not None:
            tasks.append(runner)
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks)
        connection = self._connection
        self._lost()
        if connection is not None:
            await connection.close()

    async def __aenter__(self) -> Client:
        await self.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    @property
    def connected(self) -> bool:
        """Whether there is a connection now."""
        return self._connection is not None and not self._connection.is_closed

    async def wait_connected(self) -> None:
        """Wait until there is a connection. Raises :class:`ConnectionLost` when the client is closed."""
        await self._until(lambda: self.connected)

    def on_connection(self, callback: Callable[[bool], object]) -> None:
        """Have ``callback`` called with ``True`` after each connect, ``False`` after each loss."""
        self._watchers.append(callback)

    async def _until(self, condition: Callable[[], bool]) -> None:
        while not condition():
            if self._closing:
                raise ConnectionLost("the client was closed")
            self._wake.clear()
            await self._wake.wait()

    async def _run(self) -> None:
        waits = delays()
        logged = False
        while True:
            try:
                connection = await Connection.open(self.path)
            except ConnectionLost as error:
                if not logged:
                    log.warning("%s; retrying", error)
                    logged = True
                await asyncio.sleep(next(waits))
                continue
            waits, logged = delays(), False
            self._connection = connection
            for registration in self._registrations:
                self._restore(registration)
            self._notify(True)
            await connection.closed
            log.warning("the connection to ubusd ended; reconnecting")
            self._lost()
            await asyncio.sleep(next(waits))

    def _lost(self) -> None:
        had, self._connection = self._connection, None
        for registration in self._registrations:
            registration._done.clear()
            if registration._task is not None:
                registration._task.cancel()
                registration._task = None
        if had is not None:
            self._notify(False)

    def _notify(self, connected: bool) -> None:
        self._wake.set()
        for watcher in self._watchers:
            try:
                watcher(connected)
            except Exception:
                log.exception("an on_connection callback failed")

    # --- what holds across connections -----------------------------------------------------------------

    def _restore(self, registration: Registration) -> None:
        registration._done.clear()
        if self._connection is not None and registration in self._registrations:
            registration._task = asyncio.get_running_loop().create_task(
                self._establish(registration, self._connection)
            )

    async def _establish(self, registration: Registration, connection: Connection) -> None:
        for delay in delays():
            try:
                await registration.establish(connection)
            except (StatusError, ProtocolError) as error:
                # ubusd may load our rights after we started (its ACL files are read on SIGHUP), the name may
                # belong to a predecessor that is about to exit, the object may not be there yet.
                if registration.error is None:
                    log.warning("%s: %s; retrying", registration.what, error)
                registration.error = error
                self._wake.set()
                await asyncio.sleep(delay)
            except ConnectionLost:
                return
            except TimeoutError:
                continue
            else:
                registration.error = None
                registration._done.set()
                self._wake.set()
                return

    def _add(self, registration: Registration) -> None:
        if self._closing:
            raise UsageError("the client was closed")
        self._registrations.append(registration)
        self._restore(registration)

    def _forget(self, registration: Registration) -> None:
        if registration in self._registrations:
            self._registrations.remove(registration)
        if registration._task is not None:
            registration._task.cancel()
            registration._task = None
        registration._done.clear()
        registration.drop()

    async def publish(self, obj: Object) -> None:
        """Publish an object, now and after every reconnect.

        Without a connection it is registered, and published with the next one. Refused later, after a
        reconnect, it is retried until ubusd accepts it.

        :raises StatusError: refused now (INVALID_ARGUMENT: the name is taken or ubusd's ACL forbids it);
            it is not registered then.
        """
        if any(isinstance(one, _Publishing) and one.object is obj for one in self._registrations):
            raise UsageError(f"{obj.name} is published already")
        publishing = _Publishing(self, obj)
        if self._connection is not None:
            try:
                await self._connection.publish(obj)
                publishing._done.set()
            except ConnectionLost:
                pass
        if publishing.active or self._closing:
            if self._closing:
                raise ConnectionLost("the client was closed")
            self._registrations.append(publishing)
        else:
            self._add(publishing)

    async def unpublish(self, obj: Object) -> None:
        """Withdraw an object. Running handlers are cancelled, their callers receive "Connection failed"."""
        for one in self._registrations:
            if isinstance(one, _Publishing) and one.object is obj:
                self._forget(one)
                if self._connection is not None and obj.connection is self._connection:
                    await self._connection.unpublish(obj)
                return
        raise UsageError(f"{obj.name} is not published")

    async def replace(self, old: Object, new: Object) -> None:
        """Publish ``new`` in place of ``old``, with no moment in which callers find neither.

        Running handlers of ``old`` are cancelled: wait until ``old.calls`` is empty where they matter.
        Without a connection, or where ubusd refuses ``new``, it is published as soon as that is possible.
        """
        replaced = [one for one in self._registrations if isinstance(one, _Publishing) and one.object is old]
        if not replaced:
            raise UsageError(f"{old.name} is not published")
        if replaced[0]._task is not None:
            replaced[0]._task.cancel()
        publishing = _Publishing(self, new)
        self._registrations[self._registrations.index(replaced[0])] = publishing
        if self._connection is None or old.connection is not self._connection:
            self._restore(publishing)
            return
        try:
            await self._connection.replace(old, new)
        except ConnectionLost:
            return  # the next connection publishes it
        except (StatusError, ProtocolError, TimeoutError):
            self._restore(publishing)
        else:
            publishing._done.set()
            self._wake.set()

    def listen(self, pattern: str, callback: Callback) -> Registration:
        """Have events delivered whose name is ``pattern``, or begins like it where it ends in ``*``.

        From now on and after every reconnect, until the returned registration is closed. Events sent
        while there is no connection are lost.
        """
        listening = _Listening(self, pattern, callback)
        self._add(listening)
        return listening

    def subscribe(self, object: str, callback: Callback) -> Registration:  # noqa: A002
        """Have an object's notifications delivered, also after the object, or ubusd, was gone for a while.

        ``async with client.subscribe(...)`` waits until it is active, and ends it.
        """
        subscription = _Subscription(self, object, callback)
        self._add(subscription)
        return subscription

    # --- verbs ---------------------------------------------------------------------------------------

    def _now(self) -> Connection:
        if self._connection is None:
            raise ConnectionLost("there is no connection to ubusd")
        return self._connection

    async def call(
        self,
        object: str,  # noqa: A002
        method: str,
        args: Mapping[str, Encodable] | None = None,
        *,
        timeout: float | None = 30.0,
    ) -> Table:
        """See :meth:`Connection.call <ubus_py.connection.Connection.call>`."""
        return await self._now().call(object, method, args, timeout=timeout)

    async def lookup(self, pattern: str | None = None) -> list[ObjectInfo]:
        """See :meth:`Connection.lookup <ubus_py.connection.Connection.lookup>`."""
        return await self._now().lookup(pattern)

    async def lookup_strictly(self, pattern: str | None = None) -> list[ObjectInfo]:
        """See :meth:`Connection.lookup_strictly <ubus_py.connection.Connection.lookup_strictly>`."""
        return await self._now().lookup_strictly(pattern)

    async def send(self, name: str, data: Mapping[str, Encodable] | None = None) -> None:
        """See :meth:`Connection.send <ubus_py.connection.Connection.send>`."""
        await self._now().send(name, data)

    async def wait_for(self, *names: str, timeout: float | None = 30.0) -> None:
        """See :meth:`Connection.wait_for <ubus_py.connection.Connection.wait_for>`."""
        await self._now().wait_for(*names, timeout=timeout)
