"""The router around the daemon: rpcd's and procd's objects on the bus, over a folder that looks like
``/``."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

from simulator.router.hotplug import Hotplug
from simulator.router.logins import grant_all
from simulator.router.payments_uci import PaymentsUci
from simulator.router.rollback import Rollback
from simulator.router.service_object import ServiceObject
from simulator.router.session_object import SessionObject
from simulator.router.sessions import Sessions
from simulator.router.system_object import SystemObject
from simulator.router.uci_object import UciObject
from simulator.router.uci_store import UciStore
from ubus_py import Client, Object


class Router:
    """Serves ``session``, ``uci``, ``stripe-payments.uci``, ``system``, ``service`` and ``hotplug.*`` on the
    bus at ``bus_path``.

    ``root`` holds the files (`prepare_root` makes them). ``password`` is root's; ``users`` maps further
    system users, to whom logins of ``etc/config/rpcd`` refer as ``$p$NAME``, to their passwords (by default
    ``viewer``, who may only read).
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
        accounts = {"root": password, **({"viewer": password} if users is None else users)}
        self.store = UciStore(self.root)
        self.service = ServiceObject()
        self.hotplug = Hotplug(self.root)
        self.payments_uci = PaymentsUci(self.store, self.service.changed, self.hotplug.running)
        self._bus_path = str(bus_path)
        self._accounts = accounts
        self._bus: Client | None = None
        self._rollback: Rollback | None = None
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
        self._rollback = rollback
        self._bus = bus
        self._procd = [self.service.object(), *self.hotplug.objects()]
        objects = [
            SessionObject(self.root, self.store, sessions, rollback, self._accounts).object(),
            UciObject(self.store, sessions, rollback, self.service.changed).object(),
            self.payments_uci.object(),
            SystemObject(self.root, self.store).object(),
            *self._procd,
        ]
        try:
            await bus.start()
            for published in objects:
                await bus.publish(published)
        except BaseException:
            await self.stop()
            raise

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
