"""The router around the daemon: rpcd's and procd's objects on the bus, over a folder that looks like
``/``."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

from simulator.router.hotplug import Hotplug
from simulator.router.logins import grant_all, logins_of
from simulator.router.payments_uci import PaymentsUci
from simulator.router.rollback import Rollback
from simulator.router.service_object import ServiceObject
from simulator.router.session_object import SessionObject
from simulator.router.sessions import Sessions
from simulator.router.system_object import SystemObject
from simulator.router.uci_object import UciObject
from simulator.router.uci_store import UciStore
from ubus_py import Client, Object

LOGINS = ("owner", "seller", "viewer")
"""Besides root: the customer, who buys; the seller, who also refunds and configures; a reader."""


class Router:
    """Serves ``session``, ``uci``, ``stripe-payments.uci``, ``system``, ``service`` and ``hotplug.*`` on the
    bus at ``bus_path``.

    ``root`` holds the files (`prepare_root` makes them). ``password`` is root's; ``users`` maps further
    system users, to whom logins of ``etc/config/rpcd`` refer as ``$p$NAME``, to their passwords (by default
    those of `LOGINS`).
    """

    def __init__(
        self,
        bus_path: Path | str,
        root: Path,
        *,
        password: str = "router",
        users: Mapping[str, str] | None = None,
    ) -> None:
        self.root = Path(root)
        accounts = {"root": password, **(dict.fromkeys(LOGINS, password) if users is None else users)}
        self.store = UciStore(self.root)
        self.service = ServiceObject()
        self.hotplug = Hotplug(self.root)
        self.payments_uci = PaymentsUci(self.store, self.service.changed, self.hotplug.running)
        self._bus_path = str(bus_path)
        self._accounts = accounts
        self._bus: Client | None = None
        self._rollback: Rollback | None = None
        self._sessions: Sessions | None = None
        self._rpcd: list[Object] = []
        self._procd: list[Object] = []

    def watch_config(self, watcher: Callable[[str], object]) -> None:
        """Call ``watcher`` with the name of every configuration that is committed, as a reload trigger would
        be."""
        self.service.watch(watcher)

    async def start(self) -> None:
        """Returns when every object is on the bus. Sessions of an earlier run are gone, as after a restart of
        rpcd."""
        self.store.forget_all_sessions()
        sessions = Sessions(on_destroy=self.store.forget_session)
        grant_all(sessions.anonymous, None, self.root)
        rollback = Rollback(self.root, self.store, sessions, self.service.changed)
        bus = Client(self._bus_path)
        self._sessions = sessions
        self._rollback = rollback
        self._bus = bus
        self._procd = [self.service.object(), *self.hotplug.objects()]
        self._rpcd = [
            SessionObject(self.root, self.store, sessions, rollback, self._accounts).object(),
            UciObject(self.store, sessions, rollback, self.service.changed).object(),
            self.payments_uci.object(),
            SystemObject(self.root, self.store).object(),
        ]
        try:
            await bus.start()
            for published in [*self._rpcd, *self._procd]:
                await bus.publish(published)
        except BaseException:
            await self.stop()
            raise

    async def hang_up(self) -> None:
        """SIGHUP to rpcd: it starts itself again, keeps its sessions, and gives them the rights of now."""
        if self._bus is None or self._sessions is None:
            return
        for published in self._rpcd:
            await self._bus.unpublish(published)
        for session in self._sessions:
            name = session.data.get("username")
            for login in logins_of(self.store, name)[:1] if isinstance(name, str) else ():
                session.grants.clear()
                grant_all(session, login, self.root)
        grant_all(self._sessions.anonymous, None, self.root)
        for published in self._rpcd:
            await self._bus.publish(published)

    async def stop_procd(self) -> None:
        """Take procd's objects off the bus; hotplug scripts that run go on."""
        for published in self._procd:
            if self._bus is not None:
                await self._bus.unpublish(published)

    async def start_procd(self) -> None:
        """Publish procd's objects again."""
        for published in self._procd:
            if self._bus is not None:
                await self._bus.publish(published)

    async def stop(self) -> None:
        """Leave the bus; hotplug scripts that still run are ended. Harmless when not started."""
        bus, self._bus = self._bus, None
        if self._rollback is not None:
            self._rollback.close()
        await self.hotplug.close()
        if bus is not None:
            await bus.close()
